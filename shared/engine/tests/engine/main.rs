//! The engine on objects in memory: any split gives what one pass gives.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod attempts;
mod commands;
mod functions;
mod http;
mod listing;
mod orders;
mod planning;
mod resizing;
mod scans;
mod splitting;
mod tampered;
mod turns;
mod world;

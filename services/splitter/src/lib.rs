//! The splitter: from an event to a run whose first window of chunks is sent.
//!
//! Everything up to `running` may be done twice, by two splitters at once: the run is created once, its
//! manifest is written once, and whoever is second reads what the first wrote.
//!
//! Architecture invariant: the splitter reads sources with ranged reads and copies none.

mod begin;
mod event;
mod fan_out;
mod handler;
mod list;
mod map;

pub use event::InvalidEvent;
pub use handler::{Share, Splitter, SplitterError};

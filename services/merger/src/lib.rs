//! The merger: folds full groups, assembles the output once all are folded, and clears away what a run left.
//!
//! Folds run in any order, while others still run, and twice alike. An assembly fills an upload of its own,
//! recorded in the run before it is used, and publishes on the condition that the output's name still stands
//! as it was seen.
//!
//! Architecture invariant: the merger marks groups as folded and draws the last arrows of a run; it counts
//! no chunk.

mod assemble;
mod cleanup;
mod errors;
mod fold;
mod handler;
mod upload;

pub use handler::{Merger, MergerError};

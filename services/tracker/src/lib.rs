//! The tracker: counts each completion once, and does what follows from it.
//!
//! Marks come first, consequences after, and last the note that they were carried out, with the next marks of the group.
//! A completion that comes again finds its index marked and, if the note is missing, carries the consequences out again.
//!
//! Architecture invariant: the tracker reads no source and writes no object but tombstones.

mod count;
mod dead;
mod follow;
mod handler;
mod map;
mod notes;

pub use handler::{Tracker, TrackerError};
pub use notes::Notes;

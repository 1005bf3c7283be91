//! The sweeper: repairs what no message will: runs past their deadline, runs stuck in a state, and messages
//! that died.
//!
//! Architecture invariant: the sweeper does no work of another service; it sends that service the message
//! that was lost, or ends the run with the reason.

mod dead;
mod handler;
mod map;
mod stuck;
mod trouble;
mod watch;

pub use dead::DeadQueue;
pub use handler::{LeftOff, Sweeper, SweeperError};
pub use watch::{WatchLeftOff, Watcher};

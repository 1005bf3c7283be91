//! The launcher: gives a launch to a cluster, as one Indexed Job.
//!
//! A launch's item in the table says to which cluster it was given, and under which generation, before the Job is
//! created: a repetition finds the same Job. A cluster that fails is left out for a while and its launches go to the
//! others; where none is left the message waits, and the item says why.
//!
//! Architecture invariant: the launcher knows Jobs, and not what becomes of them: the sweeper looks.

mod handler;
pub mod spec;

pub use handler::{Launcher, LauncherError};

//! The ports on local disk, for `fanfold local`: a source file, work objects in a temporary file, and an
//! output that appears under its name whole or not at all.
//!
//! Architecture invariant: nothing here outlives the process but the output and the list of bad records.

mod clock;
mod extent;
mod file;
mod objects;
mod pacer;
mod reading;
mod uploads;

pub use clock::LocalClock;
pub use file::{check_output, followed};
pub use objects::{LocalObjects, Places};
pub use pacer::LocalPacer;

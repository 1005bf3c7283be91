//! The ports on local disk, for `fanfold local`: a source file, work objects in a temporary file, an output that
//! appears under its name whole or not at all, and folders for objects that records name.
//!
//! Architecture invariant: nothing here outlives the process but the output, the list of bad records and what is
//! put into folders.

mod clock;
mod extent;
mod file;
mod folders;
mod objects;
mod reading;
mod uploads;

pub use clock::LocalClock;
pub use file::{check_output, followed};
pub use folders::Folders;
pub use objects::{LocalObjects, Places};

//! Documents that users write, YAML or JSON: read as written, decoded by hand, refused with every mistake.

pub(crate) mod decode;
mod mistake;
pub(crate) mod nearest;
pub(crate) mod quantity;
pub(crate) mod value;

pub use mistake::{InvalidDocument, Mistake};
pub(crate) use mistake::{Mistakes, quote};

//! The work on bytes: where a source is cut, what becomes of one chunk, how parts are put together.
//!
//! Everything here reads and writes objects and nothing else; a Lambda, a pod and a laptop call the same
//! functions. Memory is bounded by buffers, whatever the size of a chunk, a group or the source.
//!
//! Architecture invariant: the engine knows no ledger and no queue. It never decides whether a chunk is to be
//! done, only does it; when it is counted is the tracker's to say.

mod checksum;
mod derive;

pub mod bad;
pub mod cause;
pub mod chunk;
pub mod concat;
pub mod dialect;
pub mod fold;
pub mod part;
pub mod plan;
pub mod processor;
pub mod publish;
pub mod turns;

pub use derive::IdDeriver;

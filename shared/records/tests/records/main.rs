//! The crate against its specification: named cases, and properties over hostile data.

mod common;
mod fielding;
mod framing;
mod limits;
mod named;
mod preambles;
mod scanning;
mod tiling;

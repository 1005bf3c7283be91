//! What the end-to-end tests, the demo and the benchmark share: generated sales records and photographs.

pub mod chance;
pub mod photos;
pub mod sales;

//! What the end-to-end tests, the demo and the benchmark share: generated sales records.

pub mod sales;

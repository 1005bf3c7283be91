//! Boots a Lambda: typed configuration, JSON logs on stderr, metrics, SQS's partial batches.
//!
//! A `main` gives [`boot`] a future that reads the configuration and makes a handler. The Lambda's own types end
//! here: a handler is given a [`sqs::Delivery`] or its own event, and an [`Invocation`].
//!
//! Architecture invariant: nothing here knows what a service does, a port, or an adapter. This crate alone
//! (and the command line) reads environment variables.

mod boot;
pub mod config;
mod failure;
pub mod metrics;
pub mod sqs;
pub mod step;
mod telemetry;
mod variables;

pub use boot::{Error, Invocation, boot, program};
pub use variables::{InvalidConfiguration, Problem, Variables};

//! The worker: takes a chunk, makes its part, says how it ended.
//!
//! A chunk that may yet succeed is sent again with a delay and acknowledged; redelivery is left for crashes. In a pod
//! the Job's own retries count instead, and faults of the platform are waited out. A batch of a Distributed Map is the first try at each of its chunks; what is left
//! of it goes on by the queue.
//!
//! Architecture invariant: the worker marks nothing. It sends a completion, and may send it twice; and what that
//! releases, once.

mod attempt;
mod batch;
mod begun;
mod handler;
pub mod pod;
mod release;
mod retry;
mod time;

pub use handler::{Delivered, Worker, WorkerError};

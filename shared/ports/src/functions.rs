//! Functions of the users' own, which are invoked and waited for.

use async_trait::async_trait;
use bytes::Bytes;
use fanfold_domain::FunctionName;
use thiserror::Error;

use crate::PortError;

/// The most bytes of an event, and of an answer: Lambda's own limit for an invocation that is waited for.
pub const MAX_PAYLOAD_BYTES: usize = 6 * 1024 * 1024;

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Returned {
    /// The function gave this, which is JSON.
    Answer(Bytes),
    /// It failed: with an error of its own, its time up, too large an answer.
    Failure(String),
}

/// Why a function was not invoked, or is not known to have ended.
#[derive(Debug, Error)]
pub enum InvokeError {
    /// There is no such function, or none of its alias.
    #[error("function {function} does not exist: {detail}")]
    Missing {
        /// Which.
        function: FunctionName,
        /// What the service said.
        detail: String,
    },
    /// Whoever asks may not invoke it.
    #[error("function {function} may not be invoked: {detail}")]
    Denied {
        /// Which.
        function: FunctionName,
        /// What the service said.
        detail: String,
    },
    /// The call failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Invoking functions.
#[async_trait]
pub trait Functions: Send + Sync {
    /// Invokes a function with an event of JSON of at most [`MAX_PAYLOAD_BYTES`], and waits for its end, as long as
    /// that takes: who waits says how long. A function that nobody waits for any more goes on all the same.
    ///
    /// # Errors
    /// Transient: it was not invoked. Indeterminate: it may have been, perhaps more than once. The same call again
    /// invokes it again.
    async fn invoke(&self, function: &FunctionName, event: Bytes) -> Result<Returned, InvokeError>;
}

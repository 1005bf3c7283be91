//! The one question that every error of a port answers: may it be tried again?

use std::fmt;

use thiserror::Error;

/// What is known after a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It did not happen and may succeed if tried again (throttled, a network that went away before sending).
    Transient,
    /// It did not happen and never will, as asked (refused, malformed, no permission).
    Permanent,
    /// It may have happened (a timeout after sending): read again before trying again.
    Indeterminate,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Indeterminate => "indeterminate",
        })
    }
}

/// A call of a port that failed.
#[derive(Debug, Error)]
#[error("{operation} of {subject}: {detail} ({fault})")]
pub struct PortError {
    /// What is known of its effect.
    pub fault: Fault,
    /// The port's operation.
    pub operation: &'static str,
    /// What it was about: an object, a run, a queue.
    pub subject: String,
    /// What the service said.
    pub detail: String,
    /// The service's own error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl PortError {
    /// Whether no further try would mend it.
    pub fn is_permanent(&self) -> bool {
        self.fault == Fault::Permanent
    }

    /// Whether it is known that nothing happened, and another try may succeed.
    pub fn is_transient(&self) -> bool {
        self.fault == Fault::Transient
    }

    /// An error without another one behind it.
    pub fn new(
        fault: Fault,
        operation: &'static str,
        subject: impl fmt::Display,
        detail: impl Into<String>,
    ) -> Self {
        Self { fault, operation, subject: subject.to_string(), detail: detail.into(), source: None }
    }
}

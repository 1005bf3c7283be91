//! Messages to other services: at least once, in any order.

use std::fmt;

use async_trait::async_trait;

use crate::PortError;

/// The queues between the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Queue {
    /// Events to the splitter.
    Intake,
    /// Chunks to the workers.
    Chunks,
    /// Launches to the launcher.
    Launches,
    /// Completions to the tracker.
    Completions,
    /// Folds and assemblies to the merger.
    Folds,
}

impl Queue {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Intake, Self::Chunks, Self::Launches, Self::Completions, Self::Folds];
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Intake => "intake",
            Self::Chunks => "chunks",
            Self::Launches => "launches",
            Self::Completions => "completions",
            Self::Folds => "folds",
        })
    }
}

/// The longest delay that a queue takes, in seconds (SQS: 15 minutes).
pub const MAX_DELAY_S: u32 = 900;

/// A message to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its text; see [`fanfold_domain::message::encode`].
    pub body: String,
    /// Seconds before it may be received, at most [`MAX_DELAY_S`].
    pub delay_s: u32,
}

impl Outgoing {
    /// A message that may be received at once.
    pub fn now(body: String) -> Self {
        Self { body, delay_s: 0 }
    }
}

/// Sending.
#[async_trait]
pub trait Queues: Send + Sync {
    /// Sends all messages, batched as the service allows; returns once all were accepted.
    ///
    /// # Errors
    /// Some or all were not accepted, or it is not known. Those that were are delivered all the same: the
    /// caller sends everything again, and every consumer bears doubles.
    async fn send(&self, queue: Queue, messages: Vec<Outgoing>) -> Result<(), PortError>;
}

//! Why a chunk's requests could not all be made, in words that a person can act on.

use fanfold_ports::PortError;
use thiserror::Error;

/// Why a chunk's requests could not all be made.
#[derive(Debug, Error)]
pub enum HttpError {
    /// A request was tried as often as it may be.
    #[error("the request of the record at byte {offset} was tried {tries} times; the last time {why}")]
    GaveUp {
        /// Where the record, or the first of the batch, starts.
        offset: u64,
        /// How often.
        tries: u32,
        /// What came of the last try.
        why: String,
        /// What `Retry-After` said of it, in milliseconds; 0 if nothing.
        wait_ms: u64,
    },
    /// The destination asks for more patience than the attempt has time.
    #[error(
        "the request of the record at byte {offset} {why}, and is to be made again in {wait_s} s, when the attempt has \
         {left_s} s left",
        wait_s = .wait_ms / 1_000
    )]
    ToWait {
        /// Where the record, or the first of the batch, starts.
        offset: u64,
        /// What came of it.
        why: String,
        /// What `Retry-After` says, in milliseconds.
        wait_ms: u64,
        /// What is left, in seconds.
        left_s: u64,
    },
    /// The chunk has more requests than fit the stage's timeout.
    #[error(
        "{answered} requests were answered within the stage's timeout of {timeout_ms} ms, and there are more: make chunks \
         smaller, or the timeout longer; with a rate, fewer chunks at once have more of it"
    )]
    OutOfTime {
        /// How many.
        answered: u64,
        /// The limit in milliseconds.
        timeout_ms: u64,
    },
    /// A request that can never be sent.
    #[error("the request of the record at byte {offset} cannot be sent: {source}")]
    Impossible {
        /// Where the record, or the first of the batch, starts.
        offset: u64,
        /// Why.
        source: PortError,
    },
    /// No turn at the destination could be had.
    #[error("no time at the destination could be reserved: {0}")]
    Turn(PortError),
    /// More bad records than are kept in memory.
    #[error("more than {limit_bytes} bytes of reasons why records of one chunk are bad")]
    TooManyBad {
        /// The limit in bytes.
        limit_bytes: usize,
    },
    /// The worker has no way to ask anybody.
    #[error("requests cannot be made here")]
    NoWeb,
}

impl HttpError {
    /// How long the destination asks to be left alone, in milliseconds.
    pub fn wait_ms(&self) -> u64 {
        match self {
            Self::GaveUp { wait_ms, .. } | Self::ToWait { wait_ms, .. } => *wait_ms,
            _ => 0,
        }
    }

    /// Whether another try may end differently.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::GaveUp { .. } | Self::ToWait { .. } | Self::OutOfTime { .. } => true,
            Self::Turn(error) => !error.is_permanent(),
            Self::Impossible { .. } | Self::TooManyBad { .. } | Self::NoWeb => false,
        }
    }
}

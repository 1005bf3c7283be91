//! Requests to third parties, over HTTP.

use async_trait::async_trait;
use bytes::Bytes;

use crate::PortError;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST` and the like.
    pub method: &'static str,
    /// Where: `http://` or `https://`, percent-encoded.
    pub url: String,
    /// Names in lower case with their values.
    pub headers: Vec<(String, String)>,
    /// What is sent; empty for none.
    pub body: Bytes,
    /// How much of the answer is read, in bytes.
    pub max_answer_bytes: u64,
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status; of a redirection too, for none is followed.
    pub status: u16,
    /// Its header `retry-after`, as it stands there.
    pub retry_after: Option<String>,
    /// Its body, or as much of it as was to be read.
    pub body: Bytes,
    /// Whether there was more of it.
    pub is_cut: bool,
}

/// Asking third parties.
#[async_trait]
pub trait Web: Send + Sync {
    /// Sends a request once, and reads its answer. Takes as long as it takes: who waits says how long.
    ///
    /// # Errors
    /// There is no whole answer. Transient: it was never sent. Indeterminate: it may have been. Permanent: it never will
    /// be, since it is none, or goes to an address that nobody may ask ([`fanfold_domain::address`]).
    async fn send(&self, request: Request) -> Result<Answer, PortError>;
}

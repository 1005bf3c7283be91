//! A third party in memory: what it answers is the test's to say, how long it takes is virtual time.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use fanfold_domain::Timestamp;

use super::MemoryClock;
use crate::{
    Clock, Fault, PortError,
    web::{Answer, Request, Web},
};

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It is answered.
    Answer {
        /// The status.
        status: u16,
        /// The body.
        body: Bytes,
        /// The header `retry-after`.
        retry_after: Option<String>,
        /// How long that takes, in milliseconds.
        after_ms: u64,
    },
    /// The connection breaks once it has arrived.
    Breaks,
    /// Nobody is there.
    Nobody,
}

impl Reply {
    /// 200 with this body, at once.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::Answer { status: 200, body: body.into(), retry_after: None, after_ms: 0 }
    }

    /// Another status, at once.
    pub fn status(status: u16) -> Self {
        let body = format!("status {status}").into();
        Self::Answer { status, body, retry_after: None, after_ms: 0 }
    }
}

type Script = dyn Fn(&Request, usize) -> Reply + Send + Sync;

/// A third party in memory, which remembers what it was asked. Clones are the same one.
#[derive(Clone)]
pub struct MemoryWeb {
    clock: MemoryClock,
    script: Arc<Script>,
    asked: Arc<Mutex<Vec<(Timestamp, Request)>>>,
}

impl fmt::Debug for MemoryWeb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryWeb").field("asked", &self.asked().len()).finish_non_exhaustive()
    }
}

impl MemoryWeb {
    /// One that answers as `script` says of a request and its number, from 0.
    pub fn new(
        clock: MemoryClock,
        script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self { clock, script: Arc::new(script), asked: Arc::default() }
    }

    /// One that nobody answers at.
    pub fn nobody(clock: MemoryClock) -> Self {
        Self::new(clock, |_, _| Reply::Nobody)
    }

    /// The requests that arrived, and when.
    pub fn requests(&self) -> Vec<(Timestamp, Request)> {
        self.asked().clone()
    }

    fn asked(&self) -> MutexGuard<'_, Vec<(Timestamp, Request)>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Web for MemoryWeb {
    async fn send(&self, request: Request) -> Result<Answer, PortError> {
        let failed = |fault, detail| PortError::new(fault, "send", &request.url, detail);
        let number = self.asked().len();
        let reply = (self.script)(&request, number);
        if reply == Reply::Nobody {
            return Err(failed(Fault::Transient, "connection refused"));
        }
        self.asked().push((self.clock.now(), request.clone()));
        let Reply::Answer { status, body, retry_after, after_ms } = reply else {
            return Err(failed(Fault::Indeterminate, "connection reset"));
        };
        if after_ms > 0 {
            self.clock.sleep_ms(after_ms).await;
        }
        let most = usize::try_from(request.max_answer_bytes).unwrap_or(usize::MAX);
        let is_cut = body.len() > most;
        Ok(Answer { status, retry_after, body: body.slice(..body.len().min(most)), is_cut })
    }
}

//! One request, from its turn to what its answer means, as often as that takes.

use std::sync::Arc;

use fanfold_domain::{Timestamp, pipeline::AnswerLine};
use fanfold_ports::{Clock, Fault, PortError, Web, web::Request};
use futures::future::{Either, select};

use super::{
    answer::{Meaning, meaning},
    error::HttpError,
};
use crate::turns::Turns;

/// Asks a third party.
pub(super) struct Asker {
    pub(super) web: Arc<dyn Web>,
    pub(super) clock: Arc<dyn Clock>,
    /// Where the stage has a rate.
    pub(super) turns: Option<Turns>,
    pub(super) timeout_ms: u64,
    pub(super) attempts: u32,
    pub(super) backoff_ms: u64,
    pub(super) output: AnswerLine,
    /// When the attempt at the chunk ends.
    pub(super) ends_at: Timestamp,
}

impl Asker {
    /// Asks until there is an answer that counts: a line of output, or why the record is bad.
    ///
    /// # Errors
    /// There is none.
    pub(super) async fn ask(
        &self,
        request: Request,
        offset: u64,
    ) -> Result<Result<Vec<u8>, String>, HttpError> {
        let mut tries = 0;
        loop {
            if let Some(turns) = &self.turns {
                turns.next().await.map_err(HttpError::Turn)?;
            }
            let answer = self.in_time(request.clone()).await;
            let meaning = meaning(answer, self.output, offset, self.clock.now())
                .map_err(|source| HttpError::Impossible { offset, source })?;
            let (why, asked_ms) = match meaning {
                Meaning::Line(line) => return Ok(Ok(line)),
                Meaning::Bad(reason) => return Ok(Err(reason)),
                Meaning::Again { why, wait_ms } => (why, wait_ms.unwrap_or(0)),
            };
            tries += 1;
            if tries >= self.attempts {
                return Err(HttpError::GaveUp { offset, tries, why, wait_ms: asked_ms });
            }
            let left_ms = self.ends_at.ms_since(self.clock.now());
            if asked_ms >= left_ms {
                return Err(HttpError::ToWait { offset, why, wait_ms: asked_ms, left_s: left_ms / 1_000 });
            }
            self.clock.sleep_ms(asked_ms + self.backoff_ms(tries)).await;
        }
    }

    /// Sends a request, and waits no longer than one may take.
    async fn in_time(&self, request: Request) -> Result<fanfold_ports::web::Answer, PortError> {
        let url = request.url.clone();
        match select(self.web.send(request), self.clock.sleep_ms(self.timeout_ms)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => {
                let detail = format!("no answer within {} ms", self.timeout_ms);
                Err(PortError::new(Fault::Indeterminate, "send", url, detail))
            }
        }
    }

    /// The wait after so many tries: it doubles each time, up to a minute, and is spread over its upper half, so that
    /// requests that failed together do not come back together.
    fn backoff_ms(&self, tries: u32) -> u64 {
        let doubled = self.backoff_ms.saturating_mul(1 << (tries - 1).min(16)).min(60_000);
        let half = doubled / 2;
        half + self.clock.random() % (half + 1)
    }
}

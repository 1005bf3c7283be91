//! `http`: asks a third party for each record, or for batches of them, and writes its answers, a line each.
//!
//! Requests go out several at once, and their lines are written in the order of the records. Each carries an
//! `Idempotency-Key` that is derived of the source and the record's place in it, so that a request that is made again
//! (after a lost answer, a crash, in another attempt or another run of the same source) can be told from a new one. What
//! the third party refuses is a bad record; what it could not do now is tried again, and fails the attempt in the end.

mod answer;
mod ask;
mod error;
mod render;
mod value;

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use async_trait::async_trait;
use fanfold_domain::pipeline;
use futures::{
    StreamExt,
    future::{BoxFuture, Either, FutureExt, ready, select},
    stream::FuturesOrdered,
};

use self::{
    ask::Asker,
    render::{MAX_BODY_BYTES, Renderer, Taken},
};
use super::{Context, LateVerdict, ProcessError, Processor, Reason, Record, Step};
use crate::turns::Turns;

pub use error::HttpError;

/// The most output that one call appends.
const OUT_BYTES: usize = 1 << 20;
/// The most bytes of reasons that are kept until the end of a chunk.
const MAX_REASON_BYTES: usize = 16 << 20;

/// Records that wait for their request.
#[derive(Default)]
struct Batch {
    records: Vec<Taken>,
    /// Bytes of all of them. Of more than fit a request none is kept but its place.
    bytes: usize,
}

impl Batch {
    fn is_too_long(&self) -> bool {
        self.bytes > MAX_BODY_BYTES
    }
}

/// What came of a batch: a line, or why its records are bad.
struct Asked {
    numbers: Vec<u64>,
    end: Result<Result<Vec<u8>, String>, HttpError>,
}

/// Requests under way.
pub(super) struct Http {
    renderer: Renderer,
    asker: Arc<Asker>,
    batch: usize,
    at_once: usize,
    /// Batches that wait for their request, and the one that is not full yet.
    waiting: VecDeque<Batch>,
    filling: Batch,
    in_flight: FuturesOrdered<BoxFuture<'static, Asked>>,
    /// Ready when the attempt's time is up.
    up: Pin<Box<dyn Future<Output = ()> + Send>>,
    timeout_ms: u64,
    /// The last line of output, where requests are made of it.
    previous: Option<String>,
    given: u64,
    answered: u64,
    bad: Vec<LateVerdict>,
    bad_bytes: usize,
    max_bad: u64,
}

impl Http {
    pub(super) fn new(context: &Context<'_>, http: &pipeline::Http) -> Result<Self, ProcessError> {
        let outside = context.outside.ok_or(HttpError::NoWeb)?.clone();
        let (run, clock) = (context.run, outside.clock);
        let turns = context.stage.destination(&run.pipeline.name).map(|(destination, initial)| {
            Turns::new(outside.pacer.clone(), clock.clone(), destination, initial)
        });
        let timeout_at = clock.now().plus_ms(context.timeout_ms);
        let asker = Asker {
            web: outside.web,
            clock: clock.clone(),
            turns,
            timeout_ms: http.timeout_ms,
            attempts: http.attempts,
            backoff_ms: http.backoff_ms,
            output: http.output,
            ends_at: outside.ends_at.map_or(timeout_at, |ends_at| ends_at.min(timeout_at)),
        };
        let timeout_ms = context.timeout_ms;
        let previous = http.needs_previous().then(|| context.previous.unwrap_or(&http.first).to_owned());
        Ok(Self {
            renderer: Renderer::new(context, http)?,
            asker: Arc::new(asker),
            batch: http.batch as usize,
            at_once: http.at_once as usize,
            waiting: VecDeque::new(),
            filling: Batch::default(),
            in_flight: FuturesOrdered::new(),
            up: Box::pin(async move { clock.sleep_ms(timeout_ms).await }),
            timeout_ms,
            previous,
            given: 0,
            answered: 0,
            bad: Vec::new(),
            bad_bytes: 0,
            max_bad: run.pipeline.on_error.max_bad_records,
        })
    }

    /// Whether the chunk has failed already, for having more bad records than the run may have: nobody is asked in vain.
    fn is_spoilt(&self) -> bool {
        self.bad.len() as u64 > self.max_bad
    }

    fn begin(&mut self, batch: Batch) {
        let records = &batch.records[..];
        let numbers = records.iter().map(|record| record.number).collect();
        let offset = records.first().map_or(0, |first| first.offset);
        let previous = self.previous.as_deref().unwrap_or_default();
        let request = if batch.is_too_long() {
            Err(format!("{} bytes, and a request has at most {MAX_BODY_BYTES}", batch.bytes).into())
        } else {
            self.renderer.request(records, previous)
        };
        let asked = match request {
            Ok(request) => {
                let asker = self.asker.clone();
                async move { Asked { numbers, end: asker.ask(request, offset).await } }.boxed()
            }
            Err(reason) => ready(Asked { numbers, end: Ok(Err(reason.into_owned())) }).boxed(),
        };
        self.in_flight.push_back(asked);
    }

    /// Makes requests and writes answers, until none waits or, at the end, none is under way.
    async fn drive(&mut self, to_the_end: bool, out: &mut Vec<u8>) -> Result<Step<()>, ProcessError> {
        loop {
            if self.is_spoilt() {
                self.waiting.clear();
                self.in_flight.clear();
            }
            while self.in_flight.len() < self.at_once
                && let Some(batch) = self.waiting.pop_front()
            {
                self.begin(batch);
            }
            let is_idle = self.in_flight.is_empty();
            // Those under way go on while more records are read.
            if is_idle || !to_the_end && self.waiting.is_empty() {
                return Ok(Step::Done(()));
            }
            let asked = match select(self.in_flight.next(), &mut self.up).await {
                Either::Left((Some(asked), _)) => asked,
                Either::Left((None, _)) => return Ok(Step::Done(())),
                Either::Right(_) => {
                    let (answered, timeout_ms) = (self.answered, self.timeout_ms);
                    return Err(HttpError::OutOfTime { answered, timeout_ms }.into());
                }
            };
            self.settle(asked, out)?;
            if out.len() >= OUT_BYTES {
                return Ok(Step::Again);
            }
        }
    }

    fn settle(&mut self, asked: Asked, out: &mut Vec<u8>) -> Result<(), HttpError> {
        let line = match asked.end? {
            Ok(line) => line,
            Err(reason) => return self.refuse(&asked.numbers, &reason),
        };
        self.answered += 1;
        out.extend_from_slice(&line);
        out.push(b'\n');
        if let Some(previous) = &mut self.previous {
            *previous = String::from_utf8_lossy(&line).into_owned();
        }
        Ok(())
    }

    fn refuse(&mut self, numbers: &[u64], reason: &str) -> Result<(), HttpError> {
        self.bad_bytes += numbers.len() * (reason.len() + size_of::<LateVerdict>());
        if self.bad_bytes > MAX_REASON_BYTES {
            return Err(HttpError::TooManyBad { limit_bytes: MAX_REASON_BYTES });
        }
        let verdict = |record: &u64| LateVerdict { record: *record, reason: reason.to_owned() };
        self.bad.extend(numbers.iter().map(verdict));
        Ok(())
    }
}

#[async_trait]
impl Processor for Http {
    fn record(&mut self, record: Record<'_>, _out: &mut Vec<u8>) -> Result<(), Reason> {
        self.given += 1;
        if self.is_spoilt() {
            return Ok(());
        }
        self.filling.bytes += record.body.len();
        let body = if self.filling.is_too_long() { Vec::new() } else { record.body.to_vec() };
        self.filling.records.push(Taken { body, offset: record.offset, number: self.given });
        if self.filling.records.len() >= self.batch {
            self.waiting.push_back(std::mem::take(&mut self.filling));
        }
        Ok(())
    }

    async fn flush(&mut self, out: &mut Vec<u8>) -> Result<Step<()>, ProcessError> {
        self.drive(false, out).await
    }

    async fn finish(&mut self, out: &mut Vec<u8>) -> Result<Step<Vec<LateVerdict>>, ProcessError> {
        if !self.filling.records.is_empty() {
            self.waiting.push_back(std::mem::take(&mut self.filling));
        }
        Ok(match self.drive(true, out).await? {
            Step::Again => Step::Again,
            Step::Done(()) => Step::Done(std::mem::take(&mut self.bad)),
        })
    }
}

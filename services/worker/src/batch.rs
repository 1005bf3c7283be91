//! A batch of a Distributed Map: the first try at each of its chunks, one after another.
//!
//! What is left of it goes on by the queue of chunks: a chunk whose try was in vain, with its delay and its count, and
//! those for which there was no time. So a batch always ends in time, and nothing of it is lost with its execution.

use fanfold_domain::{
    ChunkIndex, Timestamp,
    map::BatchMessage,
    message::{self, ChunkEnd, encode},
};
use fanfold_ports::{Queue, queues::Outgoing};

use crate::{
    Worker, WorkerError,
    attempt::{Tried, Vain},
    time::MARGIN_MS,
};

/// The least that is left for an attempt for it to be made, in milliseconds.
const LEAST_MS: u64 = 5_000;

/// The time of a batch.
struct Time {
    ends_at: Option<Timestamp>,
    /// The longest that a chunk of it has taken.
    longest_ms: u64,
}

impl Time {
    /// Whether a chunk that takes twice as long as any before may begin.
    fn is_enough(&self, now: Timestamp) -> bool {
        let wanted_ms = LEAST_MS.max(self.longest_ms.saturating_mul(2));
        self.ends_at.is_none_or(|end| end.ms_since(now) >= MARGIN_MS.saturating_add(wanted_ms))
    }

    fn is_up(&self, now: Timestamp) -> bool {
        self.ends_at.is_some_and(|end| end.ms_since(now) <= MARGIN_MS)
    }
}

impl Worker {
    /// Does the chunks of a batch, given as its text, as long as there is time for them.
    ///
    /// # Errors
    /// The batch is to be given to a worker again: what has a part by then is only told of.
    pub async fn handle_batch(
        &self,
        body: &str,
        function_ends_at: Option<Timestamp>,
    ) -> Result<(), WorkerError> {
        let batch: BatchMessage = message::decode(body)?;
        let clock = &*self.ports.clock;
        let own_end = batch.time_ms.map(|ms| clock.now().plus_ms(ms));
        let ends_at = own_end.into_iter().chain(function_ends_at).min();
        let mut time = Time { ends_at, longest_ms: 0 };
        for chunk in batch.chunks() {
            let (is_first, begun_at) = (chunk == batch.first, clock.now());
            if !is_first && !time.is_enough(begun_at) {
                return self.hand_on(&batch, chunk).await;
            }
            let message = batch.chunk(chunk);
            match self.try_once(&message, time.ends_at).await? {
                Tried::Nothing => return Ok(()),
                // A Map has no window, and no stage reads it index by index: nothing is released.
                Tried::Made { sums, .. } => self.complete(message, ChunkEnd::Done(sums), Vec::new()).await?,
                Tried::Ended(end) => self.complete(message, end, Vec::new()).await?,
                // It was begun late, so that this says nothing of it: it has a function's whole time by the queue.
                Tried::InVain(Vain { wait_ms: 0, .. }) if !is_first && time.is_up(clock.now()) => {
                    return self.hand_on(&batch, chunk).await;
                }
                Tried::InVain(vain) => self.retry_or_fail(message, vain).await?,
            }
            time.longest_ms = time.longest_ms.max(clock.now().ms_since(begun_at));
        }
        Ok(())
    }

    /// Sends the chunks of a batch from one on by the queue of chunks.
    async fn hand_on(&self, batch: &BatchMessage, from: ChunkIndex) -> Result<(), WorkerError> {
        let left = batch.chunks().skip_while(|chunk| *chunk < from);
        let messages: Vec<_> = left.map(|chunk| Outgoing::now(encode(&batch.chunk(chunk)))).collect();
        tracing::info!(run_id = %batch.run, stage = batch.stage, from = from.0, chunks = messages.len(), "no time for the rest of a batch");
        Ok(self.ports.queues.send(Queue::Chunks, messages).await?)
    }
}

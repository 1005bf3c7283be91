//! What the end of a chunk releases, sent by the worker that ended it.
//!
//! The tracker counts completions in batches, and a batch takes a second to fill: were it alone to send what comes next,
//! a window would do no more chunks in that time than it has places. Whoever creates a chunk's part has ended it for
//! good, and so may send what follows at once. Where that waits for another chunk besides, it looks under the name of
//! that one's part: of two workers that end such chunks at once, at least one sees what the other left.
//!
//! Nothing depends on it. What a worker does not send, because it sees nothing, meets with an error or dies, the tracker
//! sends once it has marked the chunk; what was sent the completion says. Only the attempt that created the part sends
//! anything, so that a chunk that is delivered twice releases no second wave.

use std::pin::pin;

use fanfold_domain::{
    ChunkIndex, ObjectName, Run,
    message::{ChunkMessage, Released, encode},
};
use fanfold_engine::chunk::is_tombstone;
use fanfold_lifecycle::{Besides, Release, failed_input, releases};
use fanfold_ports::{PortError, Queue, objects::ObjectHead, queues::Outgoing};
use futures::future::{Either, select, try_join_all};

use crate::Worker;

/// The most that is spent on it, in milliseconds: the chunk is done, and that is to be told in time.
const MOST_MS: u64 = 4_000;

impl Worker {
    /// Sends the chunks that the end of this one releases, as far as all else that they wait for is seen to be there.
    /// Returns those that were sent.
    pub(crate) async fn send_released(&self, run: &Run, message: &ChunkMessage) -> Vec<Released> {
        let (stage, chunk) = (&message.stage, message.chunk.0);
        let up = self.ports.clock.sleep_ms(MOST_MS);
        match select(pin!(self.try_to_send_released(run, message)), up).await {
            Either::Left((Ok(sent), _)) => return sent,
            Either::Left((Err(error), _)) => {
                tracing::warn!(run_id = %run.id, stage, chunk, %error, "what is next is left to the tracker");
            }
            Either::Right(_) => {
                tracing::warn!(run_id = %run.id, stage, chunk, "no time to send what is next: left to the tracker");
            }
        }
        Vec::new()
    }

    async fn try_to_send_released(
        &self,
        run: &Run,
        message: &ChunkMessage,
    ) -> Result<Vec<Released>, PortError> {
        let looks = releases(run, &message.stage, message.chunk).into_iter().map(|release| async move {
            let is_due = self.is_due(run, &release).await?;
            Ok::<_, PortError>(is_due.then_some(release.released))
        });
        let due: Vec<Released> = try_join_all(looks).await?.into_iter().flatten().collect();
        if !due.is_empty() {
            let message = |due: &Released| encode(&ChunkMessage::first(run, &due.stage, due.chunk));
            let messages = due.iter().map(|due| Outgoing::now(message(due))).collect();
            self.ports.queues.send(Queue::Chunks, messages).await?;
        }
        Ok(due)
    }

    async fn is_due(&self, run: &Run, release: &Release) -> Result<bool, PortError> {
        let Released { stage, chunk } = &release.released;
        match release.besides {
            Besides::Nothing => Ok(true),
            Besides::Part(before, input) => {
                let found = self.look(run, &run.pipeline.stages[before].name, input).await?;
                Ok(found.is_some_and(|head| !is_tombstone(&head)))
            }
            Besides::End(opener) => Ok(self.look(run, stage, opener).await?.is_some()),
            Besides::NoFailure => {
                let Some(stage) = run.stage(stage) else { return Ok(false) };
                Ok(failed_input(&*self.ports.ledger, run, &stage, *chunk).await?.is_none())
            }
        }
    }

    /// What lies under the name of a chunk's part: that, or its tombstone.
    async fn look(&self, run: &Run, stage: &str, chunk: ChunkIndex) -> Result<Option<ObjectHead>, PortError> {
        let part = ObjectName::new(&self.work_bucket, run.keys(stage).part(chunk));
        self.ports.objects.head(&part, None).await
    }
}

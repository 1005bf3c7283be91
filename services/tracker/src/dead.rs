//! Chunks of which nobody told how they ended: the part decides.

use fanfold_domain::{
    ChunkIndex, ChunkSet, Cleaning, Run,
    message::{self, ChunkMessage, GivenUp, LaunchMessage},
};
use fanfold_engine::chunk::ends_or_failures;
use fanfold_lifecycle::{fail, unmarked};
use fanfold_ports::{Queue, ledger::StageId, objects::UploadError};

use crate::{
    Tracker, TrackerError,
    handler::{Received, grouping_of},
};

impl Tracker {
    /// Takes a chunk message that was received as often as its queue allows. Workers that die on a chunk are counted by
    /// their markers and end it long before: so this is of one that hardly any worker ever had.
    ///
    /// # Errors
    /// The message is to be delivered again.
    pub async fn handle_dead(&self, body: &str) -> Result<(), TrackerError> {
        // The queue is emptied at once: this line is what template.yaml's alarm counts.
        tracing::warn!(queue = %Queue::Chunks, "dead letter");
        let ChunkMessage { run, stage, generation, chunk, .. } = message::decode(body)?;
        let stage = StageId { run, stage, generation };
        let Some(run) = self.still_kept(&stage).await? else { return Ok(()) };
        let reason = "its message was received as often as its queue allows, and no worker told how it ended: Lambda \
                      throttled the worker (the account's concurrency), or could not start it; the worker's metrics \
                      Throttles and Errors and its log tell which";
        self.fail_untold(&run, &stage, chunk, reason).await
    }

    /// Takes a chunk that its worker gave up, because it was refused what it takes to tell the end.
    ///
    /// # Errors
    /// The message is to be delivered again.
    pub(crate) async fn handle_given_up(&self, told: GivenUp) -> Result<(), TrackerError> {
        let GivenUp { run, stage, generation, chunk, reason } = told;
        // The alarm counts this line.
        tracing::warn!(queue = %Queue::Chunks, run_id = %run, chunk = chunk.0, reason, "dead letter");
        let stage = StageId { run, stage, generation };
        let Some(run) = self.still_kept(&stage).await? else { return Ok(()) };
        self.fail_untold(&run, &stage, chunk, &reason).await
    }

    /// Counts a chunk as done if its part is there, or else as failed.
    async fn fail_untold(
        &self,
        run: &Run,
        stage: &StageId,
        chunk: ChunkIndex,
        reason: &str,
    ) -> Result<(), TrackerError> {
        let seen = self.ended_or_failed(run, stage, &[chunk].into_iter().collect(), reason).await;
        let Some(ended) = self.or_fail(run, seen).await? else { return Ok(()) };
        let counted = self.count_stage(stage, ended).await;
        counted.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Takes a launch message that was delivered too often: the launcher failed each time. What no part is there of
    /// has failed.
    ///
    /// # Errors
    /// The message is to be delivered again.
    pub async fn handle_dead_launch(&self, body: &str) -> Result<(), TrackerError> {
        // The alarm counts this line.
        tracing::warn!(queue = %Queue::Launches, "dead letter");
        let LaunchMessage { run, stage, generation, chunks, launch, .. } = message::decode(body)?;
        let stage = StageId { run, stage, generation };
        let Some(run) = self.still_kept(&stage).await? else { return Ok(()) };
        let reason = format!("launch {launch} could not be given to a cluster: the launcher's log tells why");
        self.fail_unmarked(&run, &stage, &chunks, &reason).await
    }

    /// The run of a stage, unless nothing is counted there any more: it was redriven, or its parts are being removed, and
    /// then a tombstone would be left behind.
    async fn still_kept(&self, stage: &StageId) -> Result<Option<Run>, TrackerError> {
        let run = self.runs.get(&self.ports, &stage.run, &stage.stage, stage.generation).await?;
        let is_kept = run.generation == stage.generation && run.cleaning == Cleaning::NotBegun;
        Ok(is_kept.then_some(run))
    }

    /// Counts those of these chunks that are not marked as done where a part of theirs is there, or else as failed.
    pub(crate) async fn fail_unmarked(
        &self,
        run: &Run,
        stage: &StageId,
        chunks: &ChunkSet,
        reason: &str,
    ) -> Result<(), TrackerError> {
        let left = unmarked(&*self.ports.ledger, stage, grouping_of(run, &stage.stage)?, chunks).await?;
        let seen = self.ended_or_failed(run, stage, &left, reason).await;
        let Some(ended) = self.or_fail(run, seen).await? else { return Ok(()) };
        let counted = self.count_stage(stage, ended).await;
        counted.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// How chunks ended that nobody told of, as of one message.
    async fn ended_or_failed(
        &self,
        run: &Run,
        stage: &StageId,
        chunks: &ChunkSet,
        reason: &str,
    ) -> Result<Vec<Received>, UploadError> {
        let (objects, bucket) = (&*self.ports.objects, &self.work_bucket);
        let ends = ends_or_failures(objects, run, bucket, stage, chunks, reason).await?;
        Ok(ends.into_iter().map(|end| (0, end)).collect())
    }

    /// What was seen of parts; none if it will never be told whether they are there: then no chunk may be called
    /// failed, and the run has failed.
    async fn or_fail<T>(&self, run: &Run, seen: Result<T, UploadError>) -> Result<Option<T>, TrackerError> {
        match seen {
            Err(error) if error.is_final() => {
                let reason = format!("whether chunks are done cannot be told: {error}");
                fail(&self.ports, &run.id, run.generation, &reason).await?;
                Ok(None)
            }
            seen => Ok(Some(seen?)),
        }
    }
}

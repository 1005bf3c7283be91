//! The worker as a pod of a Kubernetes Job: its share of a launch, one chunk after another.
//!
//! A chunk is told to the tracker as soon as it has ended. What is left untold is tried again by the Job's own
//! retries, which count: the last of them tells the failure.

use std::{future::Future, pin::pin, time::Duration};

use fanfold_domain::{
    ChunkIndex, Generation, RunId,
    message::{ChunkEnd, ChunkMessage, Failure},
};
use tokio::time::timeout;

use crate::{
    Worker, WorkerError,
    attempt::{Tried, Vain},
};

/// How long a chunk that is under way may go on once the pod is to stop; the Job's pods have ten seconds more.
pub const STOPPING: Duration = Duration::from_secs(20);

/// What a pod is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Whose chunks.
    pub run: RunId,
    /// Of which stage.
    pub stage: String,
    /// Of which generation.
    pub generation: Generation,
    /// Which.
    pub chunks: Vec<ChunkIndex>,
    /// How many pods failed at them before.
    pub failed_tries: u32,
}

/// How a pod ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodEnd {
    /// The tracker knows of every chunk.
    Told,
    /// The tracker knows of every chunk, and that some failed for good.
    Failed,
    /// Some chunks are to be tried again.
    TryAgain,
    /// It was to stop before it was done.
    Stopped,
}

impl PodEnd {
    /// The process's exit code: as documented, and as the Job's failure policy reads it.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Told => 0,
            // EX_DATAERR and EX_TEMPFAIL of sysexits.h.
            Self::Failed => 65,
            Self::TryAgain => 75,
            // As of a process that SIGTERM ended.
            Self::Stopped => 143,
        }
    }
}

impl Worker {
    /// Does the chunks of a pod, until all were tried or `stop` is ready.
    pub async fn run_pod(&self, assignment: &Assignment, stop: impl Future<Output = ()>) -> PodEnd {
        let mut stop = pin!(stop);
        let mut worst = PodEnd::Told;
        for chunk in &assignment.chunks {
            let mut work = pin!(self.do_in_pod(assignment, *chunk));
            let end = tokio::select! {
                end = &mut work => end,
                () = &mut stop => {
                    tracing::info!(run_id = %assignment.run, chunk = chunk.0, "pod is to stop");
                    return match timeout(STOPPING, work).await {
                        Ok(PodEnd::Told) if assignment.chunks.last() == Some(chunk) => worst,
                        _ => PodEnd::Stopped,
                    };
                }
            };
            worst = worst.max(end);
        }
        worst
    }

    async fn do_in_pod(&self, assignment: &Assignment, chunk: ChunkIndex) -> PodEnd {
        match self.tell(assignment, chunk).await {
            Ok(end) => end,
            Err(error) => {
                tracing::error!(run_id = %assignment.run, chunk = chunk.0, %error, "chunk could not be told");
                PodEnd::TryAgain
            }
        }
    }

    /// Makes an attempt at a chunk and tells its end; one in vain only if no pod comes after this.
    async fn tell(&self, assignment: &Assignment, chunk: ChunkIndex) -> Result<PodEnd, WorkerError> {
        let Assignment { run, stage, generation, failed_tries, .. } = assignment;
        let message = ChunkMessage {
            run: run.clone(),
            stage: stage.clone(),
            generation: *generation,
            chunk,
            failed_tries: *failed_tries,
            not_before: None,
        };
        let end = match self.try_once(&message, None).await? {
            Tried::Nothing | Tried::NotYet(_) => return Ok(PodEnd::Told),
            // What it releases the tracker sends: a pod sends completions and nothing else.
            Tried::Made { sums, .. } => ChunkEnd::Done(sums),
            Tried::Ended(end) => end,
            Tried::InVain(Vain { run, retry, error, .. }) => {
                let failed_tries = failed_tries + 1;
                tracing::warn!(run_id = %run.id, chunk = chunk.0, failed_tries, error, "attempt failed");
                if failed_tries < retry.attempts {
                    return Ok(PodEnd::TryAgain);
                }
                let failure = Failure::of_chunk(format!("{error} (after {failed_tries} tries)"));
                self.end_or_failure(&run, &message, failure).await?
            }
        };
        let pod_end = if matches!(end, ChunkEnd::Failed(_)) { PodEnd::Failed } else { PodEnd::Told };
        self.complete(message, end, Vec::new()).await?;
        Ok(pod_end)
    }
}

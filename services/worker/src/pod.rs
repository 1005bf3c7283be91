//! The worker as a pod of a Kubernetes Job: its share of a launch, one chunk after another.
//!
//! A chunk is told to the tracker as soon as it has ended. What is left untold is tried again by the Job's own
//! retries, which count: the last of them tells the failure.

use std::{future::Future, pin::pin, time::Duration};

use fanfold_domain::{
    ChunkIndex, Generation, RunId,
    message::{ChunkEnd, ChunkMessage, Failure, PlatformFaults},
};
use tokio::time::timeout;

use crate::{
    Worker, WorkerError,
    attempt::Tried,
    retry::{Again, Next, after_fault},
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

/// What came of an attempt in a pod.
enum Told {
    /// The pod has done with the chunk.
    End(PodEnd),
    /// The chunk failed for faults of the platform, which may go on.
    Faulted(PodEnd),
    /// It makes another attempt.
    Later(Again),
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
        let mut faults = None;
        for chunk in &assignment.chunks {
            let mut work = pin!(self.do_in_pod(assignment, *chunk, &mut faults));
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

    /// Makes attempts at a chunk until the tracker knows its end, or another pod is to try. Faults of the platform are
    /// waited out here, with the same waits and for as long as those between messages: Kubernetes would count each as a
    /// failed try of the index. `faults` are those that the pod met with in a row: each of its chunks may wait for two
    /// hours between messages, and all of them together here, since one waits for another.
    async fn do_in_pod(
        &self,
        assignment: &Assignment,
        chunk: ChunkIndex,
        faults: &mut Option<PlatformFaults>,
    ) -> PodEnd {
        let Assignment { run, stage, generation, failed_tries, .. } = assignment.clone();
        let (not_before, platform_faults) = (None, *faults);
        let mut message =
            ChunkMessage { run, stage, generation, chunk, failed_tries, not_before, platform_faults };
        let clock = &*self.ports.clock;
        loop {
            let again = match self.tell(&message).await {
                Ok(Told::End(end)) => {
                    *faults = None;
                    return end;
                }
                Ok(Told::Faulted(end)) => return end,
                Ok(Told::Later(again)) => again,
                Err(error) => {
                    let (now, chance) = (clock.now(), clock.random());
                    let again = after_fault(&message, now, chance).filter(|_| error.is_of_platform());
                    tracing::error!(run_id = %message.run, chunk = chunk.0, %error, "chunk could not be told");
                    let Some(again) = again else { return PodEnd::TryAgain };
                    again
                }
            };
            message.platform_faults = again.platform_faults;
            *faults = again.platform_faults;
            clock.sleep_ms(again.at.ms_since(clock.now())).await;
        }
    }

    /// Makes an attempt at a chunk and tells its end; one in vain only if no pod comes after this.
    async fn tell(&self, message: &ChunkMessage) -> Result<Told, WorkerError> {
        let mut is_faulted = false;
        let end = match self.try_once(message, None).await? {
            Tried::Nothing => return Ok(Told::End(PodEnd::Told)),
            // What it releases the tracker sends: a pod sends completions and nothing else.
            Tried::Made { sums, .. } => ChunkEnd::Done(sums),
            Tried::Ended(end) => end,
            Tried::InVain(vain) => match self.what_next(message, &vain) {
                Next::Again(_) if vain.cause.counts_as_try() => {
                    return Ok(Told::End(PodEnd::TryAgain));
                }
                Next::Again(again) => return Ok(Told::Later(again)),
                Next::Fail(reason) => {
                    is_faulted = !vain.cause.counts_as_try();
                    self.end_or_failure(&vain.run, message, Failure::of_chunk(reason)).await?
                }
            },
        };
        let pod_end = if matches!(end, ChunkEnd::Failed(_)) { PodEnd::Failed } else { PodEnd::Told };
        self.complete(message.clone(), end, Vec::new()).await?;
        Ok(if is_faulted { Told::Faulted(pod_end) } else { Told::End(pod_end) })
    }
}

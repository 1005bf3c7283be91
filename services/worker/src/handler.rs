//! From a message of the queue `chunks` to a completion.

use std::sync::Arc;

use fanfold_domain::{
    Run, Timestamp, manifest,
    map::Told,
    message::{
        self, ChunkEnd, ChunkMessage, Completion, Failure, GivenUp, InvalidMessage, Released, encode,
        truncate,
    },
};
use fanfold_engine::{cause::Cause, chunk::end_or_failure, processor::Inherited};
use fanfold_lifecycle::{LifecycleError, RunCache};
use fanfold_ports::{
    Functions, PortError, Ports, Queue, Web,
    objects::{ReadError, UploadError},
    queues::{MAX_DELAY_S, Outgoing},
};
use thiserror::Error;

use crate::{
    attempt::{Due, Tried, Vain},
    begun::{Begun, Marker, poison},
    retry::{Again, Next, after_fault, next},
};

/// How long a completion waits of a part that another attempt created, in seconds: were it counted before that one's own,
/// what that one released would be released once more.
const FOUND_DELAY_S: u32 = 10;

/// How many workers may be refused what a chunk needs before it is given up: a permission may take effect late.
const MOST_REFUSALS: u32 = 5;

/// A message of the queue `chunks` as it was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered<'a> {
    /// The queue's id of the message, the same at each delivery.
    pub id: &'a str,
    /// Its text.
    pub body: &'a str,
    /// How often it was received, this time included, also by receives that were throttled and reached no worker.
    pub receive_count: u32,
}

impl<'a> Delivered<'a> {
    /// A message that is delivered for the first time.
    pub fn first(body: &'a str) -> Self {
        Self { id: "first", body, receive_count: 1 }
    }
}

/// The worker and what it works with.
pub struct Worker {
    /// The world.
    pub ports: Ports,
    /// Who asks third parties.
    pub web: Arc<dyn Web>,
    /// Who invokes the function that a plan step is; a pod invokes none.
    pub functions: Option<Arc<dyn Functions>>,
    /// The bucket of manifests and parts.
    pub work_bucket: String,
    /// The environment that a command may inherit from.
    pub inherited: Inherited,
    /// Runs read lately.
    pub runs: RunCache,
}

/// Why a message is to be delivered again.
#[derive(Debug, Error)]
pub enum WorkerError {
    /// It cannot be read.
    #[error(transparent)]
    Message(#[from] InvalidMessage),
    /// Its run could not be read.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The manifest could not be read.
    #[error(transparent)]
    Manifest(#[from] ReadError),
    /// The manifest is not one.
    #[error(transparent)]
    InvalidManifest(#[from] manifest::InvalidManifest),
    /// A part could not be looked at, or a message not be sent.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The statistics of a part could not be read.
    #[error(transparent)]
    Part(#[from] UploadError),
    /// The run has no plan yet, though this chunk was sent after it was saved.
    #[error("run {0} is not planned")]
    Unplanned(fanfold_domain::RunId),
    /// A stage that the run does not have.
    #[error("run {run} has no stage {stage:?}")]
    NoStage {
        /// Which run.
        run: fanfold_domain::RunId,
        /// The stage that a message named.
        stage: String,
    },
}

impl WorkerError {
    /// Whether no further try would mend it.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Message(_) | Self::InvalidManifest(_) | Self::NoStage { .. } => true,
            Self::Port(failed)
            | Self::Lifecycle(LifecycleError::Port(failed))
            | Self::Manifest(ReadError::Port(failed)) => failed.is_permanent(),
            Self::Part(error) => error.is_final(),
            Self::Lifecycle(_) | Self::Manifest(_) | Self::Unplanned(_) => false,
        }
    }

    /// Whether a service of AWS could not be reached, or not for now.
    pub(crate) fn is_of_platform(&self) -> bool {
        let cause = match self {
            Self::Port(failed) | Self::Lifecycle(LifecycleError::Port(failed)) => Cause::of_port(failed),
            Self::Manifest(failed) => Cause::of_read(failed),
            Self::Part(failed) => Cause::of_upload(failed),
            _ => return false,
        };
        cause == Cause::Platform
    }
}

impl Worker {
    /// Does the chunk of one message. Where the function that does it ends at a set time, an attempt that is not done
    /// shortly before counts as one that failed.
    ///
    /// # Errors
    /// The message is to be delivered again.
    pub async fn handle(
        &self,
        delivered: Delivered<'_>,
        function_ends_at: Option<Timestamp>,
    ) -> Result<(), WorkerError> {
        let message: ChunkMessage = message::decode(delivered.body)?;
        let mut marker = None;
        let handled = match self.work_on(message.clone(), delivered, function_ends_at, &mut marker).await {
            Err(error) if error.is_of_platform() => self.put_off(message, error).await,
            Err(error)
                if error.is_permanent() && self.is_refused_often(&message, delivered, &mut marker).await =>
            {
                self.give_up(message, &error).await
            }
            worked => worked,
        };
        if let (Err(_), Some(marker)) = (&handled, &marker) {
            self.note_survival(&marker.survived).await;
        }
        handled
    }

    /// Whether as many workers were given a message as may be refused what it needs. Markers say how many, and not
    /// receives, of which some reached no worker; a worker that was refused before it left one leaves it now. Receives
    /// count only where markers are refused too.
    async fn is_refused_often(
        &self,
        message: &ChunkMessage,
        delivered: Delivered<'_>,
        marker: &mut Option<Marker>,
    ) -> bool {
        if marker.is_none() {
            match self.begin(message, delivered).await {
                Ok(Begun::First) => return false,
                Ok(Begun::Again(left)) => *marker = Some(left),
                Ok(Begun::Poison) => return true,
                Err(error) => return error.is_permanent() && delivered.receive_count >= MOST_REFUSALS,
            }
        }
        // The first delivery left none.
        marker.as_ref().is_some_and(|marker| marker.number + 1 >= MOST_REFUSALS)
    }

    async fn work_on(
        &self,
        message: ChunkMessage,
        delivered: Delivered<'_>,
        function_ends_at: Option<Timestamp>,
        marker: &mut Option<Marker>,
    ) -> Result<(), WorkerError> {
        let run = match self.due(&message).await? {
            Due::Never => return Ok(()),
            Due::At(at) => return self.send_again(message, at).await,
            Due::Now(run) => *run,
        };
        let tried = match self.begin(&message, delivered).await {
            Ok(Begun::Poison) => {
                // The alarm counts this line.
                tracing::warn!(queue = %Queue::Chunks, run_id = %run.id, chunk = message.chunk.0, "dead letter");
                Tried::Ended(self.end_or_failure(&run, &message, Failure::of_chunk(poison())).await?)
            }
            Ok(begun) => {
                if let Begun::Again(left) = begun {
                    *marker = Some(left);
                }
                self.try_now(run, &message, function_ends_at).await?
            }
            Err(error) if Cause::of_port(&error) == Cause::Platform => {
                Tried::of_platform(&error, run, &message)
            }
            Err(error) => return Err(error.into()),
        };
        match tried {
            Tried::Nothing => Ok(()),
            Tried::Made { run, sums } => {
                let sent = self.send_released(&run, &message).await;
                self.complete(message, ChunkEnd::Done(sums), sent).await
            }
            // Whoever created the part tells of it as well, unless it died, and says what it sent.
            Tried::Ended(end @ ChunkEnd::Done(_)) => self.complete_after(message, end, FOUND_DELAY_S).await,
            Tried::Ended(end) => self.complete(message, end, Vec::new()).await,
            Tried::InVain(vain) => self.retry_or_fail(message, vain).await,
        }
    }

    /// Leaves a chunk to the tracker that this worker can neither do nor fail: several workers were refused what that
    /// takes.
    async fn give_up(&self, message: ChunkMessage, error: &WorkerError) -> Result<(), WorkerError> {
        let ChunkMessage { run, stage, generation, chunk, .. } = message;
        let reason = truncate(format!("its worker was refused what it needs: {error}"));
        let told = Told::given_up(GivenUp { run, stage, generation, chunk, reason });
        Ok(self.ports.queues.send(Queue::Completions, vec![Outgoing::now(told)]).await?)
    }

    /// Sends a chunk again whose attempt a fault of the platform ended before the run was known, or before its end was
    /// told. Where that cannot be sent either, or has gone on for too long, the queue delivers the message again.
    async fn put_off(&self, message: ChunkMessage, error: WorkerError) -> Result<(), WorkerError> {
        let (now, chance) = (self.ports.clock.now(), self.ports.clock.random());
        let Some(again) = after_fault(&message, now, chance) else { return Err(error) };
        tracing::warn!(run_id = %message.run, chunk = message.chunk.0, %error, "attempt met with a fault of the platform");
        self.try_again(message, again).await
    }

    pub(crate) async fn retry_or_fail(&self, message: ChunkMessage, vain: Vain) -> Result<(), WorkerError> {
        match self.what_next(&message, &vain) {
            Next::Again(again) => self.try_again(message, again).await,
            Next::Fail(reason) => {
                let end = self.end_or_failure(&vain.run, &message, Failure::of_chunk(reason)).await?;
                self.complete(message, end, Vec::new()).await
            }
        }
    }

    /// Decides over a chunk after an attempt in vain, and logs it.
    pub(crate) fn what_next(&self, message: &ChunkMessage, vain: &Vain) -> Next {
        let next = next(message, vain, self.ports.clock.now(), self.ports.clock.random());
        let Vain { run, cause, error, wait_ms, .. } = vain;
        let (chunk, failed_tries) = (message.chunk.0, message.failed_tries);
        let faults = message.platform_faults.map_or(0, |faults| faults.count);
        tracing::warn!(run_id = %run.id, chunk, failed_tries, faults, ?cause, error, wait_ms, "attempt failed");
        next
    }

    async fn try_again(&self, message: ChunkMessage, again: Again) -> Result<(), WorkerError> {
        let Again { at, failed_tries, platform_faults } = again;
        self.send_again(ChunkMessage { failed_tries, platform_faults, ..message }, at).await
    }

    /// Sends a chunk again, to be tried at this time or, if that is further away than a message can be delayed, to be
    /// sent again on its way there.
    async fn send_again(&self, message: ChunkMessage, at: Timestamp) -> Result<(), WorkerError> {
        let delay_s = u32::try_from(at.ms_since(self.ports.clock.now()).div_ceil(1_000)).unwrap_or(u32::MAX);
        let not_before = (delay_s > MAX_DELAY_S).then_some(at);
        let body = encode(&ChunkMessage { not_before, ..message });
        let again = Outgoing { body, delay_s: delay_s.min(MAX_DELAY_S) };
        Ok(self.ports.queues.send(Queue::Chunks, vec![again]).await?)
    }

    /// How a chunk ended of which no further try is made: done if there is a part, for the last try or another may have
    /// created it and heard nothing.
    pub(crate) async fn end_or_failure(
        &self,
        run: &Run,
        message: &ChunkMessage,
        failure: Failure,
    ) -> Result<ChunkEnd, WorkerError> {
        let ChunkMessage { stage, chunk, .. } = message;
        let (objects, bucket) = (&*self.ports.objects, &self.work_bucket);
        Ok(end_or_failure(objects, run, bucket, stage, *chunk, failure).await?)
    }

    /// Tells the tracker how a chunk ended, and what that released which is sent already.
    pub(crate) async fn complete(
        &self,
        message: ChunkMessage,
        end: ChunkEnd,
        sent: Vec<Released>,
    ) -> Result<(), WorkerError> {
        let completion = completion_of(message, end, sent);
        Ok(self.ports.queues.send(Queue::Completions, vec![Outgoing::now(encode(&completion))]).await?)
    }

    async fn complete_after(
        &self,
        message: ChunkMessage,
        end: ChunkEnd,
        delay_s: u32,
    ) -> Result<(), WorkerError> {
        let body = encode(&completion_of(message, end, Vec::new()));
        Ok(self.ports.queues.send(Queue::Completions, vec![Outgoing { body, delay_s }]).await?)
    }
}

fn completion_of(message: ChunkMessage, end: ChunkEnd, sent: Vec<Released>) -> Completion {
    let ChunkMessage { run, stage, generation, chunk, .. } = message;
    Completion { run, stage, generation, chunk, end, sent }
}

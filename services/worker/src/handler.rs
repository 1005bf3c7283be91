//! From a message of the queue `chunks` to a completion.

use std::{borrow::Cow, fmt::Display, sync::Arc};

use fanfold_domain::{
    ByteRange, Chunk, ChunkIndex, ObjectName, PLAN, Plan, Run, RunState, SCAN, Sums, Timestamp, key,
    manifest,
    message::{self, ChunkEnd, ChunkMessage, Completion, Failure, InvalidMessage, encode},
    pipeline::{Retry, Stage},
};
use fanfold_engine::{
    chunk::{Attempt, ChunkError, Input, end_by_part, scan_sums},
    plan::{PlanError, scan_chunk},
    processor::{Inherited, Outside},
};
use fanfold_lifecycle::{LifecycleError, RunCache};
use fanfold_ports::{
    Functions, PortError, Ports, Queue, Web,
    objects::{Pin, ReadError, UploadError},
    queues::Outgoing,
};
use futures::TryStreamExt;
use thiserror::Error;

use crate::{retry::delay_s, time::in_time};

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
}

/// What came of one attempt.
pub(crate) enum Tried {
    /// There was nothing to do: the run has ended, or was redriven.
    Nothing,
    /// The chunk has ended.
    Ended(ChunkEnd),
    /// Another attempt may end otherwise.
    InVain {
        /// The run, as it was.
        run: Box<Run>,
        /// What its stage says of further tries.
        retry: Retry,
        /// What the attempt met with.
        error: String,
    },
}

impl Worker {
    /// Does the chunk of one message, given as its text. Where the function that does it ends at a set time, an
    /// attempt that is not done shortly before counts as one that failed.
    ///
    /// # Errors
    /// The message is to be delivered again.
    pub async fn handle(&self, body: &str, function_ends_at: Option<Timestamp>) -> Result<(), WorkerError> {
        let message: ChunkMessage = message::decode(body)?;
        match self.try_once(&message, function_ends_at).await? {
            Tried::Nothing => Ok(()),
            Tried::Ended(end) => self.complete(message, end).await,
            Tried::InVain { run, retry, error } => self.retry_or_fail(&run, message, retry, &error).await,
        }
    }

    /// Makes one attempt at the chunk of a message, and tells nobody.
    pub(crate) async fn try_once(
        &self,
        message: &ChunkMessage,
        function_ends_at: Option<Timestamp>,
    ) -> Result<Tried, WorkerError> {
        let run = self.runs.get(&self.ports, &message.run, &message.stage, message.generation).await?;
        if run.generation != message.generation || !is_worked_on(run.state) {
            return Ok(Tried::Nothing);
        }
        if message.stage == SCAN {
            return self.scan(run, message, function_ends_at).await;
        }
        let stage = stage_of(&run, message)?;
        let input = match self.input(&run, &stage, message).await {
            Ok(input) => input,
            Err(
                WorkerError::Manifest(ReadError::Missing(name))
                | WorkerError::Part(UploadError::Read(ReadError::Missing(name))),
            ) => {
                let reason =
                    format!("{name} does not exist: the work bucket must keep it until the run ends");
                return Ok(Tried::Ended(self.part_or(&run, message, Failure::of_chunk(reason)).await?));
            }
            Err(error) => return Err(error),
        };
        let attempt = self.attempt(&run, &stage, message.chunk, input);
        let attempted = match in_time(&*self.ports.clock, function_ends_at, &stage, attempt).await {
            Ok(attempted) => attempted?,
            Err(out_of_time) => {
                let error = out_of_time.to_string();
                return Ok(Tried::InVain { error, retry: stage.retry, run: Box::new(run) });
            }
        };
        Ok(match attempted {
            Ok(sums) => Tried::Ended(ChunkEnd::Done(sums)),
            Err(ChunkError::SourceChanged(found)) => {
                Tried::Ended(ChunkEnd::SourceChanged { found: found.to_string() })
            }
            Err(ChunkError::Permanent(failure)) => Tried::Ended(ChunkEnd::Failed(failure)),
            Err(error @ (ChunkError::Process(_) | ChunkError::Port(_))) => {
                Tried::InVain { error: error.to_string(), retry: stage.retry, run: Box::new(run) }
            }
        })
    }

    /// What a chunk of a stage reads.
    async fn input(&self, run: &Run, stage: &Stage, message: &ChunkMessage) -> Result<Input, WorkerError> {
        if stage.name == PLAN {
            return Ok(Input::of_plan_step(run));
        }
        if stage.upstream.is_some() {
            let objects = &*self.ports.objects;
            return Ok(Input::of_parts(objects, run, &self.work_bucket, stage, message.chunk).await?);
        }
        Ok(Input::of_first(run, &self.chunk(message).await?))
    }

    /// Does a chunk of the scan, or finds it done.
    async fn scan(
        &self,
        run: Run,
        message: &ChunkMessage,
        function_ends_at: Option<Timestamp>,
    ) -> Result<Tried, WorkerError> {
        if run.state != RunState::Planning {
            return Ok(Tried::Nothing);
        }
        let scan = run.scan.as_ref().ok_or_else(|| WorkerError::Unplanned(run.id.clone()))?;
        let objects = &self.ports.objects;
        let found = end_by_part(&**objects, &run, &self.work_bucket, &message.stage, message.chunk).await?;
        if let Some(end) = found {
            return Ok(Tried::Ended(end));
        }
        let stage = run.first_stage();
        let scanned = scan_chunk(objects.clone(), &run, scan, &self.work_bucket, message.chunk);
        let scanned = in_time(&*self.ports.clock, function_ends_at, stage, scanned).await;
        let retry = stage.retry;
        let scanned = match scanned {
            Ok(scanned) => scanned,
            Err(out_of_time) => {
                return Ok(Tried::InVain { error: out_of_time.to_string(), retry, run: Box::new(run) });
            }
        };
        Ok(match scanned {
            Ok(()) => Tried::Ended(ChunkEnd::Done(scan_sums(&run, message.chunk))),
            Err(PlanError::SourceChanged(found)) => {
                Tried::Ended(ChunkEnd::SourceChanged { found: found.to_string() })
            }
            Err(error) => Tried::InVain { error: error.to_string(), retry, run: Box::new(run) },
        })
    }

    async fn attempt(
        &self,
        run: &Run,
        stage: &Stage,
        chunk: ChunkIndex,
        input: Input,
    ) -> Result<Result<Sums, ChunkError>, WorkerError> {
        let name = format!("{:016x}", self.ports.clock.random());
        let unplanned = Plan::unplanned();
        let plan = if stage.name == PLAN { Some(&unplanned) } else { run.plan.as_ref() };
        let outside = Outside {
            web: self.web.clone(),
            pacer: self.ports.pacer.clone(),
            functions: self.functions.clone(),
            clock: self.ports.clock.clone(),
        };
        let attempt = Attempt {
            counted: None,
            objects: &*self.ports.objects,
            run,
            plan: plan.ok_or_else(|| WorkerError::Unplanned(run.id.clone()))?,
            stage,
            chunk,
            input,
            work_bucket: &self.work_bucket,
            name: &name,
            inherited: &self.inherited,
            tables: Some(&self.ports.tables),
            outside: Some(&outside),
        };
        Ok(attempt.run().await)
    }

    async fn chunk(&self, message: &ChunkMessage) -> Result<Chunk, WorkerError> {
        let name = ObjectName::new(&self.work_bucket, key::manifest(&message.run));
        let line: ByteRange = manifest::line_range(message.chunk, 1);
        let stream = self.ports.objects.read(&name, &Pin::default(), line).await?;
        let bytes = stream.try_collect::<Vec<_>>().await?.concat();
        let mut chunks = manifest::read_lines(&bytes, message.chunk)?;
        Ok(chunks.remove(0))
    }

    pub(crate) async fn retry_or_fail(
        &self,
        run: &Run,
        message: ChunkMessage,
        retry: Retry,
        error: &dyn Display,
    ) -> Result<(), WorkerError> {
        let failed_tries = message.failed_tries + 1;
        tracing::warn!(run_id = %run.id, chunk = message.chunk.0, failed_tries, error = %error, "attempt failed");
        match delay_s(retry, failed_tries, self.ports.clock.random()) {
            Some(delay_s) => {
                let again = ChunkMessage { failed_tries, ..message };
                let again = Outgoing { body: encode(&again), delay_s };
                Ok(self.ports.queues.send(Queue::Chunks, vec![again]).await?)
            }
            None => {
                let failure = Failure::of_chunk(format!("{error} (after {failed_tries} tries)"));
                let end = self.part_or(run, &message, failure).await?;
                self.complete(message, end).await
            }
        }
    }

    /// How a chunk ended whose tries are used up: by its part, if there is one, for the last try or another
    /// may have created it and heard nothing.
    pub(crate) async fn part_or(
        &self,
        run: &Run,
        message: &ChunkMessage,
        failure: Failure,
    ) -> Result<ChunkEnd, WorkerError> {
        let ChunkMessage { stage, chunk, .. } = message;
        let found = end_by_part(&*self.ports.objects, run, &self.work_bucket, stage, *chunk).await?;
        Ok(found.unwrap_or(ChunkEnd::Failed(failure)))
    }

    pub(crate) async fn complete(&self, message: ChunkMessage, end: ChunkEnd) -> Result<(), WorkerError> {
        let ChunkMessage { run, stage, generation, chunk, .. } = message;
        let completion = Completion { run, stage, generation, chunk, end };
        let outgoing = vec![Outgoing::now(encode(&completion))];
        Ok(self.ports.queues.send(Queue::Completions, outgoing).await?)
    }
}

fn stage_of<'a>(run: &'a Run, message: &ChunkMessage) -> Result<Cow<'a, Stage>, WorkerError> {
    let missing = || WorkerError::NoStage { run: run.id.clone(), stage: message.stage.clone() };
    run.stage(&message.stage).ok_or_else(missing)
}

fn is_worked_on(state: RunState) -> bool {
    matches!(state, RunState::Planning | RunState::Running)
}

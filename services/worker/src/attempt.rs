//! One attempt at the chunk of a message, of which nobody is told yet.

use std::borrow::Cow;

use fanfold_domain::{
    ByteRange, Chunk, ChunkIndex, ObjectName, PLAN, Plan, Run, RunState, SCAN, Sums, Timestamp, key,
    manifest,
    message::{ChunkEnd, ChunkMessage, Failure},
    pipeline::{Order, Retry, Stage},
};
use fanfold_engine::{
    cause::Cause,
    chunk::{Attempt, Attempted, ChunkError, Input, end_by_part},
    plan::{PlanError, scan_chunk},
    processor::Outside,
};
use fanfold_lifecycle::failed_input;
use fanfold_ports::{
    ledger::StageId,
    objects::{Pin, ReadError, UploadError},
};
use futures::TryStreamExt;

use crate::{
    Worker, WorkerError,
    time::{MARGIN_MS, in_time},
};

/// What came of one attempt.
pub(crate) enum Tried {
    /// There is nothing to do: the run has ended, or was redriven, or it is not time yet.
    Nothing,
    /// This attempt has ended the chunk: it created the part.
    Made {
        /// The run, as it was.
        run: Box<Run>,
        /// What the part adds to the sums.
        sums: Sums,
    },
    /// The chunk has ended, and another attempt may have ended it.
    Ended(ChunkEnd),
    /// Another attempt may end otherwise.
    InVain(Vain),
}

/// Whether an attempt is to be made.
pub(crate) enum Due {
    /// Not any more: the run has ended, or was redriven.
    Never,
    /// At this time, which has not come.
    At(Timestamp),
    /// Now, at a chunk of this run as it is.
    Now(Box<Run>),
}

/// An attempt that ended nothing.
pub(crate) struct Vain {
    /// The run, as it was.
    pub(crate) run: Box<Run>,
    /// What its stage says of further tries.
    pub(crate) retry: Retry,
    /// What ended it, and so whether it counts as a try.
    pub(crate) cause: Cause,
    /// What the attempt met with.
    pub(crate) error: String,
    /// How long whom it asked wants to be left alone, in milliseconds.
    pub(crate) wait_ms: u64,
}

impl Tried {
    fn of(Attempted { sums, has_created }: Attempted, run: Run) -> Self {
        if has_created {
            return Self::Made { run: Box::new(run), sums };
        }
        Self::Ended(ChunkEnd::Done(sums))
    }

    fn in_vain(retry: Retry, cause: Cause, error: &dyn std::fmt::Display, run: Run) -> Self {
        Self::InVain(Vain { retry, cause, error: error.to_string(), wait_ms: 0, run: Box::new(run) })
    }

    /// A fault of the platform, met with once it was known whose chunk it is: so that it can be told why it failed.
    pub(crate) fn of_platform(error: &dyn std::fmt::Display, run: Run, message: &ChunkMessage) -> Self {
        let stage = run.stage(&message.stage);
        let retry = stage.map_or_else(|| run.first_stage().retry, |stage| stage.retry);
        Self::in_vain(retry, Cause::Platform, error, run)
    }
}

impl Worker {
    /// Makes one attempt at the chunk of a message, and tells nobody.
    pub(crate) async fn try_once(
        &self,
        message: &ChunkMessage,
        function_ends_at: Option<Timestamp>,
    ) -> Result<Tried, WorkerError> {
        match self.due(message).await? {
            Due::Never | Due::At(_) => Ok(Tried::Nothing),
            Due::Now(run) => self.try_now(*run, message, function_ends_at).await,
        }
    }

    /// Whether an attempt at the chunk of a message is to be made now.
    pub(crate) async fn due(&self, message: &ChunkMessage) -> Result<Due, WorkerError> {
        let run = self.runs.get(&self.ports, &message.run, &message.stage, message.generation).await?;
        if run.generation != message.generation || !is_worked_on(run.state) {
            return Ok(Due::Never);
        }
        if let Some(at) = message.not_before.filter(|at| *at > self.ports.clock.now()) {
            return Ok(Due::At(at));
        }
        Ok(Due::Now(Box::new(run)))
    }

    /// Makes one attempt at the chunk of a message that is due.
    pub(crate) async fn try_now(
        &self,
        run: Run,
        message: &ChunkMessage,
        function_ends_at: Option<Timestamp>,
    ) -> Result<Tried, WorkerError> {
        match self.attempt_of(run.clone(), message, function_ends_at).await {
            Err(error) if error.is_of_platform() => Ok(Tried::of_platform(&error, run, message)),
            tried => tried,
        }
    }

    async fn attempt_of(
        &self,
        run: Run,
        message: &ChunkMessage,
        function_ends_at: Option<Timestamp>,
    ) -> Result<Tried, WorkerError> {
        if message.stage == SCAN {
            return self.scan(run, message, function_ends_at).await;
        }
        let stage = stage_of(&run, message)?;
        if let Some(failure) = self.break_before(&run, &stage, message.chunk).await? {
            return Ok(Tried::Ended(self.end_or_failure(&run, message, failure).await?));
        }
        let input = match self.input(&run, &stage, message).await {
            Ok(input) => input,
            Err(
                WorkerError::Manifest(ReadError::Missing(name))
                | WorkerError::Part(UploadError::Read(ReadError::Missing(name))),
            ) => {
                let failure = self.why_missing(&run, &stage, message.chunk, &name).await?;
                return Ok(Tried::Ended(self.end_or_failure(&run, message, failure).await?));
            }
            Err(error) => return Err(error),
        };
        let ends_at = function_ends_at.map(|end| Timestamp(end.0.saturating_sub(MARGIN_MS)));
        let attempt = self.attempt(&run, &stage, message, input, ends_at);
        let attempted = match in_time(&*self.ports.clock, function_ends_at, &stage, attempt).await {
            Ok(attempted) => attempted?,
            Err(out_of_time) => return Ok(Tried::in_vain(stage.retry, Cause::OutOfTime, &out_of_time, run)),
        };
        Ok(match attempted {
            Ok(attempted) => Tried::of(attempted, run),
            Err(ChunkError::SourceChanged(found)) => {
                Tried::Ended(ChunkEnd::SourceChanged { found: found.to_string() })
            }
            Err(ChunkError::Permanent(failure)) => {
                Tried::Ended(self.end_or_failure(&run, message, failure).await?)
            }
            Err(error @ (ChunkError::Process(_) | ChunkError::Port(_))) => Tried::InVain(Vain {
                retry: stage.retry,
                cause: Cause::from(&error),
                error: error.to_string(),
                wait_ms: error.wait_ms(),
                run: Box::new(run),
            }),
        })
    }

    /// Why a chunk of a sequential stage is not begun, if it is not: the one before it failed, of itself or with what it
    /// reads.
    async fn break_before(
        &self,
        run: &Run,
        stage: &Stage,
        chunk: ChunkIndex,
    ) -> Result<Option<Failure>, WorkerError> {
        let before = chunk.0.checked_sub(1).filter(|_| stage.order == Order::Sequential).map(ChunkIndex);
        let (Some(before), Some(grouping)) = (before, run.grouping_of(&stage.name)) else { return Ok(None) };
        let id = StageId::of(run, &stage.name);
        let count = self.ports.ledger.group(&id, grouping.group_of(before)).await?;
        let reason = || format!("chunk {before}, which it follows in a sequential stage, failed");
        Ok(count.failed.contains(&before).then(|| Failure::of_chunk(reason())))
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

    /// Why there is nothing to be read: what should have made it failed, or it was made and is lost.
    async fn why_missing(
        &self,
        run: &Run,
        stage: &Stage,
        chunk: ChunkIndex,
        name: &ObjectName,
    ) -> Result<Failure, WorkerError> {
        if let Some((before, input)) = failed_input(&*self.ports.ledger, run, stage, chunk).await? {
            return Ok(Failure::inherited(before, input));
        }
        let reason = format!("{name} does not exist: the work bucket must keep it until the run ends");
        Ok(Failure::of_chunk(reason))
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
        let retry = stage.retry;
        let scanned = scan_chunk(objects.clone(), &run, scan, &self.work_bucket, message.chunk);
        let scanned = match in_time(&*self.ports.clock, function_ends_at, stage, scanned).await {
            Ok(scanned) => scanned,
            Err(out_of_time) => return Ok(Tried::in_vain(retry, Cause::OutOfTime, &out_of_time, run)),
        };
        Ok(match scanned {
            Ok(attempted) => Tried::of(attempted, run),
            Err(PlanError::SourceChanged(found)) => {
                Tried::Ended(ChunkEnd::SourceChanged { found: found.to_string() })
            }
            Err(error) => Tried::in_vain(retry, Cause::from(&error), &error, run),
        })
    }

    async fn attempt(
        &self,
        run: &Run,
        stage: &Stage,
        message: &ChunkMessage,
        input: Input,
        ends_at: Option<Timestamp>,
    ) -> Result<Result<Attempted, ChunkError>, WorkerError> {
        let name = format!("{:016x}", self.ports.clock.random());
        let unplanned = Plan::unplanned();
        let plan = if stage.name == PLAN { Some(&unplanned) } else { run.plan.as_ref() };
        let outside = Outside {
            web: self.web.clone(),
            pacer: self.ports.pacer.clone(),
            functions: self.functions.clone(),
            clock: self.ports.clock.clone(),
            ends_at,
        };
        let attempt = Attempt {
            counted: None,
            objects: &*self.ports.objects,
            run,
            plan: plan.ok_or_else(|| WorkerError::Unplanned(run.id.clone()))?,
            stage,
            chunk: message.chunk,
            input,
            work_bucket: &self.work_bucket,
            name: &name,
            number: message.failed_tries.saturating_add(1),
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
}

fn stage_of<'a>(run: &'a Run, message: &ChunkMessage) -> Result<Cow<'a, Stage>, WorkerError> {
    let missing = || WorkerError::NoStage { run: run.id.clone(), stage: message.stage.clone() };
    run.stage(&message.stage).ok_or_else(missing)
}

fn is_worked_on(state: RunState) -> bool {
    matches!(state, RunState::Planning | RunState::Running)
}

//! From a message of the queue `intake` to a run that is under way.

use std::sync::Arc;

use fanfold_domain::{
    Generation, Reach, Run, RunId, RunState, Scan, Timestamp, key,
    message::Intake,
    pipeline::{Format, Pipeline},
};
use fanfold_engine::plan::{
    Places, PlanError, Planned, ScanLimits, Strides, go_on_planning, plan_ids, plan_scanned, scan_due,
};
use fanfold_lifecycle::{LifecycleError, change, fail, finish_if_full, read, source_changed};
use fanfold_ports::{Maps, PortError, Ports, Until, ledger::StageId, objects::UploadError};
use thiserror::Error;

use crate::{event, event::InvalidEvent, fan_out::FanOut, list::Reads};

/// The splitter and what it works with.
pub struct Splitter {
    /// The world.
    pub ports: Ports,
    /// Executions of the Distributed Map.
    pub maps: Arc<dyn Maps>,
    /// The bucket whose objects a listing names unless a submission says otherwise.
    pub input_bucket: String,
    /// The bucket of manifests and parts.
    pub work_bucket: String,
    /// Where outputs go unless a pipeline says otherwise.
    pub output_bucket: String,
    /// The pipeline that the stack was deployed with; one of the same name in the table replaces it.
    pub default_pipeline: Option<Pipeline>,
    /// Which sources it scans itself.
    pub scan_limits: ScanLimits,
    /// What the stack's roles may reach.
    pub reach: Reach,
}

/// Why a message is to be delivered again.
#[derive(Debug, Error)]
pub enum SplitterError {
    /// It cannot be read.
    #[error(transparent)]
    Event(#[from] InvalidEvent),
    /// The pipeline that it is for, or may be for, cannot be read by this version. What is dead-lettered for it can be
    /// sent back once that is repaired.
    #[error(
        "pipeline {pipeline:?} cannot be read: {reason}; deploy the version that wrote it, or apply it again"
    )]
    UnreadablePipeline {
        /// Which pipeline.
        pipeline: String,
        /// Why.
        reason: String,
    },
    /// A run could not be read or changed.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The ledger, a queue or an object could not be reached.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The manifest could not be written.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The source cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

impl SplitterError {
    /// Whether no further try would mend it.
    fn is_final(&self) -> bool {
        match self {
            Self::Port(failed) | Self::Lifecycle(LifecycleError::Port(failed)) => failed.is_permanent(),
            Self::Upload(error) => error.is_final(),
            Self::Plan(error) => error.is_final(),
            Self::Event(_) | Self::Lifecycle(_) | Self::UnreadablePipeline { .. } => false,
        }
    }
}

impl Splitter {
    /// Begins the run that one message asks for, given as its text, or goes on with it, however long it takes.
    ///
    /// # Errors
    /// The message is to be delivered again.
    pub async fn handle(&self, body: &str) -> Result<(), SplitterError> {
        self.handle_until(body, Share { until: None, strides: Strides::DEFAULT }).await
    }

    /// The same of a share of the work; what is left goes on by another message.
    ///
    /// # Errors
    /// The message is to be delivered again.
    pub async fn handle_until(&self, body: &str, share: Share) -> Result<(), SplitterError> {
        let run = match event::read(body)? {
            Intake::Upload(upload) => self.begin_upload(upload).await?,
            Intake::Submission(submission) => self.begin_submission(submission).await?,
            Intake::Tick(tick) => self.begin_tick(tick).await?,
            Intake::Resume { run } => Some(read(&*self.ports.ledger, &run).await?),
            Intake::Stage { run, generation, stage } => {
                return self.begin_stage(&run, generation, stage).await;
            }
        };
        match run {
            Some(run) if run.state == RunState::Planning => self.plan(&run, share).await,
            // Whoever made it running may have died before it looked.
            Some(run) if run.state == RunState::Running => {
                Ok(finish_if_full(&self.ports, &run.id, run.generation).await?)
            }
            _ => Ok(()),
        }
    }

    /// Begins a stage all of whose predecessor has ended.
    async fn begin_stage(
        &self,
        id: &RunId,
        generation: Generation,
        stage: usize,
    ) -> Result<(), SplitterError> {
        let run = read(&*self.ports.ledger, id).await?;
        let is_under_way = |run: &Run| {
            run.generation == generation && matches!(run.state, RunState::Planning | RunState::Running)
        };
        let Some(name) = run.pipeline.stages.get(stage).map(|stage| stage.name.clone()) else {
            return Ok(());
        };
        if !is_under_way(&run) || run.has_begun(&name) {
            return Ok(());
        }
        tracing::info!(run_id = %id, stage = name, "stage begins");
        let fan_out = FanOut { splitter: self, run: &run };
        match fan_out.begin_stage(stage, &fan_out.chunk_bytes(stage)).await {
            Err(error) if error.is_final() => {
                let reason = format!("stage {name} cannot be begun: {error}");
                fail(&self.ports, id, generation, &reason).await?;
                return Ok(());
            }
            Err(error) => return Err(self.noted(id, Some(&name), error).await),
            Ok(()) => {}
        }
        change(&*self.ports.ledger, id, |run| {
            let mut begun = run.clone();
            begun.begun_stages.push(name.clone());
            Ok(Some(begun).filter(|_| is_under_way(run) && !run.has_begun(&name)))
        })
        .await?;
        Ok(())
    }

    /// Does all steps of `planning`, whether or not some were done before. What no further try would mend ends the
    /// run with its reason, and not with the tries in which it could not be planned.
    async fn plan(&self, run: &Run, share: Share) -> Result<(), SplitterError> {
        let run = &self.count_try(run).await?;
        if run.state != RunState::Planning {
            // It ended since it was read, and takes no output any more.
            return Ok(());
        }
        match self.try_to_plan(run, share).await {
            Err(error) if error.is_final() => {
                let reason = format!("it cannot be planned: {error}");
                fail(&self.ports, &run.id, run.generation, &reason).await?;
                Ok(())
            }
            Err(error) => Err(self.noted(&run.id, None, error).await),
            Ok(()) => Ok(()),
        }
    }

    /// Counts the try that begins in the run's item, before anything of it is done: one that dies is counted too. A new
    /// run, and one that was tried a short time ago, cost no write.
    async fn count_try(&self, run: &Run) -> Result<Run, SplitterError> {
        let now = self.ports.clock.now();
        if run.counting_try(now).is_none() {
            return Ok(run.clone());
        }
        Ok(change(&*self.ports.ledger, &run.id, |run| {
            Ok(run.counting_try(now).filter(|run| run.state == RunState::Planning))
        })
        .await?)
    }

    /// The tries of a run that waits for others now, for a scan or its plan step, were no failures.
    async fn forget_tries(&self, run: &Run) -> Result<(), SplitterError> {
        if run.planning_tries.is_some() {
            change(&*self.ports.ledger, &run.id, |run| {
                let is_due = run.state == RunState::Planning && run.planning_tries.is_some();
                Ok(is_due.then(|| Run { planning_tries: None, ..run.clone() }))
            })
            .await?;
        }
        Ok(())
    }

    /// Notes what a try met with in the run's item, where its deadline finds it, should no further try fare better. If it
    /// cannot be noted, the log has it.
    async fn noted(&self, id: &RunId, stage: Option<&str>, error: SplitterError) -> SplitterError {
        let text = error.to_string();
        let noted = change(&*self.ports.ledger, id, |run| {
            let is_due = matches!(run.state, RunState::Planning | RunState::Running);
            Ok(run.noting_trouble(stage, &text).filter(|_| is_due))
        });
        if let Err(unnoted) = noted.await {
            tracing::warn!(run_id = %id, error = %unnoted, "what a try met with is not noted");
        }
        error
    }

    async fn try_to_plan(&self, run: &Run, share: Share) -> Result<(), SplitterError> {
        let Some(run) = self.hold_output(run).await? else { return Ok(()) };
        let fan_out = FanOut { splitter: self, run: &run };
        match self.look_at(&run, share).await {
            Ok(Next::Send(planned)) => fan_out.send(planned).await,
            Ok(Next::Scan(scan)) => {
                fan_out.send_scan(scan).await?;
                self.forget_tries(&run).await
            }
            Ok(Next::PlanStep) => {
                fan_out.send_plan_step().await?;
                self.forget_tries(&run).await
            }
            // It gets on by that, so that tries before it count no more.
            Ok(Next::GoOn) => fan_out.go_on_later().await,
            Err(SplitterError::Plan(PlanError::Port(error))) => Err(error.into()),
            Err(SplitterError::Plan(PlanError::SourceChanged(found))) => {
                source_changed(&self.ports, &run, run.generation, &found.to_string()).await?;
                Ok(())
            }
            Err(SplitterError::Plan(error)) if error.is_final() => {
                let reason = format!("{}: {error}", run.source.object);
                fail(&self.ports, &run.id, run.generation, &reason).await?;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Plans what the run reads, or finds that workers have to scan it first, or to make it.
    async fn look_at(&self, run: &Run, share: Share) -> Result<Next, SplitterError> {
        let (objects, pipeline) = (self.ports.objects.clone(), &run.pipeline);
        if let Format::Ids(range) = pipeline.source.format {
            return Ok(Next::Send(plan_ids(range.of(&run.id), pipeline.split)?));
        }
        let run = &match self.with_list(run, share).await? {
            Reads::Known(run) => *run,
            Reads::PlanStep => return Ok(Next::PlanStep),
            Reads::GoOn => return Ok(Next::GoOn),
        };
        let until = Until::at(&*self.ports.clock, share.until);
        let prefix = key::places(&run.id);
        let places = Places::new(&*self.ports.objects, &self.work_bucket, prefix, share.strides, until);
        if let Some(scan) = &run.scan {
            let root = self.ports.ledger.root(&StageId::scan_of(run)).await?;
            if !root.is_full(scan.grouping) {
                return Ok(Next::Scan(scan.clone()));
            }
            let planned = plan_scanned(objects, run, scan, &places).await?;
            return Ok(planned.map_or(Next::GoOn, Next::Send));
        }
        if let Some(scan) = scan_due(objects.clone(), pipeline, run.input(), self.scan_limits).await? {
            return Ok(Next::Scan(scan));
        }
        let planned = go_on_planning(objects, pipeline, run.input(), &places).await;
        let planned = planned.map_err(|error| match error {
            // The list is ours: nobody replaced a source.
            PlanError::SourceChanged(gone) if run.list.is_some() => PlanError::ScanLost(gone),
            error => error,
        })?;
        Ok(planned.map_or(Next::GoOn, Next::Send))
    }
}

/// How much of a run's planning one message may take.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// From when on nothing more is begun of what can go on by another message; never, if nothing is said.
    pub until: Option<Timestamp>,
    /// In what pieces a plan is made.
    pub strides: Strides,
}

/// What a run in `planning` needs next.
enum Next {
    /// Its chunks are known.
    Send(Planned),
    /// Its source is to be scanned by workers.
    Scan(Scan),
    /// Its list is to be written by its plan step.
    PlanStep,
    /// More time: another message goes on where its list or plan is.
    GoOn,
}

//! From a message of the queue `intake` to a run that is under way.

use std::sync::Arc;

use fanfold_domain::{Run, RunState, Scan, message::Intake, pipeline::Pipeline};
use fanfold_engine::plan::{PlanError, Planned, ScanLimits, plan, plan_scanned, scan_due};
use fanfold_lifecycle::{LifecycleError, fail, read, source_changed};
use fanfold_ports::{Maps, PortError, Ports, ledger::StageId, objects::UploadError};
use thiserror::Error;

use crate::{event, event::InvalidEvent, fan_out::FanOut};

/// The splitter and what it works with.
pub struct Splitter {
    /// The world.
    pub ports: Ports,
    /// Executions of the Distributed Map.
    pub maps: Arc<dyn Maps>,
    /// The bucket of manifests and parts.
    pub work_bucket: String,
    /// Where outputs go unless a pipeline says otherwise.
    pub output_bucket: String,
    /// The pipeline that the stack was deployed with; one of the same name in the table replaces it.
    pub default_pipeline: Option<Pipeline>,
    /// Which sources it scans itself.
    pub scan_limits: ScanLimits,
}

/// Why a message is to be delivered again.
#[derive(Debug, Error)]
pub enum SplitterError {
    /// It cannot be read.
    #[error(transparent)]
    Event(#[from] InvalidEvent),
    /// A run could not be read or changed.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The ledger, a queue or an object could not be reached.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The manifest could not be written.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The source could not be read, though it may be.
    #[error(transparent)]
    Plan(PlanError),
}

impl SplitterError {
    /// Whether no further try would mend it.
    fn is_final(&self) -> bool {
        match self {
            Self::Port(failed) | Self::Lifecycle(LifecycleError::Port(failed)) => failed.is_permanent(),
            Self::Upload(error) => error.is_final(),
            _ => false,
        }
    }
}

impl Splitter {
    /// Begins the run that one message asks for, given as its text, or goes on with it.
    ///
    /// # Errors
    /// The message is to be delivered again.
    pub async fn handle(&self, body: &str) -> Result<(), SplitterError> {
        let run = match event::read(body)? {
            Intake::Upload(upload) => self.begin_upload(upload).await?,
            Intake::Submission(submission) => self.begin_submission(submission).await?,
            Intake::Resume { run } => Some(read(&*self.ports.ledger, &run).await?),
        };
        match run {
            Some(run) if run.state == RunState::Planning => self.plan(&run).await,
            // Whoever made it running may have died before it looked.
            Some(run) if run.state == RunState::Running => self.finish_if_full(&run).await,
            _ => Ok(()),
        }
    }

    /// All chunks may be done before the run is running, and whoever folded the last group found it planning.
    pub(crate) async fn finish_if_full(&self, run: &Run) -> Result<(), SplitterError> {
        let root = self.ports.ledger.root(&StageId::of(run)).await?;
        Ok(fanfold_lifecycle::finish_if_full(&self.ports, &run.id, run.generation, &root).await?)
    }

    /// Does all steps of `planning`, whether or not some were done before. What no further try would mend ends the
    /// run with its reason, and not with the hour in which it could not be planned.
    async fn plan(&self, run: &Run) -> Result<(), SplitterError> {
        match self.try_to_plan(run).await {
            Err(error) if error.is_final() => {
                let reason = format!("it cannot be planned: {error}");
                fail(&self.ports, &run.id, run.generation, &reason).await?;
                Ok(())
            }
            planned => planned,
        }
    }

    async fn try_to_plan(&self, run: &Run) -> Result<(), SplitterError> {
        let Some(run) = self.take_output(run).await? else { return Ok(()) };
        let fan_out = FanOut { splitter: self, run: &run };
        match self.look_at(&run).await {
            Ok(Next::Send(planned)) => fan_out.send(planned).await,
            Ok(Next::Scan(scan)) => fan_out.send_scan(scan).await,
            Err(PlanError::Port(error)) => Err(error.into()),
            Err(PlanError::SourceChanged(found)) => {
                source_changed(&self.ports, &run, run.generation, &found.to_string()).await?;
                Ok(())
            }
            Err(error @ (PlanError::Preamble(_) | PlanError::TooManyChunks(_) | PlanError::ScanLost(_))) => {
                let reason = format!("{}: {error}", run.source.object);
                fail(&self.ports, &run.id, run.generation, &reason).await?;
                Ok(())
            }
        }
    }

    /// Plans the run's source, or finds that workers have to scan it first.
    async fn look_at(&self, run: &Run) -> Result<Next, PlanError> {
        let (objects, pipeline, source) = (self.ports.objects.clone(), &run.pipeline, &run.source);
        if let Some(scan) = &run.scan {
            let root = self.ports.ledger.root(&StageId::scan_of(run)).await?;
            if !root.is_full(scan.grouping) {
                return Ok(Next::Scan(scan.clone()));
            }
            return plan_scanned(objects, run, scan, &self.work_bucket).await.map(Next::Send);
        }
        if let Some(scan) = scan_due(objects.clone(), pipeline, source, self.scan_limits).await? {
            return Ok(Next::Scan(scan));
        }
        plan(objects, pipeline, source).await.map(Next::Send)
    }
}

/// What a run in `planning` needs next.
enum Next {
    /// Its chunks are known.
    Send(Planned),
    /// Its source is to be scanned by workers.
    Scan(Scan),
}

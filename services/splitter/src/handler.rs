//! From a message of the queue `intake` to a run that is under way.

use fanfold_domain::{Run, RunState, message::Intake, pipeline::Pipeline};
use fanfold_engine::plan::PlanError;
use fanfold_lifecycle::{LifecycleError, fail, read, source_changed};
use fanfold_ports::{PortError, Ports, ledger::StageId, objects::UploadError};
use thiserror::Error;

use crate::{event, event::InvalidEvent, fan_out::FanOut};

/// The splitter and what it works with.
pub struct Splitter {
    /// The world.
    pub ports: Ports,
    /// The bucket of manifests and parts.
    pub work_bucket: String,
    /// Where outputs go unless a pipeline says otherwise.
    pub output_bucket: String,
    /// The pipeline that the stack was deployed with; one of the same name in the table replaces it.
    pub default_pipeline: Option<Pipeline>,
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
    /// A submission names a pipeline that there is not.
    #[error("there is no pipeline {0:?}")]
    UnknownPipeline(String),
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

    /// Does all steps of `planning`, whether or not some were done before.
    async fn plan(&self, run: &Run) -> Result<(), SplitterError> {
        let Some(run) = self.take_output(run).await? else { return Ok(()) };
        let pipeline = &run.pipeline;
        match fanfold_engine::plan::plan(self.ports.objects.clone(), pipeline, &run.source).await {
            Ok(planned) => FanOut { splitter: self, run: &run }.send(planned).await,
            Err(PlanError::Port(error)) => Err(error.into()),
            Err(PlanError::SourceChanged(found)) => {
                source_changed(&self.ports, &run, run.generation, &found.to_string()).await?;
                Ok(())
            }
            Err(error @ (PlanError::Preamble(_) | PlanError::TooManyChunks(_))) => {
                let reason = format!("{}: {error}", run.source.object);
                fail(&self.ports, &run.id, run.generation, &reason).await?;
                Ok(())
            }
        }
    }
}

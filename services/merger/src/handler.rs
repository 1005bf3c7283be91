//! From a message of the queue `folds` to what it asks for.

use fanfold_domain::{
    Generation, Run, RunId, Timestamp,
    message::{self, FoldMessage, InvalidMessage},
};
use fanfold_lifecycle::{LifecycleError, read};
use fanfold_ports::{PortError, Ports, Until, objects::UploadError};
use thiserror::Error;

/// The merger and what it works with.
pub struct Merger {
    /// The world.
    pub ports: Ports,
    /// The bucket of parts and groups.
    pub work_bucket: String,
}

/// Why a message is to be delivered again.
#[derive(Debug, Error)]
pub enum MergerError {
    /// It cannot be read.
    #[error(transparent)]
    Message(#[from] InvalidMessage),
    /// A run could not be read or changed.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// Objects could not be read or written.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The ledger or a queue failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The output's name changes hands all the time.
    #[error("the output of run {0} was written by others at every try")]
    Contended(RunId),
}

impl Merger {
    /// Does what one message asks for, given as its text, however long it takes.
    ///
    /// # Errors
    /// The message is to be delivered again.
    pub async fn handle(&self, body: &str) -> Result<(), MergerError> {
        self.handle_until(body, None).await
    }

    /// The same. At `until`, if it is given, no more is begun of an assembly, which goes on by another message.
    ///
    /// # Errors
    /// The message is to be delivered again.
    pub async fn handle_until(&self, body: &str, until: Option<Timestamp>) -> Result<(), MergerError> {
        match message::decode(body)? {
            FoldMessage::Fold { run, stage, generation, group } => {
                let Some(run) = self.current(&run, generation).await? else { return Ok(()) };
                self.fold(&run, &stage, group).await
            }
            FoldMessage::Assemble { run, generation } => {
                let Some(run) = self.current(&run, generation).await? else { return Ok(()) };
                self.assemble(&run, Until::at(&*self.ports.clock, until)).await
            }
            FoldMessage::Cleanup { run, generation } => {
                let Some(run) = self.current(&run, generation).await? else { return Ok(()) };
                self.clean_up(&run).await
            }
            FoldMessage::Report { run, generation } => {
                let Some(run) = self.current(&run, generation).await? else { return Ok(()) };
                self.report(&run).await
            }
        }
    }

    /// The run as it now is, if it is still of the generation that a message is of.
    async fn current(&self, id: &RunId, generation: Generation) -> Result<Option<Run>, MergerError> {
        let run = read(&*self.ports.ledger, id).await?;
        Ok(Some(run).filter(|run| run.generation == generation))
    }
}

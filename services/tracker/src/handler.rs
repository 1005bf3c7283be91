//! From messages to what is counted, and to what a Map tells.

use std::collections::BTreeMap;

use fanfold_domain::{
    ChunkIndex, Grouping, Run, RunId,
    launch::TooManyLaunches,
    map::Told,
    message::{Completion, InvalidMessage},
};
use fanfold_lifecycle::{LifecycleError, RunCache};
use fanfold_ports::{PortError, Ports, ledger::StageId, objects::UploadError};
use thiserror::Error;

use crate::Notes;

/// The tracker and what it works with.
pub struct Tracker {
    /// The world.
    pub ports: Ports,
    /// The bucket of parts.
    pub work_bucket: String,
    /// Runs read lately.
    pub runs: RunCache,
    /// What is to be noted with the next marks.
    pub notes: Notes,
}

/// Why a message is to be delivered again.
#[derive(Debug, Error)]
pub enum TrackerError {
    /// It cannot be read.
    #[error(transparent)]
    Message(#[from] InvalidMessage),
    /// Its run could not be read or changed.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The ledger or a queue failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The statistics of a part could not be read.
    #[error(transparent)]
    Part(#[from] UploadError),
    /// The run has no plan, though chunks of it end.
    #[error("run {0} is not planned")]
    Unplanned(RunId),
    /// The run would have more launches than it may; the splitter begins none of such a run.
    #[error(transparent)]
    TooMany(#[from] TooManyLaunches),
    /// A chunk that the run does not have.
    #[error("run {run} has no chunk {chunk}")]
    NoChunk {
        /// Which run.
        run: RunId,
        /// Which chunk.
        chunk: ChunkIndex,
    },
}

/// A completion, and which message it came in.
pub(crate) type Received = (usize, Completion);

impl Tracker {
    /// Counts a batch of completions, given as their texts. Returns which are to be delivered again, by their
    /// place in the batch, and why.
    pub async fn handle(&self, bodies: &[String]) -> Vec<(usize, TrackerError)> {
        let mut failed = Vec::new();
        let mut runs: BTreeMap<StageId, Vec<Received>> = BTreeMap::new();
        let (mut maps, mut given_up) = (Vec::new(), Vec::new());
        for (place, body) in bodies.iter().enumerate() {
            match Told::read(body) {
                Ok(Told::Completion(completion)) => {
                    runs.entry(stage_of(&completion)).or_default().push((place, completion));
                }
                Ok(Told::Map(told)) => maps.push((place, told)),
                Ok(Told::GivenUp(told)) => given_up.push((place, told)),
                Err(error) => failed.push((place, error.into())),
            }
        }
        for (stage, completions) in runs {
            failed.extend(self.count_stage(&stage, completions).await);
        }
        // What they leave unmarked may have been told in the same batch.
        for (place, told) in maps {
            failed.extend(self.handle_map(told).await.err().map(|error| (place, error)));
        }
        for (place, told) in given_up {
            failed.extend(self.handle_given_up(told).await.err().map(|error| (place, error)));
        }
        failed
    }
}

fn stage_of(completion: &Completion) -> StageId {
    let Completion { run, stage, generation, .. } = completion;
    StageId { run: run.clone(), stage: stage.clone(), generation: *generation }
}

pub(crate) fn grouping_of(run: &Run, stage: &str) -> Result<Grouping, TrackerError> {
    run.grouping_of(stage).ok_or_else(|| TrackerError::Unplanned(run.id.clone()))
}

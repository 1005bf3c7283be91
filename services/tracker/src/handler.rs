//! From messages to what is counted, and to what a Map tells.

use std::collections::BTreeMap;

use fanfold_domain::{
    ChunkIndex, Generation, Grouping, Run, RunId,
    launch::TooManyLaunches,
    map::Told,
    message::{ChunkEnd, Completion, InvalidMessage},
};
use fanfold_lifecycle::{LifecycleError, RunCache, source_changed};
use fanfold_ports::{PortError, Ports, ledger::StageId, objects::UploadError};
use futures::future::join_all;
use thiserror::Error;

use crate::{Notes, count::all_failed};

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
        let (mut maps, mut changed) = (Vec::new(), Vec::new());
        for (place, body) in bodies.iter().enumerate() {
            match Told::read(body) {
                Ok(Told::Completion(completion)) if has_changed(&completion) => {
                    changed.push((place, completion));
                }
                Ok(Told::Completion(completion)) => {
                    runs.entry(stage_of(&completion)).or_default().push((place, completion));
                }
                Ok(Told::Map(told)) => maps.push((place, told)),
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
        failed.extend(self.sources_changed(changed).await);
        failed
    }

    /// Ends the runs whose sources are not what they pinned. Each waits some seconds for the event of the newer source:
    /// all of them at once, and after everything else of the batch is done.
    async fn sources_changed(&self, received: Vec<Received>) -> Vec<(usize, TrackerError)> {
        let mut runs: BTreeMap<(RunId, Generation), Vec<Received>> = BTreeMap::new();
        for (place, completion) in received {
            let run = (completion.run.clone(), completion.generation);
            runs.entry(run).or_default().push((place, completion));
        }
        let end = async |received: Vec<Received>| {
            let places: Vec<usize> = received.iter().map(|(place, _)| *place).collect();
            let ended = self.source_changed(received).await;
            ended.err().map_or_else(Vec::new, |error| all_failed(places, error))
        };
        join_all(runs.into_values().map(end)).await.into_iter().flatten().collect()
    }

    /// The same for one run: the first chunk that found it tells what was found.
    async fn source_changed(&self, received: Vec<Received>) -> Result<(), TrackerError> {
        let Some((_, Completion { run, stage, generation, end, .. })) = received.into_iter().next() else {
            return Ok(());
        };
        let ChunkEnd::SourceChanged { found } = end else { return Ok(()) };
        let run = self.runs.get(&self.ports, &run, &stage, generation).await?;
        if run.generation == generation {
            source_changed(&self.ports, &run, generation, &found).await?;
        }
        Ok(())
    }
}

fn has_changed(completion: &Completion) -> bool {
    matches!(completion.end, ChunkEnd::SourceChanged { .. })
}

fn stage_of(completion: &Completion) -> StageId {
    let Completion { run, stage, generation, .. } = completion;
    StageId { run: run.clone(), stage: stage.clone(), generation: *generation }
}

pub(crate) fn grouping_of(run: &Run, stage: &str) -> Result<Grouping, TrackerError> {
    run.grouping_of(stage).ok_or_else(|| TrackerError::Unplanned(run.id.clone()))
}

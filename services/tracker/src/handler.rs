//! From completions to marks and what follows from them.

use std::collections::BTreeMap;

use fanfold_domain::{
    ChunkIndex, ChunkSet, GroupCount, GroupIndex, Grouping, Mark, Run, RunId,
    group::MAX_MARKS,
    launch::TooManyLaunches,
    map::Told,
    message::{self, ChunkEnd, ChunkMessage, Completion, InvalidMessage, LaunchMessage},
};
use fanfold_engine::chunk::ends_or_failures;
use fanfold_lifecycle::{LifecycleError, RunCache, fail, source_changed, unmarked};
use fanfold_ports::{
    PortError, Ports, Queue,
    ledger::{Marked, StageId},
    objects::UploadError,
};
use thiserror::Error;

/// The tracker and what it works with.
pub struct Tracker {
    /// The world.
    pub ports: Ports,
    /// The bucket of parts.
    pub work_bucket: String,
    /// Runs read lately.
    pub runs: RunCache,
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

/// Completions of one stage, ready to be counted.
struct Prepared {
    run: Run,
    groups: BTreeMap<GroupIndex, Vec<Received>>,
    /// Those that no run could have sent.
    failed: Vec<(usize, TrackerError)>,
}

impl Tracker {
    /// Counts a batch of completions, given as their texts. Returns which are to be delivered again, by their
    /// place in the batch, and why.
    pub async fn handle(&self, bodies: &[String]) -> Vec<(usize, TrackerError)> {
        let mut failed = Vec::new();
        let mut runs: BTreeMap<StageId, Vec<Received>> = BTreeMap::new();
        let mut maps = Vec::new();
        for (place, body) in bodies.iter().enumerate() {
            match Told::read(body) {
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
        failed
    }

    /// Takes a chunk message that was delivered too often: its worker died each time. The part decides.
    ///
    /// # Errors
    /// The message is to be delivered again.
    pub async fn handle_dead(&self, body: &str) -> Result<(), TrackerError> {
        // The queue is emptied at once: this line is what template.yaml's alarm counts.
        tracing::warn!(queue = %Queue::Chunks, "dead letter");
        let ChunkMessage { run: id, stage, generation, chunk, .. } = message::decode(body)?;
        let run = self.runs.get(&self.ports, &id, &stage, generation).await?;
        if run.generation != generation {
            return Ok(());
        }
        let stage = StageId { run: id, stage, generation };
        let reason = "its worker died at every delivery without a word: out of memory, or out of time; the \
                      worker's log tells which";
        let seen = self.ended_or_failed(&run, &stage, &[chunk].into_iter().collect(), reason).await;
        let Some(ended) = self.or_fail(&run, seen).await? else { return Ok(()) };
        let counted = self.count_stage(&stage, ended).await;
        counted.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Takes a launch message that was delivered too often: the launcher failed each time. What no part is there of
    /// has failed.
    ///
    /// # Errors
    /// The message is to be delivered again.
    pub async fn handle_dead_launch(&self, body: &str) -> Result<(), TrackerError> {
        // The alarm counts this line.
        tracing::warn!(queue = %Queue::Launches, "dead letter");
        let LaunchMessage { run: id, stage, generation, chunks, launch, .. } = message::decode(body)?;
        let run = self.runs.get(&self.ports, &id, &stage, generation).await?;
        if run.generation != generation {
            return Ok(());
        }
        let stage = StageId { run: id, stage, generation };
        let reason = format!("launch {launch} could not be given to a cluster: the launcher's log tells why");
        self.fail_unmarked(&run, &stage, &chunks, &reason).await
    }

    /// Counts those of these chunks that are not marked as done where a part of theirs is there, or else as failed.
    pub(crate) async fn fail_unmarked(
        &self,
        run: &Run,
        stage: &StageId,
        chunks: &ChunkSet,
        reason: &str,
    ) -> Result<(), TrackerError> {
        let left = unmarked(&*self.ports.ledger, stage, grouping_of(run, &stage.stage)?, chunks).await?;
        let seen = self.ended_or_failed(run, stage, &left, reason).await;
        let Some(ended) = self.or_fail(run, seen).await? else { return Ok(()) };
        let counted = self.count_stage(stage, ended).await;
        counted.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// How chunks ended that nobody told of, as of one message.
    async fn ended_or_failed(
        &self,
        run: &Run,
        stage: &StageId,
        chunks: &ChunkSet,
        reason: &str,
    ) -> Result<Vec<Received>, UploadError> {
        let (objects, bucket) = (&*self.ports.objects, &self.work_bucket);
        let ends = ends_or_failures(objects, run, bucket, stage, chunks, reason).await?;
        Ok(ends.into_iter().map(|end| (0, end)).collect())
    }

    /// What was seen of parts; none if it will never be told whether they are there: then no chunk may be called
    /// failed, and the run has failed.
    async fn or_fail<T>(&self, run: &Run, seen: Result<T, UploadError>) -> Result<Option<T>, TrackerError> {
        match seen {
            Err(error) if error.is_final() => {
                let reason = format!("whether chunks are done cannot be told: {error}");
                fail(&self.ports, &run.id, run.generation, &reason).await?;
                Ok(None)
            }
            seen => Ok(Some(seen?)),
        }
    }

    async fn count_stage(&self, stage: &StageId, received: Vec<Received>) -> Vec<(usize, TrackerError)> {
        let places: Vec<usize> = received.iter().map(|(place, _)| *place).collect();
        let Prepared { run, groups, mut failed } = match self.prepare(stage, received).await {
            Ok(Some(prepared)) => prepared,
            Ok(None) => return Vec::new(),
            Err(error) => return all_failed(places, error),
        };
        for (group, completions) in groups {
            let places: Vec<usize> = completions.iter().map(|(place, _)| *place).collect();
            if let Err(error) = self.count_group(&run, stage, group, completions).await {
                failed.extend(all_failed(places, error));
            }
        }
        failed
    }

    /// Reads the run, and sorts its completions by group. `None` if they are of an older generation.
    async fn prepare(
        &self,
        stage: &StageId,
        received: Vec<Received>,
    ) -> Result<Option<Prepared>, TrackerError> {
        let run = self.runs.get(&self.ports, &stage.run, &stage.stage, stage.generation).await?;
        if run.generation != stage.generation {
            return Ok(None);
        }
        let grouping = grouping_of(&run, &stage.stage)?;
        let mut failed = Vec::new();
        let mut groups: BTreeMap<GroupIndex, Vec<Received>> = BTreeMap::new();
        for (place, completion) in received {
            let chunk = completion.chunk;
            if chunk.0 >= grouping.chunks {
                failed.push((place, TrackerError::NoChunk { run: run.id.clone(), chunk }));
                continue;
            }
            match completion.end {
                ChunkEnd::SourceChanged { found } => {
                    source_changed(&self.ports, &run, stage.generation, &found).await?;
                }
                _ => groups.entry(grouping.group_of(chunk)).or_default().push((place, completion)),
            }
        }
        Ok(Some(Prepared { run, groups, failed }))
    }

    pub(crate) async fn count_group(
        &self,
        run: &Run,
        stage: &StageId,
        group: GroupIndex,
        received: Vec<Received>,
    ) -> Result<(), TrackerError> {
        let mut marks: BTreeMap<ChunkIndex, Mark> = BTreeMap::new();
        let mut spoiled = None;
        for (_, Completion { chunk, end, .. }) in received {
            let mark = match end {
                ChunkEnd::Done(sums) => Mark::Done(sums),
                ChunkEnd::Failed(failure) => {
                    self.ports.ledger.note_failure(stage, chunk, &failure).await?;
                    if failure.bad_records.is_some() {
                        spoiled = Some(format!("chunk {chunk}: {}", failure.reason));
                    }
                    Mark::Failed
                }
                ChunkEnd::SourceChanged { .. } => continue,
            };
            // Of two in one batch the one that has a part counts.
            marks.entry(chunk).and_modify(|old| *old = better(*old, mark)).or_insert(mark);
        }
        let chunks: Vec<ChunkIndex> = marks.keys().copied().collect();
        let marks: Vec<(ChunkIndex, Mark)> = marks.into_iter().collect();
        let mut count = GroupCount::default();
        for marks in marks.chunks(MAX_MARKS) {
            count = self.mark(stage, group, marks.to_vec()).await?;
        }
        // A chunk with more bad records than the run may have is no failed chunk that could be tolerated.
        if let Some(reason) = spoiled {
            fail(&self.ports, &run.id, run.generation, &reason).await?;
            return Ok(());
        }
        let unhanded: Vec<ChunkIndex> =
            chunks.into_iter().filter(|chunk| !count.handed.contains(chunk)).collect();
        if !unhanded.is_empty() && self.follow(run, stage, group, &count, &unhanded).await? {
            self.ports.ledger.hand(stage, group, &unhanded).await?;
        }
        Ok(())
    }

    /// Marks what is not marked yet; the group as it then is.
    async fn mark(
        &self,
        stage: &StageId,
        group: GroupIndex,
        mut marks: Vec<(ChunkIndex, Mark)>,
    ) -> Result<GroupCount, PortError> {
        loop {
            match self.ports.ledger.mark(stage, group, &marks).await? {
                Marked::Now(count) => return Ok(count),
                Marked::Before(count) => {
                    marks.retain(|(chunk, _)| !count.has(*chunk));
                    if marks.is_empty() {
                        return Ok(count);
                    }
                }
            }
        }
    }

    /// The first failed chunk of a group with its reason, for a person to act on.
    pub(crate) async fn blame(
        &self,
        stage: &StageId,
        count: &GroupCount,
    ) -> Result<Option<String>, PortError> {
        let Some(chunk) = count.failed.first() else { return Ok(None) };
        let failures = self.ports.ledger.failures(stage, MOST_FAILURES).await?;
        let failure = failures.into_iter().find(|(failed, _)| failed == chunk);
        Ok(failure.map(|(chunk, failure)| format!("chunk {chunk}: {}", failure.reason)))
    }
}

/// Failures looked through for a reason.
const MOST_FAILURES: usize = 1_000;

fn stage_of(completion: &Completion) -> StageId {
    let Completion { run, stage, generation, .. } = completion;
    StageId { run: run.clone(), stage: stage.clone(), generation: *generation }
}

pub(crate) fn grouping_of(run: &Run, stage: &str) -> Result<Grouping, TrackerError> {
    run.grouping_of(stage).ok_or_else(|| TrackerError::Unplanned(run.id.clone()))
}

fn better(old: Mark, new: Mark) -> Mark {
    if matches!(old, Mark::Done(_)) { old } else { new }
}

/// Every place with an error: the first has the real one, the others a reference to it.
fn all_failed(places: Vec<usize>, error: TrackerError) -> Vec<(usize, TrackerError)> {
    let same = error.to_string();
    let mut places = places.into_iter();
    let first = places.next().map(|place| (place, error));
    let others = places.map(|place| {
        let fault = fanfold_ports::Fault::Transient;
        (place, PortError::new(fault, "count", "its group", same.clone()).into())
    });
    first.into_iter().chain(others.collect::<Vec<_>>()).collect()
}

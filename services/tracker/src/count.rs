//! From completions of one stage to its counters: each chunk once, then what follows from it, then the note that it was
//! done, which is made with the next marks of its group.

use std::collections::BTreeMap;

use fanfold_domain::{
    ChunkIndex, GroupCount, GroupIndex, Mark, Run,
    group::MAX_MARKS,
    message::{ChunkEnd, Completion},
};
use fanfold_lifecycle::{fail, source_changed};
use fanfold_ports::{
    PortError,
    ledger::{Marked, StageId},
};

use crate::{
    Tracker, TrackerError,
    handler::{Ahead, Received, grouping_of},
};

/// Completions of one stage, ready to be counted.
struct Prepared {
    run: Run,
    groups: BTreeMap<GroupIndex, Vec<Received>>,
    /// Those that no run could have sent.
    failed: Vec<(usize, TrackerError)>,
}

impl Tracker {
    pub(crate) async fn count_stage(
        &self,
        stage: &StageId,
        received: Vec<Received>,
        ahead: &Ahead,
    ) -> Vec<(usize, TrackerError)> {
        let places: Vec<usize> = received.iter().map(|(place, _)| *place).collect();
        let Prepared { run, groups, mut failed } = match self.prepare(stage, received).await {
            Ok(Some(prepared)) => prepared,
            Ok(None) => return Vec::new(),
            Err(error) => return all_failed(places, error),
        };
        for (group, completions) in groups {
            let places: Vec<usize> = completions.iter().map(|(place, _)| *place).collect();
            if let Err(error) = self.count_group(&run, stage, group, completions, ahead).await {
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
        ahead: &Ahead,
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
        // A chunk with more bad records than the run may have is no failed chunk that could be tolerated. Before the mark:
        // with that the stage may be full, and then the sweeper goes on with what follows.
        if let Some(reason) = &spoiled {
            fail(&self.ports, &run.id, run.generation, reason).await?;
        }
        let chunks: Vec<ChunkIndex> = marks.keys().copied().collect();
        let marks: Vec<(ChunkIndex, Mark)> = marks.into_iter().collect();
        let mut count = GroupCount::default();
        for marks in marks.chunks(MAX_MARKS) {
            count = self.mark(stage, group, marks.to_vec()).await?;
        }
        if spoiled.is_some() {
            return Ok(());
        }
        let noted = self.notes.of(stage, group);
        let is_unhanded = |chunk: &ChunkIndex| !count.handed.contains(chunk) && !noted.contains(chunk);
        let unhanded: Vec<ChunkIndex> = chunks.into_iter().filter(is_unhanded).collect();
        if !unhanded.is_empty() && self.follow(run, stage, group, &count, &unhanded, ahead).await? {
            self.note(run, stage, group, &count, &unhanded).await?;
        }
        Ok(())
    }

    /// Keeps the note that what follows from these chunks was done; makes it if no more marks of the group come.
    async fn note(
        &self,
        run: &Run,
        stage: &StageId,
        group: GroupIndex,
        count: &GroupCount,
        handed: &[ChunkIndex],
    ) -> Result<(), TrackerError> {
        self.notes.keep(stage, group, handed);
        if count.ended() == grouping_of(run, &stage.stage)?.size_of(group) {
            let left = self.notes.of(stage, group);
            let handed: Vec<ChunkIndex> = left.iter().copied().collect();
            self.ports.ledger.hand(stage, group, &handed).await?;
            self.notes.made(stage, group, &left);
        }
        Ok(())
    }

    /// Marks what is not marked yet, and with it notes what is to be noted of the group; the group as it then is.
    async fn mark(
        &self,
        stage: &StageId,
        group: GroupIndex,
        mut marks: Vec<(ChunkIndex, Mark)>,
    ) -> Result<GroupCount, PortError> {
        let noted = self.notes.of(stage, group);
        let handed: Vec<ChunkIndex> = noted.iter().copied().collect();
        loop {
            match self.ports.ledger.mark(stage, group, &marks, &handed).await? {
                Marked::Now(count) => {
                    self.notes.made(stage, group, &noted);
                    return Ok(count);
                }
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

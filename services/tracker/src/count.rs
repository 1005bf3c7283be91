//! From completions of one stage to its counters: each chunk once, then what follows from it, then the note that it was
//! done, which is made with the next marks of its group.

use std::collections::{BTreeMap, BTreeSet};

use fanfold_domain::{
    ChunkIndex, GroupCount, GroupIndex, Mark, Note, Run,
    group::MAX_MARKS,
    message::{ChunkEnd, Released},
};
use fanfold_lifecycle::{Besides, Release, fail, releases};
use fanfold_ports::{
    PortError,
    ledger::{Marked, StageId},
};

use crate::{
    Tracker, TrackerError,
    handler::{Received, grouping_of},
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
    ) -> Vec<(usize, TrackerError)> {
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
            groups.entry(grouping.group_of(chunk)).or_default().push((place, completion));
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
        let mut sent = Sent::default();
        let mut spoiled: BTreeMap<ChunkIndex, Mark> = BTreeMap::new();
        let mut reason = None;
        for (_, completion) in received {
            let chunk = completion.chunk;
            let mark = match completion.end {
                ChunkEnd::Done(sums) => {
                    sent.extend(completion.sent.into_iter().map(|released| (chunk, released)));
                    Mark::Done(sums)
                }
                ChunkEnd::Failed(failure) => {
                    self.ports.ledger.note_failure(stage, chunk, &failure).await?;
                    if failure.bad_records.is_some() {
                        reason = Some(format!("chunk {chunk}: {}", failure.reason));
                        spoiled.insert(chunk, Mark::Failed);
                        continue;
                    }
                    Mark::Failed
                }
                // That ends the run, and marks nothing.
                ChunkEnd::SourceChanged { .. } => continue,
            };
            // Of two in one batch the one that has a part counts.
            marks.entry(chunk).and_modify(|old| *old = better(*old, mark)).or_insert(mark);
        }
        let notes = notes_of(run, stage, &sent);
        let count = self.mark_all(stage, group, &marks, &notes).await?;
        // A chunk with more bad records than the run may have is no failed chunk that could be tolerated. The run fails
        // when all others are counted, which its report lists, and before that one is: with it the stage may be full, and
        // then the sweeper would go on with what follows.
        if let Some(reason) = reason {
            fail(&self.ports, &run.id, run.generation, &reason).await?;
            self.mark_all(stage, group, &spoiled, &[]).await?;
            return Ok(());
        }
        let noted = self.notes.of(stage, group);
        let is_unhanded = |chunk: &ChunkIndex| !count.handed.contains(chunk) && !noted.contains(chunk);
        let unhanded: Vec<ChunkIndex> = marks.into_keys().filter(is_unhanded).collect();
        if !unhanded.is_empty() && self.follow(run, stage, group, &count, &unhanded, &sent).await? {
            self.note(run, stage, group, &count, &unhanded).await?;
        }
        Ok(())
    }

    /// Marks chunks of one group; the group as it then is, empty if there are none.
    async fn mark_all(
        &self,
        stage: &StageId,
        group: GroupIndex,
        marks: &BTreeMap<ChunkIndex, Mark>,
        notes: &[(ChunkIndex, Note)],
    ) -> Result<GroupCount, PortError> {
        let marks: Vec<(ChunkIndex, Mark)> = marks.iter().map(|(chunk, mark)| (*chunk, *mark)).collect();
        let mut count = GroupCount::default();
        for marks in marks.chunks(MAX_MARKS) {
            count = self.mark(stage, group, marks.to_vec(), notes).await?;
        }
        Ok(count)
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

    /// Marks what is not marked yet, and with it notes what is to be noted of the group, `notes` among it; the group as it
    /// then is.
    async fn mark(
        &self,
        stage: &StageId,
        group: GroupIndex,
        mut marks: Vec<(ChunkIndex, Mark)>,
        notes: &[(ChunkIndex, Note)],
    ) -> Result<GroupCount, PortError> {
        let noted = self.notes.of(stage, group);
        let mut notes = notes.to_vec();
        notes.extend(noted.iter().map(|chunk| (*chunk, Note::Handed)));
        loop {
            match self.ports.ledger.mark(stage, group, &marks, &notes).await? {
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

/// Which chunks workers sent, each by the chunk whose end released it.
pub(crate) type Sent = BTreeSet<(ChunkIndex, Released)>;

/// What is to be noted of what workers sent, so that nobody sends it again who counts what else it waited for. Of a stage
/// that reads none index by index, and is not read so, nobody asks.
fn notes_of(run: &Run, stage: &StageId, sent: &Sent) -> Vec<(ChunkIndex, Note)> {
    let mut notes = Vec::new();
    for chunk in sent.iter().map(|(chunk, _)| *chunk).collect::<BTreeSet<_>>() {
        for Release { released, besides, .. } in releases(run, &stage.stage, chunk) {
            let is_own = released.stage == stage.stage;
            let note = match run.pipeline.stage_index(&released.stage) {
                Some(place) if !is_own => Note::SentReader(place),
                Some(_) if matches!(besides, Besides::Part(..)) => Note::SentNext,
                _ => continue,
            };
            if sent.contains(&(chunk, released)) {
                notes.push((chunk, note));
            }
        }
    }
    notes
}

fn better(old: Mark, new: Mark) -> Mark {
    if matches!(old, Mark::Done(_)) { old } else { new }
}

/// Every place with an error: the first has the real one, the others a reference to it.
pub(crate) fn all_failed(places: Vec<usize>, error: TrackerError) -> Vec<(usize, TrackerError)> {
    let same = error.to_string();
    let mut places = places.into_iter();
    let first = places.next().map(|place| (place, error));
    let others = places.map(|place| {
        let fault = fanfold_ports::Fault::Transient;
        (place, PortError::new(fault, "count", "its group", same.clone()).into())
    });
    first.into_iter().chain(others.collect::<Vec<_>>()).collect()
}

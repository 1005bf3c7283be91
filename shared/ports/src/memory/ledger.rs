//! The ledger in memory: the domain's own rules under one lock.
//!
//! An item can be made unreadable, as one of a newer version is: with the document that then stands there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use fanfold_domain::{
    ChunkIndex, GroupCount, GroupIndex, Mark, Note, ObjectName, Ownership, RootCount, Run, RunId, Sums,
    Taking, group::MAX_MARKS, message::Failure, pipeline::Pipeline,
};

use crate::{
    Fault, ItemList, Ledger, PortError, UnreadableItem,
    ledger::{Created, CreatedOwner, Freshness, KeptPipeline, Marked, Saved, StageId, Taken, Unfinished},
};

/// The ledger in memory.
#[derive(Debug, Default)]
pub struct MemoryLedger(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    runs: BTreeMap<RunId, RunItem>,
    lag_reads: u32,
    owners: BTreeMap<ObjectName, Ownership>,
    groups: BTreeMap<(StageId, GroupIndex), GroupCount>,
    roots: BTreeMap<StageId, RootCount>,
    failures: BTreeMap<(StageId, ChunkIndex), Failure>,
    pipelines: BTreeMap<String, PipelineItem>,
}

/// A pipeline as it is kept.
#[derive(Debug)]
struct PipelineItem {
    version: u32,
    document: Result<Pipeline, UnreadableItem>,
}

impl PipelineItem {
    /// The pipeline, if it can be read.
    fn kept(&self) -> Option<KeptPipeline> {
        let pipeline = self.document.clone().ok()?;
        Some(KeptPipeline { version: self.version, pipeline })
    }
}

/// A run as it is, and as eventual reads may still see it.
#[derive(Debug)]
struct RunItem {
    now: Run,
    before: Option<Run>,
    stale_reads: u32,
    /// What stands there instead, if it was made unreadable.
    unreadable: Option<UnreadableItem>,
}

impl RunItem {
    fn readable(&self, operation: &'static str) -> Result<(), PortError> {
        let refused = |item: &UnreadableItem| {
            PortError::new(Fault::Permanent, operation, &item.name, item.reason.clone())
        };
        self.unreadable.as_ref().map_or(Ok(()), |item| Err(refused(item)))
    }

    /// What an eventual read sees: after each write a few of them see what was there before.
    fn seen(&mut self) -> Option<&Run> {
        if self.stale_reads == 0 {
            return Some(&self.now);
        }
        self.stale_reads -= 1;
        self.before.as_ref()
    }
}

impl State {
    /// Whether the run's item may be replaced by `run`.
    fn is_current(&self, run: &Run) -> bool {
        let item = self.runs.get(&run.id);
        item.is_some_and(|item| item.now.revision == run.revision && item.unreadable.is_none())
    }

    fn owns_output(&self, run: &Run) -> bool {
        let owner = self.owners.get(&run.output);
        owner.is_some_and(|owner| owner.run == run.id && owner.epoch == run.epoch)
    }

    fn create(&mut self, run: &Run) {
        let item = RunItem { now: run.clone(), before: None, stale_reads: self.lag_reads, unreadable: None };
        self.runs.insert(run.id.clone(), item);
    }

    fn save(&mut self, run: &Run) -> Saved {
        let stale_reads = self.lag_reads;
        let Some(item) = self.runs.get_mut(&run.id) else { return Saved::Stale };
        let saved = Run { revision: run.revision + 1, ..run.clone() };
        item.before = Some(std::mem::replace(&mut item.now, saved));
        item.stale_reads = stale_reads;
        Saved::Now
    }

    fn seen_runs(&mut self) -> Vec<Run> {
        self.runs.values_mut().filter_map(|item| item.seen().cloned()).collect()
    }
}

/// All that a ledger holds, in the order of keys: for a test that keeps it, or begins with it.
#[derive(Debug, Clone, Default)]
pub struct LedgerContents {
    /// Runs, as consistent reads see them.
    pub runs: Vec<Run>,
    /// Owners of outputs.
    pub owners: Vec<(ObjectName, Ownership)>,
    /// Counters of groups.
    pub groups: Vec<((StageId, GroupIndex), GroupCount)>,
    /// Counters of stages.
    pub roots: Vec<(StageId, RootCount)>,
    /// Why chunks failed.
    pub failures: Vec<((StageId, ChunkIndex), Failure)>,
    /// Pipelines.
    pub pipelines: Vec<KeptPipeline>,
}

impl MemoryLedger {
    /// All that it holds.
    pub fn contents(&self) -> LedgerContents {
        fn pairs<K: Clone, V: Clone>(map: &BTreeMap<K, V>) -> Vec<(K, V)> {
            map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
        }
        let state = self.state();
        LedgerContents {
            runs: state.runs.values().map(|item| item.now.clone()).collect(),
            owners: pairs(&state.owners),
            groups: pairs(&state.groups),
            roots: pairs(&state.roots),
            failures: pairs(&state.failures),
            pipelines: state.pipelines.values().filter_map(PipelineItem::kept).collect(),
        }
    }

    /// Puts what another ledger held into this one, as it stood there, revisions and epochs included.
    pub fn restore(&self, contents: LedgerContents) {
        let LedgerContents { runs, owners, groups, roots, failures, pipelines } = contents;
        let mut state = self.state();
        let item =
            |run: Run| (run.id.clone(), RunItem { now: run, before: None, stale_reads: 0, unreadable: None });
        state.runs.extend(runs.into_iter().map(item));
        state.owners.extend(owners);
        state.groups.extend(groups);
        state.roots.extend(roots);
        state.failures.extend(failures);
        let item = |KeptPipeline { version, pipeline }: KeptPipeline| {
            (pipeline.name.clone(), PipelineItem { version, document: Ok(pipeline) })
        };
        state.pipelines.extend(pipelines.into_iter().map(item));
    }

    /// Makes reads lag: after each write of a run, the next `reads` eventual reads of it (lists included) see
    /// it as it was before. 0, the default, is no lag.
    pub fn lag(&self, reads: u32) {
        self.state().lag_reads = reads;
    }

    /// Puts a document in place of a run's: one that no run can be read from.
    pub fn spoil_run(&self, id: &RunId, document: &str) {
        if let Some(item) = self.state().runs.get_mut(id) {
            item.unreadable = Some(spoiled(id, document));
        }
    }

    /// Puts a document in place of a pipeline's: one that no pipeline can be read from.
    pub fn spoil_pipeline(&self, name: &str, document: &str) {
        let mut state = self.state();
        let version = state.pipelines.get(name).map_or(1, |kept| kept.version);
        let document = Err(spoiled(name, document));
        state.pipelines.insert(name.to_owned(), PipelineItem { version, document });
    }

    /// Puts a document in place of that of why a chunk failed.
    pub fn spoil_failure(&self, stage: &StageId, chunk: ChunkIndex, document: &str) {
        let unread = Failure::unreadable(&spoiled(chunk, document).reason);
        self.state().failures.insert((stage.clone(), chunk), unread);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn create_run(&self, run: &Run) -> Result<Created, PortError> {
        let mut state = self.state();
        if let Some(item) = state.runs.get(&run.id) {
            item.readable("create_run")?;
            return Ok(Created::Before(Box::new(item.now.clone())));
        }
        state.create(run);
        Ok(Created::Now)
    }

    async fn run(&self, id: &RunId, freshness: Freshness) -> Result<Option<Run>, PortError> {
        let mut state = self.state();
        let Some(item) = state.runs.get_mut(id) else { return Ok(None) };
        item.readable("run")?;
        Ok(match freshness {
            Freshness::Eventual => item.seen().cloned(),
            Freshness::Consistent => Some(item.now.clone()),
        })
    }

    async fn save_run(&self, run: &Run) -> Result<Saved, PortError> {
        let mut state = self.state();
        Ok(if state.is_current(run) { state.save(run) } else { Saved::Stale })
    }

    async fn save_run_as_owner(&self, run: &Run) -> Result<Saved, PortError> {
        let mut state = self.state();
        Ok(if state.is_current(run) && state.owns_output(run) { state.save(run) } else { Saved::Stale })
    }

    async fn unfinished_runs(
        &self,
        after: Option<&Unfinished>,
        limit: usize,
    ) -> Result<Vec<Unfinished>, PortError> {
        let runs = self.state().seen_runs().into_iter().filter(|run| !run.is_settled());
        let mut runs: Vec<_> =
            runs.map(|run| Unfinished { deadline_at: run.deadline_at, id: run.id }).collect();
        runs.retain(|run| after.is_none_or(|after| run > after));
        runs.sort();
        runs.truncate(limit);
        Ok(runs)
    }

    async fn recent_runs(&self, limit: usize) -> Result<ItemList<Run>, PortError> {
        let mut state = self.state();
        let mut runs = state.seen_runs();
        runs.sort_by_key(|run| std::cmp::Reverse(run.created_at));
        runs.truncate(limit);
        let unreadable = |run: &Run| state.runs.get(&run.id).and_then(|item| item.unreadable.clone());
        Ok(runs.into_iter().map(|run| unreadable(&run).map_or(Ok(run), Err)).collect())
    }

    async fn create_run_as_owner(&self, run: &Run) -> Result<CreatedOwner, PortError> {
        let mut state = self.state();
        if let Some(item) = state.runs.get(&run.id) {
            item.readable("create_run_as_owner")?;
            return Ok(CreatedOwner::Before(Box::new(item.now.clone())));
        }
        let ownership = match Ownership::taking(state.owners.get(&run.output), run) {
            Taking::Owned(ownership) | Taking::Take(ownership) => ownership,
            Taking::Outdated(owner) | Taking::Lost(owner) => return Ok(CreatedOwner::Outdated(owner)),
        };
        let owner = ownership.noted_in(run);
        state.owners.insert(run.output.clone(), ownership);
        state.create(&owner);
        Ok(CreatedOwner::Now(Box::new(owner)))
    }

    async fn take_output(&self, run: &Run) -> Result<Taken, PortError> {
        let mut state = self.state();
        let ownership = match Ownership::taking(state.owners.get(&run.output), run) {
            Taking::Owned(_) => return Ok(Taken::Owned(Box::new(run.clone()))),
            Taking::Lost(owner) => return Ok(Taken::Lost(owner)),
            Taking::Outdated(owner) => return Ok(Taken::Outdated(owner)),
            Taking::Take(ownership) => ownership,
        };
        if !state.is_current(run) {
            return Ok(Taken::Stale);
        }
        let owner = ownership.noted_in(run);
        state.owners.insert(run.output.clone(), ownership);
        state.save(&owner);
        Ok(Taken::Owned(Box::new(Run { revision: owner.revision + 1, ..owner })))
    }

    async fn owner(&self, output: &ObjectName) -> Result<Option<Ownership>, PortError> {
        Ok(self.state().owners.get(output).cloned())
    }

    async fn mark(
        &self,
        stage: &StageId,
        group: GroupIndex,
        marks: &[(ChunkIndex, Mark)],
        notes: &[(ChunkIndex, Note)],
    ) -> Result<Marked, PortError> {
        check_marks(stage, marks)?;
        let mut state = self.state();
        let count = state.groups.entry((stage.clone(), group)).or_default();
        let marked = count.mark(marks);
        if marked {
            count.note(notes);
        }
        let count = count.clone();
        Ok(if marked { Marked::Now(count) } else { Marked::Before(count) })
    }

    async fn hand(&self, stage: &StageId, group: GroupIndex, chunks: &[ChunkIndex]) -> Result<(), PortError> {
        let mut state = self.state();
        state.groups.entry((stage.clone(), group)).or_default().handed.extend(chunks);
        Ok(())
    }

    async fn group(&self, stage: &StageId, group: GroupIndex) -> Result<GroupCount, PortError> {
        Ok(self.state().groups.get(&(stage.clone(), group)).cloned().unwrap_or_default())
    }

    async fn mark_folded(
        &self,
        stage: &StageId,
        group: GroupIndex,
        sums: Sums,
    ) -> Result<RootCount, PortError> {
        let mut state = self.state();
        let root = state.roots.entry(stage.clone()).or_default();
        root.mark(group, sums);
        Ok(root.clone())
    }

    async fn root(&self, stage: &StageId) -> Result<RootCount, PortError> {
        Ok(self.state().roots.get(stage).cloned().unwrap_or_default())
    }

    async fn note_failure(
        &self,
        stage: &StageId,
        chunk: ChunkIndex,
        failure: &Failure,
    ) -> Result<(), PortError> {
        let mut state = self.state();
        state.failures.entry((stage.clone(), chunk)).or_insert_with(|| failure.clone());
        Ok(())
    }

    async fn failures(&self, stage: &StageId, limit: usize) -> Result<Vec<(ChunkIndex, Failure)>, PortError> {
        let state = self.state();
        let range = (stage.clone(), ChunkIndex(0))..=(stage.clone(), ChunkIndex(u32::MAX));
        let noted = state.failures.range(range).take(limit);
        Ok(noted.map(|((_, chunk), failure)| (*chunk, failure.clone())).collect())
    }

    async fn put_pipeline(&self, pipeline: &Pipeline) -> Result<u32, PortError> {
        let mut state = self.state();
        let kept = state
            .pipelines
            .entry(pipeline.name.clone())
            .or_insert_with(|| PipelineItem { version: 1, document: Ok(pipeline.clone()) });
        if kept.document.as_ref() != Ok(pipeline) {
            *kept = PipelineItem { version: kept.version + 1, document: Ok(pipeline.clone()) };
        }
        Ok(kept.version)
    }

    async fn pipelines(&self) -> Result<ItemList<KeptPipeline>, PortError> {
        let read = |item: &PipelineItem| {
            let pipeline = item.document.clone()?;
            Ok(KeptPipeline { version: item.version, pipeline })
        };
        Ok(self.state().pipelines.values().map(read).collect())
    }
}

/// An item in whose place this document stands.
pub(super) fn spoiled(name: impl Display, document: &str) -> UnreadableItem {
    let reason = "the item has no valid attribute `document`: the test put another there".to_owned();
    UnreadableItem { name: name.to_string(), document: Some(document.to_owned()), reason }
}

/// 1 to 64 marks, each of another chunk.
fn check_marks(stage: &StageId, marks: &[(ChunkIndex, Mark)]) -> Result<(), PortError> {
    let refused = |detail: String| Err(PortError::new(Fault::Permanent, "mark", &stage.run, detail));
    let distinct: BTreeSet<_> = marks.iter().map(|(chunk, _)| chunk).collect();
    if marks.is_empty() || marks.len() > MAX_MARKS {
        return refused(format!("{} marks at once, and 1 to {MAX_MARKS} are allowed", marks.len()));
    }
    if distinct.len() < marks.len() {
        return refused("one chunk twice in one call".to_owned());
    }
    Ok(())
}

//! The ledger: what is done. Every write is conditional, so that twice is the same as once.

use async_trait::async_trait;
use fanfold_domain::{
    ChunkIndex, Generation, GroupCount, GroupIndex, Mark, Note, ObjectName, Ownership, RootCount, Run, RunId,
    SCAN, Sums, Timestamp, message::Failure, pipeline::Pipeline,
};

use crate::{ItemList, PortError};

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// May miss the latest writes; half the price.
    Eventual,
    /// Sees every write that returned before it.
    Consistent,
}

/// One stage of a run in one generation: what is counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StageId {
    /// Whose stage.
    pub run: RunId,
    /// Its name.
    pub stage: String,
    /// Of which generation.
    pub generation: Generation,
}

impl StageId {
    /// A stage of `run` in its present generation, by its name.
    pub fn of(run: &Run, stage: &str) -> Self {
        Self { run: run.id.clone(), stage: stage.to_owned(), generation: run.generation }
    }

    /// The stage of `run` that reads the source.
    pub fn first_of(run: &Run) -> Self {
        Self::of(run, &run.first_stage().name)
    }

    /// The stage of `run` whose parts become the output.
    pub fn last_of(run: &Run) -> Self {
        Self::of(run, &run.last_stage().name)
    }

    /// The internal stage that scans the source of `run`.
    pub fn scan_of(run: &Run) -> Self {
        Self::of(run, SCAN)
    }
}

/// How the creation of a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// It is new.
    Now,
    /// It was there before, as it stands now.
    Before(Box<Run>),
}

/// How a save ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// The run's item is now as given, its revision raised by one.
    Now,
    /// It has changed since it was read (or no longer owns its output, where that was a condition); nothing
    /// was written.
    Stale,
}

/// How the creation of a run as the owner of its output ended.
#[derive(Debug, Clone, PartialEq)]
pub enum CreatedOwner {
    /// It is new, and owns its output; the run as it stands.
    Now(Box<Run>),
    /// It was there before, as it stands now. It may own its output or not.
    Before(Box<Run>),
    /// There is no such run: a run of a newer event of the same source took the output before. The owner, which may be
    /// a third run by now.
    Outdated(Ownership),
}

/// How the taking of an output ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Taken {
    /// The run owns it, since now or since before; the run as it stands.
    Owned(Box<Run>),
    /// The run owned it, and this owner took it.
    Lost(Ownership),
    /// A run of a newer event of the same source took it before; the owner, which may be a third run by now.
    Outdated(Ownership),
    /// The run's item has changed since it was read; nothing was written.
    Stale,
}

/// How a marking ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marked {
    /// All marks were set, by this call; the group as it stands after.
    Now(GroupCount),
    /// At least one index had ended before, so none was set; the group as it stands.
    Before(GroupCount),
}

/// A pipeline as it is kept in the table.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptPipeline {
    /// Raised by each application of a changed document, from 1.
    pub version: u32,
    /// The pipeline.
    pub pipeline: Pipeline,
}

/// A run about which something is left to be done, and with it a place in the list of those.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unfinished {
    /// When it is due.
    pub deadline_at: Timestamp,
    /// Which run.
    pub id: RunId,
}

/// What is done: `DynamoDB`, or its memory twin.
///
/// An indeterminate error of a write may be answered by the same call again: the answer then says whether it
/// had happened. Only [`Saved::Stale`] and [`Marked::Before`] do not say by whom; the item does.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Creates a run unless one of its id exists. The item is as given, its revision too.
    async fn create_run(&self, run: &Run) -> Result<Created, PortError>;

    /// Reads a run. One that this version cannot read is a permanent error.
    async fn run(&self, id: &RunId, freshness: Freshness) -> Result<Option<Run>, PortError>;

    /// Replaces a run's item by `run` if its revision is still `run.revision`; the stored one is one higher.
    /// A settled run ([`Run::is_settled`]) leaves the index of unfinished ones, and is back in it if it is redriven. A
    /// run that was never created is stale.
    async fn save_run(&self, run: &Run) -> Result<Saved, PortError>;

    /// Like [`Ledger::save_run`], on the further condition, checked in the same transaction, that the run
    /// owns its output at `run.epoch`.
    async fn save_run_as_owner(&self, run: &Run) -> Result<Saved, PortError>;

    /// Runs that are not settled ([`Run::is_settled`]), oldest deadline first, at most `limit`, from behind `after` on if it is given: which
    /// need not be there any more. Fewer than `limit` are the last. Runs that cannot be read are among them. May lag behind.
    async fn unfinished_runs(
        &self,
        after: Option<&Unfinished>,
        limit: usize,
    ) -> Result<Vec<Unfinished>, PortError>;

    /// The latest runs by creation, newest first, at most `limit` with those that cannot be read. May lag behind.
    async fn recent_runs(&self, limit: usize) -> Result<ItemList<Run>, PortError>;

    /// Creates a run as the owner of its output, unless a run of its id exists, or a run of a newer event of the same
    /// source took the output before ([`Ownership::taking`]). One transaction writes the ownership, its epoch raised, and
    /// the run with that epoch and its former owner: there is no owner that does not know it, and no gap in the chain of
    /// former owners.
    async fn create_run_as_owner(&self, run: &Run) -> Result<CreatedOwner, PortError>;

    /// Makes a run that exists the owner of its output, if it never was, in the same transaction, on the condition that
    /// its item still has the revision `run.revision`. A run that owns it already stays as it is.
    async fn take_output(&self, run: &Run) -> Result<Taken, PortError>;

    /// Who owns an output. Consistent.
    async fn owner(&self, output: &ObjectName) -> Result<Option<Ownership>, PortError>;

    /// Marks chunks of one group as ended: all, or none if one of them had ended before
    /// ([`GroupCount::mark`]). 1 to [`fanfold_domain::group::MAX_MARKS`], each index once; anything else is
    /// refused as permanent. With the marks, and only with them, go notes ([`GroupCount::note`]), of chunks marked now or
    /// before.
    async fn mark(
        &self,
        stage: &StageId,
        group: GroupIndex,
        marks: &[(ChunkIndex, Mark)],
        notes: &[(ChunkIndex, Note)],
    ) -> Result<Marked, PortError>;

    /// Notes that what follows from the end of these chunks was done. Idempotent; any number of chunks, none
    /// included.
    async fn hand(&self, stage: &StageId, group: GroupIndex, chunks: &[ChunkIndex]) -> Result<(), PortError>;

    /// Reads a group's counters; empty ones if nothing was marked. Consistent.
    async fn group(&self, stage: &StageId, group: GroupIndex) -> Result<GroupCount, PortError>;

    /// Marks a group as folded unless it was ([`RootCount::mark`]); the root as it stands after, whether this
    /// call marked or an earlier one.
    async fn mark_folded(
        &self,
        stage: &StageId,
        group: GroupIndex,
        sums: Sums,
    ) -> Result<RootCount, PortError>;

    /// Reads a stage's root counters; empty ones if nothing was folded. Consistent.
    async fn root(&self, stage: &StageId) -> Result<RootCount, PortError>;

    /// Keeps why a chunk failed, before it is marked failed; the first reason stays.
    async fn note_failure(
        &self,
        stage: &StageId,
        chunk: ChunkIndex,
        failure: &Failure,
    ) -> Result<(), PortError>;

    /// Why chunks failed, by index, at most `limit`. A chunk that was noted need not have been marked failed:
    /// its group says so. What cannot be read is a failure whose reason says that.
    async fn failures(&self, stage: &StageId, limit: usize) -> Result<Vec<(ChunkIndex, Failure)>, PortError>;

    /// Keeps a pipeline under its name: the version it has now, from 1, raised only if the document differs. One that
    /// cannot be read differs.
    async fn put_pipeline(&self, pipeline: &Pipeline) -> Result<u32, PortError>;

    /// All pipelines, by name. Consistent.
    async fn pipelines(&self) -> Result<ItemList<KeptPipeline>, PortError>;
}

//! How far a run is.

use fanfold_domain::{ChunkIndex, GroupIndex, PLAN, Run, Sums};
use fanfold_ports::{PortError, ledger::StageId};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::Stack;

const READS_AT_ONCE: usize = 16;

/// How far a run is.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Progress {
    /// The stage that is under way: `scan` while workers scan a source that is not planned yet.
    pub(super) stage: String,
    /// Chunks in all; 0 while it is not planned.
    pub(super) chunks: u32,
    /// Chunks whose part exists.
    pub(super) done: usize,
    /// Chunks that failed, by index.
    pub(super) failed: Vec<ChunkIndex>,
    /// Groups in all, and folded.
    pub(super) groups: u32,
    /// Groups folded.
    pub(super) folded: usize,
    /// Sums over the chunks that ended.
    pub(super) sums: Sums,
}

/// Reads how far a run is: the stage that is under way.
pub(super) async fn read(stack: &Stack, run: &Run) -> Result<Progress, PortError> {
    let ledger = &stack.ports.ledger;
    if run.plan.is_none() && run.scan.is_some() {
        return read_stage(stack, run, &StageId::scan_of(run)).await;
    }
    if run.plan.is_none() && run.pipeline.plan.is_some() && run.list.is_none() {
        return read_stage(stack, run, &StageId::of(run, PLAN)).await;
    }
    // The first that is not done; of a run that is, the last.
    for (place, stage) in run.pipeline.stages.iter().enumerate() {
        let stage = StageId::of(run, &stage.name);
        let Some(grouping) = run.grouping_at(place) else { break };
        if !ledger.root(&stage).await?.is_full(grouping) {
            return read_stage(stack, run, &stage).await;
        }
    }
    let last = if run.plan.is_some() { StageId::last_of(run) } else { StageId::first_of(run) };
    read_stage(stack, run, &last).await
}

/// Reads how far a stage of a run is.
pub(super) async fn read_stage(stack: &Stack, run: &Run, stage: &StageId) -> Result<Progress, PortError> {
    let ledger = &stack.ports.ledger;
    let Some(grouping) = run.grouping_of(&stage.stage) else {
        return Ok(Progress { stage: stage.stage.clone(), ..Progress::default() });
    };
    let groups = grouping.groups();
    let read = |group| ledger.group(stage, GroupIndex(group));
    let counts: Vec<_> = stream::iter(0..groups).map(read).buffered(READS_AT_ONCE).try_collect().await?;
    let root = ledger.root(stage).await?;
    Ok(Progress {
        stage: stage.stage.clone(),
        chunks: grouping.chunks,
        done: counts.iter().map(|count| count.done.len()).sum(),
        failed: counts.iter().flat_map(|count| count.failed.iter().copied()).collect(),
        groups,
        folded: root.folded.len(),
        sums: counts.iter().map(|count| count.sums).sum(),
    })
}

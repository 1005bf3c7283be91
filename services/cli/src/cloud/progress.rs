//! How far a run is.

use fanfold_domain::{ChunkIndex, GroupIndex, Run, Sums};
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

/// Reads how far a run is from its counters.
pub(super) async fn read(stack: &Stack, run: &Run) -> Result<Progress, PortError> {
    let is_scanned = run.plan.is_none() && run.scan.is_some();
    let (ledger, stage) =
        (&stack.ports.ledger, &if is_scanned { StageId::scan_of(run) } else { StageId::of(run) });
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

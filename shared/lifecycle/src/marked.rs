//! Which chunks of a launch have not ended.

use std::collections::BTreeSet;

use fanfold_domain::{ChunkIndex, ChunkSet, GroupIndex, Grouping};
use fanfold_ports::{Ledger, PortError, ledger::StageId};
use futures::{StreamExt, TryStreamExt, stream};

/// Groups read at once.
const AT_ONCE: usize = 16;

/// Those of `chunks` that are marked neither done nor failed.
///
/// # Errors
/// A group could not be read.
pub async fn unmarked(
    ledger: &dyn Ledger,
    stage: &StageId,
    grouping: Grouping,
    chunks: &ChunkSet,
) -> Result<ChunkSet, PortError> {
    let groups: BTreeSet<GroupIndex> = chunks.iter().map(|chunk| grouping.group_of(chunk)).collect();
    let ended: Vec<BTreeSet<ChunkIndex>> = stream::iter(groups)
        .map(|group| async move {
            let count = ledger.group(stage, group).await?;
            Ok::<_, PortError>(count.done.union(&count.failed).copied().collect())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let has_ended = |chunk: &ChunkIndex| ended.iter().any(|group| group.contains(chunk));
    Ok(chunks.iter().filter(|chunk| !has_ended(chunk)).collect())
}

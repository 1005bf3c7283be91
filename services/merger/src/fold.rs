//! Folding one group.

use fanfold_domain::{GroupIndex, Run};
use fanfold_engine::fold::Fold;
use fanfold_lifecycle::{fail, follow_root, source_changed};
use fanfold_ports::{
    ledger::StageId,
    objects::{ReadError, UploadError},
};

use crate::{Merger, MergerError};

impl Merger {
    pub(crate) async fn fold(&self, run: &Run, stage: &str, group: GroupIndex) -> Result<(), MergerError> {
        let (Some(plan), Some(stage), Some(grouping), false) =
            (&run.plan, run.stage(stage), run.grouping_of(stage), run.state.has_ended())
        else {
            return Ok(());
        };
        let (stage, id) = (&*stage, StageId::of(run, &stage.name));
        let count = self.ports.ledger.group(&id, group).await?;
        if count.ended() < grouping.size_of(group) {
            tracing::warn!(run_id = %run.id, stage = stage.name, group = group.0, "a group that is not full was sent to be folded");
            return Ok(());
        }
        let (objects, work_bucket) = (&*self.ports.objects, &*self.work_bucket);
        let fold = Fold { objects, run, plan, stage, grouping, work_bucket, group, count: &count };
        let sums = match fold.run().await {
            Ok(sums) => sums,
            Err(error) => return self.fold_failed(run, group, error).await,
        };
        let root = self.ports.ledger.mark_folded(&id, group, sums).await?;
        tracing::info!(run_id = %run.id, stage = stage.name, group = group.0, bytes = sums.bytes_out, "group folded");
        Ok(follow_root(&self.ports, &run.id, run.generation, &stage.name, &root).await?)
    }

    /// What no further try would mend ends the run.
    async fn fold_failed(&self, run: &Run, group: GroupIndex, error: UploadError) -> Result<(), MergerError> {
        let reason = match &error {
            UploadError::Read(ReadError::Missing(name) | ReadError::Changed(name)) => {
                if *name == run.source.object {
                    source_changed(&self.ports, run, run.generation, &error.to_string()).await?;
                    return Ok(());
                }
                format!(
                    "group {group} cannot be folded: {error}; the work bucket must keep parts until the run ends"
                )
            }
            _ if error.is_final() => format!("group {group} cannot be folded: {error}"),
            _ => return Err(error.into()),
        };
        fail(&self.ports, &run.id, run.generation, &reason).await?;
        Ok(())
    }
}

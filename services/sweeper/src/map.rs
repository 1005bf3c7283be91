//! A stage whose Map has ended, or never was, and told nobody.

use fanfold_domain::{
    Grouping, Run,
    launch::StageName,
    map::{ExecutionName, MapEnd, MapMessage},
    message::encode,
    pipeline::FanOut,
};
use fanfold_ports::{Queue, ledger::StageId, maps::MapStatus};

use crate::{Sweeper, SweeperError, handler::groups};

impl Sweeper {
    /// Tells the tracker that Maps of a run have ended, if they have: perhaps once more, which the tracker sees.
    pub(crate) async fn settle_maps(&self, run: &Run) -> Result<(), SweeperError> {
        if run.pipeline.fan_out == FanOut::Sqs {
            return Ok(());
        }
        for (place, stage) in run.pipeline.stages.iter().enumerate() {
            let Some(grouping) = run.grouping_at(place) else { continue };
            // One that is still to be begun has no Map yet.
            if stage.upstream.is_none() || run.has_begun(&stage.name) {
                self.settle_map(run, &stage.name, grouping).await?;
            }
        }
        Ok(())
    }

    async fn settle_map(&self, run: &Run, stage: &str, grouping: Grouping) -> Result<(), SweeperError> {
        let status = self.maps.status(&ExecutionName::of(&StageName::of(run, stage))).await?;
        if status == Some(MapStatus::Running) {
            return Ok(());
        }
        let id = StageId::of(run, stage);
        let counts = self.counts(&id, groups(grouping).collect()).await?;
        let ended: usize = counts.iter().map(|(_, count)| count.ended()).sum();
        let left = grouping.chunks.saturating_sub(u32::try_from(ended).unwrap_or(u32::MAX));
        if left == 0 {
            return Ok(());
        }
        let StageId { run, stage, generation } = id;
        tracing::warn!(run_id = %run, stage, left, ?status, "map has ended without some chunks");
        let told = encode(&MapMessage::MapEnded(MapEnd { run, stage, generation }));
        self.send(Queue::Completions, told).await
    }
}

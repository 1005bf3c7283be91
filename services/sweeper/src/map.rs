//! A stage whose Map has ended, or never was, and told nobody.

use fanfold_domain::{
    Run,
    launch::StageName,
    map::{ExecutionName, MapEnd, MapMessage},
    message::encode,
    pipeline::FanOut,
};
use fanfold_ports::{Queue, ledger::StageId, maps::MapStatus};

use crate::{Sweeper, SweeperError, handler::groups};

impl Sweeper {
    /// Tells the tracker that the Map of a run has ended, if it has: perhaps once more, which the tracker sees.
    pub(crate) async fn settle_map(&self, run: &Run) -> Result<(), SweeperError> {
        let (FanOut::Map { .. }, Some(plan)) = (run.pipeline.fan_out, &run.plan) else { return Ok(()) };
        let name = ExecutionName::of(&StageName::of(run));
        let status = self.maps.status(&name).await?;
        if status == Some(MapStatus::Running) {
            return Ok(());
        }
        let StageId { run: id, stage, generation } = StageId::of(run);
        let mut ended = 0;
        for (_, count) in self.counts(&StageId::of(run), groups(plan).collect()).await? {
            ended += count.ended();
        }
        let left = plan.grouping.chunks.saturating_sub(u32::try_from(ended).unwrap_or(u32::MAX));
        if left == 0 {
            return Ok(());
        }
        tracing::warn!(run_id = %id, stage, left, ?status, "map has ended without some chunks");
        let told = encode(&MapMessage::MapEnded(MapEnd { run: id, stage, generation }));
        self.send(Queue::Completions, told).await
    }
}

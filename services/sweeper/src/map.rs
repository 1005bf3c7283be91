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
            if self.has_begun(run, place).await? {
                self.settle_map(run, &stage.name, grouping).await?;
            }
        }
        Ok(())
    }

    /// Whether all that a stage waits for has ended, so that its Map was or is to be started.
    async fn has_begun(&self, run: &Run, place: usize) -> Result<bool, SweeperError> {
        let Some(upstream) = run.pipeline.stages[place].upstream else { return Ok(true) };
        let before = StageId::of(run, &run.pipeline.stages[upstream.stage].name);
        let root = self.ports.ledger.root(&before).await?;
        Ok(run.grouping_at(upstream.stage).is_some_and(|grouping| root.is_full(grouping)))
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

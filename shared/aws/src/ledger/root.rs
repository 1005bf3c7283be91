//! The counters of one stage: which of its groups are folded.
//!
//! Key: `pk` = `root#{run}#{stage}#{generation}`, `sk` = `count`.
//! Value: the set of numbers `folded` (group indexes, at most 1,000) and the sums as in a group's item.
//! Lifetime: `expires_at`, 60 days after the last write.
//!
//! Marked on the condition that the group is not in the set; both outcomes answer the root as it stands, so
//! that a repetition changes nothing.

use fanfold_domain::{GroupIndex, RootCount, Sums};
use fanfold_ports::PortError;
use fanfold_ports::ledger::StageId;

use super::expression::Update;
use super::group::adding;
use super::item::{Item, Malformed, key, number, numbers, read_numbers, read_sums};
use super::table::Updated;
use super::{DynamoLedger, lifetime};

impl DynamoLedger {
    pub(super) async fn mark_root(
        &self,
        stage: &StageId,
        group: GroupIndex,
        sums: Sums,
    ) -> Result<RootCount, PortError> {
        let name = pk(stage);
        let update = Update::default()
            .set("expires_at", number(lifetime::of_counters()))
            .add("folded", numbers([group]))
            .unless_contained(&["folded"], &[group.0]);
        match self.update("mark_folded", key(name.clone(), SK), adding(update, sums)).await? {
            Updated::Now(item) | Updated::Refused(Some(item)) => {
                read_root(&item).map_err(|error| error.error("mark_folded", name))
            }
            Updated::Refused(None) => self.get_root("mark_folded", stage).await,
        }
    }

    pub(super) async fn get_root(
        &self,
        operation: &'static str,
        stage: &StageId,
    ) -> Result<RootCount, PortError> {
        let name = pk(stage);
        let item = self.get(operation, key(name.clone(), SK), true).await?.unwrap_or_default();
        read_root(&item).map_err(|error| error.error(operation, name))
    }
}

const SK: &str = "count";

fn pk(stage: &StageId) -> String {
    format!("root#{}#{}#{}", stage.run, stage.stage, stage.generation)
}

pub(super) fn read_root(item: &Item) -> Result<RootCount, Malformed> {
    Ok(RootCount { folded: read_numbers(item, "folded", GroupIndex)?, sums: read_sums(item)? })
}

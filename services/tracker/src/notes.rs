//! Notes that are still to be made.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use fanfold_domain::{ChunkIndex, GroupIndex};
use fanfold_ports::ledger::StageId;

/// Groups whose notes are kept at most.
const MOST_GROUPS: usize = 1_000;

/// Chunks whose consequences were carried out, and of which the ledger is to be told with the next marks of their group:
/// a write of its own would double what counting costs. With a note that is forgotten, what follows from a completion
/// that comes again is done again.
#[derive(Debug, Default)]
pub struct Notes(Mutex<BTreeMap<(StageId, GroupIndex), BTreeSet<ChunkIndex>>>);

impl Notes {
    /// What is to be noted of a group.
    pub(crate) fn of(&self, stage: &StageId, group: GroupIndex) -> BTreeSet<ChunkIndex> {
        self.groups().get(&(stage.clone(), group)).cloned().unwrap_or_default()
    }

    /// Keeps that these chunks of a group are to be noted.
    pub(crate) fn keep(&self, stage: &StageId, group: GroupIndex, chunks: &[ChunkIndex]) {
        let mut groups = self.groups();
        if groups.len() >= MOST_GROUPS {
            groups.clear();
        }
        groups.entry((stage.clone(), group)).or_default().extend(chunks);
    }

    /// Forgets chunks of a group: they are noted.
    pub(crate) fn made(&self, stage: &StageId, group: GroupIndex, noted: &BTreeSet<ChunkIndex>) {
        let (mut groups, key) = (self.groups(), (stage.clone(), group));
        if let Some(left) = groups.get_mut(&key) {
            left.retain(|chunk| !noted.contains(chunk));
            if left.is_empty() {
                groups.remove(&key);
            }
        }
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<(StageId, GroupIndex), BTreeSet<ChunkIndex>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The keys of a run's objects in the work bucket.
//!
//! Everything of a run stands under `runs/{run}/`, so that a lifecycle rule and a role can name it. After it
//! come stage, generation and index: S3 spreads requests by prefix, and the run's hash is one.

use crate::{ChunkIndex, Generation, GroupIndex, RunId};

/// The keys of one stage of a run in one generation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StageKeys {
    prefix: String,
}

/// The run's manifest: one for all generations, since the source is pinned.
pub fn manifest(run: &RunId) -> String {
    format!("runs/{run}/manifest.jsonl")
}

/// The list of objects that the run reads: one for all generations.
pub fn list(run: &RunId) -> String {
    format!("runs/{run}/list.jsonl")
}

/// What the keys of what planning keeps begin with. The number is of how its work is divided and of what it keeps: where
/// either becomes another, so does the number, and nothing is taken for what it is not.
pub fn places(run: &RunId) -> String {
    format!("runs/{run}/planning-1/")
}

/// What all of a run's objects begin with, and no other run's.
pub fn prefix(run: &RunId) -> String {
    format!("runs/{run}/")
}

impl StageKeys {
    /// The keys of `stage` of `run` in `generation`.
    pub fn new(run: &RunId, stage: &str, generation: Generation) -> Self {
        Self { prefix: format!("runs/{run}/{stage}/{generation}") }
    }

    /// The part: the object that the winning attempt at a chunk created.
    pub fn part(&self, chunk: ChunkIndex) -> String {
        format!("{}/{:07}", self.prefix, chunk.0)
    }

    /// An attempt's statistics, written before it tries to create the part.
    pub fn statistics(&self, chunk: ChunkIndex, attempt: &str) -> String {
        format!("{}/{:07}-{attempt}.statistics", self.prefix, chunk.0)
    }

    /// An attempt's bad records, if there are any.
    pub fn bad_records(&self, chunk: ChunkIndex, attempt: &str) -> String {
        format!("{}/{:07}-{attempt}.errors", self.prefix, chunk.0)
    }

    /// The marker of a worker that began with a chunk whose message was delivered before: the `number`-th of this
    /// message, from 1. A chunk that is sent again is another message, and begins anew.
    pub fn begun(&self, chunk: ChunkIndex, message: &str, number: u32) -> String {
        format!("{}/{:07}-{message}.begun.{number}", self.prefix, chunk.0)
    }

    /// The note that this worker lived on, and left the message to be delivered once more.
    pub fn survived(&self, chunk: ChunkIndex, message: &str, number: u32) -> String {
        format!("{}/{:07}-{message}.survived.{number}", self.prefix, chunk.0)
    }

    /// The list of its batches or launches, of which a Distributed Map makes its items.
    pub fn batches(&self) -> String {
        format!("{}/batches.jsonl", self.prefix)
    }

    /// A folded group: its parts, in order.
    pub fn group(&self, group: GroupIndex) -> String {
        format!("{}/group-{:04}", self.prefix, group.0)
    }

    /// A folded group's bad records, in order, numbered from the group's first record.
    pub fn group_bad_records(&self, group: GroupIndex) -> String {
        format!("{}/group-{:04}.errors", self.prefix, group.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Origin;

    #[test]
    fn what_is_left_of_a_message_goes_with_its_run_and_is_no_part() {
        let run = RunId::derive("p", &Origin::Submission { idempotency_key: "k" });
        let (keys, chunk) = (StageKeys::new(&run, "s", Generation(0)), ChunkIndex(7));
        let left = [keys.begun(chunk, "m", 1), keys.begun(chunk, "m", 2), keys.survived(chunk, "m", 1)];
        assert!(left.iter().all(|key| key.starts_with(&prefix(&run)) && *key != keys.part(chunk)));
        assert!(left[0].ends_with("/s/0/0000007-m.begun.1") && left[0] != left[1], "{left:?}");
    }
}

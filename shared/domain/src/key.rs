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

//! Items that this version cannot read, as a newer version writes them.

use async_trait::async_trait;
use fanfold_domain::{ChunkIndex, LaunchIndex, RunId};

use crate::ledger::StageId;

/// An item whose document is replaced.
#[derive(Debug, Clone, Copy)]
pub enum Spoiled<'a> {
    /// A run's.
    Run(&'a RunId),
    /// A pipeline's.
    Pipeline(&'a str),
    /// Why a chunk failed.
    Failure(&'a StageId, ChunkIndex),
    /// A cluster's.
    Cluster(&'a str),
    /// A launch's.
    Launch(&'a StageId, LaunchIndex),
}

/// Who makes items unreadable.
#[async_trait]
pub trait Spoiler: Send + Sync {
    /// Puts `document`, from which nothing can be read, in place of the document of an item that is there.
    async fn spoil(&self, item: Spoiled<'_>, document: &str);
}

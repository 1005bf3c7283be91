//! The ledger in one DynamoDB table with the keys `pk` and `sk` (both texts).
//!
//! | item | `pk` | `sk` | module |
//! |---|---|---|---|
//! | run | `run#{run}` | `run` | `run` |
//! | ownership of an output | `output#{bucket}/{key}` | `owner` | `ownership` |
//! | counters of a group | `group#{run}#{stage}#{generation}#{group}` | `count` | `group` |
//! | counters of a stage | `root#{run}#{stage}#{generation}` | `count` | `root` |
//! | failure of a chunk | `failures#{run}#{stage}#{generation}` | the chunk's index, seven digits | `failure` |
//! | pipeline | `pipeline` | its name | `pipeline` |
//! | cluster | `cluster` | its name | `fleet` |
//! | outage of a cluster | `outage` | its name | `fleet` |
//! | cursor of a destination | `pace#{destination}` | `pace` | `pace` |
//! | launch | `launches#{run}#{stage}#{generation}` | the launch's index, four digits | `fleet` |
//!
//! What is written often has a partition of its own: a partition takes 1,000 write units a second. The
//! attribute `expires_at` is the table's time to live. Two indexes: `unfinished` (`unfinished` S, `deadline_at`
//! N; sparse, keys suffice) and `recent` (`kind` S, `created_at` N; needs `document`).
//!
//! A write that the SDK repeats after a lost answer finds its own effect. Where that would change the answer
//! the module says how it is told from another's.

mod conflict;
mod expression;
mod failure;
mod fleet;
mod group;
mod item;
mod lifetime;
mod ownership;
mod pace;
mod pipeline;
#[cfg(test)]
mod recorded;
mod root;
mod run;
mod table;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use fanfold_domain::{
    ChunkIndex, GroupCount, GroupIndex, Mark, Note, ObjectName, Ownership, RootCount, Run, RunId, Sums,
    message::Failure, pipeline::Pipeline,
};
use fanfold_ports::ledger::{
    Created, CreatedOwner, Freshness, KeptPipeline, Marked, Saved, StageId, Taken, Unfinished,
};
use fanfold_ports::{ItemList, Ledger, PortError};

pub(crate) use conflict::RetryConflicts;

/// The ledger port on a DynamoDB table.
#[derive(Debug, Clone)]
pub struct DynamoLedger {
    client: Client,
    table: String,
}

impl DynamoLedger {
    pub(crate) fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }
}

#[async_trait]
impl Ledger for DynamoLedger {
    async fn create_run(&self, run: &Run) -> Result<Created, PortError> {
        self.put_new_run(run).await
    }

    async fn run(&self, id: &RunId, freshness: Freshness) -> Result<Option<Run>, PortError> {
        self.get_run(id, freshness == Freshness::Consistent).await
    }

    async fn save_run(&self, run: &Run) -> Result<Saved, PortError> {
        self.replace_run(run).await
    }

    async fn save_run_as_owner(&self, run: &Run) -> Result<Saved, PortError> {
        self.replace_run_as_owner(run).await
    }

    async fn unfinished_runs(
        &self,
        after: Option<&Unfinished>,
        limit: usize,
    ) -> Result<Vec<Unfinished>, PortError> {
        self.query_unfinished(after, limit).await
    }

    async fn recent_runs(&self, limit: usize) -> Result<ItemList<Run>, PortError> {
        self.query_recent(limit).await
    }

    async fn create_run_as_owner(&self, run: &Run) -> Result<CreatedOwner, PortError> {
        self.put_new_owner(run).await
    }

    async fn take_output(&self, run: &Run) -> Result<Taken, PortError> {
        self.take(run).await
    }

    async fn owner(&self, output: &ObjectName) -> Result<Option<Ownership>, PortError> {
        self.get_owner("owner", output).await
    }

    async fn mark(
        &self,
        stage: &StageId,
        group: GroupIndex,
        marks: &[(ChunkIndex, Mark)],
        notes: &[(ChunkIndex, Note)],
    ) -> Result<Marked, PortError> {
        self.mark_group(stage, group, marks, notes).await
    }

    async fn hand(&self, stage: &StageId, group: GroupIndex, chunks: &[ChunkIndex]) -> Result<(), PortError> {
        self.hand_group(stage, group, chunks).await
    }

    async fn group(&self, stage: &StageId, group: GroupIndex) -> Result<GroupCount, PortError> {
        self.get_group("group", stage, group).await
    }

    async fn mark_folded(
        &self,
        stage: &StageId,
        group: GroupIndex,
        sums: Sums,
    ) -> Result<RootCount, PortError> {
        self.mark_root(stage, group, sums).await
    }

    async fn root(&self, stage: &StageId) -> Result<RootCount, PortError> {
        self.get_root("root", stage).await
    }

    async fn note_failure(
        &self,
        stage: &StageId,
        chunk: ChunkIndex,
        failure: &Failure,
    ) -> Result<(), PortError> {
        self.put_failure(stage, chunk, failure).await
    }

    async fn failures(&self, stage: &StageId, limit: usize) -> Result<Vec<(ChunkIndex, Failure)>, PortError> {
        self.query_failures(stage, limit).await
    }

    async fn put_pipeline(&self, pipeline: &Pipeline) -> Result<u32, PortError> {
        self.replace_pipeline(pipeline).await
    }

    async fn pipelines(&self) -> Result<ItemList<KeptPipeline>, PortError> {
        self.query_pipelines().await
    }
}

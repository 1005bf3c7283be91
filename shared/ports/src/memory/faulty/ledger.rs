//! A ledger that fails by plan.

use async_trait::async_trait;
use fanfold_domain::{
    ChunkIndex, GroupCount, GroupIndex, Mark, Note, ObjectName, Ownership, RootCount, Run, RunId, Sums,
    message::Failure, pipeline::Pipeline,
};

use super::Faulty;
use crate::{
    ItemList, Ledger, PortError,
    ledger::{Created, CreatedOwner, Freshness, KeptPipeline, Marked, Saved, StageId, Taken, Unfinished},
};

#[async_trait]
impl<T: Ledger + ?Sized> Ledger for Faulty<T> {
    async fn create_run(&self, run: &Run) -> Result<Created, PortError> {
        self.write("create_run", &run.id, self.inner.create_run(run)).await
    }

    async fn run(&self, id: &RunId, freshness: Freshness) -> Result<Option<Run>, PortError> {
        self.read("run", id, self.inner.run(id, freshness)).await
    }

    async fn save_run(&self, run: &Run) -> Result<Saved, PortError> {
        self.write("save_run", &run.id, self.inner.save_run(run)).await
    }

    async fn save_run_as_owner(&self, run: &Run) -> Result<Saved, PortError> {
        self.write("save_run_as_owner", &run.id, self.inner.save_run_as_owner(run)).await
    }

    async fn unfinished_runs(
        &self,
        after: Option<&Unfinished>,
        limit: usize,
    ) -> Result<Vec<Unfinished>, PortError> {
        self.read("unfinished_runs", "the ledger", self.inner.unfinished_runs(after, limit)).await
    }

    async fn recent_runs(&self, limit: usize) -> Result<ItemList<Run>, PortError> {
        self.read("recent_runs", "the ledger", self.inner.recent_runs(limit)).await
    }

    async fn create_run_as_owner(&self, run: &Run) -> Result<CreatedOwner, PortError> {
        self.write("create_run_as_owner", &run.id, self.inner.create_run_as_owner(run)).await
    }

    async fn take_output(&self, run: &Run) -> Result<Taken, PortError> {
        self.write("take_output", &run.output, self.inner.take_output(run)).await
    }

    async fn owner(&self, output: &ObjectName) -> Result<Option<Ownership>, PortError> {
        self.read("owner", output, self.inner.owner(output)).await
    }

    async fn mark(
        &self,
        stage: &StageId,
        group: GroupIndex,
        marks: &[(ChunkIndex, Mark)],
        notes: &[(ChunkIndex, Note)],
    ) -> Result<Marked, PortError> {
        self.write("mark", in_group(stage, group), self.inner.mark(stage, group, marks, notes)).await
    }

    async fn hand(&self, stage: &StageId, group: GroupIndex, chunks: &[ChunkIndex]) -> Result<(), PortError> {
        self.write("hand", in_group(stage, group), self.inner.hand(stage, group, chunks)).await
    }

    async fn group(&self, stage: &StageId, group: GroupIndex) -> Result<GroupCount, PortError> {
        self.read("group", in_group(stage, group), self.inner.group(stage, group)).await
    }

    async fn mark_folded(
        &self,
        stage: &StageId,
        group: GroupIndex,
        sums: Sums,
    ) -> Result<RootCount, PortError> {
        self.write("mark_folded", in_group(stage, group), self.inner.mark_folded(stage, group, sums)).await
    }

    async fn root(&self, stage: &StageId) -> Result<RootCount, PortError> {
        self.read("root", &stage.run, self.inner.root(stage)).await
    }

    async fn note_failure(
        &self,
        stage: &StageId,
        chunk: ChunkIndex,
        failure: &Failure,
    ) -> Result<(), PortError> {
        self.write("note_failure", &stage.run, self.inner.note_failure(stage, chunk, failure)).await
    }

    async fn failures(&self, stage: &StageId, limit: usize) -> Result<Vec<(ChunkIndex, Failure)>, PortError> {
        self.read("failures", &stage.run, self.inner.failures(stage, limit)).await
    }

    async fn put_pipeline(&self, pipeline: &Pipeline) -> Result<u32, PortError> {
        self.write("put_pipeline", &pipeline.name, self.inner.put_pipeline(pipeline)).await
    }

    async fn pipelines(&self) -> Result<ItemList<KeptPipeline>, PortError> {
        self.read("pipelines", "the ledger", self.inner.pipelines()).await
    }
}

fn in_group(stage: &StageId, group: GroupIndex) -> String {
    format!("group {group} of {}", stage.run)
}

//! The list that a run reads in place of an object: of the objects under a prefix, or what the plan step wrote.

use fanfold_domain::{ChunkIndex, ObjectName, PLAN, Run, RunState, SourcePin, key, pipeline::Format};
use fanfold_engine::{
    chunk::is_tombstone,
    plan::{Leg, PlanError, Wanted, go_on_listing},
};
use fanfold_lifecycle::change;
use fanfold_ports::{Until, ledger::StageId, objects::ReadError};

use crate::{Share, Splitter, SplitterError};

/// What a run reads.
pub(crate) enum Reads {
    /// This run knows it.
    Known(Box<Run>),
    /// What its plan step has yet to write.
    PlanStep,
    /// A list that another message goes on with.
    GoOn,
}

impl Splitter {
    /// The run with the list that it reads, if it reads one and that is made.
    pub(crate) async fn with_list(&self, run: &Run, share: Share) -> Result<Reads, SplitterError> {
        if run.list.is_some() {
            return Ok(Reads::Known(Box::new(run.clone())));
        }
        let list = match run.pipeline.source.format {
            Format::Objects => match self.list_of_objects(run, share).await? {
                Some(list) => list,
                None => return Ok(Reads::GoOn),
            },
            Format::Items => match self.list_of_items(run).await? {
                Some(list) => list,
                None => return Ok(Reads::PlanStep),
            },
            _ => return Ok(Reads::Known(Box::new(run.clone()))),
        };
        let run = change(&*self.ports.ledger, &run.id, |run| {
            let is_due = run.state == RunState::Planning && run.list.is_none();
            Ok(is_due.then(|| Run { list: Some(list.clone()), ..run.clone() }))
        })
        .await?;
        Ok(Reads::Known(Box::new(run)))
    }

    async fn list_of_objects(&self, run: &Run, share: Share) -> Result<Option<SourcePin>, PlanError> {
        let ObjectName { bucket, key: prefix } = &run.source.object;
        let wanted = Wanted { bucket, prefix, suffix: &run.pipeline.source.suffix };
        let to = ObjectName::new(&self.work_bucket, key::list(&run.id));
        let clock = &*self.ports.clock;
        let leg =
            Leg { until: Until::at(clock, share.until), page: share.strides.page, attempt: clock.random() };
        go_on_listing(&*self.ports.objects, wanted, &to, leg).await
    }

    /// The plan step's part, once it is done.
    async fn list_of_items(&self, run: &Run) -> Result<Option<SourcePin>, SplitterError> {
        let root = self.ports.ledger.root(&StageId::of(run, PLAN)).await?;
        if !run.grouping_of(PLAN).is_some_and(|grouping| root.is_full(grouping)) {
            return Ok(None);
        }
        let object = ObjectName::new(&self.work_bucket, run.keys(PLAN).part(ChunkIndex(0)));
        let head = self.ports.objects.head(&object, None).await?;
        let Some(head) = head.filter(|head| !is_tombstone(head)) else {
            return Err(PlanError::ScanLost(ReadError::Missing(object)).into());
        };
        if head.size_bytes == 0 {
            return Err(PlanError::Nothing("the plan step wrote no items".to_owned()).into());
        }
        Ok(Some(SourcePin { object, version: None, etag: head.etag, size_bytes: head.size_bytes }))
    }
}

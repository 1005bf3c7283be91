//! A run from source to output, on objects in memory, without a ledger.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use fanfold_domain::{
    Chunk, ETag, Epoch, GroupCount, GroupIndex, Mark, ObjectName, Origin, Plan, RootCount, Run, RunId,
    SourcePin, Sums, Timestamp,
    pipeline::{Format, Pipeline, Split},
};
use fanfold_engine::{
    chunk::{Attempt, ChunkError, Input},
    fold::Fold,
    plan::{PlanError, Planned, plan, plan_ids},
    processor::{Inherited, Outside},
    publish::{ListUpload, assemble, list_metadata, metadata, write_bad_records},
};
use fanfold_ports::{
    Objects, Tables,
    memory::{MemoryClock, MemoryObjects, MemoryTables},
    objects::Condition,
};

pub(crate) const WORK: &str = "work";
pub(crate) const KEY: &str = "orders/a.csv";
/// One chunk, whatever the size.
pub(crate) const WHOLE: Split = Split::SizeBytes(u64::MAX);

/// A source in a store, and the run on it.
pub(crate) struct World {
    pub(crate) objects: Arc<MemoryObjects>,
    pub(crate) run: Run,
    pub(crate) inherited: Inherited,
    /// Where processors write rows.
    pub(crate) tables: Arc<dyn Tables>,
    /// How processors ask third parties.
    pub(crate) outside: Option<Outside>,
    /// Chunks in a group, where it is not what planning chose.
    pub(crate) group_chunks: Option<u32>,
}

/// What became of a run.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) output: Bytes,
    pub(crate) errors: Bytes,
    pub(crate) records: u64,
    pub(crate) bad_records: u64,
}

/// A pipeline of stage `process` (flow YAML without braces) on `source` (likewise).
pub(crate) fn pipeline(source: &str, process: &str) -> Pipeline {
    let document = format!(
        "{{pipeline: test, source: {{{source}}}, stages: [{{name: one, {process}, timeout: 20s}}], \
          on_error: {{max_bad_records: 1000000}}}}"
    );
    Pipeline::parse(&document).unwrap_or_else(|error| panic!("{document}\n{error}"))
}

impl World {
    pub(crate) fn new(pipeline: Pipeline, source: impl Into<Bytes>) -> Self {
        Self::with_pieces(pipeline, source, 64 << 10)
    }

    /// Reads come in pieces of `piece_bytes`.
    pub(crate) fn with_pieces(pipeline: Pipeline, source: impl Into<Bytes>, piece_bytes: usize) -> Self {
        let objects = MemoryObjects::new(MemoryClock::seeded(0)).with_stream_pieces(piece_bytes);
        let head = objects.insert("in", KEY, source);
        let source = SourcePin {
            object: ObjectName::new("in", KEY),
            version: None,
            etag: head.etag,
            size_bytes: head.size_bytes,
        };
        let path = std::env::vars_os().find(|(name, _)| name == "PATH").unwrap().1;
        let inherited = Inherited::from([("PATH".to_owned(), path.into_string().unwrap())]);
        let tables = Arc::new(MemoryTables::keyed(&["orderid", "confirmationid"]));
        let run = run(pipeline, source);
        Self { objects: Arc::new(objects), run, inherited, tables, outside: None, group_chunks: None }
    }

    pub(crate) async fn plan(&mut self, split: Split) -> Result<Planned, PlanError> {
        self.run.pipeline.split = split;
        let mut planned = match self.run.pipeline.source.format {
            Format::Ids(range) => plan_ids(range.of(&self.run.id), split)?,
            _ => plan(self.objects.clone(), &self.run.pipeline, &self.run.source).await?,
        };
        if let Some(group_chunks) = self.group_chunks {
            planned.plan.grouping.group_chunks = group_chunks;
        }
        self.run.plan = Some(planned.plan.clone());
        Ok(planned)
    }

    pub(crate) async fn attempt(&self, chunk: Chunk, name: &str) -> Result<Sums, ChunkError> {
        self.attempt_on(&*self.objects, chunk, name).await
    }

    pub(crate) async fn attempt_on(
        &self,
        objects: &dyn Objects,
        chunk: Chunk,
        name: &str,
    ) -> Result<Sums, ChunkError> {
        let (run, inherited, plan) = (&self.run, &self.inherited, self.plan_of());
        let (tables, outside) = (Some(&self.tables), self.outside.as_ref());
        let (stage, input, chunk) = (run.first_stage(), Input::of_first(run, &chunk), chunk.index);
        let (counted, work_bucket) = (None, WORK);
        let attempt = Attempt {
            objects,
            run,
            plan,
            stage,
            chunk,
            input,
            counted,
            work_bucket,
            name,
            // A name that is a number is that attempt's.
            number: name.parse().unwrap_or(1),
            inherited,
            tables,
            outside,
        };
        Ok(attempt.run().await?.sums)
    }

    fn plan_of(&self) -> &Plan {
        self.run.plan.as_ref().expect("planned before")
    }

    /// Plans, does all chunks, folds and publishes.
    pub(crate) async fn finish(&mut self, split: Split) -> Result<Outcome, String> {
        let planned = self.plan(split).await.map_err(|error| error.to_string())?;
        let mut done = Vec::new();
        for chunk in &planned.chunks {
            done.push((*chunk, self.attempt(*chunk, "a1").await.map_err(|error| error.to_string())?));
        }
        Ok(self.publish(&done).await)
    }

    /// Folds and publishes chunks that are all done.
    pub(crate) async fn publish(&self, done: &[(Chunk, Sums)]) -> Outcome {
        let (run, plan, objects) = (&self.run, self.plan_of(), &*self.objects);
        let mut groups: BTreeMap<GroupIndex, GroupCount> = BTreeMap::new();
        for (chunk, sums) in done {
            let group = groups.entry(plan.grouping.group_of(chunk.index)).or_default();
            assert!(group.mark(&[(chunk.index, Mark::Done(*sums))]));
        }
        let mut root = RootCount::default();
        // In any order: here from the last.
        for (group, count) in groups.iter().rev() {
            let (stage, grouping, group) = (run.last_stage(), plan.grouping, *group);
            let fold = Fold { objects, run, plan, stage, grouping, work_bucket: WORK, group, count };
            let sums = fold.run().await.unwrap();
            assert_eq!(fold.run().await.unwrap(), sums, "a group folded again");
            root.mark(group, sums);
        }
        assert!(root.is_full(plan.grouping));
        let upload = objects.create_upload(&run.output, &metadata(run)).await.unwrap();
        let groups_total = plan.grouping.groups();
        let assembled = assemble(objects, run, WORK, groups_total, &root.sums, upload).await.unwrap();
        let sums: Vec<Sums> = groups.values().map(|count| count.sums).collect();
        let upload = objects.create_upload(&run.errors, &list_metadata(run)).await.unwrap();
        let list = ListUpload { upload, condition: Condition::Always };
        write_bad_records(objects, run, WORK, &[sums], list).await.unwrap();
        let (upload, parts, expected) = (&assembled.upload, &assembled.parts, assembled.expected);
        objects.complete_upload(upload, parts, Condition::Always, expected).await.unwrap();
        assert_eq!(objects.open_uploads(), []);
        Outcome {
            output: objects.contents(&run.output).unwrap(),
            errors: objects.contents(&run.errors).unwrap(),
            records: root.sums.records,
            bad_records: root.sums.bad_records,
        }
    }
}

fn run(pipeline: Pipeline, source: SourcePin) -> Run {
    let id = RunId::derive("test", &Origin::Submission { idempotency_key: "k" });
    let (output, errors) = (ObjectName::new("out", "output"), ObjectName::new("out", "errors"));
    Run { epoch: Epoch(1), ..Run::new(id, pipeline, source, output, errors, Timestamp(0)) }
}

/// A runtime for a case of a property.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Another content under the source's name.
pub(crate) fn replace_source(world: &World, body: &'static [u8]) -> ETag {
    world.objects.insert("in", KEY, body).etag
}

/// How many lines a text has.
pub(crate) fn lines_in(text: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', text).count()
}

//! What a run must have come to: computed from its source by one sequential pass, with no services at all.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use fanfold_domain::{
    ByteRange, Chunk, ChunkIndex, ObjectName, Plan, Run, Sums,
    pipeline::{Format, MergeHeader, Order, Process, Stage},
};
use fanfold_engine::{
    bad::{BadRecord, Place},
    chunk::{Attempt, Input},
    processor::Outside,
};
use fanfold_ports::{
    Objects, PortError, Tables,
    memory::{MemoryClock, MemoryObjects, MemoryPacer, MemoryTables, MemoryWeb, Reply},
    objects::{
        ByteStream, Condition, Expected, HeldPart, Listed, Metadata, ObjectHead, Pin, ReadError, Upload,
        UploadError, UploadedPart, Written,
    },
    tables::Row,
};
use futures::{StreamExt, stream};

use crate::{
    scenario::{TABLE, WORK},
    third_party,
};

/// What a sequential pass gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Truth {
    pub(crate) output: Vec<u8>,
    pub(crate) errors: Vec<BadRecord>,
    pub(crate) sums: Sums,
    pub(crate) rows: Vec<Row>,
}

impl Truth {
    /// Nothing yet but what the output begins with.
    pub(crate) fn beginning(output: Vec<u8>) -> Self {
        Self { output, errors: Vec::new(), sums: Sums::default(), rows: Vec::new() }
    }
}

/// What the first stage makes: goes through its chunks in order, those in `failed` left out; neighbours are one pass.
pub(crate) async fn truth(
    run: &Run,
    source: &Bytes,
    chunks: &[Chunk],
    failed: &dyn Fn(ChunkIndex) -> bool,
) -> Truth {
    let mut truth = Truth::beginning(Vec::new());
    let mut before = Some(0);
    let mut at = 0;
    while at < chunks.len() {
        if failed(chunks[at].index) {
            truth.sums.failed_chunks += 1;
            before = None;
            at += 1;
            continue;
        }
        let last = (at..chunks.len()).take_while(|next| !failed(chunks[*next].index)).last().unwrap_or(at);
        let range = ByteRange::new(chunks[at].range.start, chunks[last].range.end);
        let Truth { output, errors, sums, rows } = pass(run, source, range).await;
        truth.output.extend(output);
        truth.errors.extend(errors.into_iter().map(|bad| renumbered(bad, before)));
        truth.sums += sums;
        truth.rows.extend(rows);
        before = before.map(|before| before + sums.records);
        at = last + 1;
    }
    truth.sums.bytes_out = truth.output.len() as u64;
    truth
}

/// A bad record with its number moved, or taken away.
pub(crate) fn renumbered(bad: BadRecord, before: Option<u64>) -> BadRecord {
    BadRecord { record: before.zip(bad.record).map(|(before, record)| before + record), ..bad }
}

/// Reads a list of bad records.
pub(crate) fn read_errors(bytes: &[u8]) -> Vec<BadRecord> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("a list has bad records only")).collect()
}

/// What the output begins with.
pub(crate) fn header(run: &Run, source: &Bytes) -> Vec<u8> {
    let preamble = run.plan.as_ref().map_or(0..0, |plan| {
        usize::try_from(plan.preamble.start).expect("small")
            ..usize::try_from(plan.preamble.end).expect("small")
    });
    match &run.pipeline.merge.header {
        MergeHeader::Literal(line) => format!("{line}\n").into_bytes(),
        MergeHeader::Input => source[preamble].to_vec(),
        // `copy` gives all bytes back, a byte order mark too.
        MergeHeader::None if is_copy(run) && !run.pipeline.source.has_header() => source[preamble].to_vec(),
        MergeHeader::None => Vec::new(),
    }
}

/// Whether the output is what was read, as it stands.
pub(crate) fn is_copy(run: &Run) -> bool {
    matches!(&run.pipeline.stages[..], [stage] if stage.process == Process::Copy)
}

/// What a stage behind the first makes of the parts that one of its chunks reads: one pass over their lines, as a
/// pipeline of nothing else would do it that has been answered this line before.
pub(crate) async fn pass_parts(
    run: &Run,
    place: usize,
    chunk: u32,
    parts: Bytes,
    before: Option<String>,
) -> Truth {
    let mut stage = Stage { upstream: None, ..run.pipeline.stages[place].clone() };
    if let (Process::Http(http), Some(before)) = (&mut stage.process, before) {
        http.first = before;
    }
    let name = stage.name.clone();
    let mut alone = run.clone();
    alone.pipeline.stages = vec![stage];
    alone.pipeline.source.format = Format::Lines;
    alone.list = None;
    let plan = alone.plan.as_mut().expect("it is planned");
    *plan = Plan { grouping: plan.grouping, ..Plan::unplanned() };
    let range = ByteRange::new(0, parts.len() as u64);
    let mut truth = pass(&alone, &parts, range).await;
    for bad in &mut truth.errors {
        bad.at = Some(Place { stage: name.clone(), chunk: ChunkIndex(chunk) });
    }
    truth
}

/// One pass over a range, as one chunk, with nothing else in the world.
pub(crate) async fn pass(run: &Run, source: &Bytes, range: ByteRange) -> Truth {
    let mut run = run.clone();
    run.pipeline.on_error.max_bad_records = u64::MAX;
    // What follows what, and when, is nothing to one pass.
    let stage = &mut run.pipeline.stages[0];
    (stage.order, stage.rate) = (Order::Parallel, None);
    let plan = run.plan.clone().expect("it is planned");
    let objects = Alone {
        source: run.input().object.clone(),
        bytes: source.clone(),
        others: Arc::new(MemoryObjects::new(MemoryClock::seeded(0))),
    };
    let rows = Arc::new(MemoryTables::keyed(&["orderid", "confirmationid"]));
    let tables: Arc<dyn Tables> = rows.clone();
    let chunk = Chunk { index: ChunkIndex(0), range };
    let attempt = Attempt {
        counted: None,
        objects: &objects,
        run: &run,
        plan: &plan,
        stage: run.first_stage(),
        chunk: chunk.index,
        input: Input::of_first(&run, &chunk),
        work_bucket: WORK,
        name: "alone",
        number: 1,
        inherited: &BTreeMap::new(),
        tables: Some(&tables),
        outside: Some(&outside()),
    };
    let sums = attempt.run().await.expect("nothing fails").sums;
    let keys = run.keys(&run.first_stage().name);
    let read = |key| objects.others.contents(&ObjectName::new(WORK, key)).unwrap_or_default();
    Truth {
        output: read(keys.part(chunk.index)).to_vec(),
        errors: read_errors(&read(keys.bad_records(chunk.index, "alone"))),
        sums,
        rows: rows.rows(TABLE),
    }
}

/// The third party, without its troubles.
fn outside() -> Outside {
    let clock = MemoryClock::seeded(0);
    let web = MemoryWeb::new(clock.clone(), |request, _| {
        let (status, body) = third_party::answer(request);
        Reply::Answer { status, body, retry_after: None, after_ms: 0 }
    });
    Outside {
        web: Arc::new(web),
        pacer: Arc::new(MemoryPacer::default()),
        functions: None,
        clock: Arc::new(clock),
        ends_at: None,
    }
}

/// A store of one source, whatever it is pinned to, and of what is written beside it.
struct Alone {
    source: ObjectName,
    bytes: Bytes,
    others: Arc<MemoryObjects>,
}

impl Alone {
    fn slice(&self, range: ByteRange) -> Bytes {
        let at = |offset| usize::try_from(offset).expect("small");
        self.bytes.slice(at(range.start)..at(range.end))
    }
}

#[async_trait]
impl Objects for Alone {
    async fn head(
        &self,
        object: &ObjectName,
        version: Option<&str>,
    ) -> Result<Option<ObjectHead>, PortError> {
        self.others.head(object, version).await
    }

    async fn read(&self, object: &ObjectName, pin: &Pin, range: ByteRange) -> Result<ByteStream, ReadError> {
        if *object != self.source {
            return self.others.read(object, pin, range).await;
        }
        Ok(stream::iter([Ok(self.slice(range))]).boxed())
    }

    async fn put(
        &self,
        object: &ObjectName,
        body: Bytes,
        condition: Condition,
        metadata: &Metadata,
    ) -> Result<Written, PortError> {
        self.others.put(object, body, condition, metadata).await
    }

    async fn create_upload(&self, object: &ObjectName, metadata: &Metadata) -> Result<Upload, PortError> {
        self.others.create_upload(object, metadata).await
    }

    async fn upload_part(
        &self,
        upload: &Upload,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart, UploadError> {
        self.others.upload_part(upload, number, body).await
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: u32,
        from: &ObjectName,
        pin: &Pin,
        range: ByteRange,
    ) -> Result<UploadedPart, UploadError> {
        if *from == self.source {
            return self.others.upload_part(upload, number, self.slice(range)).await;
        }
        self.others.copy_part(upload, number, from, pin, range).await
    }

    async fn upload_parts(&self, upload: &Upload) -> Result<Vec<HeldPart>, UploadError> {
        self.others.upload_parts(upload).await
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[UploadedPart],
        condition: Condition,
        expected: Expected,
    ) -> Result<Written, UploadError> {
        self.others.complete_upload(upload, parts, condition, expected).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), PortError> {
        self.others.abort_upload(upload).await
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, PortError> {
        self.others.list(bucket, prefix, after, limit).await
    }

    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<(), PortError> {
        self.others.delete(bucket, keys).await
    }
}

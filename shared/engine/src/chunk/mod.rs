//! One attempt at one chunk: a ranged read, the processor, and the creation of the part.

mod end;
mod input;
mod pass;
mod previous;
mod statistics;
mod verdicts;

use std::sync::Arc;

use fanfold_domain::{
    ByteRange, ChunkIndex, LineEnd, ObjectName, Plan, Run, SourcePin, Sums,
    message::Failure,
    pipeline::{Format, Process, Stage},
};
use fanfold_ports::{
    Fault, Objects, PortError, Tables,
    objects::{ByteStream, Condition, ObjectHead, Pin, ReadError, UploadError, Written},
};
use fanfold_records::Dialect;
use futures::TryStreamExt;
use thiserror::Error;
use tracing::Instrument;

use self::{input::Piece, pass::Pass, verdicts::Verdicts};
use crate::{
    bad::BadRecords,
    dialect,
    part::PartWriter,
    processor::{self, Context, Inherited, Outside, ProcessError},
};

pub(crate) use end::scan_sums;
pub use end::{end_by_part, end_or_failure, ends_or_failures, is_tombstone};
pub use input::Input;
pub use statistics::{Statistics, statistics_of};

/// The smallest range that is copied where it lies, in bytes: S3 copies ranges of no object below 5 MiB, and for
/// smaller ones an upload takes more requests than it saves.
const LEAST_COPY_BYTES: u64 = 5 << 20;

/// The metadata of a part that names the attempt that created it.
pub const ATTEMPT: &str = "fanfold-attempt";

/// One attempt at one chunk.
pub struct Attempt<'a> {
    /// Where to read and write.
    pub objects: &'a dyn Objects,
    /// The run, planned.
    pub run: &'a Run,
    /// What planning found.
    pub plan: &'a Plan,
    /// The stage.
    pub stage: &'a Stage,
    /// Which chunk.
    pub chunk: ChunkIndex,
    /// What it reads.
    pub input: Input,
    /// How many records the chunk has, where planning [counted them](crate::plan::Planned::counted): then a chunk
    /// that is to be copied need not be read.
    pub counted: Option<u64>,
    /// The bucket of parts.
    pub work_bucket: &'a str,
    /// A name that no other attempt at this chunk has.
    pub name: &'a str,
    /// Which attempt it is, from 1: one more than failed before. One that died is made again under its number.
    pub number: u32,
    /// The worker's environment.
    pub inherited: &'a Inherited,
    /// Where a processor writes rows that its options ask for; none writes none.
    pub tables: Option<&'a Arc<dyn Tables>>,
    /// How a processor asks others; none asks nobody.
    pub outside: Option<&'a Outside>,
}

/// How an attempt ended behind which there is a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempted {
    /// What the part that counts adds to the sums.
    pub sums: Sums,
    /// Whether this attempt created it: of all attempts at a chunk at most one did.
    pub has_created: bool,
}

/// Why an attempt gave no part.
#[derive(Debug, Error)]
pub enum ChunkError {
    /// The source is no longer what the run pinned.
    #[error("the source was replaced: {0}")]
    SourceChanged(ReadError),
    /// No other attempt would end differently.
    #[error("{}", .0.reason)]
    Permanent(Failure),
    /// Another attempt may succeed.
    #[error(transparent)]
    Process(ProcessError),
    /// A read or write failed.
    #[error(transparent)]
    Port(#[from] UploadError),
}

impl ChunkError {
    /// How long whoever was asked wants to be left alone before the next attempt, in milliseconds.
    pub fn wait_ms(&self) -> u64 {
        if let Self::Process(error) = self { error.wait_ms() } else { 0 }
    }
}

impl From<PortError> for ChunkError {
    fn from(error: PortError) -> Self {
        Self::Port(error.into())
    }
}

impl From<ProcessError> for ChunkError {
    fn from(error: ProcessError) -> Self {
        if error.may_pass() {
            Self::Process(error)
        } else {
            Self::Permanent(Failure::of_chunk(error.to_string()))
        }
    }
}

/// What an attempt has made, before any of it counts.
struct Made<'a> {
    part: PartWriter<'a>,
    bad: BadRecords<'a>,
    sums: Sums,
}

impl Attempt<'_> {
    /// Does the chunk, or finds it done by whoever was first.
    ///
    /// # Errors
    /// No part was created by this attempt, and none was seen.
    pub async fn run(&self) -> Result<Attempted, ChunkError> {
        let Self { run, stage, chunk, number, .. } = self;
        let span = tracing::info_span!("attempt", run_id = %run.id, stage = stage.name, chunk = chunk.0, attempt = number);
        self.create_or_find().instrument(span).await
    }

    async fn create_or_find(&self) -> Result<Attempted, ChunkError> {
        if let Some(head) = self.objects.head(&self.part(), None).await? {
            return self.winner(&head).await;
        }
        let Made { part, bad, sums } = self.make().await?;
        if let Err(error) = self.leave(bad, sums).await {
            part.abandon().await;
            return Err(error);
        }
        match part.create(Condition::Absent).await? {
            Written::Stored(_) => Ok(Attempted { sums, has_created: true }),
            Written::Refused | Written::Conflict => match self.objects.head(&self.part(), None).await? {
                Some(head) => self.winner(&head).await,
                None => Err(self.lost_race().into()),
            },
        }
    }

    fn part(&self) -> ObjectName {
        self.work(self.run.keys(&self.stage.name).part(self.chunk))
    }

    fn work(&self, key: String) -> ObjectName {
        ObjectName::new(self.work_bucket, key)
    }

    fn lost_race(&self) -> PortError {
        PortError::new(Fault::Transient, "create", self.part(), "another attempt was creating it and did not")
    }

    /// What the attempt that created the part counted, or why the chunk failed instead.
    async fn winner(&self, part: &ObjectHead) -> Result<Attempted, ChunkError> {
        if is_tombstone(part) {
            return Err(ChunkError::Permanent(end::read_tombstone(self.objects, self.part(), part).await?));
        }
        let (objects, stage) = (self.objects, &self.stage.name);
        let counted = statistics_of(objects, self.run, self.work_bucket, stage, self.chunk, part).await?;
        // Its creation may have been heard of only when it was tried once more.
        let has_created = part.metadata.get(ATTEMPT).is_some_and(|attempt| attempt == self.name);
        Ok(Attempted { sums: counted.sums, has_created })
    }

    async fn make(&self) -> Result<Made<'_>, ChunkError> {
        let previous = self.previous().await?;
        if self.may_be_copied()
            && let Some((source, range)) = self.input.source_range()
            && let Some(made) = self.copy(source, range).await?
        {
            return Ok(made);
        }
        let header = self.header().await?;
        let processor = processor::start(&self.context(header.as_deref(), previous.as_deref()))?;
        let (Pass { part, mut bad, records, .. }, verdicts) = Pass::new(self, processor).run().await?;
        if !verdicts.is_empty() {
            // Their places take a second pass, which lists all bad records anew, in order.
            bad.into_writer().abandon().await;
            match Pass::new(self, Box::new(Verdicts::new(verdicts))).run().await {
                Ok((second, _)) => bad = second.bad,
                Err(error) => {
                    part.abandon().await;
                    return Err(error);
                }
            }
        }
        let (bytes_in, bytes_out) = (self.input.len, part.size_bytes());
        let sums = Sums { records, bad_records: bad.count(), bytes_in, bytes_out, failed_chunks: 0 };
        Ok(Made { part, bad, sums })
    }

    fn may_be_copied(&self) -> bool {
        let bytes = self.input.len;
        let is_large = bytes >= LEAST_COPY_BYTES || (bytes > 0 && self.objects.copies_are_free());
        is_large && self.stage.process == Process::Copy
    }

    /// Makes the part of a chunk that is to be copied by having its range copied where it lies: the bytes are read
    /// for what may be bad among them, unless that is known, and not sent again. `None` if some are, so that the
    /// range is not the part.
    async fn copy(&self, source: &SourcePin, range: ByteRange) -> Result<Option<Made<'_>>, ChunkError> {
        let mut pass = Pass::new(self, Box::new(Verdicts::new(Vec::new())));
        match self.counted {
            Some(records) => pass.records = records,
            None => (pass, _) = pass.run().await?,
        }
        let Pass { mut part, bad, records, .. } = pass;
        if bad.count() > 0 {
            bad.into_writer().abandon().await;
            return Ok(None);
        }
        if let Err(error) = part.copy(&source.object, &Pin::from(source), range).await {
            part.abandon().await;
            return Err(match error {
                UploadError::Read(gone @ (ReadError::Missing(_) | ReadError::Changed(_))) => self.gone(gone),
                failed => failed.into(),
            });
        }
        let (bytes_in, bytes_out) = (range.len(), part.size_bytes());
        let sums = Sums { records, bad_records: 0, bytes_in, bytes_out, failed_chunks: 0 };
        Ok(Some(Made { part, bad, sums }))
    }

    /// Writes what only this attempt writes, before it tries to create the part.
    async fn leave(&self, bad: BadRecords<'_>, sums: Sums) -> Result<(), ChunkError> {
        if bad.count() > 0 {
            bad.into_writer().create(Condition::Always).await?;
        }
        let body = Statistics { sums }.encode();
        let name = self.work(self.run.keys(&self.stage.name).statistics(self.chunk, self.name));
        self.objects.put(&name, body, Condition::Always, &[].into()).await?;
        Ok(())
    }

    fn context<'b>(&'b self, header: Option<&'b [u8]>, previous: Option<&'b str>) -> Context<'b> {
        Context {
            run: self.run,
            stage: self.stage,
            dialect: self.dialect(),
            header,
            line_end: if self.is_first() { self.plan.line_end } else { LineEnd::Lf },
            identity: self.identity(),
            offset: self.input.offset,
            chunk: self.chunk.0,
            attempt: self.number,
            timeout_ms: self.stage.timeout_ms,
            inherited: self.inherited,
            objects: self.objects,
            tables: self.tables,
            outside: self.outside,
            previous,
        }
    }

    /// Records of the source are named by where they stand in it, ids by where they would stand in one object of the
    /// run, so that neither depends on the split; all others by where they stand in what their chunk reads.
    fn identity(&self) -> String {
        let (run, stage, chunk) = (&self.run.id, &self.stage.name, self.chunk);
        match self.run.pipeline.source.format {
            _ if !self.is_first() => format!("{run}/{stage}/{chunk}:"),
            Format::Ids(_) => format!("{run}/{stage}:"),
            _ => self.run.input().derivation_prefix(),
        }
    }

    /// Whether the stage reads the source, and not the parts of another.
    fn is_first(&self) -> bool {
        self.stage.upstream.is_none()
    }

    /// How the records of the input are told apart: parts are read line by line.
    fn dialect(&self) -> Dialect {
        if self.is_first() { dialect::of(&self.run.pipeline.source) } else { Dialect::Lines }
    }

    async fn header(&self) -> Result<Option<Vec<u8>>, ChunkError> {
        let wants_header = self.is_first() && processor::wants_header(&self.stage.process);
        let Some(range) = self.plan.header.filter(|_| wants_header) else { return Ok(None) };
        if range.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let source = self.run.input();
        let stream = self.objects.read(&source.object, &Pin::from(source), range).await;
        let pieces: Vec<bytes::Bytes> = stream.map_err(|error| self.unread(error))?.try_collect().await?;
        Ok(Some(pieces.concat()))
    }

    /// Opens a piece of the input.
    async fn open(&self, piece: &Piece) -> Result<ByteStream, ChunkError> {
        piece.open(self.objects).await.map_err(|error| self.unread(error))
    }

    fn unread(&self, error: ReadError) -> ChunkError {
        match error {
            ReadError::Port(error) => error.into(),
            gone => self.gone(gone),
        }
    }

    /// A source may be replaced; what we wrote ourselves is only lost.
    fn gone(&self, gone: ReadError) -> ChunkError {
        if self.is_first() && self.run.list.is_none() {
            return ChunkError::SourceChanged(gone);
        }
        let reason = format!("{gone}: the work bucket must keep what a run wrote until it ends");
        ChunkError::Permanent(Failure::of_chunk(reason))
    }
}

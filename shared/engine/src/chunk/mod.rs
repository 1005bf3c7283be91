//! One attempt at one chunk: a ranged read, the processor, and the creation of the part.

mod pass;
mod statistics;
mod verdicts;

use std::sync::Arc;

use fanfold_domain::{ByteRange, Chunk, ObjectName, Plan, Run, Sums, message::Failure, pipeline::Process};
use fanfold_ports::{
    Fault, Objects, PortError, Tables,
    objects::{ByteStream, Condition, ObjectHead, Pin, ReadError, UploadError, Written},
};
use futures::TryStreamExt;
use thiserror::Error;

use self::{pass::Pass, verdicts::Verdicts};
use crate::{
    bad::BadRecords,
    dialect,
    part::PartWriter,
    processor::{self, Context, Inherited, ProcessError},
};

pub use statistics::{Statistics, end_by_part, ends_or_failures, scan_sums, statistics_of};

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
    /// The chunk.
    pub chunk: Chunk,
    /// The bucket of parts.
    pub work_bucket: &'a str,
    /// A name that no other attempt at this chunk has.
    pub name: &'a str,
    /// The worker's environment.
    pub inherited: &'a Inherited,
    /// Where a processor writes rows that its options ask for; none writes none.
    pub tables: Option<&'a Arc<dyn Tables>>,
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
    /// Does the chunk, or finds it done. Returns what the part that counts adds to the sums: this attempt's,
    /// or that of whoever was first.
    ///
    /// # Errors
    /// No part was created by this attempt, and none was seen.
    pub async fn run(&self) -> Result<Sums, ChunkError> {
        if let Some(head) = self.objects.head(&self.part(), None).await? {
            return self.winner(&head).await;
        }
        let Made { part, bad, sums } = self.make().await?;
        if let Err(error) = self.leave(bad, sums).await {
            part.abandon().await;
            return Err(error);
        }
        match part.create(Condition::Absent).await? {
            Written::Stored(_) => Ok(sums),
            Written::Refused | Written::Conflict => match self.objects.head(&self.part(), None).await? {
                Some(head) => self.winner(&head).await,
                None => Err(self.lost_race().into()),
            },
        }
    }

    fn part(&self) -> ObjectName {
        self.work(self.run.keys().part(self.chunk.index))
    }

    fn work(&self, key: String) -> ObjectName {
        ObjectName::new(self.work_bucket, key)
    }

    fn lost_race(&self) -> PortError {
        PortError::new(Fault::Transient, "create", self.part(), "another attempt was creating it and did not")
    }

    /// What the attempt that created the part counted.
    async fn winner(&self, part: &ObjectHead) -> Result<Sums, ChunkError> {
        Ok(statistics_of(self.objects, self.run, self.work_bucket, self.chunk.index, part).await?.sums)
    }

    async fn make(&self) -> Result<Made<'_>, ChunkError> {
        let may_be_copied =
            self.run.stage().process == Process::Copy && self.chunk.range.len() >= LEAST_COPY_BYTES;
        if may_be_copied && let Some(made) = self.copy().await? {
            return Ok(made);
        }
        let header = self.header().await?;
        let processor = processor::start(&self.context(header.as_deref()))?;
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
        let (bytes_in, bytes_out) = (self.chunk.range.len(), part.size_bytes());
        let sums = Sums { records, bad_records: bad.count(), bytes_in, bytes_out, failed_chunks: 0 };
        Ok(Made { part, bad, sums })
    }

    /// Makes the part of a chunk that is to be copied by having its range copied where it lies: the bytes are read
    /// for what may be bad among them, and not sent again. `None` if some are, so that the range is not the part.
    async fn copy(&self) -> Result<Option<Made<'_>>, ChunkError> {
        let looks = Box::new(Verdicts::new(Vec::new()));
        let (Pass { mut part, bad, records, .. }, _) = Pass::new(self, looks).run().await?;
        if bad.count() > 0 {
            bad.into_writer().abandon().await;
            return Ok(None);
        }
        let (source, range) = (&self.run.source, self.chunk.range);
        if let Err(error) = part.copy(&source.object, &Pin::from(source), range).await {
            part.abandon().await;
            return Err(match error {
                UploadError::Read(gone @ (ReadError::Missing(_) | ReadError::Changed(_))) => {
                    ChunkError::SourceChanged(gone)
                }
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
        let name = self.work(self.run.keys().statistics(self.chunk.index, self.name));
        self.objects.put(&name, body, Condition::Always, &[].into()).await?;
        Ok(())
    }

    fn context<'b>(&'b self, header: Option<&'b [u8]>) -> Context<'b> {
        Context {
            run: self.run,
            dialect: dialect::of(&self.run.pipeline.source),
            header,
            line_end: self.plan.line_end,
            range: self.chunk.range,
            chunk: self.chunk.index.0,
            attempt: self.name,
            timeout_ms: self.run.stage().timeout_ms,
            inherited: self.inherited,
            objects: self.objects,
            tables: self.tables,
        }
    }

    async fn header(&self) -> Result<Option<Vec<u8>>, ChunkError> {
        match self.plan.header.filter(|_| processor::wants_header(&self.run.stage().process)) {
            Some(range) if range.is_empty() => Ok(Some(Vec::new())),
            Some(range) => {
                let pieces: Vec<bytes::Bytes> = self.open(range).await?.try_collect().await?;
                Ok(Some(pieces.concat()))
            }
            None => Ok(None),
        }
    }

    /// Opens bytes of the source, of which there is at least one.
    async fn open(&self, range: ByteRange) -> Result<ByteStream, ChunkError> {
        let source = &self.run.source;
        self.objects.read(&source.object, &Pin::from(source), range).await.map_err(|error| match error {
            ReadError::Port(error) => error.into(),
            gone => ChunkError::SourceChanged(gone),
        })
    }
}

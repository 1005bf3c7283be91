//! Bad records: how they are listed, and how the lists of chunks become the list of a run.

use fanfold_domain::{ByteRange, ChunkIndex, ObjectName};
use fanfold_ports::{
    Fault, Objects, PortError,
    objects::{ByteStream, Metadata, ObjectHead, Pin, ReadError, Upload, UploadError},
};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use crate::part::PartWriter;

/// The most bytes of a bad record that are kept.
pub const MAX_TEXT_BYTES: usize = fanfold_records::CUT;

/// One line of a list of bad records, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRecord {
    /// Its number, from 1: in the chunk, then in the group, at last in the source. None where a chunk before
    /// it failed, so that its count is not known.
    pub record: Option<u64>,
    /// Where it starts, in bytes from the source's first byte; of a later stage's record, from the first byte that its
    /// chunk reads.
    pub offset: u64,
    /// What is wrong with it.
    pub reason: String,
    /// Its first bytes, at most [`MAX_TEXT_BYTES`]; what is no UTF-8 is replaced.
    pub text: String,
    /// Where it was met, if that was behind the first stage.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Place>,
}

/// A chunk of a stage behind the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The stage's name.
    pub stage: String,
    /// Which of its chunks.
    pub chunk: ChunkIndex,
}

impl BadRecord {
    /// Describes a bad record of which `bytes` are in view.
    pub fn new(record: u64, offset: u64, reason: impl Into<String>, bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_TEXT_BYTES)]).into_owned();
        Self { record: Some(record), offset, reason: reason.into(), text, at: None }
    }
}

/// A list of bad records being written.
pub struct BadRecords<'a> {
    writer: PartWriter<'a>,
    count: u64,
}

impl<'a> BadRecords<'a> {
    /// Begins a list that will be `object`; an empty one need not be created.
    pub fn new(objects: &'a dyn Objects, object: ObjectName, metadata: Metadata) -> Self {
        Self { writer: PartWriter::new(objects, object, metadata), count: 0 }
    }

    /// Begins a list that will be what `upload` is.
    pub fn into_upload(objects: &'a dyn Objects, upload: Upload) -> Self {
        Self { writer: PartWriter::into_upload(objects, upload), count: 0 }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Appends a bad record.
    pub fn push(&mut self, bad: &BadRecord) {
        serde_json::to_writer(self.writer.buffer(), bad).expect("a bad record has only JSON's types");
        self.writer.buffer().push(b'\n');
        self.count += 1;
    }

    /// Sends what is due.
    ///
    /// # Errors
    /// The write failed.
    pub async fn flush(&mut self) -> Result<(), UploadError> {
        self.writer.flush().await
    }

    /// The writer, to be created or abandoned.
    pub fn into_writer(self) -> PartWriter<'a> {
        self.writer
    }
}

/// Appends the list `name` to `to`, its numbers moved by `before` records (or taken away, if that is not
/// known).
///
/// # Errors
/// A read or write failed, or the list is not one.
pub async fn append(
    objects: &dyn Objects,
    name: &ObjectName,
    before: Option<u64>,
    to: &mut BadRecords<'_>,
) -> Result<(), UploadError> {
    let Some(head) = objects.head(name, None).await? else {
        return Err(ReadError::Missing(name.clone()).into());
    };
    let Some(stream) = whole(objects, name, &head).await? else { return Ok(()) };
    let mut lines = Lines { stream, buffer: Vec::new(), told: 0 };
    while let Some(line) = lines.next().await? {
        let mut bad: BadRecord = serde_json::from_slice(line)
            .map_err(|error| PortError::new(Fault::Permanent, "read bad records", name, error.to_string()))?;
        bad.record = before.zip(bad.record).map(|(before, record)| before + record);
        to.push(&bad);
        to.flush().await?;
    }
    Ok(())
}

async fn whole(
    objects: &dyn Objects,
    name: &ObjectName,
    head: &ObjectHead,
) -> Result<Option<ByteStream>, ReadError> {
    let range = ByteRange::new(0, head.size_bytes);
    let pin = Pin { version: None, etag: Some(head.etag.clone()) };
    Ok(if range.is_empty() { None } else { Some(objects.read(name, &pin, range).await?) })
}

/// Lines of a stream, with a piece of it in memory.
struct Lines {
    stream: ByteStream,
    buffer: Vec<u8>,
    /// How many bytes of the buffer were told.
    told: usize,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<&[u8]>, PortError> {
        let mut searched = self.told;
        loop {
            if let Some(found) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                return Ok(Some(self.tell(searched + found + 1)));
            }
            // Only what is left of a line moves, and only once a piece.
            self.buffer.drain(..std::mem::take(&mut self.told));
            searched = self.buffer.len();
            match self.stream.try_next().await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Ok(Some(self.tell(searched))),
            }
        }
    }

    fn tell(&mut self, end: usize) -> &[u8] {
        let start = std::mem::replace(&mut self.told, end);
        &self.buffer[start..end]
    }
}

//! How a list is cut, of objects or of items: by how many they are, and by how many bytes they have. Each line is looked
//! at before any of it is worked on.

use fanfold_domain::pipeline::{Format, Source, Split};
use fanfold_records::{Dialect, Frame, Framer};
use futures::TryStreamExt;
use serde::{Deserialize, de::Error as _};
use serde_json::value::RawValue;

use super::{Opened, PlanError};

/// A line of a list of objects, as far as it matters here.
#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    size: u64,
}

/// What a chunk under way has.
#[derive(Default)]
struct Batch {
    records: u64,
    size_bytes: u64,
}

/// The cuts of a list. One pass, with a piece of the list in memory.
pub(super) async fn cuts(opened: &Opened, source: &Source, split: Split) -> Result<Vec<u64>, PlanError> {
    let (most, most_bytes) = match split {
        Split::Records(records) => (records, u64::MAX),
        Split::SizeBytes(size_bytes) => (u64::MAX, size_bytes),
        Split::Batch { records, size_bytes } => (records, size_bytes),
    };
    let mut cuts = Vec::new();
    if opened.data.is_empty() {
        return Ok(cuts);
    }
    let mut framer = Framer::new(Dialect::Jsonl, opened.data.start, source.max_record_bytes);
    let mut line = 0;
    let mut stream = opened.reader.open(opened.data).await?;
    let (mut buffer, mut batch) = (Vec::new(), Batch::default());
    let mut left = opened.data.len();
    while let Some(bytes) = stream.try_next().await? {
        left = left.saturating_sub(bytes.len() as u64);
        buffer.extend_from_slice(&bytes);
        let mut at = 0;
        loop {
            let start = framer.offset();
            match framer.next(&buffer[at..], left == 0) {
                Frame::Record { body_len, raw_len, .. } => {
                    line += 1;
                    let size = size_of(source, &buffer[at..at + body_len])
                        .map_err(|source| PlanError::NotAnItem { line, offset: start, source })?;
                    let is_full = batch.records >= most || batch.size_bytes.saturating_add(size) > most_bytes;
                    if batch.records > 0 && is_full {
                        cuts.push(start);
                        batch = Batch::default();
                    }
                    batch.records += 1;
                    batch.size_bytes = batch.size_bytes.saturating_add(size);
                    at += raw_len;
                }
                Frame::Blank { raw_len }
                | Frame::Skipped { raw_len, .. }
                | Frame::Unterminated { raw_len, .. } => {
                    at += raw_len;
                }
                Frame::TooLong { .. } => {
                    let max_record = source.max_record_bytes;
                    return Err(PlanError::ItemTooLong { line: line + 1, offset: start, max_record });
                }
                Frame::NeedMore | Frame::End => break,
            }
        }
        buffer.drain(..at);
    }
    Ok(cuts)
}

/// The bytes that a line stands for: the object's that it names, or its own.
fn size_of(source: &Source, line: &[u8]) -> Result<u64, serde_json::Error> {
    if source.format == Format::Objects {
        return Ok(serde_json::from_slice::<Listed>(line)?.size);
    }
    let item: &RawValue = serde_json::from_slice(line)?;
    if !is_item(item) {
        return Err(serde_json::Error::custom("it is true, false, null or a list"));
    }
    Ok(line.len() as u64)
}

/// Whether this may be an item: a mapping, a text or a number.
pub(crate) fn is_item(json: &RawValue) -> bool {
    matches!(json.get().as_bytes().first(), Some(b'{' | b'"' | b'-' | b'0'..=b'9'))
}

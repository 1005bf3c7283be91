//! How a list is cut, of objects or of items: by how many they are, and by how many bytes they have. Each line is looked
//! at before any of it is worked on.

use fanfold_domain::{
    ByteRange,
    pipeline::{Format, Source, Split},
};
use fanfold_records::{Dialect, Frame, Framer};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::value::RawValue;

use super::{Opened, Places, PlanError, places::Stride};

/// A line of a list of objects, as far as it matters here.
#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    size: u64,
}

/// What a chunk under way has.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Batch {
    records: u64,
    size_bytes: u64,
}

/// Where a pass over a list is: between two lines.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Place {
    offset: u64,
    /// Lines before it.
    line: u64,
    /// What the chunk has that is under way there.
    batch: Batch,
}

/// The cuts of a list. One pass, with a piece of the list in memory, in strides. `None` if the time was over before its
/// end.
pub(super) async fn cuts(
    opened: &Opened,
    source: &Source,
    split: Split,
    places: &Places<'_>,
) -> Result<Option<Vec<u64>>, PlanError> {
    let mut cuts = Vec::new();
    if opened.data.is_empty() {
        return Ok(Some(cuts));
    }
    let strides: Vec<ByteRange> = opened.data.pieces(places.strides.list_bytes).collect();
    let mut at = Place { offset: opened.data.start, line: 0, batch: Batch::default() };
    for (number, stride) in strides.iter().enumerate() {
        let find = cuts_until(opened, source, split, at, stride.end);
        match places.stride(("list-cuts", number, strides.len()), find).await? {
            Stride::Found((found, next)) => {
                cuts.extend(found);
                at = next;
            }
            Stride::Later => return Ok(None),
        }
    }
    Ok(Some(cuts))
}

/// The cuts from a place on, up to the first line that begins at or behind `until`, and the place of that.
async fn cuts_until(
    opened: &Opened,
    source: &Source,
    split: Split,
    at: Place,
    until: u64,
) -> Result<(Vec<u64>, Place), PlanError> {
    let (most, most_bytes) = match split {
        Split::Records(records) => (records, u64::MAX),
        Split::SizeBytes(size_bytes) => (u64::MAX, size_bytes),
        Split::Batch { records, size_bytes } => (records, size_bytes),
    };
    let mut cuts = Vec::new();
    let Place { offset, mut line, mut batch } = at;
    if offset >= until {
        return Ok((cuts, at));
    }
    let rest = ByteRange::new(offset, opened.data.end);
    let mut framer = Framer::new(Dialect::Jsonl, offset, source.max_record_bytes);
    let mut stream = opened.reader.open(rest).await?;
    let mut buffer = Vec::new();
    let mut left = rest.len();
    while let Some(bytes) = stream.try_next().await? {
        left = left.saturating_sub(bytes.len() as u64);
        buffer.extend_from_slice(&bytes);
        let mut at = 0;
        loop {
            let start = framer.offset();
            if start >= until {
                return Ok((cuts, Place { offset: start, line, batch }));
            }
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
    Ok((cuts, Place { offset: framer.offset(), line, batch }))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fanfold_domain::{Chunk, ObjectName, SourcePin, pipeline::Pipeline};
    use fanfold_ports::memory::{MemoryClock, MemoryObjects};
    use proptest::prelude::*;
    use tokio::runtime::Builder;

    use super::*;

    /// The chunks of a list of objects of these sizes, and that list.
    fn plan(sizes: &[u64], split: Split, piece_bytes: usize) -> (Vec<Chunk>, String) {
        let document =
            "{pipeline: p, source: {prefix: in/, format: objects}, stages: [{name: s, process: copy}]}";
        let pipeline = Pipeline { split, ..Pipeline::parse(document).unwrap() };
        let lines =
            sizes.iter().enumerate().map(|(at, size)| format!("{{\"key\":\"in/{at}\",\"size\":{size}}}\n"));
        let list = lines.collect::<Vec<_>>().concat();
        let objects = MemoryObjects::new(MemoryClock::seeded(0)).with_stream_pieces(piece_bytes);
        let head = objects.insert("work", "list", list.clone());
        let object = ObjectName::new("work", "list");
        let source = SourcePin { object, version: None, etag: head.etag, size_bytes: head.size_bytes };
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let planned = runtime.block_on(crate::plan::plan(Arc::new(objects), &pipeline, &source)).unwrap();
        (planned.chunks, list)
    }

    /// The sizes of the objects that a chunk has.
    fn sizes_of(list: &str, chunk: &Chunk) -> Vec<u64> {
        let bytes = usize::try_from(chunk.range.start).unwrap()..usize::try_from(chunk.range.end).unwrap();
        list[bytes].lines().map(|line| serde_json::from_str::<Listed>(line).unwrap().size).collect()
    }

    fn batches(sizes: &[u64], split: Split, piece_bytes: usize) -> Vec<Vec<u64>> {
        let (chunks, list) = plan(sizes, split, piece_bytes);
        chunks.iter().map(|chunk| sizes_of(&list, chunk)).collect()
    }

    #[test]
    fn a_list_is_cut_by_how_many_and_by_how_large_whichever_is_reached_first() {
        let split = Split::Batch { records: 3, size_bytes: 100 };
        let sizes = [1, 2, 3, 4, 60, 40, 0, 200, 90, 20];
        let expected: [&[u64]; 6] = [&[1, 2, 3], &[4, 60], &[40, 0], &[200], &[90], &[20]];
        assert_eq!(batches(&sizes, split, 64), expected);
    }

    proptest! {
        #[test]
        fn every_object_is_in_one_chunk_and_each_chunk_is_as_full_as_it_may_be(
            sizes in prop::collection::vec(0u64..60, 1..40),
            (most, most_bytes) in (1u64..6, 1u64..150),
            piece_bytes in 1usize..200,
        ) {
            let split = Split::Batch { records: most, size_bytes: most_bytes };
            let batches = batches(&sizes, split, piece_bytes);
            prop_assert_eq!(batches.concat(), sizes);
            for batch in &batches {
                let is_small = batch.len() as u64 <= most && batch.iter().sum::<u64>() <= most_bytes;
                prop_assert!(is_small || batch.len() == 1, "{batch:?}");
            }
            for pair in batches.windows(2) {
                let (records, bytes) = (pair[0].len() as u64, pair[0].iter().sum::<u64>());
                prop_assert!(records == most || bytes + pair[1][0] > most_bytes, "{pair:?}");
            }
        }
    }
}

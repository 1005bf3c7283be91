//! What a chunk reads: a range of the source, ids, or the parts of another stage.

use bytes::Bytes;
use fanfold_domain::{
    ByteRange, Chunk, ChunkIndex, ObjectName, Run, SourcePin,
    pipeline::{Format, Stage, lines_bytes},
};
use fanfold_ports::{
    Objects, PortError,
    objects::{ByteStream, Pin, ReadError, UploadError},
};
use futures::{StreamExt, TryStreamExt, stream};

use super::is_tombstone;
use crate::plan::PlanRequest;

/// Parts looked at at once.
const HEADS_AT_ONCE: usize = 32;
/// Ids written at once.
const IDS_AT_ONCE: u64 = 4_096;

/// What a chunk reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Where the bytes stand, in order.
    pub(super) pieces: Vec<Piece>,
    /// Where its first byte stands, as bad records say it: in the source, or in what the chunk reads.
    pub(super) offset: u64,
    /// Its bytes.
    pub(super) len: u64,
}

/// Bytes that are read at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// A range of a pinned object, of at least one byte.
    Object { pin: SourcePin, range: ByteRange },
    /// Ids, half-open, each a line.
    Ids(ByteRange),
    /// These bytes.
    Given(Bytes),
}

impl Input {
    /// What a chunk of the first stage reads.
    pub fn of_first(run: &Run, chunk: &Chunk) -> Self {
        let Chunk { range, .. } = *chunk;
        if let Format::Ids(ids) = run.pipeline.source.format {
            // As if all ids of the run stood in one object.
            let offset = lines_bytes(ByteRange::new(ids.of(&run.id).start, range.start));
            return Self { pieces: vec![Piece::Ids(range)], offset, len: lines_bytes(range) };
        }
        let pin = run.input().clone();
        let pieces = if range.is_empty() { Vec::new() } else { vec![Piece::Object { pin, range }] };
        Self { pieces, offset: range.start, len: range.len() }
    }

    /// What the plan step reads: one line of JSON that says for which run it plans.
    pub fn of_plan_step(run: &Run) -> Self {
        let mut line = PlanRequest::of(run).to_json();
        line.push(b'\n');
        let line = Bytes::from(line);
        Self { offset: 0, len: line.len() as u64, pieces: vec![Piece::Given(line)] }
    }

    /// What a chunk of a later stage reads: the parts of the stage before, of which it was sent knowing that they are
    /// there.
    ///
    /// # Errors
    /// One is missing, or could not be looked at.
    pub async fn of_parts(
        objects: &dyn Objects,
        run: &Run,
        work_bucket: &str,
        stage: &Stage,
        chunk: ChunkIndex,
    ) -> Result<Self, UploadError> {
        let upstream = stage.upstream.expect("a later stage reads another's parts");
        let chunks = run.grouping_at(upstream.stage).map_or(0, |grouping| grouping.chunks);
        let keys = run.keys(&run.pipeline.stages[upstream.stage].name);
        let look = async |input: u32| {
            let object = ObjectName::new(work_bucket, keys.part(ChunkIndex(input)));
            match objects.head(&object, None).await? {
                // Who reads it was sent once all that it reads had ended, and fails with it.
                Some(head) if is_tombstone(&head) => Err(UploadError::Read(ReadError::Missing(object))),
                Some(head) => {
                    Ok(SourcePin { object, version: None, etag: head.etag, size_bytes: head.size_bytes })
                }
                None => Err(UploadError::Read(ReadError::Missing(object))),
            }
        };
        let look = &look;
        let inputs = stream::iter(upstream.inputs_of(chunk, chunks));
        let pins: Vec<SourcePin> = inputs.map(look).buffered(HEADS_AT_ONCE).try_collect().await?;
        let len = pins.iter().map(|pin| pin.size_bytes).sum();
        let whole = |pin: SourcePin| {
            let range = ByteRange::new(0, pin.size_bytes);
            (!range.is_empty()).then_some(Piece::Object { pin, range })
        };
        Ok(Self { pieces: pins.into_iter().filter_map(whole).collect(), offset: 0, len })
    }

    /// The one range of the source that this is, if it is one.
    pub(super) fn source_range(&self) -> Option<(&SourcePin, ByteRange)> {
        match &self.pieces[..] {
            [Piece::Object { pin, range }] => Some((pin, *range)),
            _ => None,
        }
    }
}

impl Piece {
    pub(super) async fn open(&self, objects: &dyn Objects) -> Result<ByteStream, ReadError> {
        match self {
            Self::Object { pin, range } => objects.read(&pin.object, &Pin::from(pin), *range).await,
            Self::Ids(ids) => Ok(lines(*ids)),
            Self::Given(bytes) => Ok(stream::iter([Ok(bytes.clone())]).boxed()),
        }
    }
}

/// Ids as lines, some at a time.
fn lines(ids: ByteRange) -> ByteStream {
    let write = |piece: ByteRange| {
        let mut text = String::new();
        for id in piece.start..piece.end {
            text.push_str(&id.to_string());
            text.push('\n');
        }
        Ok::<_, PortError>(Bytes::from(text))
    };
    stream::iter(ids.pieces(IDS_AT_ONCE)).map(write).boxed()
}

#[cfg(test)]
mod tests {
    use fanfold_domain::{RunState, pipeline::Pipeline};
    use fanfold_ports::{contract::sample_run, memory::MEMORY_EPOCH};

    use super::*;

    /// So that what a processor makes of offsets does not depend on how the ids are divided.
    #[test]
    fn ids_stand_where_they_would_in_one_object() {
        let mut run = fanfold_domain::Run { state: RunState::Running, ..sample_run("ids", MEMORY_EPOCH) };
        let text = "{pipeline: p, source: {range: {from: 8, to: 200}}, stages: [{name: s, process: index}]}";
        run.pipeline = Pipeline::parse(text).expect("it is a pipeline");
        let mut offset = 0;
        for (index, range) in (0..).map(ChunkIndex).zip(ByteRange::new(8, 201).pieces(7)) {
            let input = Input::of_first(&run, &Chunk { index, range });
            assert_eq!(input.offset, offset);
            offset += input.len;
        }
        assert_eq!(offset, 2 * 2 + 90 * 3 + 101 * 4);
    }
}

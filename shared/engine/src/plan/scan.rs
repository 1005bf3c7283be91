//! The exact scan of all data, ranges at once, where a record's end cannot be told locally.

use std::{collections::BTreeMap, sync::Arc};

use fanfold_domain::{ByteRange, ChunkIndex, Run, Scan};
use fanfold_ports::Objects;
use fanfold_records::{BLOCK, Position, RangeScan, RangeSummary, Scanner, State};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;

use crate::chunk::{Attempted, scan_sums};

use super::{
    Places, PlanError, counted,
    kept::{self, Kept},
    places::Stride,
    reader::Reader,
};

/// Bytes of one ranged read of a scan.
const RANGE_BYTES: u64 = 16 << 20;
/// Reads under way at once.
const AT_ONCE: usize = 8;
/// Ranges that are read, or scanned and waiting for one before them.
const AHEAD: usize = 2 * AT_ONCE;
/// Small reads under way at once, of what workers found.
const KEPT_AT_ONCE: usize = 32;

/// What a scan found: the parser's true position at the start of each block. The data are divided into
/// stretches of the same size but the last, and a stretch into blocks; blocks are numbered through, as if
/// each stretch had as many.
pub(super) struct Scanned {
    data: ByteRange,
    stretch_bytes: u64,
    /// The true position at the start of each stretch, and at the end of the data.
    starts: Vec<Position>,
    blocks: Blocks,
}

/// The positions of blocks.
enum Blocks {
    /// In memory, 24 bytes for each: of the one stretch that there is.
    Held(Arc<[Position]>),
    /// With what workers left in the work bucket, a stretch for each chunk of the scan.
    Kept(Box<Kept>),
}

impl Scanned {
    /// How many records there are.
    pub(super) fn records(&self) -> u64 {
        self.starts[self.stretches()].records_at_end()
    }

    /// Says whether it is certain that every record is whole, and at most `max_record` bytes long. Of what workers
    /// found it is not: their blocks would have to be read for that.
    pub(super) fn are_whole(&self, max_record: u64) -> bool {
        match &self.blocks {
            Blocks::Held(positions) => counted::are_whole(positions, max_record),
            Blocks::Kept(_) => false,
        }
    }

    /// How many stretches there are.
    pub(super) fn stretches(&self) -> usize {
        self.starts.len() - 1
    }

    /// The true position at the start of each stretch.
    pub(super) fn starts(&self) -> &[Position] {
        &self.starts[..self.stretches()]
    }

    /// How many blocks a stretch has, as they are numbered.
    pub(super) fn stretch_blocks(&self) -> usize {
        usize::try_from(self.stretch_bytes.div_ceil(BLOCK as u64).max(1)).expect("blocks are few enough")
    }

    /// The stretch that holds a block, and the block's place in it.
    pub(super) fn place(&self, block: usize) -> (usize, usize) {
        (block / self.stretch_blocks(), block % self.stretch_blocks())
    }

    /// The stretch that holds the byte at `offset`.
    pub(super) fn stretch_of(&self, offset: u64) -> usize {
        usize::try_from((offset - self.data.start) / self.stretch_bytes.max(1)).expect("stretches are few")
    }

    /// The block that holds the byte at `offset`.
    pub(super) fn block_of(&self, offset: u64) -> usize {
        let stretch = self.stretch_of(offset);
        let within = offset - self.stretch(stretch).start;
        stretch * self.stretch_blocks()
            + usize::try_from(within / BLOCK as u64).expect("blocks are few enough")
    }

    /// The bytes of a block, of which the position at its start is known.
    pub(super) fn block(&self, stretch: usize, at: Position) -> ByteRange {
        ByteRange::new(at.offset, (at.offset + BLOCK as u64).min(self.stretch(stretch).end))
    }

    fn stretch(&self, stretch: usize) -> ByteRange {
        let start = self.data.start + stretch as u64 * self.stretch_bytes;
        ByteRange::new(start, start.saturating_add(self.stretch_bytes).min(self.data.end))
    }

    /// The true position at the start of each block of a stretch, and at the stretch's end.
    pub(super) async fn positions(&self, stretch: usize) -> Result<Arc<[Position]>, PlanError> {
        match &self.blocks {
            Blocks::Held(positions) => Ok(positions.clone()),
            Blocks::Kept(kept) => {
                let summary = kept.read(chunk_of(stretch)).await?;
                let (start, end) = (self.starts[stretch], self.starts[stretch + 1]);
                Ok(summary.positions(start).chain([end]).collect())
            }
        }
    }

    /// Whether a stretch lies within one record, so that none starts in it.
    pub(super) fn is_within_record(&self, stretch: usize) -> bool {
        lies_within_record(self.starts[stretch], self.starts[stretch + 1])
    }
}

/// Whether no record starts between two positions, since all bytes there are of one.
pub(super) fn lies_within_record(start: Position, end: Position) -> bool {
    start.state.is_within_record() && start.records == end.records
}

/// Reads and scans all data here.
pub(super) async fn scan(
    reader: &Arc<Reader>,
    scanner: Scanner,
    data: ByteRange,
) -> Result<Scanned, PlanError> {
    let mut ranges = data.pieces(RANGE_BYTES).enumerate();
    let mut scans = JoinSet::new();
    let mut early: BTreeMap<usize, RangeSummary> = BTreeMap::new();
    let start = Position::start(data.start);
    let (mut positions, mut end, mut due) = (Vec::new(), start, 0);
    loop {
        while scans.len() < AT_ONCE && scans.len() + early.len() < AHEAD {
            let Some((place, range)) = ranges.next() else { break };
            let reader = reader.clone();
            scans.spawn(
                async move { Ok::<_, PlanError>((place, scan_range(&reader, scanner, range).await?)) },
            );
        }
        let Some(scanned) = scans.join_next().await else { break };
        let (place, summary) = scanned.expect("a scan does not panic")?;
        early.insert(place, summary);
        while let Some(summary) = early.remove(&due) {
            positions.extend(summary.positions(end));
            end = end.after(&summary.total());
            due += 1;
        }
    }
    positions.push(end);
    let blocks = Blocks::Held(positions.into());
    Ok(Scanned { data, stretch_bytes: data.len(), starts: vec![start, end], blocks })
}

async fn scan_range(reader: &Reader, scanner: Scanner, range: ByteRange) -> Result<RangeSummary, PlanError> {
    let mut scan = RangeScan::new(scanner, range.start);
    let mut stream = reader.open(range).await?;
    while let Some(bytes) = stream.try_next().await? {
        scan.feed(&bytes);
    }
    Ok(scan.finish())
}

/// Reads and scans one chunk of the scan of `run`, and leaves what it found in the work bucket. Whoever does
/// it twice leaves the same.
///
/// # Errors
/// The source could not be read, or what was found not be written.
pub async fn scan_chunk(
    objects: Arc<dyn Objects>,
    run: &Run,
    scan: &Scan,
    work_bucket: &str,
    chunk: ChunkIndex,
) -> Result<Attempted, PlanError> {
    let scanner = super::scanner_of(&run.pipeline.source);
    let reader = Reader::new(objects.clone(), run.input().clone());
    let summary = scan_range(&reader, scanner, scan.range(chunk)).await?;
    let has_created = kept::write(&*objects, run, work_bucket, chunk, &summary).await?;
    Ok(Attempted { sums: scan_sums(run, chunk), has_created })
}

/// A position without its offset, which follows from its place: the number of its state, and the records before it.
type Start = (u8, u64);

/// What workers found, range by range, in strides: nothing of it is held but a position a range. `None` if the time was
/// over before the last.
pub(super) async fn scanned_by_workers(
    kept: Kept,
    places: &Places<'_>,
) -> Result<Option<Scanned>, PlanError> {
    let scan = kept.scan().clone();
    let chunks: Vec<ChunkIndex> = (0..scan.grouping.chunks).map(ChunkIndex).collect();
    let mut end = Position::start(scan.data.start);
    let mut starts = vec![end];
    let strides: Vec<&[ChunkIndex]> = chunks.chunks(places.strides.ranges).collect();
    for (number, stride) in strides.iter().enumerate() {
        let find = ends_of(&kept, stride, end);
        let ends = match places.stride(("scanned", number, strides.len()), find).await? {
            Stride::Found(ends) => ends,
            Stride::Later => return Ok(None),
        };
        for (chunk, (state, records)) in stride.iter().zip(ends) {
            let state = State::ALL.get(usize::from(state)).copied().unwrap_or(end.state);
            end = Position { offset: scan.range(*chunk).end, state, records };
            starts.push(end);
        }
    }
    Ok(Some(Scanned {
        data: scan.data,
        stretch_bytes: scan.range_bytes,
        starts,
        blocks: Blocks::Kept(Box::new(kept)),
    }))
}

/// The position at the end of each of these chunks of the scan, which follow one another from `start` on.
async fn ends_of(kept: &Kept, chunks: &[ChunkIndex], start: Position) -> Result<Vec<Start>, PlanError> {
    let totals = stream::iter(chunks.iter().copied()).map(|chunk| kept.read_total(chunk));
    let mut totals = totals.buffered(KEPT_AT_ONCE);
    let (mut end, mut ends) = (start, Vec::new());
    while let Some(total) = totals.try_next().await? {
        end = end.after(&total);
        ends.push((u8::try_from(end.state.index()).expect("there are six states"), end.records));
    }
    Ok(ends)
}

fn chunk_of(stretch: usize) -> ChunkIndex {
    ChunkIndex(u32::try_from(stretch).expect("a stretch is a chunk of the scan"))
}

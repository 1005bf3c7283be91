//! The exact scan of all data, ranges at once, where a record's end cannot be told locally.

use std::{collections::BTreeMap, sync::Arc};

use fanfold_domain::ByteRange;
use fanfold_records::{BLOCK, Position, RangeScan, RangeSummary, Scanner};
use futures::TryStreamExt;
use tokio::task::JoinSet;

use super::{PlanError, reader::Reader};

/// Bytes of one ranged read of a scan.
const RANGE_BYTES: u64 = 16 << 20;
/// Reads under way at once.
const AT_ONCE: usize = 8;
/// Ranges that are read, or scanned and waiting for one before them.
const AHEAD: usize = 2 * AT_ONCE;

/// What a scan found: 24 bytes for each block of the data.
pub(super) struct Scanned {
    /// The true position at the start of each block, in order.
    pub(super) positions: Vec<Position>,
    /// How many records there are.
    pub(super) records: u64,
    data: ByteRange,
}

impl Scanned {
    /// The bytes of a block.
    pub(super) fn block(&self, index: usize) -> ByteRange {
        let start = self.positions[index].offset;
        ByteRange::new(start, (start + BLOCK as u64).min(self.data.end))
    }

    /// The block that holds the byte at `offset`.
    pub(super) fn block_of(&self, offset: u64) -> usize {
        usize::try_from((offset - self.data.start) / BLOCK as u64).expect("positions are in memory")
    }

    /// Whether the block lies within one record, so that none starts in it.
    pub(super) fn is_within_record(&self, index: usize) -> bool {
        let at = &self.positions[index];
        let next = self.positions.get(index + 1);
        at.state.is_within_record() && next.is_some_and(|next| next.records == at.records)
    }
}

pub(super) async fn scan(
    reader: &Arc<Reader>,
    scanner: Scanner,
    data: ByteRange,
) -> Result<Scanned, PlanError> {
    let mut ranges = data.pieces(RANGE_BYTES).enumerate();
    let mut scans = JoinSet::new();
    let mut early: BTreeMap<usize, RangeSummary> = BTreeMap::new();
    let (mut positions, mut end, mut due) = (Vec::new(), Position::start(data.start), 0);
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
    Ok(Scanned { positions, records: end.records_at_end(), data })
}

async fn scan_range(reader: &Reader, scanner: Scanner, range: ByteRange) -> Result<RangeSummary, PlanError> {
    let mut scan = RangeScan::new(scanner, range.start);
    let mut stream = reader.open(range).await?;
    while let Some(bytes) = stream.try_next().await? {
        scan.feed(&bytes);
    }
    Ok(scan.finish())
}

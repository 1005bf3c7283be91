//! Where the data are cut.

use std::sync::Arc;

use fanfold_domain::{ByteRange, Grouping, group::TooManyChunks, pipeline::Split};
use fanfold_records::{
    Dialect, Locating, Position, Scanner, State, Window, block_of_record, boundary_in_block, first_boundary,
    fixed_boundary, nth_record_start,
};
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    PlanError,
    reader::Reader,
    scan::{Scanned, scan},
};

/// Reads for cuts under way at once.
const AT_ONCE: usize = 32;
/// The least and the most that is first read at a nominal cut, in bytes.
const WINDOW_BYTES: (u64, u64) = (512, 16 << 10);
/// The window's share of a chunk: what keeps the splitter below a thousandth of the file.
const WINDOW_SHARE: u64 = 4096;
/// The most that is read at once where records are long.
const MAX_WINDOW_BYTES: u64 = 1 << 20;

/// Finds where a source's data are cut.
#[derive(Clone, Copy)]
pub(super) struct Cutter<'a> {
    pub(super) reader: &'a Arc<Reader>,
    pub(super) dialect: Dialect,
    pub(super) data: ByteRange,
}

/// Cuts that one block is read for.
struct Search {
    block: usize,
    /// The last block in which a boundary is still looked for.
    last_block: usize,
    /// Nominal cuts, or numbers of records.
    wanted: Vec<u64>,
}

impl Cutter<'_> {
    /// The cuts, in any order.
    pub(super) async fn cuts(&self, split: Split) -> Result<Vec<u64>, PlanError> {
        match split {
            Split::SizeBytes(size) if size >= self.data.len() => Ok(Vec::new()),
            Split::SizeBytes(size) => {
                let nominal = self.every(size)?;
                match self.dialect.locating() {
                    Locating::Arithmetic => Ok(self.fixed(&nominal)),
                    Locating::Local => self.local(size, &nominal).await,
                    Locating::Scan => self.scanned_by_size(&nominal).await,
                }
            }
            Split::Records(count) => match self.dialect {
                Dialect::Fixed { length } => Ok(self.every(length.saturating_mul(count))?),
                _ => self.scanned_by_records(count).await,
            },
        }
    }

    /// The nominal cuts: every `size` bytes of the data, without its edges.
    fn every(&self, size: u64) -> Result<Vec<u64>, TooManyChunks> {
        Grouping::choose(self.data.len().div_ceil(size).max(1), self.data.len())?;
        Ok(self.data.pieces(size).skip(1).map(|piece| piece.start).collect())
    }

    fn fixed(&self, nominal: &[u64]) -> Vec<u64> {
        let Dialect::Fixed { length } = self.dialect else { return Vec::new() };
        nominal.iter().map(|cut| fixed_boundary(length, self.data.start, *cut)).collect()
    }

    /// Looks around each nominal cut, many at once.
    async fn local(&self, size: u64, nominal: &[u64]) -> Result<Vec<u64>, PlanError> {
        let window = (size / WINDOW_SHARE).clamp(WINDOW_BYTES.0, WINDOW_BYTES.1);
        // A record start that is not before the next nominal cut is found from there: in a source of few
        // and long records no byte is read for two cuts.
        let ends = nominal.iter().skip(1).map(|next| next - 1).chain([self.data.end]);
        let places: Vec<_> =
            nominal.iter().zip(ends).map(|(cut, end)| ByteRange::new(cut - 1, end)).collect();
        let looks = stream::iter(places).map(|place| self.look(place, window)).buffered(AT_ONCE);
        looks.try_filter_map(async |found| Ok(found)).try_collect().await
    }

    /// The first record start behind a line end within `place`.
    async fn look(&self, place: ByteRange, mut width: u64) -> Result<Option<u64>, PlanError> {
        let mut offset = place.start;
        while offset < place.end {
            let range = ByteRange::new(offset, (offset + width).min(place.end));
            let bytes = self.reader.read(range).await?;
            let at_end = range.end == self.data.end;
            let found = first_boundary(self.dialect, Window { bytes: &bytes, offset, at_end });
            if found.is_some() {
                return Ok(found);
            }
            (offset, width) = (range.end, (width * 8).min(MAX_WINDOW_BYTES));
        }
        Ok(None)
    }

    async fn scanned_by_size(&self, nominal: &[u64]) -> Result<Vec<u64>, PlanError> {
        let scanned = self.scan().await?;
        let mut searches = by_block(nominal.iter().map(|cut| (scanned.block_of(*cut), *cut)));
        // As in `local`: what starts behind the next nominal cut is found from there.
        let next: Vec<usize> = searches.iter().skip(1).map(|search| search.block).collect();
        let last = scanned.positions.len().saturating_sub(1);
        searches
            .iter_mut()
            .zip(next.into_iter().chain([last]))
            .for_each(|(search, next)| search.last_block = next);
        self.search(&scanned, searches, |bytes, at, cut, at_end| {
            let from = usize::try_from(cut.saturating_sub(at.offset)).expect("blocks are small");
            let found = boundary_in_block(self.dialect, bytes, at.state, from, at_end);
            found.map(|start| at.offset + start as u64)
        })
        .await
    }

    async fn scanned_by_records(&self, count: u64) -> Result<Vec<u64>, PlanError> {
        let scanned = self.scan().await?;
        let chunks = scanned.records.div_ceil(count).max(1);
        Grouping::choose(chunks, self.data.len())?;
        let records = (1..chunks).map(|chunk| chunk * count);
        let block = |record| block_of_record(&scanned.positions, record).unwrap_or(0);
        let mut searches = by_block(records.map(|record| (block(record), record)));
        for search in &mut searches {
            search.last_block = scanned.positions.len() - 1;
        }
        self.search(&scanned, searches, |bytes, at, record, at_end| {
            nth_record_start(self.dialect, bytes, at, record, at_end)
        })
        .await
    }

    async fn scan(&self) -> Result<Scanned, PlanError> {
        let scanner = Scanner::new(self.dialect).expect("fixed-width records are never scanned");
        scan(self.reader, scanner, self.data).await
    }

    /// Does many searches at once. `find` looks in the bytes from a known position on for one thing wanted.
    async fn search(
        &self,
        scanned: &Scanned,
        searches: Vec<Search>,
        find: impl Fn(&[u8], Position, u64, bool) -> Option<u64> + Sync,
    ) -> Result<Vec<u64>, PlanError> {
        let find = &find;
        let one = async |search: Search| self.search_from(scanned, search, find).await;
        let found: Vec<Vec<u64>> = stream::iter(searches).map(one).buffered(AT_ONCE).try_collect().await?;
        Ok(found.concat())
    }

    /// Reads block after block until all that is wanted was found, or is left to a later search.
    async fn search_from(
        &self,
        scanned: &Scanned,
        search: Search,
        find: &(impl Fn(&[u8], Position, u64, bool) -> Option<u64> + Sync),
    ) -> Result<Vec<u64>, PlanError> {
        let Search { block, last_block, mut wanted } = search;
        let mut cuts = Vec::new();
        for index in (block..=last_block).filter(|index| !scanned.is_within_record(*index)) {
            let range = scanned.block(index);
            let bytes = self.reader.read(range).await?;
            let (mut at, mut rest) = (scanned.positions[index], &bytes[..]);
            wanted.retain(|wanted| {
                let Some(cut) = find(rest, at, *wanted, range.end == self.data.end) else { return true };
                // The next one is looked for from here on: no byte of the block is looked at for two.
                if let Some(passed) = cut.checked_sub(at.offset) {
                    at = Position { offset: cut, state: State::StartOfRecord, records: *wanted };
                    rest = &rest[usize::try_from(passed).expect("blocks are small")..];
                }
                cuts.push(cut);
                false
            });
            if wanted.is_empty() {
                break;
            }
        }
        Ok(cuts)
    }
}

/// Joins what is looked for in the same block, so that it is read once.
fn by_block(wanted: impl Iterator<Item = (usize, u64)>) -> Vec<Search> {
    let mut searches: Vec<Search> = Vec::new();
    for (block, wanted) in wanted {
        match searches.last_mut() {
            Some(last) if last.block == block => last.wanted.push(wanted),
            _ => searches.push(Search { block, last_block: block, wanted: vec![wanted] }),
        }
    }
    searches
}

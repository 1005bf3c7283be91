//! Where the data are cut.

use std::sync::Arc;

use fanfold_domain::{ByteRange, Grouping, group::TooManyChunks, pipeline::Split};
use fanfold_records::{
    Dialect, Locating, Position, Scanner, State, Window, block_of_record, boundary_in_block, first_boundary,
    fixed_boundary, nth_record_start,
};
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    Places, PlanError,
    places::Stride,
    reader::Reader,
    scan::{Scanned, lies_within_record},
};

/// Reads for cuts under way at once.
const AT_ONCE: usize = 32;
/// Stretches of a scan looked into at once.
const STRETCHES_AT_ONCE: usize = 4;
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

/// How a source is cut.
pub(super) enum Method {
    /// Nowhere.
    Whole,
    /// At places that are computed.
    Fixed(Vec<u64>),
    /// Behind these nominal cuts, each looked for around it.
    Local { size: u64, nominal: Vec<u64> },
    /// Where only a scan of all data can tell.
    Scan(Aim),
}

/// What is looked for in scanned data.
#[derive(Debug, Clone)]
pub(super) enum Aim {
    /// The first record that starts at or behind each of these nominal cuts.
    Behind(Vec<u64>),
    /// Every so many records' start.
    Every(u64),
}

/// What is looked for in one stretch.
struct Task {
    stretch: usize,
    /// Nominal cuts, or numbers of records.
    wanted: Vec<u64>,
    /// The last block in which something is still looked for.
    last_block: usize,
}

/// What one block is read for.
struct Search {
    block: usize,
    last_block: usize,
    wanted: Vec<u64>,
}

impl Cutter<'_> {
    /// How the data are cut for such a split.
    pub(super) fn method(&self, split: Split) -> Result<Method, PlanError> {
        Ok(match (split, self.dialect) {
            (Split::SizeBytes(size), _) if size >= self.data.len() => Method::Whole,
            (Split::SizeBytes(size), _) => {
                let nominal = self.every(size)?;
                match self.dialect.locating() {
                    Locating::Arithmetic => Method::Fixed(self.fixed(&nominal)),
                    Locating::Local => Method::Local { size, nominal },
                    Locating::Scan => Method::Scan(Aim::Behind(nominal)),
                }
            }
            (Split::Records(count) | Split::Batch { records: count, .. }, Dialect::Fixed { length }) => {
                let records = self.data.len().div_ceil(length);
                let cuts = self.every(length.saturating_mul(count));
                Method::Fixed(cuts.map_err(|error| error.of_records(records))?)
            }
            (Split::Records(_) | Split::Batch { .. }, _) if self.data.is_empty() => Method::Whole,
            (Split::Records(count) | Split::Batch { records: count, .. }, _) => {
                Method::Scan(Aim::Every(count))
            }
        })
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

    /// Looks around each nominal cut, many at once, in strides. `None` if the time was over before the last.
    pub(super) async fn local(
        &self,
        size: u64,
        nominal: &[u64],
        places: &Places<'_>,
    ) -> Result<Option<Vec<u64>>, PlanError> {
        let window = (size / WINDOW_SHARE).clamp(WINDOW_BYTES.0, WINDOW_BYTES.1);
        // A record start that is not before the next nominal cut is found from there: in a source of few
        // and long records no byte is read for two cuts.
        let ends = nominal.iter().skip(1).map(|next| next - 1).chain([self.data.end]);
        let ranges: Vec<_> =
            nominal.iter().zip(ends).map(|(cut, end)| ByteRange::new(cut - 1, end)).collect();
        let mut cuts = Vec::new();
        let strides: Vec<_> = ranges.chunks(places.strides.cuts).collect();
        for (number, stride) in strides.iter().enumerate() {
            let looks =
                stream::iter(stride.iter().copied()).map(|range| self.look(range, window)).buffered(AT_ONCE);
            let find = looks.try_filter_map(async |found| Ok(found)).try_collect::<Vec<u64>>();
            match places.stride(("cuts", number, strides.len()), find).await? {
                Stride::Found(found) => cuts.extend(found),
                Stride::Later => return Ok(None),
            }
        }
        Ok(Some(cuts))
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

    /// The cuts in scanned data, in any order, each with the number of records before it.
    pub(super) async fn scanned(&self, scanned: &Scanned, aim: &Aim) -> Result<Vec<Position>, PlanError> {
        self.look_for(scanned, aim, self.tasks(scanned, aim)?).await
    }

    /// The same in strides, and only where they are. `None` if the time was over before the last.
    pub(super) async fn scanned_in_strides(
        &self,
        scanned: &Scanned,
        aim: &Aim,
        places: &Places<'_>,
    ) -> Result<Option<Vec<u64>>, PlanError> {
        let mut tasks = self.tasks(scanned, aim)?.into_iter();
        let of = tasks.len().div_ceil(places.strides.stretches);
        let mut cuts = Vec::new();
        for number in 0..of {
            let stride: Vec<Task> = tasks.by_ref().take(places.strides.stretches).collect();
            let find = async {
                let found = self.look_for(scanned, aim, stride).await?;
                Ok(found.iter().map(|cut| cut.offset).collect::<Vec<u64>>())
            };
            match places.stride(("scanned-cuts", number, of), find).await? {
                Stride::Found(found) => cuts.extend(found),
                Stride::Later => return Ok(None),
            }
        }
        Ok(Some(cuts))
    }

    /// What is looked for, by stretch.
    fn tasks(&self, scanned: &Scanned, aim: &Aim) -> Result<Vec<Task>, PlanError> {
        Ok(match aim {
            Aim::Behind(nominal) => behind(scanned, nominal),
            Aim::Every(count) => {
                let records = scanned.records();
                let chunks = records.div_ceil(*count).max(1);
                Grouping::choose(chunks, self.data.len()).map_err(|error| error.of_records(records))?;
                every(scanned, (1..chunks).map(|chunk| chunk * count))
            }
        })
    }

    async fn look_for(
        &self,
        scanned: &Scanned,
        aim: &Aim,
        tasks: Vec<Task>,
    ) -> Result<Vec<Position>, PlanError> {
        let look = |task| self.look_in_stretch(scanned, aim, task);
        let found: Vec<Vec<Position>> =
            stream::iter(tasks).map(look).buffered(STRETCHES_AT_ONCE).try_collect().await?;
        Ok(found.concat())
    }

    async fn look_in_stretch(
        &self,
        scanned: &Scanned,
        aim: &Aim,
        task: Task,
    ) -> Result<Vec<Position>, PlanError> {
        let Task { stretch, wanted, last_block } = task;
        let positions = scanned.positions(stretch).await?;
        let first_block = stretch * scanned.stretch_blocks();
        let mut searches = by_block(wanted.into_iter().map(|wanted| {
            let block = match aim {
                Aim::Behind(_) => scanned.block_of(wanted),
                Aim::Every(_) => first_block + block_of_record(without_end(&positions), wanted).unwrap_or(0),
            };
            (block, wanted)
        }));
        if let Aim::Behind(_) = aim {
            // As in `local`: what starts behind the next nominal cut is found from there.
            let next: Vec<usize> = searches.iter().skip(1).map(|search| search.block).collect();
            searches.iter_mut().zip(next).for_each(|(search, next)| search.last_block = next);
        }
        for search in &mut searches {
            search.last_block = search.last_block.min(last_block);
        }
        let search = |search| self.search(scanned, aim, positions.clone(), search);
        let found: Vec<Vec<Position>> =
            stream::iter(searches).map(search).buffered(AT_ONCE).try_collect().await?;
        Ok(found.concat())
    }

    /// Reads block after block until all that is wanted was found, or is left to a later search. `positions`
    /// are those of the stretch that the search begins in.
    async fn search(
        &self,
        scanned: &Scanned,
        aim: &Aim,
        mut positions: Arc<[Position]>,
        search: Search,
    ) -> Result<Vec<Position>, PlanError> {
        let Search { mut block, last_block, mut wanted } = search;
        let (mut stretch, mut place) = scanned.place(block);
        let mut cuts = Vec::new();
        while block <= last_block && !wanted.is_empty() {
            if place + 1 >= positions.len() {
                // On to the next stretch in which a record starts.
                stretch += 1;
                while stretch < scanned.stretches() && scanned.is_within_record(stretch) {
                    stretch += 1;
                }
                if stretch == scanned.stretches() {
                    break;
                }
                positions = scanned.positions(stretch).await?;
                (block, place) = (stretch * scanned.stretch_blocks(), 0);
                continue;
            }
            if !lies_within_record(positions[place], positions[place + 1]) {
                let range = scanned.block(stretch, positions[place]);
                let bytes = self.reader.read(range).await?;
                self.take(aim, &bytes, positions[place], &mut wanted, &mut cuts);
            }
            (block, place) = (block + 1, place + 1);
        }
        Ok(cuts)
    }

    /// Takes what a block has of what is wanted.
    fn take(
        &self,
        aim: &Aim,
        bytes: &[u8],
        mut at: Position,
        wanted: &mut Vec<u64>,
        cuts: &mut Vec<Position>,
    ) {
        let at_end = at.offset + bytes.len() as u64 == self.data.end;
        let mut rest = bytes;
        let mut is_through = false;
        wanted.retain(|wanted| {
            // Where one is not found none behind it is: what is wanted ascends. Looking all the same would take a pass
            // over the block for each.
            if is_through {
                return true;
            }
            let found = match aim {
                Aim::Behind(_) => {
                    let from = usize::try_from(wanted.saturating_sub(at.offset)).expect("blocks are small");
                    let found = boundary_in_block(self.dialect, rest, at.state, from, at_end);
                    found.map(|start| at.offset + start as u64)
                }
                Aim::Every(_) => nth_record_start(self.dialect, rest, at, *wanted, at_end),
            };
            let Some(cut) = found else {
                is_through = true;
                return true;
            };
            let passed =
                cut.checked_sub(at.offset).map(|passed| usize::try_from(passed).expect("blocks are small"));
            let records = match aim {
                Aim::Behind(_) => at.records + self.records_in(&rest[..passed.unwrap_or(0)], at.state),
                Aim::Every(_) => *wanted,
            };
            let cut = Position { offset: cut, state: State::StartOfRecord, records };
            // The next one is looked for from here on: no byte of the block is looked at for two.
            if let Some(passed) = passed {
                at = cut;
                rest = &rest[passed..];
            }
            cuts.push(cut);
            false
        });
    }

    /// How many records end in `bytes`, which the parser enters in `state`.
    fn records_in(&self, bytes: &[u8], state: State) -> u64 {
        let scanner = Scanner::new(self.dialect).expect("fixed-width records are never scanned");
        scanner.summarize(bytes).outcome(state).records
    }
}

/// Nominal cuts by the stretch they lie in.
fn behind(scanned: &Scanned, nominal: &[u64]) -> Vec<Task> {
    let mut tasks = by_stretch(nominal.iter().map(|cut| (scanned.stretch_of(*cut), *cut)));
    // What starts behind the next nominal cut is found from there, in whatever stretch that lies.
    let next: Vec<usize> = tasks.iter().skip(1).map(|task| scanned.block_of(task.wanted[0])).collect();
    tasks.iter_mut().zip(next).for_each(|(task, next)| task.last_block = next);
    tasks
}

/// Numbers of records by the stretch that each is looked for from: the last in which it has not yet begun.
fn every(scanned: &Scanned, records: impl Iterator<Item = u64>) -> Vec<Task> {
    by_stretch(records.map(|record| (block_of_record(scanned.starts(), record).unwrap_or(0), record)))
}

fn by_stretch(wanted: impl Iterator<Item = (usize, u64)>) -> Vec<Task> {
    let mut tasks: Vec<Task> = Vec::new();
    for (stretch, wanted) in wanted {
        match tasks.last_mut() {
            Some(last) if last.stretch == stretch => last.wanted.push(wanted),
            _ => tasks.push(Task { stretch, wanted: vec![wanted], last_block: usize::MAX }),
        }
    }
    tasks
}

/// Joins what is looked for in the same block, so that it is read once.
fn by_block(wanted: impl Iterator<Item = (usize, u64)>) -> Vec<Search> {
    let mut searches: Vec<Search> = Vec::new();
    for (block, wanted) in wanted {
        match searches.last_mut() {
            Some(last) if last.block == block => last.wanted.push(wanted),
            _ => searches.push(Search { block, last_block: usize::MAX, wanted: vec![wanted] }),
        }
    }
    searches
}

/// The positions of blocks, without that of their end.
fn without_end(positions: &[Position]) -> &[Position] {
    &positions[..positions.len() - 1]
}

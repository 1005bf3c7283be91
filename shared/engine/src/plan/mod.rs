//! Planning: where a source's data begin, and where it is cut into chunks.

mod counted;
mod cut;
mod head;
mod kept;
mod list;
mod listed;
mod places;
mod reader;
mod request;
mod scan;

use std::sync::Arc;

use fanfold_domain::{
    ByteRange, Chunk, ChunkIndex, Grouping, LineEnd, Plan, Run, Scan, SourcePin,
    group::TooManyChunks,
    pipeline::{Pipeline, Source, Split, lines_bytes},
};
use fanfold_ports::{
    Objects, PortError, Until,
    objects::{ReadError, UploadError},
};
use fanfold_records::{BLOCK, Dialect, Position, PreambleError, Scanner};
use thiserror::Error;

use self::{
    cut::{Cutter, Method},
    head::Head,
    kept::Kept,
    reader::Reader,
};
use crate::dialect;

pub use list::{Leg, Wanted, go_on_listing, list_objects};
pub(crate) use listed::is_item;
pub use places::{Places, Strides};
pub(crate) use request::PlanRequest;
pub use scan::scan_chunk;

/// What planning found: the plan, its chunks, and what it cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What the run keeps.
    pub plan: Plan,
    /// The chunks, in order; they tile the source behind its preamble.
    pub chunks: Vec<Chunk>,
    /// How many records each chunk has, where they were counted and it is certain that each of them is whole:
    /// within `max_record`, and its quotes closed.
    pub counted: Option<Vec<u64>>,
    /// Bytes asked of the source.
    pub bytes_read: u64,
}

/// Why a source cannot be planned.
#[derive(Debug, Error)]
pub enum PlanError {
    /// Its beginning cannot be read as what the pipeline says it is.
    #[error(transparent)]
    Preamble(#[from] PreambleError),
    /// It would have more chunks than a stage can have.
    #[error(transparent)]
    TooManyChunks(#[from] TooManyChunks),
    /// It is gone, or no longer what was pinned.
    #[error("the source was replaced: {0}")]
    SourceChanged(ReadError),
    /// What workers found of it is gone.
    #[error("{0}: the work bucket must keep what the scan of a source found until the run ends")]
    ScanLost(ReadError),
    /// There is nothing to be done, where there should be.
    #[error("{0}")]
    Nothing(String),
    /// A line of a list is nothing that can be worked on.
    #[error("line {line} of the list (byte {offset}) is no JSON mapping, text or number: {source}")]
    NotAnItem {
        /// From 1.
        line: u64,
        /// Where it starts in the list.
        offset: u64,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A line of a list is longer than a record may be.
    #[error("line {line} of the list (byte {offset}) is longer than source.max_record, {max_record} bytes")]
    ItemTooLong {
        /// From 1.
        line: u64,
        /// Where it starts in the list.
        offset: u64,
        /// The limit, in bytes.
        max_record: u64,
    },
    /// A list could not be written.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// A read failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl PlanError {
    /// Whether no further try would end otherwise.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Port(error) => error.is_permanent(),
            Self::Upload(error) => error.is_final(),
            Self::SourceChanged(_) => false,
            _ => true,
        }
    }
}

impl From<ReadError> for PlanError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Port(error) => Self::Port(error),
            gone => Self::SourceChanged(gone),
        }
    }
}

/// How large a source may be for one reader to scan it, and in what pieces a larger one is scanned by workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimits {
    /// The most bytes that one reader scans.
    pub alone_bytes: u64,
    /// Bytes that a worker scans at once.
    pub range_bytes: u64,
}

impl ScanLimits {
    /// 4 GiB is a minute's reading for one function, and 256 MiB a few seconds'.
    pub const DEFAULT: Self = Self::alone_up_to(4 << 30);

    /// Sources of at most `alone_bytes` are scanned by one reader; larger ones in sixteenths of that, in whole
    /// blocks.
    pub const fn alone_up_to(alone_bytes: u64) -> Self {
        Self { alone_bytes, range_bytes: (alone_bytes / 16).next_multiple_of(BLOCK as u64) }
    }
}

/// A source with its beginning read.
struct Opened {
    reader: Arc<Reader>,
    head: Head,
    dialect: Dialect,
    data: ByteRange,
}

impl Opened {
    async fn new(
        objects: Arc<dyn Objects>,
        pipeline: &Pipeline,
        source: &SourcePin,
    ) -> Result<Self, PlanError> {
        let dialect = dialect::of(&pipeline.source);
        let reader = Arc::new(Reader::new(objects, source.clone()));
        let head = Head::read(&reader, &pipeline.source, dialect).await?;
        let data = ByteRange::new(head.preamble.end, source.size_bytes);
        Ok(Self { reader, head, dialect, data })
    }

    fn cutter(&self) -> Cutter<'_> {
        Cutter { reader: &self.reader, dialect: self.dialect, data: self.data }
    }

    fn planned(self, cuts: Vec<u64>) -> Result<Planned, PlanError> {
        let Head { preamble, header, line_end } = self.head;
        let chunks = chunks(self.data, cuts);
        let grouping = Grouping::choose(chunks.len() as u64, self.data.len())?;
        let plan = Plan { grouping, preamble, header, line_end };
        Ok(Planned { plan, chunks, counted: None, bytes_read: self.reader.bytes_read() })
    }
}

/// Plans `source` as `pipeline` says, with ranged reads and no copy; all of it is scanned here if it has to be.
///
/// # Errors
/// The source cannot be read, or not as what the pipeline says it is.
pub async fn plan(
    objects: Arc<dyn Objects>,
    pipeline: &Pipeline,
    source: &SourcePin,
) -> Result<Planned, PlanError> {
    let whole = Strides { cuts: usize::MAX, list_bytes: u64::MAX, ..Strides::DEFAULT };
    let kept = objects.clone();
    let places = Places::new(&*kept, "", String::new(), whole, Until::NEVER);
    Ok(go_on_planning(objects, pipeline, source, &places).await?.expect("it has all the time that it takes"))
}

/// The same in strides, of which those that were done before are not done again. `None` if the time was over before the
/// last.
///
/// # Errors
/// As [`plan`].
pub async fn go_on_planning(
    objects: Arc<dyn Objects>,
    pipeline: &Pipeline,
    source: &SourcePin,
    places: &Places<'_>,
) -> Result<Option<Planned>, PlanError> {
    let opened = Opened::new(objects, pipeline, source).await?;
    if pipeline.source.is_list() {
        let cuts = listed::cuts(&opened, &pipeline.source, pipeline.split, places).await?;
        return cuts.map(|cuts| opened.planned(cuts)).transpose();
    }
    let cutter = opened.cutter();
    let cuts = match cutter.method(pipeline.split)? {
        Method::Whole => Vec::new(),
        Method::Fixed(cuts) => cuts,
        Method::Local { size, nominal } => match cutter.local(size, &nominal, places).await? {
            Some(cuts) => cuts,
            None => return Ok(None),
        },
        Method::Scan(aim) => {
            let scanned = scan::scan(&opened.reader, scanner_of(&pipeline.source), opened.data).await?;
            let mut cuts = cutter.scanned(&scanned, &aim).await?;
            cuts.sort_unstable_by_key(|cut| cut.offset);
            let mut planned = opened.planned(offsets(&cuts))?;
            if scanned.are_whole(pipeline.source.max_record_bytes) {
                planned.counted = counted::count(&planned.chunks, &cuts, scanned.records());
            }
            return Ok(Some(planned));
        }
    };
    opened.planned(cuts).map(Some)
}

/// Plans a run over `ids`, half-open. Nothing is read.
///
/// # Errors
/// More chunks than a stage can have.
pub fn plan_ids(ids: ByteRange, split: Split) -> Result<Planned, PlanError> {
    let per_chunk = match split {
        Split::Records(records) => records,
        Split::SizeBytes(size) | Split::Batch { size_bytes: size, .. } => size,
    };
    let grouping = Grouping::choose(ids.len().div_ceil(per_chunk), lines_bytes(ids))
        .map_err(|error| error.of_records(ids.len()))?;
    let ranges = (0..).map(ChunkIndex).zip(ids.pieces(per_chunk));
    let chunks = ranges.map(|(index, range)| Chunk { index, range }).collect();
    let plan = Plan { grouping, preamble: ByteRange::new(0, 0), header: None, line_end: LineEnd::Lf };
    Ok(Planned { plan, chunks, counted: None, bytes_read: 0 })
}

/// How workers are to scan `source`, if it must be scanned and is too large for one reader.
///
/// # Errors
/// As [`plan`].
pub async fn scan_due(
    objects: Arc<dyn Objects>,
    pipeline: &Pipeline,
    source: &SourcePin,
    limits: ScanLimits,
) -> Result<Option<Scan>, PlanError> {
    if source.size_bytes <= limits.alone_bytes || pipeline.source.is_list() {
        return Ok(None);
    }
    let opened = Opened::new(objects, pipeline, source).await?;
    Ok(match opened.cutter().method(pipeline.split)? {
        Method::Scan(_) => Some(Scan::new(opened.data, limits.range_bytes)?),
        _ => None,
    })
}

/// Plans the source of `run` with what workers found in all chunks of its scan, in strides, of which those that were
/// done before are not done again. `None` if the time was over before the last.
///
/// # Errors
/// As [`plan`], or what they found is gone.
pub async fn plan_scanned(
    objects: Arc<dyn Objects>,
    run: &Run,
    scan: &Scan,
    places: &Places<'_>,
) -> Result<Option<Planned>, PlanError> {
    let (pipeline, source) = (&run.pipeline, run.input());
    let opened = Opened::new(objects.clone(), pipeline, source).await?;
    let cutter = opened.cutter();
    let Method::Scan(aim) = cutter.method(pipeline.split)? else {
        // The source is pinned, so that whoever had it scanned saw the same.
        unreachable!("the same source and split were to be scanned before");
    };
    let kept = Kept::new(objects, run, scan, places.work_bucket);
    let Some(scanned) = scan::scanned_by_workers(kept, places).await? else { return Ok(None) };
    let cuts = cutter.scanned_in_strides(&scanned, &aim, places).await?;
    cuts.map(|cuts| opened.planned(cuts)).transpose()
}

fn offsets(cuts: &[Position]) -> Vec<u64> {
    cuts.iter().map(|cut| cut.offset).collect()
}

fn scanner_of(source: &Source) -> Scanner {
    Scanner::new(dialect::of(source)).expect("fixed-width records are never scanned")
}

/// The plan of a single chunk that is the whole source: a sequential run.
///
/// # Errors
/// As [`plan`].
pub async fn plan_whole(
    objects: Arc<dyn Objects>,
    pipeline: &Pipeline,
    source: &SourcePin,
) -> Result<Planned, PlanError> {
    let whole = Pipeline { split: Split::SizeBytes(u64::MAX), ..pipeline.clone() };
    plan(objects, &whole, source).await
}

/// The chunks between the cuts, which may be in any order, repeat, or lie outside the data.
fn chunks(data: ByteRange, mut edges: Vec<u64>) -> Vec<Chunk> {
    edges.retain(|cut| *cut > data.start && *cut < data.end);
    edges.extend([data.start, data.end]);
    edges.sort_unstable();
    edges.dedup();
    if edges.len() == 1 {
        edges.push(data.end); // an empty source has one empty chunk
    }
    let range = |edges: &[u64]| ByteRange::new(edges[0], edges[1]);
    (0..)
        .zip(edges.windows(2))
        .map(|(i, edges)| Chunk { index: ChunkIndex(i), range: range(edges) })
        .collect()
}

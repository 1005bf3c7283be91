//! Planning: where a source's data begin, and where it is cut into chunks.

mod cut;
mod head;
mod reader;
mod scan;

use std::sync::Arc;

use fanfold_domain::{
    ByteRange, Chunk, ChunkIndex, Grouping, Plan, SourcePin,
    group::TooManyChunks,
    pipeline::{Pipeline, Split},
};
use fanfold_ports::{Objects, PortError, objects::ReadError};
use fanfold_records::PreambleError;
use thiserror::Error;

use self::{cut::Cutter, head::Head, reader::Reader};
use crate::dialect;

/// What planning found: the plan, its chunks, and what it cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What the run keeps.
    pub plan: Plan,
    /// The chunks, in order; they tile the source behind its preamble.
    pub chunks: Vec<Chunk>,
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
    /// A read failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl From<ReadError> for PlanError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Port(error) => Self::Port(error),
            gone => Self::SourceChanged(gone),
        }
    }
}

/// Plans `source` as `pipeline` says, with ranged reads and no copy.
///
/// # Errors
/// The source cannot be read, or not as what the pipeline says it is.
pub async fn plan(
    objects: Arc<dyn Objects>,
    pipeline: &Pipeline,
    source: &SourcePin,
) -> Result<Planned, PlanError> {
    let dialect = dialect::of(&pipeline.source);
    let reader = Arc::new(Reader::new(objects, source.clone()));
    let Head { preamble, header, line_end } = Head::read(&reader, &pipeline.source, dialect).await?;
    let data = ByteRange::new(preamble.end, source.size_bytes);
    let cuts = Cutter { reader: &reader, dialect, data }.cuts(pipeline.split).await?;
    let chunks = chunks(data, cuts);
    let grouping = Grouping::choose(chunks.len() as u64, data.len())?;
    let plan = Plan { grouping, preamble, header, line_end };
    Ok(Planned { plan, chunks, bytes_read: reader.bytes_read() })
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

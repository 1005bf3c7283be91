//! What the scan of a range found, as an object in the work bucket.
//!
//! A front of [`FRONT_BYTES`], JSON padded with spaces, with what the range does as a whole; then JSON again,
//! what each block of it does. So that a prefix pass over all ranges is one small read each.

use std::sync::Arc;

use bytes::Bytes;
use fanfold_domain::{ByteRange, ChunkIndex, ObjectName, Run, Scan};
use fanfold_ports::{
    Fault, Objects, PortError,
    objects::{Condition, Metadata, Pin, ReadError, Written},
};
use fanfold_records::{BLOCK, Outcome, RangeSummary, State, Summary};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::PlanError;

const FRONT_BYTES: u64 = 1024;

/// For each state that a stretch may begin in: the number of the state at its end, the records that end in it,
/// and where the first of them ends.
type Outcomes = [(u8, u64, Option<u64>); 6];

#[derive(Serialize, Deserialize)]
struct Front {
    range: ByteRange,
    total: Outcomes,
    /// Bytes behind the front.
    blocks_bytes: u64,
}

/// Writes what the scan of a chunk found, unless that is there. Returns whether it was not.
pub(super) async fn write(
    objects: &dyn Objects,
    run: &Run,
    work_bucket: &str,
    chunk: ChunkIndex,
    summary: &RangeSummary,
) -> Result<bool, PlanError> {
    let blocks: Vec<Outcomes> = summary.blocks.iter().map(outcomes).collect();
    let blocks = to_json(&blocks);
    let total = summary.total();
    let range = ByteRange::new(summary.offset, summary.offset + total.len);
    let mut body = to_json(&Front { range, total: outcomes(&total), blocks_bytes: blocks.len() as u64 });
    body.resize(usize::try_from(FRONT_BYTES).expect("it is small"), b' ');
    body.extend_from_slice(&blocks);
    let name = ObjectName::new(work_bucket, run.scan_key(chunk));
    match objects.put(&name, Bytes::from(body), Condition::Absent, &Metadata::new()).await? {
        Written::Stored(_) => Ok(true),
        // What is there is the same: the source is pinned.
        Written::Refused => Ok(false),
        Written::Conflict => {
            let detail = "another worker was creating it and may not have";
            Err(PortError::new(Fault::Transient, "create", name, detail).into())
        }
    }
}

/// What workers found of one source.
pub(super) struct Kept {
    objects: Arc<dyn Objects>,
    run: Run,
    scan: Scan,
    work_bucket: String,
}

impl Kept {
    pub(super) fn new(objects: Arc<dyn Objects>, run: &Run, scan: &Scan, work_bucket: &str) -> Self {
        Self { objects, run: run.clone(), scan: scan.clone(), work_bucket: work_bucket.to_owned() }
    }

    pub(super) fn scan(&self) -> &Scan {
        &self.scan
    }

    /// What a chunk of the scan does as a whole.
    pub(super) async fn read_total(&self, chunk: ChunkIndex) -> Result<Summary, PlanError> {
        let front = self.front(chunk).await?;
        self.summary(chunk, front.range.len(), front.total)
    }

    /// What each block of a chunk of the scan does.
    pub(super) async fn read(&self, chunk: ChunkIndex) -> Result<RangeSummary, PlanError> {
        let Front { range, blocks_bytes, .. } = self.front(chunk).await?;
        let bytes = self.bytes(chunk, ByteRange::new(FRONT_BYTES, FRONT_BYTES + blocks_bytes)).await?;
        let blocks: Vec<Outcomes> = self.parse(chunk, &bytes)?;
        let pieces: Vec<ByteRange> = range.pieces(BLOCK as u64).collect();
        if pieces.len() != blocks.len() {
            return Err(self.wrong(chunk, format!("{} blocks of {}", blocks.len(), pieces.len())).into());
        }
        let blocks = pieces.iter().zip(blocks).map(|(piece, found)| self.summary(chunk, piece.len(), found));
        Ok(RangeSummary { offset: range.start, blocks: blocks.collect::<Result<_, _>>()? })
    }

    async fn front(&self, chunk: ChunkIndex) -> Result<Front, PlanError> {
        let bytes = self.bytes(chunk, ByteRange::new(0, FRONT_BYTES)).await?;
        let front: Front = self.parse(chunk, &bytes)?;
        if front.range != self.scan.range(chunk) {
            return Err(self.wrong(chunk, format!("the scan of another range, {}", front.range)).into());
        }
        Ok(front)
    }

    fn summary(&self, chunk: ChunkIndex, len: u64, found: Outcomes) -> Result<Summary, PlanError> {
        let mut outcomes = Summary::EMPTY.outcomes;
        for (outcome, (end, records, first_end)) in outcomes.iter_mut().zip(found) {
            let end = *State::ALL
                .get(usize::from(end))
                .ok_or_else(|| self.wrong(chunk, format!("a state of number {end}")))?;
            *outcome = Outcome { end, records, first_end };
        }
        Ok(Summary { len, outcomes })
    }

    async fn bytes(&self, chunk: ChunkIndex, range: ByteRange) -> Result<Vec<u8>, PlanError> {
        let stream = match self.objects.read(&self.name(chunk), &Pin::default(), range).await {
            Ok(stream) => stream,
            Err(ReadError::Port(error)) => return Err(error.into()),
            Err(gone) => return Err(PlanError::ScanLost(gone)),
        };
        Ok(stream.try_collect::<Vec<Bytes>>().await?.concat())
    }

    fn parse<T: for<'de> Deserialize<'de>>(&self, chunk: ChunkIndex, bytes: &[u8]) -> Result<T, PortError> {
        serde_json::from_slice(bytes).map_err(|error| self.wrong(chunk, error.to_string()))
    }

    fn wrong(&self, chunk: ChunkIndex, detail: String) -> PortError {
        PortError::new(Fault::Permanent, "read scan", self.name(chunk), detail)
    }

    fn name(&self, chunk: ChunkIndex) -> ObjectName {
        ObjectName::new(&self.work_bucket, self.run.scan_key(chunk))
    }
}

fn outcomes(summary: &Summary) -> Outcomes {
    summary.outcomes.map(|Outcome { end, records, first_end }| {
        (u8::try_from(end.index()).expect("there are six states"), records, first_end)
    })
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("it has only JSON's types")
}

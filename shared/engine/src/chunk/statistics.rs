//! What an attempt counted, in an object of its own: the metadata of a streamed part cannot carry it.

use bytes::Bytes;
use fanfold_domain::{
    ByteRange, ChunkIndex, ChunkSet, ObjectName, Run, SCAN, Sums,
    message::{ChunkEnd, Completion, Failure},
};
use fanfold_ports::{
    Fault, Objects, PortError,
    ledger::StageId,
    objects::{ObjectHead, Pin, ReadError, UploadError},
};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::ATTEMPT;

/// Parts looked for at once.
const PARTS_AT_ONCE: usize = 16;

/// What an attempt left behind before it tried to create the part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// What the chunk adds to its group's sums.
    pub sums: Sums,
}

impl Statistics {
    pub(super) fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("statistics have only JSON's types").into()
    }
}

/// Reads what the attempt that created `part` left of chunk `chunk` of a stage.
///
/// # Errors
/// The read failed, or its statistics are missing: they were written before the part was.
pub async fn statistics_of(
    objects: &dyn Objects,
    run: &Run,
    work_bucket: &str,
    stage: &str,
    chunk: ChunkIndex,
    part: &ObjectHead,
) -> Result<Statistics, UploadError> {
    let attempt = part.metadata.get(ATTEMPT).map_or("", String::as_str);
    let name = ObjectName::new(work_bucket, run.keys(stage).statistics(chunk, attempt));
    let Some(head) = objects.head(&name, None).await? else {
        return Err(ReadError::Missing(name).into());
    };
    let stream = objects.read(&name, &Pin::default(), ByteRange::new(0, head.size_bytes)).await?;
    let pieces: Vec<Bytes> = stream.try_collect().await?;
    serde_json::from_slice(&pieces.concat())
        .map_err(|error| PortError::new(Fault::Permanent, "read statistics", name, error.to_string()).into())
}

/// How chunk `chunk` of a stage ended, if its part exists: done, for a part that exists means that, whoever made it and
/// whatever became of them. `None` if there is no part.
///
/// # Errors
/// A look or read failed.
pub async fn end_by_part(
    objects: &dyn Objects,
    run: &Run,
    work_bucket: &str,
    stage: &str,
    chunk: ChunkIndex,
) -> Result<Option<ChunkEnd>, UploadError> {
    if stage == SCAN {
        let scanned = objects.head(&ObjectName::new(work_bucket, run.scan_key(chunk)), None).await?;
        return Ok(scanned.map(|_| ChunkEnd::Done(scan_sums(run, chunk))));
    }
    let part = ObjectName::new(work_bucket, run.keys(stage).part(chunk));
    let Some(head) = objects.head(&part, None).await? else { return Ok(None) };
    match statistics_of(objects, run, work_bucket, stage, chunk, &head).await {
        Ok(statistics) => Ok(Some(ChunkEnd::Done(statistics.sums))),
        // Without them it cannot be counted, today or ever.
        Err(UploadError::Read(ReadError::Missing(name))) => {
            let reason = format!("its part is there and {name} is not: the work bucket must keep both");
            Ok(Some(ChunkEnd::Failed(Failure::of_chunk(reason))))
        }
        Err(error) => Err(error),
    }
}

/// How chunks of a stage of `run` ended that nobody told of: by their parts, or else failed for this reason.
///
/// # Errors
/// A look or read failed.
pub async fn ends_or_failures(
    objects: &dyn Objects,
    run: &Run,
    work_bucket: &str,
    stage: &StageId,
    chunks: &ChunkSet,
    reason: &str,
) -> Result<Vec<Completion>, UploadError> {
    stream::iter(chunks.iter())
        .map(|chunk| async move {
            let found = end_by_part(objects, run, work_bucket, &stage.stage, chunk).await?;
            let end = found.unwrap_or_else(|| ChunkEnd::Failed(Failure::of_chunk(reason)));
            let StageId { run, stage, generation } = stage.clone();
            Ok(Completion { run, stage, generation, chunk, end })
        })
        .buffer_unordered(PARTS_AT_ONCE)
        .try_collect()
        .await
}

/// What a chunk of the scan of `run` adds: it is as large as planned, and nothing is known of its records alone.
pub fn scan_sums(run: &Run, chunk: ChunkIndex) -> Sums {
    let bytes_in = run.scan.as_ref().map_or(0, |scan| scan.range(chunk).len());
    Sums { bytes_in, ..Sums::default() }
}

//! How a chunk ended: by what lies under its part's name.
//!
//! That is its part, or the tombstone of a chunk that failed, whichever was created first; the other is never created. So
//! who sees a part may take the chunk for done for good, whatever has been counted so far, and act upon it.

use bytes::Bytes;
use fanfold_domain::{
    ByteRange, ChunkIndex, ChunkSet, ObjectName, Run, SCAN, Sums,
    message::{ChunkEnd, Completion, Failure},
};
use fanfold_ports::{
    Fault, Objects, PortError,
    ledger::StageId,
    objects::{Condition, Metadata, ObjectHead, Pin, ReadError, UploadError, Written},
};
use futures::{StreamExt, TryStreamExt, stream};

use super::statistics_of;

/// The metadata of a tombstone, by which it is told from a part. Its body is the [`Failure`] in JSON.
const FAILED: &str = "fanfold-failed";
/// Chunks looked at at once.
const AT_ONCE: usize = 16;

/// Whether what lies under a part's name is the tombstone of a chunk that failed.
pub fn is_tombstone(head: &ObjectHead) -> bool {
    head.metadata.contains_key(FAILED)
}

/// What a tombstone says.
///
/// # Errors
/// It could not be read.
pub(super) async fn read_tombstone(
    objects: &dyn Objects,
    name: ObjectName,
    head: &ObjectHead,
) -> Result<Failure, UploadError> {
    let stream = objects.read(&name, &Pin::default(), ByteRange::new(0, head.size_bytes)).await?;
    let pieces: Vec<Bytes> = stream.try_collect().await?;
    serde_json::from_slice(&pieces.concat())
        .map_err(|error| PortError::new(Fault::Permanent, "read a tombstone", name, error.to_string()).into())
}

/// How a chunk of a stage ended, if it did: done if its part is there, whoever made it and whatever became of them.
/// `None` if there is neither a part nor a tombstone.
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
    if is_tombstone(&head) {
        return Ok(Some(ChunkEnd::Failed(read_tombstone(objects, part, &head).await?)));
    }
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

/// How a chunk of a stage ended that failed unless another attempt has ended it: leaves a tombstone, beside which no part can
/// be created any more. Of the scan none is left, for its failure ends the run.
///
/// # Errors
/// A look, read or write failed.
pub async fn end_or_failure(
    objects: &dyn Objects,
    run: &Run,
    work_bucket: &str,
    stage: &str,
    chunk: ChunkIndex,
    failure: Failure,
) -> Result<ChunkEnd, UploadError> {
    if let Some(end) = end_by_part(objects, run, work_bucket, stage, chunk).await? {
        return Ok(end);
    }
    if stage == SCAN {
        return Ok(ChunkEnd::Failed(failure));
    }
    let name = ObjectName::new(work_bucket, run.keys(stage).part(chunk));
    let body = serde_json::to_vec(&failure).expect("a failure has only JSON's types");
    let metadata = Metadata::from([(FAILED.to_owned(), "1".to_owned())]);
    match objects.put(&name, body.into(), Condition::Absent, &metadata).await? {
        Written::Stored(_) => Ok(ChunkEnd::Failed(failure)),
        Written::Refused | Written::Conflict => {
            let found = end_by_part(objects, run, work_bucket, stage, chunk).await?;
            let detail = "an attempt was creating its part and did not";
            found.ok_or_else(|| PortError::new(Fault::Transient, "fail", name, detail).into())
        }
    }
}

/// How chunks of a stage of `run` ended that nobody told of: as they did, or else they have failed for this reason.
///
/// # Errors
/// A look, read or write failed.
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
            let failure = Failure::of_chunk(reason);
            let end = end_or_failure(objects, run, work_bucket, &stage.stage, chunk, failure).await?;
            let StageId { run, stage, generation } = stage.clone();
            Ok(Completion { run, stage, generation, chunk, end, sent: Vec::new() })
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// What a chunk of the scan of `run` adds: it is as large as planned, and nothing is known of its records alone.
pub(crate) fn scan_sums(run: &Run, chunk: ChunkIndex) -> Sums {
    let bytes_in = run.scan.as_ref().map_or(0, |scan| scan.range(chunk).len());
    Sums { bytes_in, ..Sums::default() }
}

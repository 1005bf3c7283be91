//! What an attempt counted, in an object of its own: the metadata of a streamed part cannot carry it.

use bytes::Bytes;
use fanfold_domain::{ByteRange, ChunkIndex, ObjectName, Run, Sums};
use fanfold_ports::{
    Fault, Objects, PortError,
    objects::{ObjectHead, Pin, ReadError, UploadError},
};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::ATTEMPT;

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

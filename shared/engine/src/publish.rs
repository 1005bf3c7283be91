//! Publishing: group objects, in order, into the output; their bad records, in order, into the list of the
//! run. The protocol of who may publish stands with the merger; here is only what is written.

use fanfold_domain::{
    ChunkIndex, GroupCount, GroupIndex, Grouping, ObjectName, Run, Stamp, Sums, message::Failure,
};
use fanfold_ports::{
    Fault, Objects, PortError,
    objects::{Condition, Expected, Metadata, ReadError, Upload, UploadError, UploadedPart, Written},
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    bad::{BadRecords, append},
    chunk::{ATTEMPT, statistics_of},
    concat::{Source, expected, fill},
};

const HEADS_AT_ONCE: usize = 32;

/// What the output of `run` says of itself.
pub fn metadata(run: &Run) -> Metadata {
    Stamp::of(run, &run.output).to_metadata()
}

/// What the list of bad records of `run` says of itself.
pub fn list_metadata(run: &Run) -> Metadata {
    Stamp::of(run, &run.errors).to_metadata()
}

/// An upload of the output that has all its parts.
#[derive(Debug)]
pub struct Assembled {
    /// The upload.
    pub upload: Upload,
    /// Its parts, in order.
    pub parts: Vec<UploadedPart>,
    /// What the output must be.
    pub expected: Expected,
}

/// Copies all group objects, in order, into `upload`, and compares their size with what the root counted.
///
/// # Errors
/// A group object is missing, their sizes are not what was counted, or a read or write failed.
pub async fn assemble(
    objects: &dyn Objects,
    run: &Run,
    work_bucket: &str,
    groups: u32,
    counted: &Sums,
    upload: Upload,
) -> Result<Assembled, UploadError> {
    let keys = run.keys();
    let look = async |group: u32| {
        let name = ObjectName::new(work_bucket, keys.group(GroupIndex(group)));
        match objects.head(&name, None).await? {
            Some(head) => Ok(Source::Object { name, head }),
            None => Err(UploadError::Read(ReadError::Missing(name))),
        }
    };
    let look = &look;
    let sources: Vec<Source> =
        stream::iter(0..groups).map(look).buffered(HEADS_AT_ONCE).try_collect().await?;
    let expected = expected(&sources);
    if expected.size_bytes != counted.bytes_out {
        let detail =
            format!("{} bytes of groups, and {} were counted", expected.size_bytes, counted.bytes_out);
        return Err(PortError::new(Fault::Permanent, "assemble", &run.output, detail).into());
    }
    let parts = fill(objects, &upload, &sources).await?;
    Ok(Assembled { upload, parts, expected })
}

/// Where a list of bad records is written. Always an upload, even of nothing: it can be aborted, and so a writer
/// that hangs be kept from ever writing.
pub struct ListUpload {
    /// An upload that has no parts yet.
    pub upload: Upload,
    /// What must hold for the list to appear under its name.
    pub condition: Condition,
}

/// Writes the bad records of the groups that have any, in order, as the run's list.
///
/// `groups` are the sums of all groups, in order; a number is known while no chunk before it failed.
///
/// # Errors
/// A read or write failed.
pub async fn write_bad_records(
    objects: &dyn Objects,
    run: &Run,
    work_bucket: &str,
    groups: &[Sums],
    to: ListUpload,
) -> Result<Written, UploadError> {
    let keys = run.keys();
    let mut list = BadRecords::into_upload(objects, to.upload);
    let mut before = Some(0);
    for (group, sums) in (0..).map(GroupIndex).zip(groups) {
        if sums.bad_records > 0 {
            let name = ObjectName::new(work_bucket, keys.group_bad_records(group));
            append(objects, &name, before, &mut list).await?;
        }
        before = before.filter(|_| sums.failed_chunks == 0).map(|before| before + sums.records);
    }
    list.into_writer().create(to.condition).await
}

/// Writes the bad records of a run that failed, as [`write_bad_records`] does: those of the chunks that are done,
/// and those that chunks had when they failed for them. `groups` are the counters of the first groups, in order.
///
/// # Errors
/// A read or write failed.
pub async fn report_bad_records(
    objects: &dyn Objects,
    run: &Run,
    work_bucket: &str,
    grouping: Grouping,
    groups: &[GroupCount],
    failures: &[(ChunkIndex, Failure)],
    to: ListUpload,
) -> Result<Written, UploadError> {
    let keys = run.keys();
    let mut list = BadRecords::into_upload(objects, to.upload);
    let mut before = Some(0);
    for (group, count) in (0..).map(GroupIndex).zip(groups) {
        if count.sums.bad_records == 0 && count.ended() == grouping.size_of(group) && count.failed.is_empty()
        {
            before = before.map(|before| before + count.sums.records);
            continue;
        }
        for chunk in grouping.chunks_of(group).map(ChunkIndex) {
            let failed = failures.iter().find(|(failed, _)| *failed == chunk);
            if let Some(key) = failed.and_then(|(_, failure)| failure.bad_records.as_ref()) {
                append(objects, &ObjectName::new(work_bucket, key), before, &mut list).await?;
            }
            let part = ObjectName::new(work_bucket, keys.part(chunk));
            let head = if count.done.contains(&chunk) { objects.head(&part, None).await? } else { None };
            let Some(head) = head else {
                before = None;
                continue;
            };
            let sums = statistics_of(objects, run, work_bucket, chunk, &head).await?.sums;
            if sums.bad_records > 0 {
                let attempt = head.metadata.get(ATTEMPT).map_or("", String::as_str);
                let name = ObjectName::new(work_bucket, keys.bad_records(chunk, attempt));
                append(objects, &name, before, &mut list).await?;
            }
            before = before.map(|before| before + sums.records);
        }
    }
    list.into_writer().create(to.condition).await
}

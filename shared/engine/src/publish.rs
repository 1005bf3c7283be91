//! Publishing: group objects, in order, into the output; their bad records, in order, into the list of the
//! run. The protocol of who may publish stands with the merger; here is only what is written.

use fanfold_domain::{
    ChunkIndex, GroupCount, GroupIndex, Grouping, ObjectName, Run, Stamp, Sums, message::Failure,
};
use fanfold_ports::{
    Fault, Objects, PortError, Until,
    objects::{
        Condition, Expected, HeldPart, Metadata, ReadError, Upload, UploadError, UploadedPart, Written,
    },
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    bad::{BadRecords, append},
    chunk::{ATTEMPT, is_tombstone, statistics_of},
    concat::{Source, expected, fill_up},
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
    /// Whether some of its parts were there before.
    pub is_resumed: bool,
}

/// An upload of the output that was begun, and what it holds by now.
#[derive(Debug)]
pub struct Open {
    /// The upload.
    pub upload: Upload,
    /// Its parts.
    pub held: Vec<HeldPart>,
}

/// How far an assembly came.
#[derive(Debug)]
pub enum Assembly {
    /// To its end.
    Whole(Assembled),
    /// The upload has so many of its parts; the others are to follow.
    Partly {
        /// Those that it has.
        parts: usize,
        /// All.
        of: usize,
    },
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
    let open = Open { upload, held: Vec::new() };
    match go_on(objects, run, work_bucket, groups, counted, open, Until::NEVER).await? {
        Assembly::Whole(assembled) => Ok(assembled),
        Assembly::Partly { .. } => unreachable!("it has all the time that it takes"),
    }
}

/// Copies all group objects, in order, into the upload, as far as they are not there, and compares their size with what
/// the root counted. From `until` on no other copy is begun.
///
/// # Errors
/// A group object is missing, their sizes are not what was counted, or a read or write failed.
pub async fn go_on(
    objects: &dyn Objects,
    run: &Run,
    work_bucket: &str,
    groups: u32,
    counted: &Sums,
    open: Open,
    until: Until<'_>,
) -> Result<Assembly, UploadError> {
    let keys = run.keys(&run.last_stage().name);
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
    let Open { upload, held } = open;
    let filled = fill_up(objects, &upload, &sources, &held, until).await?;
    if !filled.is_whole() {
        return Ok(Assembly::Partly { parts: filled.parts.len(), of: filled.of });
    }
    let is_resumed = !held.is_empty();
    Ok(Assembly::Whole(Assembled { upload, parts: filled.parts, expected, is_resumed }))
}

/// Where a list of bad records is written. Always an upload, even of nothing: it can be aborted, and so a writer
/// that hangs be kept from ever writing.
pub struct ListUpload {
    /// An upload that has no parts yet.
    pub upload: Upload,
    /// What must hold for the list to appear under its name.
    pub condition: Condition,
}

/// Writes the bad records of the groups that have any, stage by stage and in order, as the run's list.
///
/// `stages` are the sums of all groups of each stage, in order; a number is known while no chunk before it failed.
///
/// # Errors
/// A read or write failed.
pub async fn write_bad_records(
    objects: &dyn Objects,
    run: &Run,
    work_bucket: &str,
    stages: &[Vec<Sums>],
    to: ListUpload,
) -> Result<Written, UploadError> {
    let mut list = BadRecords::into_upload(objects, to.upload);
    for (stage, groups) in run.pipeline.stages.iter().zip(stages) {
        let keys = run.keys(&stage.name);
        let mut before = Some(0);
        for (group, sums) in (0..).map(GroupIndex).zip(groups) {
            if sums.bad_records > 0 {
                let name = ObjectName::new(work_bucket, keys.group_bad_records(group));
                append(objects, &name, before, &mut list).await?;
            }
            before = before.filter(|_| sums.failed_chunks == 0).map(|before| before + sums.records);
        }
    }
    list.into_writer().create(to.condition).await
}

/// What is known of a stage of a run that failed.
#[derive(Debug, Clone, Default)]
pub struct StageReport {
    /// The counters of its first groups, in order.
    pub groups: Vec<GroupCount>,
    /// Why chunks of it failed.
    pub failures: Vec<(ChunkIndex, Failure)>,
}

impl StageReport {
    /// Whether any bad record is known.
    pub fn has_bad_records(&self) -> bool {
        self.groups.iter().any(|count| count.sums.bad_records > 0)
            || self.failures.iter().any(|(_, failure)| failure.bad_records.is_some())
    }
}

/// Writes the bad records of a run that failed, as [`write_bad_records`] does: those of the chunks that are done,
/// and those that chunks had when they failed for them.
///
/// # Errors
/// A read or write failed.
pub async fn report_bad_records(
    objects: &dyn Objects,
    run: &Run,
    work_bucket: &str,
    stages: &[StageReport],
    to: ListUpload,
) -> Result<Written, UploadError> {
    let mut list = BadRecords::into_upload(objects, to.upload);
    for (place, report) in stages.iter().enumerate() {
        if let Some(grouping) = run.grouping_at(place) {
            let stage = &run.pipeline.stages[place].name;
            report_stage(objects, run, work_bucket, stage, grouping, report, &mut list).await?;
        }
    }
    list.into_writer().create(to.condition).await
}

async fn report_stage(
    objects: &dyn Objects,
    run: &Run,
    work_bucket: &str,
    stage: &str,
    grouping: Grouping,
    report: &StageReport,
    list: &mut BadRecords<'_>,
) -> Result<(), UploadError> {
    let keys = run.keys(stage);
    let mut before = Some(0);
    for (group, count) in (0..).map(GroupIndex).zip(&report.groups) {
        if count.sums.bad_records == 0 && count.ended() == grouping.size_of(group) && count.failed.is_empty()
        {
            before = before.map(|before| before + count.sums.records);
            continue;
        }
        for chunk in grouping.chunks_of(group).map(ChunkIndex) {
            let failed = report.failures.iter().find(|(failed, _)| *failed == chunk);
            if let Some(key) = failed.and_then(|(_, failure)| failure.bad_records.as_ref()) {
                append(objects, &ObjectName::new(work_bucket, key), before, list).await?;
            }
            let part = ObjectName::new(work_bucket, keys.part(chunk));
            let head = if count.done.contains(&chunk) { objects.head(&part, None).await? } else { None };
            let Some(head) = head.filter(|head| !is_tombstone(head)) else {
                before = None;
                continue;
            };
            let sums = statistics_of(objects, run, work_bucket, stage, chunk, &head).await?.sums;
            if sums.bad_records > 0 {
                let attempt = head.metadata.get(ATTEMPT).map_or("", String::as_str);
                let name = ObjectName::new(work_bucket, keys.bad_records(chunk, attempt));
                append(objects, &name, before, list).await?;
            }
            before = before.map(|before| before + sums.records);
        }
    }
    Ok(())
}

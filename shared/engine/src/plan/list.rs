//! The list of the objects under a prefix: what a run on them reads.
//!
//! More objects than one invocation can list are listed in legs. The lines of a leg are an object of the invocation's
//! own, and the leg's end is an object that is created once: it names those lines, the last key that was listed, and
//! whether it was the last of all. Who goes on begins behind that key. Of two who list the same leg at once, the one
//! whose end is created first has listed it, and the other goes on from there. So each key is asked for once and in
//! order, as by one listing that takes as long: S3 gives no snapshot of either.

use bytes::Bytes;
use fanfold_domain::{ETag, ObjectName, SourcePin};
use fanfold_ports::{
    Fault, Objects, PortError, Until,
    objects::{Condition, Listed, MAX_LISTED, Metadata, ReadError, Written},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{PlanError, places::read};
use crate::{
    concat::{Source, expected, fill},
    part::PartWriter,
};

/// Which objects are listed.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// What their keys begin with.
    pub prefix: &'a str,
    /// What their keys end with.
    pub suffix: &'a str,
}

/// How much of a list one invocation makes.
#[derive(Clone, Copy)]
pub struct Leg<'a> {
    /// From when on it lists no other page. It lists one at least.
    pub until: Until<'a>,
    /// Objects of a page.
    pub page: usize,
    /// A number of this invocation's own.
    pub attempt: u64,
}

/// How far a leg came, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    /// The key of the leg's lines.
    lines: String,
    /// Their entity tag.
    etag: ETag,
    /// The last key that was listed, wanted or not.
    after: Option<String>,
    /// Whether there was none behind it.
    is_last: bool,
}

/// Writes the list as `to` in one go, as [`go_on_listing`] does.
///
/// # Errors
/// There is no such object, or a read or write failed.
pub async fn list_objects(
    objects: &dyn Objects,
    wanted: Wanted<'_>,
    to: &ObjectName,
) -> Result<SourcePin, PlanError> {
    if let Some(pin) = listed(objects, to).await? {
        return Ok(pin);
    }
    let mut writer = PartWriter::new(objects, to.clone(), Metadata::new());
    let whole = Leg { until: Until::NEVER, page: MAX_LISTED, attempt: 0 };
    if let Err(error) = write_lines(objects, wanted, None, whole, &mut writer).await {
        writer.abandon().await;
        return Err(error);
    }
    if writer.size_bytes() == 0 {
        return Err(nothing(wanted));
    }
    writer.create(Condition::Absent).await?;
    made(objects, to).await
}

/// Goes on with the list `to`: one line of JSON an object in the order of their keys, each pinned by its entity tag.
/// A run's list is made once. Folders (keys that end in `/`) are left out. Memory holds a page and an upload part.
/// `None` if the leg's time is over: another is to go on.
///
/// # Errors
/// There is no such object, or a read or write failed.
pub async fn go_on_listing(
    objects: &dyn Objects,
    wanted: Wanted<'_>,
    to: &ObjectName,
    leg: Leg<'_>,
) -> Result<Option<SourcePin>, PlanError> {
    if let Some(pin) = listed(objects, to).await? {
        return Ok(Some(pin));
    }
    let mut ends: Vec<End> = Vec::new();
    let mut has_listed = false;
    loop {
        let number = ends.len();
        if let Some(end) = read(objects, &beside(to, &format!("{number:05}"))).await? {
            ends.push(end);
            continue;
        }
        let last = ends.last();
        if last.is_some_and(|end| end.is_last) {
            return join(objects, wanted, to, &ends).await.map(Some);
        }
        if has_listed && leg.until.is_over() {
            return Ok(None);
        }
        let after = last.and_then(|end| end.after.clone());
        let lines = beside(to, &format!("{number:05}-{:016x}", leg.attempt));
        let mut writer = PartWriter::new(objects, lines.clone(), Metadata::new());
        let (after, is_last) = match write_lines(objects, wanted, after, leg, &mut writer).await {
            Ok(came) => came,
            Err(error) => {
                writer.abandon().await;
                return Err(error);
            }
        };
        has_listed = true;
        // Most lists are so short that one invocation makes them without sending anything before.
        if ends.is_empty()
            && is_last
            && let Some(body) = writer.take_unsent()
        {
            if body.is_empty() {
                return Err(nothing(wanted));
            }
            objects.put(to, body, Condition::Absent, &Metadata::new()).await?;
            return made(objects, to).await.map(Some);
        }
        let Written::Stored(stored) = writer.create(Condition::Always).await? else {
            return Err(unfinished(&lines).into());
        };
        create_end(objects, to, number, End { lines: lines.key, etag: stored.etag, after, is_last }).await?;
    }
}

/// Creates the end of a leg, or finds that another splitter listed this leg first: its end is read next.
async fn create_end(
    objects: &dyn Objects,
    to: &ObjectName,
    number: usize,
    end: End,
) -> Result<(), PlanError> {
    let name = beside(to, &format!("{number:05}"));
    let body = serde_json::to_vec(&end).expect("it has only JSON's types");
    match objects.put(&name, Bytes::from(body), Condition::Absent, &Metadata::new()).await? {
        Written::Stored(_) | Written::Refused => Ok(()),
        // Perhaps nothing was created. To list the leg again here would write its lines under the same name.
        Written::Conflict => Err(unfinished(&name).into()),
    }
}

/// An object whose key is that of the list with something behind it.
fn beside(to: &ObjectName, what: &str) -> ObjectName {
    ObjectName::new(&to.bucket, format!("{}-{what}", to.key))
}

/// Writes the lines of the pages behind `after`, until there is none or the time is over. Returns the last key that was
/// listed, and whether it was the last.
async fn write_lines(
    objects: &dyn Objects,
    Wanted { bucket, prefix, suffix }: Wanted<'_>,
    mut after: Option<String>,
    leg: Leg<'_>,
    writer: &mut PartWriter<'_>,
) -> Result<(Option<String>, bool), PlanError> {
    loop {
        let page = objects.list(bucket, prefix, after.as_deref(), leg.page).await?;
        let is_wanted = |found: &&Listed| found.key.ends_with(suffix) && !found.key.ends_with('/');
        for found in page.iter().filter(is_wanted) {
            let line = json!({
                "bucket": bucket,
                "key": found.key,
                "etag": found.etag,
                "size": found.size_bytes,
            });
            writer.buffer().extend_from_slice(line.to_string().as_bytes());
            writer.buffer().push(b'\n');
        }
        writer.flush().await?;
        let is_last = page.len() < leg.page;
        after = page.into_iter().next_back().map(|found| found.key).or(after);
        if is_last || leg.until.is_over() {
            return Ok((after, is_last));
        }
    }
}

/// Puts the lines of all legs together, in order.
async fn join(
    objects: &dyn Objects,
    wanted: Wanted<'_>,
    to: &ObjectName,
    ends: &[End],
) -> Result<SourcePin, PlanError> {
    let mut sources = Vec::new();
    for end in ends {
        let name = ObjectName::new(&to.bucket, &end.lines);
        let head = objects.head(&name, None).await?.filter(|head| head.etag == end.etag);
        let head = head.ok_or_else(|| PlanError::ScanLost(ReadError::Missing(name.clone())))?;
        sources.push(Source::Object { name, head });
    }
    let whole = expected(&sources);
    if whole.size_bytes == 0 {
        return Err(nothing(wanted));
    }
    let upload = objects.create_upload(to, &Metadata::new()).await?;
    let written = match fill(objects, &upload, &sources).await {
        Ok(parts) => objects.complete_upload(&upload, &parts, Condition::Absent, whole).await,
        Err(error) => Err(error),
    };
    if !matches!(written, Ok(Written::Stored(_))) {
        objects.abort_upload(&upload).await?;
        written?;
    }
    made(objects, to).await
}

fn nothing(Wanted { bucket, prefix, suffix }: Wanted<'_>) -> PlanError {
    let ending = if suffix.is_empty() { String::new() } else { format!(" that ends in {suffix:?}") };
    PlanError::Nothing(format!("there is no object under s3://{bucket}/{prefix}{ending}"))
}

fn unfinished(name: &ObjectName) -> PortError {
    PortError::new(Fault::Transient, "create", name, "another list was being written and was not")
}

/// The list that was made just now, here or by another.
async fn made(objects: &dyn Objects, list: &ObjectName) -> Result<SourcePin, PlanError> {
    Ok(listed(objects, list).await?.ok_or_else(|| unfinished(list))?)
}

/// The list, if it is there.
async fn listed(objects: &dyn Objects, list: &ObjectName) -> Result<Option<SourcePin>, PortError> {
    let head = objects.head(list, None).await?;
    let pin = |head: fanfold_ports::objects::ObjectHead| SourcePin {
        object: list.clone(),
        version: None,
        etag: head.etag,
        size_bytes: head.size_bytes,
    };
    Ok(head.map(pin))
}

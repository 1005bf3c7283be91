//! The list of the objects under a prefix: what a run on them reads.

use fanfold_domain::{ObjectName, SourcePin};
use fanfold_ports::{
    Fault, Objects, PortError,
    objects::{Condition, MAX_LISTED, Metadata, Written},
};
use serde_json::json;

use super::PlanError;
use crate::part::PartWriter;

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

/// Writes the list as `to`, one line of JSON an object in the order of their keys, each pinned by its entity tag,
/// unless there is one: a run's list is made once. Folders (keys that end in `/`) are left out. Memory holds a page
/// and an upload part.
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
    let Wanted { bucket, prefix, suffix } = wanted;
    let mut writer = PartWriter::new(objects, to.clone(), Metadata::new());
    let mut after: Option<String> = None;
    loop {
        let page = objects.list(bucket, prefix, after.as_deref(), MAX_LISTED).await;
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                writer.abandon().await;
                return Err(error.into());
            }
        };
        for found in page.iter().filter(|found| found.key.ends_with(suffix) && !found.key.ends_with('/')) {
            let line = json!({
                "bucket": bucket,
                "key": found.key,
                "etag": found.etag,
                "size": found.size_bytes,
            });
            writer.buffer().extend_from_slice(line.to_string().as_bytes());
            writer.buffer().push(b'\n');
        }
        if let Err(error) = writer.flush().await {
            writer.abandon().await;
            return Err(error.into());
        }
        let is_last = page.len() < MAX_LISTED;
        after = page.into_iter().next_back().map(|found| found.key);
        if is_last {
            break;
        }
    }
    if writer.size_bytes() == 0 {
        writer.abandon().await;
        let ending = if suffix.is_empty() { String::new() } else { format!(" that ends in {suffix:?}") };
        return Err(PlanError::Nothing(format!("there is no object under s3://{bucket}/{prefix}{ending}")));
    }
    match writer.create(Condition::Absent).await? {
        Written::Stored(_) | Written::Refused | Written::Conflict => {}
    }
    let lost =
        || PortError::new(Fault::Transient, "create", to, "another list was being written and was not");
    Ok(listed(objects, to).await?.ok_or_else(lost)?)
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

//! Listing and deleting.

use aws_sdk_s3::types::{Delete, EncodingType, ObjectIdentifier};
use fanfold_domain::{ETag, ObjectName};
use fanfold_ports::objects::{Listed, MAX_LISTED};
use fanfold_ports::{Fault, PortError};
use percent_encoding::percent_decode_str;

use super::S3Objects;
use crate::error::{read_error, write_error};

impl S3Objects {
    /// Pages until as many as are wanted have come: S3 may give fewer at once though there are more.
    pub(super) async fn keys(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, PortError> {
        check_count("list", bucket, limit)?;
        let mut listed: Vec<Listed> = Vec::new();
        loop {
            let behind = listed.last().map(|last| last.key.clone());
            let most = i32::try_from(limit - listed.len()).expect("at most 1,000");
            let page = self
                .client
                .list_objects_v2()
                .bucket(bucket)
                .prefix(prefix)
                .set_start_after(behind.or_else(|| after.map(str::to_owned)))
                .max_keys(most)
                // A key may have characters that XML cannot.
                .encoding_type(EncodingType::Url)
                .send()
                .await
                .map_err(|error| read_error("list", ObjectName::new(bucket, prefix), error))?;
            let is_last = page.is_truncated != Some(true);
            let came = listed.len();
            for object in page.contents.unwrap_or_default() {
                listed.push(read(bucket, object)?);
            }
            if is_last || listed.len() >= limit || listed.len() == came {
                return Ok(listed);
            }
        }
    }

    pub(super) async fn remove(&self, bucket: &str, keys: &[String]) -> Result<(), PortError> {
        let Some(first) = keys.first() else { return Ok(()) };
        check_count("delete", bucket, keys.len())?;
        let identifier = |key: &String| ObjectIdentifier::builder().key(key).build().expect("the key is set");
        let delete = Delete::builder()
            .set_objects(Some(keys.iter().map(identifier).collect()))
            .quiet(true)
            .build()
            .expect("the keys are set");
        let subject = ObjectName::new(bucket, first);
        let answer = self.client.delete_objects().bucket(bucket).delete(delete).send().await;
        let errors =
            answer.map_err(|error| write_error("delete", &subject, error))?.errors.unwrap_or_default();
        let Some(failed) = errors.first() else { return Ok(()) };
        let code = failed.code().unwrap_or("no code");
        let fault = if is_refusal(code) { Fault::Permanent } else { Fault::Transient };
        let detail = format!(
            "{} of {} were not deleted, the first {:?} with {code}: {}",
            errors.len(),
            keys.len(),
            failed.key().unwrap_or_default(),
            failed.message().unwrap_or("no message")
        );
        Err(PortError::new(fault, "delete", subject, detail))
    }
}

fn read(bucket: &str, object: aws_sdk_s3::types::Object) -> Result<Listed, PortError> {
    let missing = |field: &str| {
        PortError::new(Fault::Permanent, "list", bucket, format!("an object of the answer has no {field}"))
    };
    // S3 encodes as forms do: a space is a plus.
    let key = object.key.ok_or_else(|| missing("key"))?.replace('+', " ");
    let key = percent_decode_str(&key).decode_utf8().map_err(|_| missing("key in UTF-8"))?.into_owned();
    let etag = ETag::new(&object.e_tag.ok_or_else(|| missing("entity tag"))?);
    let size = object.size.and_then(|size| u64::try_from(size).ok());
    Ok(Listed { key, etag, size_bytes: size.ok_or_else(|| missing("size"))? })
}

/// Whether S3 says of one key of many that it will never delete it; anything else may pass.
fn is_refusal(code: &str) -> bool {
    matches!(code, "AccessDenied" | "NoSuchBucket" | "InvalidArgument" | "MethodNotAllowed")
}

fn check_count(operation: &'static str, bucket: &str, count: usize) -> Result<(), PortError> {
    if (1..=MAX_LISTED).contains(&count) {
        return Ok(());
    }
    let detail = format!("{count} objects at once, and 1 to {MAX_LISTED} are allowed");
    Err(PortError::new(Fault::Permanent, operation, bucket, detail))
}

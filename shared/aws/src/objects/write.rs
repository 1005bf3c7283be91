//! Writing whole objects.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_s3::config::Builder;
use aws_sdk_s3::types::ChecksumAlgorithm;
use bytes::Bytes;
use fanfold_domain::{ETag, ObjectName};
use fanfold_ports::PortError;
use fanfold_ports::objects::{Condition, Metadata, Stored, Written};

use super::S3Objects;
use super::failure::{Refusal, incomplete};
use crate::connect::timeouts;
use crate::error::write_error;

/// Times of a call that carries or moves many bytes: S3 answers only once it has them all, and a copy of
/// 5 GiB takes minutes.
const BULK_TIMES: (Duration, Duration) = (Duration::from_mins(5), Duration::from_mins(10));

/// The configuration of such a call.
pub(super) fn bulk() -> Builder {
    aws_sdk_s3::Config::builder().timeout_config(timeouts(BULK_TIMES))
}

/// Metadata as the SDK takes it.
pub(super) fn sdk_metadata(metadata: &Metadata) -> HashMap<String, String> {
    metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The headers `If-None-Match` and `If-Match` of a condition.
pub(super) fn headers(condition: &Condition) -> (Option<String>, Option<String>) {
    match condition {
        Condition::Always => (None, None),
        Condition::Absent => (Some("*".to_owned()), None),
        Condition::Matches(etag) => (None, Some(etag.quoted())),
    }
}

/// What a write left. Where versioning is suspended the version is called `null`, and the next write replaces it.
pub(super) fn stored(etag: &str, version: Option<String>) -> Written {
    let version = version.filter(|version| !version.is_empty() && version != "null");
    Written::Stored(Stored { etag: ETag::new(etag), version })
}

impl S3Objects {
    pub(super) async fn write(
        &self,
        object: &ObjectName,
        body: Bytes,
        condition: Condition,
        metadata: &Metadata,
    ) -> Result<Written, PortError> {
        let (none_match, matches) = headers(&condition);
        let answer = self
            .client
            .put_object()
            .bucket(&object.bucket)
            .key(&object.key)
            .set_metadata(Some(sdk_metadata(metadata)))
            .set_if_none_match(none_match)
            .set_if_match(matches)
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .body(body.into())
            .customize()
            .config_override(bulk())
            .send()
            .await;
        match answer {
            Ok(put) => {
                let etag = put.e_tag.ok_or_else(|| incomplete("put", object, "entity tag"))?;
                Ok(stored(&etag, put.version_id))
            }
            Err(error) => match Refusal::of(&error).written(&condition) {
                Some(written) => Ok(written),
                None => Err(write_error("put", object, error)),
            },
        }
    }
}

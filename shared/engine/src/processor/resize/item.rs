//! A record of a list of images.

use fanfold_domain::{ETag, ObjectName};
use serde::Deserialize;

/// S3's longest key, in bytes.
const MAX_KEY_BYTES: usize = fanfold_domain::pipeline::MAX_KEY_BYTES;

/// An image that a record names: `{"bucket": "b", "key": "images/a.jpg", "etag": "...", "size": 123}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Item {
    /// The source's, unless it is said.
    bucket: Option<String>,
    key: String,
    /// What is to be read, and nothing else.
    pub(super) etag: Option<ETag>,
    pub(super) version: Option<String>,
    /// Bytes of the image's file.
    pub(super) size: Option<u64>,
}

impl Item {
    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(record: &[u8]) -> Result<Self, String> {
        let item: Self = serde_json::from_slice(record)
            .map_err(|error| format!("no image: {error}; it must be as {{\"key\": \"images/a.jpg\"}}"))?;
        if (1..=MAX_KEY_BYTES).contains(&item.key.len()) {
            Ok(item)
        } else {
            Err(format!("a key of {} bytes, and it has 1 to {MAX_KEY_BYTES}", item.key.len()))
        }
    }

    /// Where the image is.
    pub(super) fn object(&self, source_bucket: &str) -> ObjectName {
        ObjectName::new(self.bucket.as_deref().unwrap_or(source_bucket), self.key.as_str())
    }

    /// What the image is told from others of its name by, if the record says it.
    pub(super) fn version_or_etag(&self) -> Option<&str> {
        self.version.as_deref().or(self.etag.as_ref().map(ETag::as_str))
    }
}

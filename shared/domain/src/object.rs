//! Names and pins of objects.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ETag;

/// Where an object is: a bucket and a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectName {
    /// The bucket's name.
    pub bucket: String,
    /// The key, not URL-encoded, at most 1,024 bytes.
    pub key: String,
}

impl ObjectName {
    /// Names the object `key` in `bucket`.
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Self {
        Self { bucket: bucket.into(), key: key.into() }
    }

    /// The name in 32 hexadecimal digits, for where it must be short and plain: the first half of a SHA-256 over
    /// `{bucket}/{key}` (a bucket's name has no slash).
    pub fn digest(&self) -> String {
        let hash = Sha256::digest(format!("{}/{}", self.bucket, self.key));
        hex::encode(&hash[..16])
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// One exact content of an object: what a run reads, whatever is uploaded under the name meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePin {
    /// Where the source is.
    pub object: ObjectName,
    /// The version id, where the bucket is versioned.
    pub version: Option<String>,
    /// The entity tag: every read carries it as If-Match.
    pub etag: ETag,
    /// Size in bytes.
    pub size_bytes: u64,
}

impl SourcePin {
    /// The version id where there is one, else the entity tag: what identities are derived from.
    pub fn version_or_etag(&self) -> &str {
        self.version.as_deref().unwrap_or(self.etag.as_str())
    }

    /// The name from which the ids of what is made of one record are derived (`design`: UUIDv5 over
    /// `{bucket}/{key}@{version or ETag}:{byte offset}`): all of it but the offset.
    pub fn derivation_prefix(&self) -> String {
        format!("{}/{}@{}:", self.object.bucket, self.object.key, self.version_or_etag())
    }
}

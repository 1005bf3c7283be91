//! Objects in memory, under S3's rules.

mod bucket;
mod multipart;
mod port;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{Mutex, MutexGuard},
};

use bytes::Bytes;
use fanfold_domain::{ObjectName, Timestamp, assembly::MIN_UPLOAD_PART};

use self::{
    bucket::{Bucket, Content, etag},
    multipart::OpenUpload,
};
use super::MemoryClock;
use crate::{
    Clock, Fault, PortError,
    objects::{Condition, Metadata, ObjectHead, Upload},
};

/// The size of a stream's pieces, in bytes, unless the constructor says otherwise.
pub const STREAM_PIECE_BYTES: usize = 64 << 10;

/// Objects in memory, under S3's rules for conditions, versions and multipart uploads.
///
/// A bucket is there as soon as it is named; it keeps versions only if the constructor was told so.
#[derive(Debug)]
pub struct MemoryObjects {
    clock: MemoryClock,
    least_part: u64,
    piece_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    buckets: BTreeMap<String, Bucket>,
    uploads: BTreeMap<Upload, OpenUpload>,
    created_uploads: u64,
    requests: BTreeMap<&'static str, u64>,
    bytes_read: u64,
}

impl State {
    fn bucket(&mut self, object: &ObjectName) -> &mut Bucket {
        self.buckets.entry(object.bucket.clone()).or_default()
    }
}

impl MemoryObjects {
    /// A store without objects.
    pub fn new(clock: MemoryClock) -> Self {
        let state = Mutex::default();
        Self { clock, least_part: MIN_UPLOAD_PART, piece_bytes: STREAM_PIECE_BYTES, state }
    }

    /// Makes a bucket keep versions.
    #[must_use]
    pub fn with_versioned_bucket(self, bucket: impl Into<String>) -> Self {
        self.state().buckets.entry(bucket.into()).or_default().keeps_versions = true;
        self
    }

    /// Makes upload parts of `bytes` large enough, instead of 5 MiB.
    #[must_use]
    pub fn with_min_upload_part(self, bytes: u64) -> Self {
        Self { least_part: bytes, ..self }
    }

    /// Makes streams come in pieces of at most `bytes`, instead of [`STREAM_PIECE_BYTES`].
    #[must_use]
    pub fn with_stream_pieces(self, bytes: usize) -> Self {
        Self { piece_bytes: bytes.max(1), ..self }
    }

    /// Stores an object as an upload by anyone would; what is known of it then.
    ///
    /// # Panics
    /// Never: what was stored is there.
    pub fn insert(
        &self,
        bucket: impl Into<String>,
        key: impl Into<String>,
        body: impl Into<Bytes>,
    ) -> ObjectHead {
        let (object, body) = (ObjectName::new(bucket, key), body.into());
        let content = self.content(body, &Metadata::new());
        let mut state = self.state();
        let bucket = state.bucket(&object);
        bucket.store(&object.key, content, &Condition::Always);
        bucket.content(&object.key, None).expect("it was stored just now").head.clone()
    }

    /// Puts an object here as it stood elsewhere: with the entity tag, the version and the metadata of `head`.
    pub fn restore(&self, object: &ObjectName, body: Bytes, head: ObjectHead) {
        let ObjectHead { etag, version, metadata, .. } = head;
        let mut content = Content::new(body, etag, &metadata, self.now());
        content.head.version = version;
        self.state().bucket(object).restore(&object.key, content);
    }

    /// Puts an upload here that was open elsewhere, without parts. Uploads that are begun from now on have other ids.
    pub fn restore_upload(&self, upload: Upload) {
        let mut state = self.state();
        let number = upload.id.rsplit('-').next().and_then(|number| number.parse::<u64>().ok());
        state.created_uploads = state.created_uploads.max(number.map_or(0, |number| number + 1));
        state.uploads.insert(upload, OpenUpload::new(&Metadata::new()));
    }

    /// Deletes an object; where versions are kept, behind a delete marker.
    pub fn remove(&self, object: &ObjectName) {
        self.state().bucket(object).remove(&object.key);
    }

    /// The bytes that are there now.
    pub fn contents(&self, object: &ObjectName) -> Option<Bytes> {
        self.state().bucket(object).content(&object.key, None).map(|content| content.body.clone())
    }

    /// The keys of a bucket, in order.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.state().buckets.get(bucket).map_or_else(Vec::new, |bucket| bucket.keys().cloned().collect())
    }

    /// The uploads that were neither completed nor aborted.
    pub fn open_uploads(&self) -> Vec<Upload> {
        self.state().uploads.keys().cloned().collect()
    }

    /// How many requests were made, by operation; those of tests themselves not counted.
    pub fn requests(&self) -> BTreeMap<&'static str, u64> {
        self.state().requests.clone()
    }

    /// How many bytes reads asked for, copies inside the store not counted.
    pub fn bytes_read(&self) -> u64 {
        self.state().bytes_read
    }

    fn content(&self, body: Bytes, metadata: &Metadata) -> Content {
        let tag = etag(&body);
        Content::new(body, tag, metadata, self.now())
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

/// An error that no repetition heals.
fn refused(operation: &'static str, subject: impl Display, detail: impl Into<String>) -> PortError {
    PortError::new(Fault::Permanent, operation, subject, detail)
}

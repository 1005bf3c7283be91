//! Objects in buckets, with S3's conditions and its rules for multipart uploads.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use fanfold_domain::{ByteRange, ETag, ObjectName, SourcePin, Timestamp};
use futures::stream::BoxStream;
use thiserror::Error;

use crate::PortError;

/// Metadata of our own, lowercase keys. Fixed when a write begins, as in S3.
pub type Metadata = BTreeMap<String, String>;

/// An object's bytes as they come. An error ends the stream.
pub type ByteStream = BoxStream<'static, Result<Bytes, PortError>>;

/// What is known of an object without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHead {
    /// Its entity tag.
    pub etag: ETag,
    /// The version id, where the bucket is versioned.
    pub version: Option<String>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// CRC-64/NVME of the whole object, where the service keeps one.
    pub crc64: Option<u64>,
    /// Our metadata.
    pub metadata: Metadata,
    /// When it was last written.
    pub modified_at: Timestamp,
}

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its entity tag.
    pub etag: ETag,
    /// Size in bytes.
    pub size_bytes: u64,
}

/// The most objects that are listed, or deleted, at once (S3's limit).
pub const MAX_LISTED: usize = 1_000;

/// Which content is to be read. With neither field, whatever is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pin {
    /// A version id.
    pub version: Option<String>,
    /// An entity tag that must match.
    pub etag: Option<ETag>,
}

impl From<&SourcePin> for Pin {
    fn from(source: &SourcePin) -> Self {
        Self { version: source.version.clone(), etag: Some(source.etag.clone()) }
    }
}

/// When a write may happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Whatever is there.
    Always,
    /// Nothing is there (`If-None-Match: *`).
    Absent,
    /// Exactly this is there (`If-Match`).
    Matches(ETag),
}

/// What a write left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its entity tag.
    pub etag: ETag,
    /// The version id, where the bucket is versioned: equal bytes have equal tags, but no two writes one version.
    pub version: Option<String>,
}

/// How a conditional write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// The object is there now, as this.
    Stored(Stored),
    /// The condition did not hold (412, or 404 for a match against nothing); nothing was written.
    Refused,
    /// Another write to the same key was under way (409); nothing was written. Look again, then retry; S3
    /// wants a new multipart upload then, since the one that met the conflict may or may not be left.
    Conflict,
}

/// Why a read gave nothing.
#[derive(Debug, Error)]
pub enum ReadError {
    /// There is no such object or version.
    #[error("{0} does not exist")]
    Missing(ObjectName),
    /// Another content is there than the pin says.
    #[error("{0} is not what was pinned")]
    Changed(ObjectName),
    /// The call failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// A multipart upload under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Upload {
    /// What it will become.
    pub object: ObjectName,
    /// The service's id of it.
    pub id: String,
}

/// An upload part that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedPart {
    /// 1 to 10,000.
    pub number: u32,
    /// The part's entity tag.
    pub etag: ETag,
    /// CRC-64/NVME of the part, where the service says it.
    pub crc64: Option<u64>,
}

/// An upload part that an open upload has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPart {
    /// The part.
    pub part: UploadedPart,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// What the whole object must be when an upload is completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Size in bytes.
    pub size_bytes: u64,
    /// CRC-64/NVME of all bytes, where it is known.
    pub crc64: Option<u64>,
}

/// Why an upload could not go on.
#[derive(Debug, Error)]
pub enum UploadError {
    /// There is no such upload: it was aborted, completed, or never existed (`NoSuchUpload`).
    #[error("upload {} of {} does not exist", .0.id, .0.object)]
    Gone(Upload),
    /// A part that the completion names is not the one that the upload has by now, since the part was never sent or was
    /// sent again (`InvalidPart`). Equal bytes need not have equal entity tags: under SSE-KMS they have others each
    /// time. List the parts anew.
    #[error("upload {} of {} has other parts than were named", .0.id, .0.object)]
    OtherParts(Upload),
    /// The source of a copy is missing or not what was pinned.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The call failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl UploadError {
    /// Whether no further try with the same upload and source would mend it, whatever becomes of others.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Read(ReadError::Missing(_) | ReadError::Changed(_)) => true,
            Self::Port(failed) | Self::Read(ReadError::Port(failed)) => failed.is_permanent(),
            Self::Gone(_) | Self::OtherParts(_) => false,
        }
    }
}

/// Objects: S3, its memory twin, or files.
///
/// Reads see every write that returned before them (S3 is strongly consistent).
#[async_trait]
pub trait Objects: Send + Sync {
    /// Looks at an object; `None` if there is none (or no such version).
    async fn head(&self, object: &ObjectName, version: Option<&str>)
    -> Result<Option<ObjectHead>, PortError>;

    /// Reads the bytes of `range`, which lie within the object and are not empty; any other range is refused
    /// as permanent.
    ///
    /// The stream gives exactly the range's bytes or ends in an error.
    async fn read(&self, object: &ObjectName, pin: &Pin, range: ByteRange) -> Result<ByteStream, ReadError>;

    /// Writes a whole object at once, at most 5 GiB, on a condition.
    async fn put(
        &self,
        object: &ObjectName,
        body: Bytes,
        condition: Condition,
        metadata: &Metadata,
    ) -> Result<Written, PortError>;

    /// Begins a multipart upload. Each call begins another one.
    async fn create_upload(&self, object: &ObjectName, metadata: &Metadata) -> Result<Upload, PortError>;

    /// Sends upload part `number` (1 to 10,000); a repetition replaces it.
    async fn upload_part(
        &self,
        upload: &Upload,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart, UploadError>;

    /// Copies a range of another object inside the service as upload part `number`. The object is at least
    /// 5 MiB large, unless [copies are free](Self::copies_are_free): S3 copies ranges of none smaller.
    async fn copy_part(
        &self,
        upload: &Upload,
        number: u32,
        from: &ObjectName,
        pin: &Pin,
        range: ByteRange,
    ) -> Result<UploadedPart, UploadError>;

    /// Whether a copy costs nothing and may be of any size, so that nothing need ever be read to be sent again.
    /// In S3 it is a request, and of no object below 5 MiB.
    fn copies_are_free(&self) -> bool {
        false
    }

    /// All parts that an open upload has by now, in order of their numbers: what an upload that was left half done may
    /// go on from.
    async fn upload_parts(&self, upload: &Upload) -> Result<Vec<HeldPart>, UploadError>;

    /// Makes the object of its parts, on a condition, and only if it is what is expected.
    ///
    /// Parts are consecutive from 1, at least one, each at least 5 MiB but the last. Whoever completes first
    /// wins; the upload is gone afterwards (though the same completion again may be answered as before), unless
    /// the condition did not hold or the parts are not what is expected (which is permanent). After a [`Written::Conflict`] it may be gone.
    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[UploadedPart],
        condition: Condition,
        expected: Expected,
    ) -> Result<Written, UploadError>;

    /// Gives an upload up; its parts are discarded and it can no longer be completed. An upload that is gone
    /// already is no error.
    async fn abort_upload(&self, upload: &Upload) -> Result<(), PortError>;

    /// The objects of a bucket whose keys begin with `prefix`, in the order of their keys' bytes, from behind the key
    /// `after` on if it is given (which need not be there), at most `limit` (1 to [`MAX_LISTED`]). Fewer than `limit`
    /// are the last.
    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, PortError>;

    /// Deletes the objects of these keys, at most [`MAX_LISTED`]; where a bucket keeps versions, behind delete markers.
    /// One that is not there is no error.
    ///
    /// # Errors
    /// Some may have been deleted. The caller deletes all again: what is gone stays gone.
    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<(), PortError>;
}

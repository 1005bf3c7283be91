//! The port itself: each call checks its names, then does one thing under the lock.

use std::sync::MutexGuard;

use async_trait::async_trait;
use bytes::Bytes;
use fanfold_domain::{ByteRange, ObjectName, assembly::MAX_UPLOAD_PART};
use futures::{StreamExt, stream};

use super::{
    MemoryObjects, State,
    bucket::Content,
    multipart::{OpenUpload, Refusal, check_part_size},
    refused,
};
use crate::{
    Objects, PortError,
    objects::{
        ByteStream, Condition, Expected, HeldPart, Listed, MAX_LISTED, Metadata, ObjectHead, Pin, ReadError,
        Upload, UploadError, UploadedPart, Written,
    },
};

/// The longest key, in bytes.
const MAX_KEY_BYTES: usize = 1_024;
/// The most metadata, keys and values together, in bytes.
const MAX_METADATA_BYTES: usize = 2_048;
/// The largest object that is written at once, in bytes.
const MAX_PUT: u64 = 5 << 30;

#[async_trait]
impl Objects for MemoryObjects {
    async fn head(
        &self,
        object: &ObjectName,
        version: Option<&str>,
    ) -> Result<Option<ObjectHead>, PortError> {
        let mut state = self.enter("head", object)?;
        Ok(state.bucket(object).content(&object.key, version).map(|content| content.head.clone()))
    }

    async fn read(&self, object: &ObjectName, pin: &Pin, range: ByteRange) -> Result<ByteStream, ReadError> {
        let mut state = self.enter("read", object)?;
        let body = state.bucket(object).pinned(object, pin)?.slice(object, range)?;
        state.bytes_read += range.len();
        Ok(pieces(body, self.piece_bytes))
    }

    async fn put(
        &self,
        object: &ObjectName,
        body: Bytes,
        condition: Condition,
        metadata: &Metadata,
    ) -> Result<Written, PortError> {
        check_put_size(object, body.len() as u64)?;
        check_metadata("put", object, metadata)?;
        let content = self.content(body, metadata);
        let mut state = self.enter("put", object)?;
        Ok(state.bucket(object).store(&object.key, content, &condition))
    }

    async fn create_upload(&self, object: &ObjectName, metadata: &Metadata) -> Result<Upload, PortError> {
        check_metadata("create_upload", object, metadata)?;
        let mut state = self.enter("create_upload", object)?;
        let upload = Upload { object: object.clone(), id: format!("upload-{:06}", state.created_uploads) };
        state.created_uploads += 1;
        state.uploads.insert(upload.clone(), OpenUpload::new(metadata));
        Ok(upload)
    }

    async fn upload_part(
        &self,
        upload: &Upload,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart, UploadError> {
        let mut state = self.enter("upload_part", &upload.object)?;
        Ok(open(&mut state, upload)?.add("upload_part", upload, number, body)?)
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: u32,
        from: &ObjectName,
        pin: &Pin,
        range: ByteRange,
    ) -> Result<UploadedPart, UploadError> {
        check_part_size("copy_part", upload, range.len())?;
        let mut state = self.enter("copy_part", &upload.object)?;
        open(&mut state, upload)?;
        let source = state.bucket(from).pinned(from, pin)?;
        check_copy_source(from, source, self.least_part)?;
        let body = source.slice(from, range)?;
        Ok(open(&mut state, upload)?.add("copy_part", upload, number, body)?)
    }

    async fn upload_parts(&self, upload: &Upload) -> Result<Vec<HeldPart>, UploadError> {
        let mut state = self.enter("upload_parts", &upload.object)?;
        Ok(open(&mut state, upload)?.held())
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[UploadedPart],
        condition: Condition,
        expected: Expected,
    ) -> Result<Written, UploadError> {
        let mut state = self.enter("complete_upload", &upload.object)?;
        let found = open(&mut state, upload)?;
        let (body, etag) =
            found.assemble(parts, self.least_part, expected).map_err(|refusal| match refusal {
                Refusal::OtherParts => UploadError::OtherParts(upload.clone()),
                Refusal::For(detail) => refused("complete_upload", &upload.object, detail).into(),
            })?;
        let content = Content::new(body, etag, &found.metadata, self.now());
        let written = state.bucket(&upload.object).store(&upload.object.key, content, &condition);
        if written != Written::Refused {
            state.uploads.remove(upload);
        }
        Ok(written)
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), PortError> {
        self.enter("abort_upload", &upload.object)?.uploads.remove(upload);
        Ok(())
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, PortError> {
        check_count("list", bucket, limit)?;
        let mut state = self.state();
        *state.requests.entry("list").or_default() += 1;
        let bucket = state.buckets.entry(bucket.to_owned()).or_default();
        Ok(bucket.list(prefix, after).take(limit).collect())
    }

    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<(), PortError> {
        if keys.is_empty() {
            return Ok(());
        }
        check_count("delete", bucket, keys.len())?;
        let mut state = self.state();
        *state.requests.entry("delete").or_default() += 1;
        let bucket = state.buckets.entry(bucket.to_owned()).or_default();
        for key in keys {
            bucket.remove(key);
        }
        Ok(())
    }
}

impl MemoryObjects {
    /// Counts a request and checks its key.
    fn enter(
        &self,
        operation: &'static str,
        object: &ObjectName,
    ) -> Result<MutexGuard<'_, State>, PortError> {
        let mut state = self.state();
        *state.requests.entry(operation).or_default() += 1;
        let bytes = object.key.len();
        if bytes == 0 || bytes > MAX_KEY_BYTES {
            return Err(refused(operation, object, format!("KeyTooLongError: a key of {bytes} bytes")));
        }
        Ok(state)
    }
}

/// 1 to 1,000 objects at once.
fn check_count(operation: &'static str, bucket: &str, count: usize) -> Result<(), PortError> {
    if (1..=MAX_LISTED).contains(&count) {
        return Ok(());
    }
    Err(refused(operation, bucket, format!("MalformedXML: {count} objects at once")))
}

/// The upload, if it is still open.
fn open<'a>(state: &'a mut State, upload: &Upload) -> Result<&'a mut OpenUpload, UploadError> {
    state.uploads.get_mut(upload).ok_or_else(|| UploadError::Gone(upload.clone()))
}

/// What is written at once is at most 5 GiB.
pub(super) fn check_put_size(object: &ObjectName, bytes: u64) -> Result<(), PortError> {
    if bytes > MAX_PUT {
        return Err(refused("put", object, format!("EntityTooLarge: {bytes} bytes at once")));
    }
    Ok(())
}

/// What is copied from is at least as large as an upload part: S3 copies ranges of nothing smaller.
fn check_copy_source(from: &ObjectName, source: &Content, least: u64) -> Result<(), PortError> {
    let size = source.head.size_bytes;
    if size < least {
        return Err(refused("copy_part", from, format!("InvalidRequest: a range of only {size} bytes")));
    }
    Ok(())
}

/// Metadata travel as headers: lowercase names, visible ASCII, 2 KiB in all.
fn check_metadata(
    operation: &'static str,
    object: &ObjectName,
    metadata: &Metadata,
) -> Result<(), PortError> {
    let bytes: usize = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MAX_METADATA_BYTES {
        return Err(refused(operation, object, format!("MetadataTooLarge: {bytes} bytes")));
    }
    let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let fits = |(key, value): (&String, &String)| {
        !key.is_empty() && key.bytes().all(is_name) && value.bytes().all(|b| (b' '..=b'~').contains(&b))
    };
    if !metadata.iter().all(fits) {
        return Err(refused(operation, object, "InvalidArgument: metadata that are no headers"));
    }
    Ok(())
}

/// A stream of a body in pieces of at most `bytes`.
fn pieces(mut body: Bytes, bytes: usize) -> ByteStream {
    let mut pieces = Vec::new();
    while !body.is_empty() {
        pieces.push(Ok(body.split_to(bytes.min(body.len()))));
    }
    stream::iter(pieces).boxed()
}

const _: () = assert!(MAX_PUT == MAX_UPLOAD_PART, "S3 has one limit for what is sent at once");

//! Objects on S3.
//!
//! A retry inside the SDK may meet the effect of its own first try: a conditional put is then refused though
//! it is this call's object that is there, and a completion finds its upload gone. Both are answers that the
//! port's callers look behind with a HEAD, since another caller may cause them as well.

mod checksum;
mod failure;
mod list;
mod read;
mod source;
mod upload;
mod write;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use bytes::Bytes;
use fanfold_domain::{ByteRange, ObjectName};
use fanfold_ports::objects::{
    ByteStream, Condition, Expected, HeldPart, Listed, Metadata, ObjectHead, Pin, ReadError, Upload,
    UploadError, UploadedPart, Written,
};
use fanfold_ports::{Objects, PortError};

/// The objects port on S3.
#[derive(Debug, Clone)]
pub struct S3Objects {
    client: Client,
    whole_checksum: bool,
}

impl S3Objects {
    pub(crate) fn new(client: Client, whole_checksum: bool) -> Self {
        Self { client, whole_checksum }
    }
}

#[async_trait]
impl Objects for S3Objects {
    async fn head(
        &self,
        object: &ObjectName,
        version: Option<&str>,
    ) -> Result<Option<ObjectHead>, PortError> {
        self.look(object, version).await
    }

    async fn read(&self, object: &ObjectName, pin: &Pin, range: ByteRange) -> Result<ByteStream, ReadError> {
        self.open(object, pin, range).await
    }

    async fn put(
        &self,
        object: &ObjectName,
        body: Bytes,
        condition: Condition,
        metadata: &Metadata,
    ) -> Result<Written, PortError> {
        self.write(object, body, condition, metadata).await
    }

    async fn create_upload(&self, object: &ObjectName, metadata: &Metadata) -> Result<Upload, PortError> {
        self.begin(object, metadata).await
    }

    async fn upload_part(
        &self,
        upload: &Upload,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart, UploadError> {
        self.send_part(upload, number, body).await
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: u32,
        from: &ObjectName,
        pin: &Pin,
        range: ByteRange,
    ) -> Result<UploadedPart, UploadError> {
        self.copy(upload, number, from, pin, range).await
    }

    async fn upload_parts(&self, upload: &Upload) -> Result<Vec<HeldPart>, UploadError> {
        self.held(upload).await
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[UploadedPart],
        condition: Condition,
        expected: Expected,
    ) -> Result<Written, UploadError> {
        self.complete(upload, parts, condition, expected).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), PortError> {
        self.abort(upload).await
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, PortError> {
        self.keys(bucket, prefix, after, limit).await
    }

    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<(), PortError> {
        self.remove(bucket, keys).await
    }
}

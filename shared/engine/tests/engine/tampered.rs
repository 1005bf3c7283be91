//! A store that does not show everything.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use fanfold_domain::{ByteRange, ObjectName};
use fanfold_ports::{
    Objects, PortError,
    memory::MemoryObjects,
    objects::{
        ByteStream, Condition, Expected, HeldPart, Listed, Metadata, ObjectHead, Pin, ReadError, Upload,
        UploadError, UploadedPart, Written,
    },
};
use futures::{StreamExt, stream};

use crate::world::World;

/// A store that does not show everything.
pub(crate) struct Tampered {
    pub(crate) inner: Arc<MemoryObjects>,
    /// How many objects are not seen yet, as if another attempt created them just after.
    pub(crate) heads_unseen: AtomicU64,
    /// No read gives the bytes from here on.
    pub(crate) reads_end_at: u64,
    /// What is uploaded under a copy's source just before the copy.
    pub(crate) replaced_before_copies: Option<Vec<u8>>,
    /// What is uploaded just before the last of these is put, once.
    pub(crate) replaced_before_put: Mutex<Vec<(ObjectName, Bytes)>>,
}

impl Tampered {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            inner: world.objects.clone(),
            heads_unseen: AtomicU64::new(0),
            reads_end_at: u64::MAX,
            replaced_before_copies: None,
            replaced_before_put: Mutex::default(),
        }
    }
}

#[async_trait]
impl Objects for Tampered {
    async fn head(
        &self,
        object: &ObjectName,
        version: Option<&str>,
    ) -> Result<Option<ObjectHead>, PortError> {
        let one_less = |unseen: u64| unseen.checked_sub(1);
        if self.heads_unseen.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
            return Ok(None);
        }
        self.inner.head(object, version).await
    }

    async fn read(&self, object: &ObjectName, pin: &Pin, range: ByteRange) -> Result<ByteStream, ReadError> {
        let end = range.end.min(self.reads_end_at);
        if end <= range.start {
            return Ok(stream::empty().boxed());
        }
        self.inner.read(object, pin, ByteRange::new(range.start, end)).await
    }

    async fn put(
        &self,
        object: &ObjectName,
        body: Bytes,
        condition: Condition,
        metadata: &Metadata,
    ) -> Result<Written, PortError> {
        {
            let mut newer = self.replaced_before_put.lock().unwrap();
            if newer.last().is_some_and(|(name, _)| name == object) {
                for (name, body) in newer.drain(..) {
                    self.inner.insert(&name.bucket, name.key, body);
                }
            }
        }
        self.inner.put(object, body, condition, metadata).await
    }

    async fn create_upload(&self, object: &ObjectName, metadata: &Metadata) -> Result<Upload, PortError> {
        self.inner.create_upload(object, metadata).await
    }

    async fn upload_part(
        &self,
        upload: &Upload,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart, UploadError> {
        self.inner.upload_part(upload, number, body).await
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: u32,
        from: &ObjectName,
        pin: &Pin,
        range: ByteRange,
    ) -> Result<UploadedPart, UploadError> {
        if let Some(newer) = &self.replaced_before_copies {
            self.inner.insert(&from.bucket, from.key.clone(), [newer.as_slice(), b"newer\n"].concat());
        }
        self.inner.copy_part(upload, number, from, pin, range).await
    }

    async fn upload_parts(&self, upload: &Upload) -> Result<Vec<HeldPart>, UploadError> {
        self.inner.upload_parts(upload).await
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[UploadedPart],
        condition: Condition,
        expected: Expected,
    ) -> Result<Written, UploadError> {
        self.inner.complete_upload(upload, parts, condition, expected).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), PortError> {
        self.inner.abort_upload(upload).await
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, PortError> {
        self.inner.list(bucket, prefix, after, limit).await
    }

    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<(), PortError> {
        self.inner.delete(bucket, keys).await
    }
}

//! Writing an object whose size is not known beforehand: small ones at once, large ones as a multipart
//! upload, with one upload part in memory either way.

use bytes::Bytes;
use fanfold_domain::{ByteRange, ObjectName};
use fanfold_ports::{
    Objects, PortError,
    objects::{Condition, Expected, Metadata, Pin, Upload, UploadError, UploadedPart, Written},
};

use crate::checksum;

/// Bytes of an upload part: 10,000 of them are 78 GiB, more than a chunk's part will be.
const UPLOAD_PART_BYTES: usize = 8 << 20;
/// Room for what is appended between two flushes, so that a full buffer is not copied to grow.
const SLACK_BYTES: usize = 1 << 20;

/// Bytes of one copy: 10,000 of them are more than an object may have, and one is soon done.
const COPY_BYTES: u64 = 1 << 30;

/// An object being written.
pub struct PartWriter<'a> {
    objects: &'a dyn Objects,
    object: ObjectName,
    metadata: Metadata,
    buffer: Vec<u8>,
    upload: Option<Begun>,
    written: Expected,
}

struct Begun {
    upload: Upload,
    parts: Vec<UploadedPart>,
}

impl<'a> PartWriter<'a> {
    /// Begins to write `object`; nothing is sent before a buffer is full or [`PartWriter::create`].
    pub fn new(objects: &'a dyn Objects, object: ObjectName, metadata: Metadata) -> Self {
        let written = Expected { size_bytes: 0, crc64: Some(checksum::crc64(b"")) };
        Self { objects, object, metadata, buffer: Vec::new(), upload: None, written }
    }

    /// Begins to write what `upload` will be, as a multipart upload whatever its size.
    pub fn into_upload(objects: &'a dyn Objects, upload: Upload) -> Self {
        let begun = Begun { upload: upload.clone(), parts: Vec::new() };
        Self { upload: Some(begun), ..Self::new(objects, upload.object, Metadata::new()) }
    }

    /// Bytes taken so far.
    pub fn size_bytes(&self) -> u64 {
        self.written.size_bytes + self.buffer.len() as u64
    }

    /// The buffer to append to; call [`PartWriter::flush`] after every MiB or so.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Sends an upload part if the buffer holds one.
    ///
    /// # Errors
    /// The write failed; [`PartWriter::abandon`] then.
    pub async fn flush(&mut self) -> Result<(), UploadError> {
        if self.buffer.len() < UPLOAD_PART_BYTES {
            return Ok(());
        }
        self.send().await
    }

    /// Appends a range of another object, which is copied where it lies. Only to a writer that has taken nothing
    /// yet, of an object of at least 5 MiB; what is known of its checksum is left to the store.
    ///
    /// # Errors
    /// The copy failed; [`PartWriter::abandon`] then.
    pub async fn copy(&mut self, from: &ObjectName, pin: &Pin, range: ByteRange) -> Result<(), UploadError> {
        debug_assert_eq!(self.size_bytes(), 0, "a copy is the first and the last thing that is written");
        let objects = self.objects;
        for piece in range.pieces(COPY_BYTES) {
            let Begun { upload, parts } = self.begun().await?;
            let copied = objects.copy_part(upload, next_number(parts), from, pin, piece).await?;
            parts.push(copied);
        }
        self.written = Expected { size_bytes: range.len(), crc64: None };
        Ok(())
    }

    /// All that was taken, if nothing of it was sent yet; then the writer has nothing any more.
    pub fn take_unsent(&mut self) -> Option<Bytes> {
        self.upload.is_none().then(|| Bytes::from(std::mem::take(&mut self.buffer)))
    }

    /// Creates the object, on a condition: the commit. What was sent is discarded unless that succeeds.
    ///
    /// # Errors
    /// The write failed or may have happened.
    pub async fn create(mut self, condition: Condition) -> Result<Written, UploadError> {
        let written = if self.upload.is_some() {
            self.complete(condition).await
        } else {
            let body = Bytes::from(std::mem::take(&mut self.buffer));
            return Ok(self.objects.put(&self.object, body, condition, &self.metadata).await?);
        };
        if !matches!(written, Ok(Written::Stored(_))) {
            self.abandon().await;
        }
        written
    }

    /// Gives up: what was sent is discarded. Where even that fails, the bucket's lifecycle rule does it.
    pub async fn abandon(self) {
        let Some(Begun { upload, .. }) = self.upload else { return };
        if let Err(error) = self.objects.abort_upload(&upload).await {
            tracing::warn!(%error, object = %self.object, upload = upload.id, "an upload was left behind");
        }
    }

    async fn complete(&mut self, condition: Condition) -> Result<Written, UploadError> {
        // One upload part there must be.
        let is_empty = self.upload.as_ref().is_some_and(|begun| begun.parts.is_empty());
        if is_empty || !self.buffer.is_empty() {
            self.send().await?;
        }
        let Begun { upload, parts } = self.upload.as_ref().expect("an upload is under way");
        self.objects.complete_upload(upload, parts, condition, self.written).await
    }

    /// The upload, which is begun if it is not.
    async fn begun(&mut self) -> Result<&mut Begun, PortError> {
        Ok(match &mut self.upload {
            Some(begun) => begun,
            none => {
                let upload = self.objects.create_upload(&self.object, &self.metadata).await?;
                none.insert(Begun { upload, parts: Vec::new() })
            }
        })
    }

    async fn send(&mut self) -> Result<(), UploadError> {
        let objects = self.objects;
        let body = Bytes::from(std::mem::take(&mut self.buffer));
        let (size, crc64) = (body.len() as u64, checksum::crc64(&body));
        let Begun { upload, parts } = self.begun().await?;
        parts.push(objects.upload_part(upload, next_number(parts), body.clone()).await?);
        // The same memory again, unless the upload still holds it: its pages are there already.
        self.buffer = if body.is_unique() { Vec::from(body) } else { Vec::new() };
        self.buffer.clear();
        self.buffer.reserve(UPLOAD_PART_BYTES + SLACK_BYTES);
        self.written.size_bytes += size;
        self.written.crc64 = self.written.crc64.map(|all| checksum::combine(all, crc64, size));
        Ok(())
    }
}

fn next_number(parts: &[UploadedPart]) -> u32 {
    u32::try_from(parts.len() + 1).unwrap_or(u32::MAX)
}

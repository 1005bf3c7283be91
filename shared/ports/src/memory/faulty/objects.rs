//! Objects that fail by plan: calls, conditional writes that meet another, streams that break off.

use async_trait::async_trait;
use bytes::Bytes;
use fanfold_domain::{ByteRange, ObjectName};
use futures::{StreamExt, stream};

use super::{Faulty, Kind};
use crate::{
    Fault, Objects, PortError,
    memory::{Faults, faults::Outcome},
    objects::{
        ByteStream, Condition, Expected, HeldPart, Listed, Metadata, ObjectHead, Pin, ReadError, Upload,
        UploadError, UploadedPart, Written,
    },
};

#[async_trait]
impl<T: Objects + ?Sized> Objects for Faulty<T> {
    async fn head(
        &self,
        object: &ObjectName,
        version: Option<&str>,
    ) -> Result<Option<ObjectHead>, PortError> {
        self.read("head", object, self.inner.head(object, version)).await
    }

    async fn read(&self, object: &ObjectName, pin: &Pin, range: ByteRange) -> Result<ByteStream, ReadError> {
        let outcome = self.deal("read", object).await;
        let call = self.inner.read(object, pin, range);
        let stream = self.perform(Kind::Read, "read", object, outcome, call).await?;
        let is_broken = outcome == Outcome::BrokenStream;
        let breaks_after = is_broken.then(|| self.faults.random().below(range.len()));
        Ok(Pieces::of(stream, self.faults.clone(), object, breaks_after))
    }

    async fn put(
        &self,
        object: &ObjectName,
        body: Bytes,
        condition: Condition,
        metadata: &Metadata,
    ) -> Result<Written, PortError> {
        let outcome = self.deal("put", object).await;
        if outcome == Outcome::Conflict && condition != Condition::Always {
            return Ok(Written::Conflict);
        }
        let call = self.inner.put(object, body, condition, metadata);
        self.perform(Kind::Write, "put", object, outcome, call).await
    }

    async fn create_upload(&self, object: &ObjectName, metadata: &Metadata) -> Result<Upload, PortError> {
        self.write("create_upload", object, self.inner.create_upload(object, metadata)).await
    }

    async fn upload_part(
        &self,
        upload: &Upload,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart, UploadError> {
        self.write("upload_part", &upload.object, self.inner.upload_part(upload, number, body)).await
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: u32,
        from: &ObjectName,
        pin: &Pin,
        range: ByteRange,
    ) -> Result<UploadedPart, UploadError> {
        let call = self.inner.copy_part(upload, number, from, pin, range);
        self.write("copy_part", &upload.object, call).await
    }

    async fn upload_parts(&self, upload: &Upload) -> Result<Vec<HeldPart>, UploadError> {
        self.read("upload_parts", &upload.object, self.inner.upload_parts(upload)).await
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[UploadedPart],
        condition: Condition,
        expected: Expected,
    ) -> Result<Written, UploadError> {
        let outcome = self.deal("complete_upload", &upload.object).await;
        if outcome == Outcome::Conflict && condition != Condition::Always {
            // S3 asks for a new upload after a conflict: do not count on this one.
            if self.faults.random().below(2) == 0 {
                self.inner.abort_upload(upload).await?;
            }
            return Ok(Written::Conflict);
        }
        let call = self.inner.complete_upload(upload, parts, condition, expected);
        self.perform(Kind::Write, "complete_upload", &upload.object, outcome, call).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), PortError> {
        self.write("abort_upload", &upload.object, self.inner.abort_upload(upload)).await
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, PortError> {
        let subject = ObjectName::new(bucket, prefix);
        self.read("list", subject, self.inner.list(bucket, prefix, after, limit)).await
    }

    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<(), PortError> {
        let subject = ObjectName::new(bucket, keys.first().map_or("", String::as_str));
        let outcome = self.deal("delete", &subject).await;
        if matches!(outcome, Outcome::Transient | Outcome::LostRequest | Outcome::CrashBefore) {
            // Each key fares by itself: some may be gone before it fails.
            let gone = self.faults.accepted(keys.len());
            self.inner.delete(bucket, &keys[..gone]).await?;
        }
        self.perform(Kind::Write, "delete", subject, outcome, self.inner.delete(bucket, keys)).await
    }
}

/// A stream cut into other pieces, each of which gives way to other invocations.
struct Pieces {
    stream: ByteStream,
    faults: Faults,
    object: ObjectName,
    left: Bytes,
    /// How many more bytes come before the stream breaks, if it does.
    breaks_after: Option<u64>,
}

impl Pieces {
    fn of(stream: ByteStream, faults: Faults, object: &ObjectName, breaks_after: Option<u64>) -> ByteStream {
        let pieces = Self { stream, faults, object: object.clone(), left: Bytes::new(), breaks_after };
        // The state is gone after an error, so that the stream ends.
        stream::unfold(Some(pieces), |pieces| async move {
            let mut pieces = pieces?;
            let piece = pieces.next().await?;
            let rest = piece.is_ok().then_some(pieces);
            Some((piece, rest))
        })
        .fuse()
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<Bytes, PortError>> {
        self.faults.give_way().await;
        if self.breaks_after == Some(0) {
            let detail = "the connection broke: the plan of faults";
            return Some(Err(PortError::new(Fault::Transient, "read", &self.object, detail)));
        }
        while self.left.is_empty() {
            match self.stream.next().await? {
                Ok(bytes) => self.left = bytes,
                Err(error) => return Some(Err(error)),
            }
        }
        let most = self.breaks_after.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let piece = self.faults.piece_bytes(self.left.len().min(most));
        self.breaks_after = self.breaks_after.map(|left| left - piece as u64);
        Some(Ok(self.left.split_to(piece)))
    }
}

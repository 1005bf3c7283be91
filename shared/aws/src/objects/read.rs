//! Looking at objects and reading ranges of them.

use std::error::Error;

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::ChecksumMode;
use bytes::Bytes;
use fanfold_domain::{ByteRange, ETag, ObjectName, Timestamp};
use fanfold_ports::objects::{ByteStream, ObjectHead, Pin, ReadError};
use fanfold_ports::{Fault, PortError};
use futures::stream::{self, StreamExt};

use super::failure::{Refusal, incomplete, look_error, pinned_error};
use super::{S3Objects, checksum};
use crate::error::causes;

impl S3Objects {
    pub(super) async fn look(
        &self,
        object: &ObjectName,
        version: Option<&str>,
    ) -> Result<Option<ObjectHead>, PortError> {
        let answer = self
            .client
            .head_object()
            .bucket(&object.bucket)
            .key(&object.key)
            .set_version_id(version.map(ToOwned::to_owned))
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await;
        match answer {
            Ok(head) => head_of(object, head).map(Some),
            Err(error) if Refusal::of(&error).is_missing() => Ok(None),
            Err(error) => Err(look_error("head", object, error)),
        }
    }

    pub(super) async fn open(
        &self,
        object: &ObjectName,
        pin: &Pin,
        range: ByteRange,
    ) -> Result<ByteStream, ReadError> {
        if range.is_empty() {
            // HTTP has no empty range: S3 would give the whole object.
            return Err(outside(object, format!("the range {range} is empty")).into());
        }
        let answer = self
            .client
            .get_object()
            .bucket(&object.bucket)
            .key(&object.key)
            .range(http_range(range))
            .set_version_id(pin.version.clone())
            .set_if_match(pin.etag.as_ref().map(ETag::quoted))
            .send()
            .await
            .map_err(|error| pinned_error("read", object, error))?;
        let length = answer.content_length.and_then(|length| u64::try_from(length).ok());
        if length.is_some_and(|length| length < range.len()) {
            // S3 gives less than was asked for where the object ends within the range.
            let found = answer.content_range.unwrap_or_default();
            return Err(outside(object, format!("the range {range} ends behind the object: {found}")).into());
        }
        let chunks = stream::unfold(answer.body, |mut body| async move {
            let chunk = body.next().await?;
            Some((chunk, body))
        });
        Ok(exactly(object.clone(), range, chunks.boxed()))
    }
}

/// A half-open range as HTTP writes it: both ends included. The range is not empty.
pub(super) fn http_range(range: ByteRange) -> String {
    format!("bytes={}-{}", range.start, range.end - 1)
}

fn head_of(object: &ObjectName, head: HeadObjectOutput) -> Result<ObjectHead, PortError> {
    let missing = |field| incomplete("head", object, field);
    let size = head.content_length.ok_or_else(|| missing("size"))?;
    let modified = head.last_modified.ok_or_else(|| missing("time of modification"))?;
    Ok(ObjectHead {
        etag: ETag::new(&head.e_tag.ok_or_else(|| missing("entity tag"))?),
        version: head.version_id,
        size_bytes: u64::try_from(size).map_err(|_| missing("valid size"))?,
        crc64: head.checksum_crc64_nvme.as_deref().and_then(checksum::decode),
        metadata: head.metadata.unwrap_or_default().into_iter().collect(),
        modified_at: Timestamp(modified.to_millis().map_or(0, |ms| u64::try_from(ms).unwrap_or(0))),
    })
}

/// The chunks as they come, and an error unless they are exactly as many bytes as the range has: a
/// connection that breaks must not look like the end.
fn exactly<E: Error + Send + Sync + 'static>(
    object: ObjectName,
    range: ByteRange,
    chunks: stream::BoxStream<'static, Result<Bytes, E>>,
) -> ByteStream {
    stream::try_unfold((chunks, range.len(), object), move |(mut chunks, left, object)| async move {
        match chunks.next().await {
            Some(Ok(chunk)) => match left.checked_sub(chunk.len() as u64) {
                Some(left) => Ok(Some((chunk, (chunks, left, object)))),
                None => Err(broken(&object, format!("more bytes came than are in {range}"))),
            },
            Some(Err(error)) => {
                let detail = format!("the stream broke {left} bytes before its end: {}", causes(&error));
                Err(PortError { source: Some(Box::new(error)), ..broken(&object, detail) })
            }
            None if left == 0 => Ok(None),
            None => Err(broken(&object, format!("the stream of {range} ended {left} bytes early"))),
        }
    })
    .boxed()
}

fn outside(object: &ObjectName, detail: String) -> PortError {
    PortError::new(Fault::Permanent, "read", object, detail)
}

fn broken(object: &ObjectName, detail: String) -> PortError {
    PortError::new(Fault::Transient, "read", object, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    async fn read(
        range: ByteRange,
        chunks: Vec<Result<&'static str, io::ErrorKind>>,
    ) -> Vec<Result<Bytes, PortError>> {
        let chunks = chunks.into_iter().map(|c| c.map(Bytes::from).map_err(io::Error::from));
        exactly(ObjectName::new("in", "a"), range, stream::iter(chunks).boxed()).collect().await
    }

    fn total(items: &[Result<Bytes, PortError>]) -> usize {
        items.iter().flatten().map(Bytes::len).sum()
    }

    #[test]
    fn a_range_is_written_with_both_ends() {
        assert_eq!(http_range(ByteRange::new(0, 1)), "bytes=0-0");
        assert_eq!(http_range(ByteRange::new(10, 20)), "bytes=10-19");
    }

    #[tokio::test]
    async fn exactly_the_range_is_no_error() {
        let items = read(ByteRange::new(5, 11), vec![Ok("abcd"), Ok(""), Ok("ef")]).await;
        assert!(items.iter().all(Result::is_ok));
        assert_eq!(total(&items), 6);
    }

    #[tokio::test]
    async fn a_stream_that_ends_early_is_an_error_and_not_an_end() {
        let items = read(ByteRange::new(0, 6), vec![Ok("abcd")]).await;
        let error = items.last().unwrap().as_ref().unwrap_err();
        assert_eq!((total(&items), error.fault), (4, Fault::Transient));
        assert!(error.detail.contains("2 bytes early"), "{error}");
    }

    #[tokio::test]
    async fn a_stream_that_is_too_long_is_an_error() {
        let items = read(ByteRange::new(0, 3), vec![Ok("abcd")]).await;
        assert_eq!((items.len(), total(&items)), (1, 0));
    }

    #[tokio::test]
    async fn a_broken_stream_keeps_its_cause() {
        let items =
            read(ByteRange::new(0, 6), vec![Ok("ab"), Err(io::ErrorKind::ConnectionReset), Ok("cdef")]).await;
        assert_eq!(items.len(), 2);
        let error = items.last().unwrap().as_ref().unwrap_err();
        assert!(error.fault == Fault::Transient && error.source.is_some());
    }
}

//! Multipart uploads.
//!
//! Where the endpoint knows it, an upload is begun with a CRC-64/NVME of the full object: S3 combines the
//! parts' checksums, compares them with the one that the completion carries, and keeps it with the object.

use std::error::Error;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, Part};
use bytes::Bytes;
use fanfold_domain::assembly::MAX_UPLOAD_PARTS;
use fanfold_domain::{ByteRange, ETag, ObjectName};
use fanfold_ports::objects::{
    Condition, Expected, HeldPart, Metadata, Pin, ReadError, Upload, UploadError, UploadedPart, Written,
};
use fanfold_ports::{Fault, PortError};

use super::failure::{Refusal, incomplete, pinned_error};
use super::read::http_range;
use super::source::copy_source;
use super::write::{bulk, headers, sdk_metadata, stored};
use super::{S3Objects, checksum};
use crate::error::{read_error, write_error};

impl S3Objects {
    pub(super) async fn begin(&self, object: &ObjectName, metadata: &Metadata) -> Result<Upload, PortError> {
        let answer = self
            .client
            .create_multipart_upload()
            .bucket(&object.bucket)
            .key(&object.key)
            .set_metadata(Some(sdk_metadata(metadata)))
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .set_checksum_type(self.checksum_type())
            .send()
            .await
            .map_err(|error| write_error("create_upload", object, error))?;
        let id = answer.upload_id.ok_or_else(|| incomplete("create_upload", object, "upload id"))?;
        Ok(Upload { object: object.clone(), id })
    }

    pub(super) async fn send_part(
        &self,
        upload: &Upload,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart, UploadError> {
        check_number(upload, number)?;
        let answer = self
            .client
            .upload_part()
            .bucket(&upload.object.bucket)
            .key(&upload.object.key)
            .upload_id(&upload.id)
            .part_number(number.cast_signed())
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .body(body.into())
            .customize()
            .config_override(bulk())
            .send()
            .await
            .map_err(|error| upload_error("upload_part", upload, error))?;
        let crc64 = answer.checksum_crc64_nvme.as_deref();
        uploaded("upload_part", upload, number, answer.e_tag, crc64)
    }

    pub(super) async fn copy(
        &self,
        upload: &Upload,
        number: u32,
        from: &ObjectName,
        pin: &Pin,
        range: ByteRange,
    ) -> Result<UploadedPart, UploadError> {
        check_number(upload, number)?;
        let answer = self
            .client
            .upload_part_copy()
            .bucket(&upload.object.bucket)
            .key(&upload.object.key)
            .upload_id(&upload.id)
            .part_number(number.cast_signed())
            .copy_source(copy_source(from, pin.version.as_deref()))
            .set_copy_source_if_match(pin.etag.as_ref().map(ETag::quoted))
            .copy_source_range(http_range(range))
            .customize()
            .config_override(bulk())
            .send()
            .await
            .map_err(|error| copy_error(upload, from, error))?;
        let part =
            answer.copy_part_result.ok_or_else(|| incomplete("copy_part", &upload.object, "copied part"))?;
        uploaded("copy_part", upload, number, part.e_tag, part.checksum_crc64_nvme.as_deref())
    }

    /// Pages of at most 1,000 parts, which is S3's limit.
    pub(super) async fn held(&self, upload: &Upload) -> Result<Vec<HeldPart>, UploadError> {
        let mut held: Vec<HeldPart> = Vec::new();
        loop {
            let behind = held.last().map(|last| last.part.number.to_string());
            let page = self
                .client
                .list_parts()
                .bucket(&upload.object.bucket)
                .key(&upload.object.key)
                .upload_id(&upload.id)
                .set_part_number_marker(behind)
                .send()
                .await
                .map_err(|error| list_error(upload, error))?;
            let is_last = page.is_truncated != Some(true);
            let came = held.len();
            for part in page.parts.unwrap_or_default() {
                held.push(held_part(upload, part)?);
            }
            if is_last || held.len() == came {
                return Ok(held);
            }
        }
    }

    pub(super) async fn complete(
        &self,
        upload: &Upload,
        parts: &[UploadedPart],
        condition: Condition,
        expected: Expected,
    ) -> Result<Written, UploadError> {
        check_parts(upload, parts)?;
        let (none_match, matches) = headers(&condition);
        let whole = expected.crc64.filter(|_| self.whole_checksum).map(checksum::encode);
        let answer = self
            .client
            .complete_multipart_upload()
            .bucket(&upload.object.bucket)
            .key(&upload.object.key)
            .upload_id(&upload.id)
            .set_if_none_match(none_match)
            .set_if_match(matches)
            .mpu_object_size(expected.size_bytes.cast_signed())
            .set_checksum_type(self.checksum_type())
            .set_checksum_crc64_nvme(whole)
            .multipart_upload(completed(parts))
            .customize()
            .config_override(bulk())
            .send()
            .await;
        match answer {
            Ok(object) => {
                let etag = object
                    .e_tag
                    .ok_or_else(|| incomplete("complete_upload", &upload.object, "entity tag"))?;
                Ok(stored(&etag, object.version_id))
            }
            Err(error) => match Refusal::of(&error).written(&condition) {
                Some(written) => Ok(written),
                None => Err(upload_error("complete_upload", upload, error)),
            },
        }
    }

    pub(super) async fn abort(&self, upload: &Upload) -> Result<(), PortError> {
        let answer = self
            .client
            .abort_multipart_upload()
            .bucket(&upload.object.bucket)
            .key(&upload.object.key)
            .upload_id(&upload.id)
            .send()
            .await;
        let Err(error) = answer else { return Ok(()) };
        let refusal = Refusal::of(&error);
        if refusal.is_upload_gone() || refusal.is_bucket_gone() {
            return Ok(());
        }
        Err(write_error("abort_upload", &upload.object, error))
    }

    fn checksum_type(&self) -> Option<ChecksumType> {
        self.whole_checksum.then_some(ChecksumType::FullObject)
    }
}

/// Refuses a number that S3 refuses; some stand-ins do not.
fn check_number(upload: &Upload, number: u32) -> Result<(), PortError> {
    if (1..=MAX_UPLOAD_PARTS).contains(&u64::from(number)) {
        return Ok(());
    }
    let detail = format!("upload part {number}, and they are numbered from 1 to {MAX_UPLOAD_PARTS}");
    Err(PortError::new(Fault::Permanent, "upload_part", &upload.object, detail))
}

/// Refuses parts that are not consecutive from 1: S3 answers 500 where the whole object has a checksum.
fn check_parts(upload: &Upload, parts: &[UploadedPart]) -> Result<(), PortError> {
    if !parts.is_empty() && parts.iter().zip(1..).all(|(part, number)| part.number == number) {
        return Ok(());
    }
    let numbers: Vec<_> = parts.iter().take(10).map(|part| part.number).collect();
    let detail = format!("upload parts {numbers:?}, and they are consecutive from 1");
    Err(PortError::new(Fault::Permanent, "complete_upload", &upload.object, detail))
}

fn completed(parts: &[UploadedPart]) -> CompletedMultipartUpload {
    let parts = parts
        .iter()
        .map(|part| {
            CompletedPart::builder()
                .part_number(part.number.cast_signed())
                .e_tag(part.etag.quoted())
                .set_checksum_crc64_nvme(part.crc64.map(checksum::encode))
                .build()
        })
        .collect();
    CompletedMultipartUpload::builder().set_parts(Some(parts)).build()
}

fn uploaded(
    operation: &'static str,
    upload: &Upload,
    number: u32,
    etag: Option<String>,
    crc64: Option<&str>,
) -> Result<UploadedPart, UploadError> {
    let etag = etag.ok_or_else(|| incomplete(operation, &upload.object, "entity tag"))?;
    Ok(UploadedPart { number, etag: ETag::new(&etag), crc64: crc64.and_then(checksum::decode) })
}

fn upload_error<E>(operation: &'static str, upload: &Upload, error: SdkError<E, HttpResponse>) -> UploadError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let refusal = Refusal::of(&error);
    if refusal.is_upload_gone() {
        return UploadError::Gone(upload.clone());
    }
    if refusal.has_other_parts() {
        return UploadError::OtherParts(upload.clone());
    }
    UploadError::Port(write_error(operation, &upload.object, error))
}

fn list_error<E>(upload: &Upload, error: SdkError<E, HttpResponse>) -> UploadError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    if Refusal::of(&error).is_upload_gone() {
        return UploadError::Gone(upload.clone());
    }
    UploadError::Port(read_error("upload_parts", &upload.object, error))
}

fn held_part(upload: &Upload, part: Part) -> Result<HeldPart, PortError> {
    let missing = |field| incomplete("upload_parts", &upload.object, field);
    let number = part.part_number.and_then(|number| u32::try_from(number).ok());
    let size = part.size.and_then(|size| u64::try_from(size).ok());
    let etag = part.e_tag.ok_or_else(|| missing("entity tag of a part"))?;
    let crc64 = part.checksum_crc64_nvme.as_deref().and_then(checksum::decode);
    let number = number.ok_or_else(|| missing("number of a part"))?;
    Ok(HeldPart {
        part: UploadedPart { number, etag: ETag::new(&etag), crc64 },
        size_bytes: size.ok_or_else(|| missing("size of a part"))?,
    })
}

/// The error of a copy: of the upload, of what is copied, or of the call. A part that may have been copied is
/// simply copied again, so that the call counts as a read.
fn copy_error<E>(upload: &Upload, from: &ObjectName, error: SdkError<E, HttpResponse>) -> UploadError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    if Refusal::of(&error).is_upload_gone() {
        return UploadError::Gone(upload.clone());
    }
    match pinned_error("copy_part", from, error) {
        ReadError::Port(error) => UploadError::Port(error),
        error => UploadError::Read(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(numbers: &[u32]) -> bool {
        let upload = Upload { object: ObjectName::new("out", "a"), id: "1".into() };
        let part = |number| UploadedPart { number, etag: ETag::new("e"), crc64: None };
        check_parts(&upload, &numbers.iter().copied().map(part).collect::<Vec<_>>()).is_ok()
    }

    #[test]
    fn upload_parts_are_consecutive_from_1() {
        assert!(check(&[1]) && check(&[1, 2, 3]));
        assert!(!check(&[]) && !check(&[2]) && !check(&[2, 1]) && !check(&[1, 3]) && !check(&[1, 1]));
    }
}

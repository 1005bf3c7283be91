//! S3's rules for multipart uploads.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use fanfold_domain::{
    ETag,
    assembly::{MAX_UPLOAD_PART, MAX_UPLOAD_PARTS},
};

use crate::{
    PortError,
    objects::{Expected, HeldPart, Metadata, Upload, UploadedPart},
};

use super::{
    bucket::{crc64, etag},
    refused,
};

/// An upload that was neither completed nor aborted.
#[derive(Debug)]
pub(super) struct OpenUpload {
    pub(super) metadata: Metadata,
    parts: BTreeMap<u32, Part>,
    /// Parts taken so far, those that were replaced included.
    taken: u64,
}

/// A part as it was last sent. As under SSE-KMS its tag is of this very write, and not of its bytes.
#[derive(Debug)]
struct Part {
    tag: ETag,
    body: Bytes,
}

/// Why an upload is not completed.
pub(super) enum Refusal {
    /// `InvalidPart`.
    OtherParts,
    /// For this reason.
    For(String),
}

/// The size of one upload part, whether sent or copied.
pub(super) fn check_part_size(operation: &'static str, upload: &Upload, bytes: u64) -> Result<(), PortError> {
    if bytes > MAX_UPLOAD_PART {
        return Err(refused(operation, &upload.object, format!("EntityTooLarge: a part of {bytes} bytes")));
    }
    Ok(())
}

impl OpenUpload {
    pub(super) fn new(metadata: &Metadata) -> Self {
        Self { metadata: metadata.clone(), parts: BTreeMap::new(), taken: 0 }
    }

    /// Takes an upload part, or another one in its place.
    pub(super) fn add(
        &mut self,
        operation: &'static str,
        upload: &Upload,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart, PortError> {
        if number == 0 || u64::from(number) > MAX_UPLOAD_PARTS {
            return Err(refused(operation, &upload.object, format!("InvalidArgument: part number {number}")));
        }
        check_part_size(operation, upload, body.len() as u64)?;
        self.taken += 1;
        let tag = ETag::new(&format!("{}{:04x}", etag(&body), self.taken));
        let taken = UploadedPart { number, etag: tag.clone(), crc64: Some(crc64(&body)) };
        self.parts.insert(number, Part { tag, body });
        Ok(taken)
    }

    /// The parts that it has.
    pub(super) fn held(&self) -> Vec<HeldPart> {
        let held = |(number, Part { tag, body }): (&u32, &Part)| HeldPart {
            part: UploadedPart { number: *number, etag: tag.clone(), crc64: Some(crc64(body)) },
            size_bytes: body.len() as u64,
        };
        self.parts.iter().map(held).collect()
    }

    /// Puts the listed parts together, if the list and the parts are as S3 wants them and the whole is what is
    /// expected. Equal parts make wholes of equal tags.
    pub(super) fn assemble(
        &self,
        parts: &[UploadedPart],
        least_part: u64,
        expected: Expected,
    ) -> Result<(Bytes, ETag), Refusal> {
        if parts.is_empty() {
            return Err(Refusal::For("MalformedXML: no parts".to_owned()));
        }
        let mut whole = BytesMut::new();
        let mut tags = String::new();
        for (part, number) in parts.iter().zip(1..) {
            let body = self.listed(part, number)?;
            if (body.len() as u64) < least_part && parts.len() as u64 > u64::from(number) {
                let detail = format!("EntityTooSmall: part {number} of {} bytes", body.len());
                return Err(Refusal::For(detail));
            }
            whole.extend_from_slice(body);
            tags.push_str(etag(body).as_str());
        }
        let whole = whole.freeze();
        check_expected(&whole, expected).map_err(Refusal::For)?;
        let tag = format!("{}-{}", etag(tags.as_bytes()), parts.len());
        Ok((whole, ETag::new(&tag)))
    }

    /// The body of a listed part, which must stand in its place and be the one that was taken.
    fn listed(&self, part: &UploadedPart, number: u32) -> Result<&Bytes, Refusal> {
        if part.number != number {
            let detail = format!("InvalidPartOrder: part {} in the place of {number}", part.number);
            return Err(Refusal::For(detail));
        }
        let is_it =
            |found: &&Part| found.tag == part.etag && part.crc64.is_none_or(|crc| crc == crc64(&found.body));
        let found = self.parts.get(&number).filter(is_it);
        Ok(&found.ok_or(Refusal::OtherParts)?.body)
    }
}

fn check_expected(whole: &Bytes, expected: Expected) -> Result<(), String> {
    let size = whole.len() as u64;
    if size != expected.size_bytes {
        return Err(format!("InvalidRequest: {size} bytes, and {} were expected", expected.size_bytes));
    }
    match expected.crc64 {
        Some(crc) if crc != crc64(whole) => Err("BadDigest: the checksum of the whole".to_owned()),
        _ => Ok(()),
    }
}

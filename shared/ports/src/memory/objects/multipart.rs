//! S3's rules for multipart uploads.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use fanfold_domain::{
    ETag,
    assembly::{MAX_UPLOAD_PART, MAX_UPLOAD_PARTS},
};

use crate::{
    PortError,
    objects::{Expected, Metadata, Upload, UploadedPart},
};

use super::{
    bucket::{crc64, etag},
    refused,
};

/// An upload that was neither completed nor aborted.
#[derive(Debug)]
pub(super) struct OpenUpload {
    pub(super) metadata: Metadata,
    parts: BTreeMap<u32, (ETag, Bytes)>,
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
        Self { metadata: metadata.clone(), parts: BTreeMap::new() }
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
        let taken = UploadedPart { number, etag: etag(&body), crc64: Some(crc64(&body)) };
        self.parts.insert(number, (taken.etag.clone(), body));
        Ok(taken)
    }

    /// Puts the listed parts together, if the list and the parts are as S3 wants them and the whole is what is
    /// expected.
    pub(super) fn assemble(
        &self,
        parts: &[UploadedPart],
        least_part: u64,
        expected: Expected,
    ) -> Result<(Bytes, ETag), String> {
        if parts.is_empty() {
            return Err("MalformedXML: no parts".to_owned());
        }
        let mut whole = BytesMut::new();
        let mut tags = String::new();
        for (part, number) in parts.iter().zip(1..) {
            let body = self.listed(part, number)?;
            if (body.len() as u64) < least_part && parts.len() as u64 > u64::from(number) {
                return Err(format!("EntityTooSmall: part {number} of {} bytes", body.len()));
            }
            whole.extend_from_slice(body);
            tags.push_str(part.etag.as_str());
        }
        let whole = whole.freeze();
        check_expected(&whole, expected)?;
        let tag = format!("{}-{}", etag(tags.as_bytes()), parts.len());
        Ok((whole, ETag::new(&tag)))
    }

    /// The body of a listed part, which must stand in its place and be the one that was taken.
    fn listed(&self, part: &UploadedPart, number: u32) -> Result<&Bytes, String> {
        if part.number != number {
            return Err(format!("InvalidPartOrder: part {} in the place of {number}", part.number));
        }
        match self.parts.get(&number) {
            Some((etag, body)) if *etag == part.etag => match part.crc64 {
                Some(crc) if crc != crc64(body) => Err(format!("InvalidPart: the checksum of part {number}")),
                _ => Ok(body),
            },
            _ => Err(format!("InvalidPart: no part {number} with entity tag {}", part.etag)),
        }
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

//! Multipart uploads under way.

use std::collections::BTreeMap;

use fanfold_domain::{ETag, ObjectName};
use fanfold_ports::objects::{HeldPart, Metadata, Upload, UploadError, UploadedPart};

use crate::extent::Extent;

/// The uploads that were neither completed nor aborted.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    open: BTreeMap<String, Open>,
    begun: u64,
}

#[derive(Debug)]
struct Open {
    metadata: Metadata,
    parts: BTreeMap<u32, Part>,
    /// Parts taken so far, those that were replaced included.
    taken: u64,
}

/// A part as it was last sent, with a tag of that.
#[derive(Debug)]
struct Part {
    tag: ETag,
    extents: Vec<Extent>,
}

impl Uploads {
    pub(crate) fn begin(&mut self, object: &ObjectName, metadata: &Metadata) -> Upload {
        self.begun += 1;
        let id = self.begun.to_string();
        self.open.insert(id.clone(), Open { metadata: metadata.clone(), parts: BTreeMap::new(), taken: 0 });
        Upload { object: object.clone(), id }
    }

    /// Takes a part, or another one in its place.
    pub(crate) fn add(
        &mut self,
        upload: &Upload,
        number: u32,
        extents: Vec<Extent>,
    ) -> Result<UploadedPart, UploadError> {
        let open = self.open.get_mut(&upload.id).ok_or_else(|| UploadError::Gone(upload.clone()))?;
        open.taken += 1;
        let tag = ETag::new(&format!("part-{}", open.taken));
        open.parts.insert(number, Part { tag: tag.clone(), extents });
        Ok(UploadedPart { number, etag: tag, crc64: None })
    }

    /// The parts that an upload has.
    pub(crate) fn held(&self, upload: &Upload) -> Result<Vec<HeldPart>, UploadError> {
        let open = self.open.get(&upload.id).ok_or_else(|| UploadError::Gone(upload.clone()))?;
        let held = |(number, Part { tag, extents }): (&u32, &Part)| HeldPart {
            part: UploadedPart { number: *number, etag: tag.clone(), crc64: None },
            size_bytes: extents.iter().map(|extent| extent.range.len()).sum(),
        };
        Ok(open.parts.iter().map(held).collect())
    }

    /// The extents of the parts that are listed, one after the other, and the metadata of the whole.
    pub(crate) fn parts(
        &self,
        upload: &Upload,
        listed: &[UploadedPart],
    ) -> Result<(Metadata, Vec<Extent>), UploadError> {
        let open = self.open.get(&upload.id).ok_or_else(|| UploadError::Gone(upload.clone()))?;
        let mut extents = Vec::new();
        for UploadedPart { number, etag, .. } in listed {
            let taken = open.parts.get(number).filter(|part| part.tag == *etag);
            for extent in &taken.ok_or_else(|| UploadError::OtherParts(upload.clone()))?.extents {
                extent.append_to(&mut extents);
            }
        }
        Ok((open.metadata.clone(), extents))
    }

    pub(crate) fn end(&mut self, upload: &Upload) {
        self.open.remove(&upload.id);
    }
}

//! Multipart uploads under way.

use std::collections::BTreeMap;

use fanfold_domain::{ETag, ObjectName};
use fanfold_ports::{
    Fault, PortError,
    objects::{Metadata, Upload, UploadError, UploadedPart},
};

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
    parts: BTreeMap<u32, Vec<Extent>>,
}

impl Uploads {
    pub(crate) fn begin(&mut self, object: &ObjectName, metadata: &Metadata) -> Upload {
        self.begun += 1;
        let id = self.begun.to_string();
        self.open.insert(id.clone(), Open { metadata: metadata.clone(), parts: BTreeMap::new() });
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
        open.parts.insert(number, extents);
        Ok(UploadedPart { number, etag: tag(number), crc64: None })
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
            let taken = open.parts.get(number).filter(|_| *etag == tag(*number)).ok_or_else(|| {
                let detail = format!("no part {number} with entity tag {etag}");
                PortError::new(Fault::Permanent, "complete", &upload.object, detail)
            })?;
            for extent in taken {
                extent.append_to(&mut extents);
            }
        }
        Ok((open.metadata.clone(), extents))
    }

    pub(crate) fn end(&mut self, upload: &Upload) {
        self.open.remove(&upload.id);
    }
}

/// Nobody but the upload itself compares the tags of its parts.
fn tag(number: u32) -> ETag {
    ETag::new(&format!("part-{number}"))
}

//! A bucket's contents: what is there under a key, and what was.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hasher},
    ops::Bound,
};

use bytes::Bytes;
use fanfold_domain::{ByteRange, ETag, ObjectName, Timestamp};

use crate::{
    PortError,
    objects::{Condition, Listed, Metadata, ObjectHead, Pin, ReadError, Stored, Written},
};

use super::refused;

/// CRC-64/NVME of bytes.
pub(super) fn crc64(bytes: &[u8]) -> u64 {
    crc_fast::crc64_nvme(bytes)
}

/// An entity tag of the looks of S3's, the same for the same bytes.
pub(super) fn etag(bytes: &[u8]) -> ETag {
    let mut hash = DefaultHasher::new();
    hash.write(bytes);
    ETag::new(&format!("{:016x}{:016x}", crc64(bytes), hash.finish()))
}

/// One content of an object.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) body: Bytes,
    pub(super) head: ObjectHead,
}

impl Content {
    /// Content that was not stored yet, so without a version.
    pub(super) fn new(body: Bytes, etag: ETag, metadata: &Metadata, now: Timestamp) -> Self {
        let head = ObjectHead {
            etag,
            version: None,
            size_bytes: body.len() as u64,
            crc64: Some(crc64(&body)),
            metadata: metadata.clone(),
            modified_at: now,
        };
        Self { body, head }
    }

    /// The bytes of a range within the content.
    pub(super) fn slice(&self, object: &ObjectName, range: ByteRange) -> Result<Bytes, PortError> {
        if range.is_empty() || range.end > self.head.size_bytes {
            let size = self.head.size_bytes;
            return Err(refused("read", object, format!("InvalidRange: bytes {range} of {size}")));
        }
        let at = |offset| usize::try_from(offset).expect("within a body in memory");
        Ok(self.body.slice(at(range.start)..at(range.end)))
    }
}

/// What is under one key.
#[derive(Debug, Default)]
struct Slot {
    /// Oldest first; only the latest where versions are not kept.
    contents: Vec<Content>,
    /// Whether a delete marker hides them.
    is_deleted: bool,
}

impl Slot {
    fn current(&self) -> Option<&Content> {
        self.contents.last().filter(|_| !self.is_deleted)
    }
}

/// One bucket.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) keeps_versions: bool,
    slots: BTreeMap<String, Slot>,
    written: u64,
}

impl Bucket {
    /// The content of a version, or what is there now.
    pub(super) fn content(&self, key: &str, version: Option<&str>) -> Option<&Content> {
        let slot = self.slots.get(key)?;
        match version {
            None => slot.current(),
            Some(_) => slot.contents.iter().find(|content| content.head.version.as_deref() == version),
        }
    }

    /// The content that a pin allows.
    pub(super) fn pinned(&self, object: &ObjectName, pin: &Pin) -> Result<&Content, ReadError> {
        let content = self
            .content(&object.key, pin.version.as_deref())
            .ok_or_else(|| ReadError::Missing(object.clone()))?;
        match &pin.etag {
            Some(etag) if *etag != content.head.etag => Err(ReadError::Changed(object.clone())),
            _ => Ok(content),
        }
    }

    /// Whether a write may happen.
    pub(super) fn allows(&self, key: &str, condition: &Condition) -> bool {
        let current = self.content(key, None);
        match condition {
            Condition::Always => true,
            Condition::Absent => current.is_none(),
            Condition::Matches(etag) => current.is_some_and(|content| content.head.etag == *etag),
        }
    }

    /// Stores content on a condition.
    pub(super) fn store(&mut self, key: &str, mut content: Content, condition: &Condition) -> Written {
        if !self.allows(key, condition) {
            return Written::Refused;
        }
        self.written += 1;
        let slot = self.slots.entry(key.to_owned()).or_default();
        if self.keeps_versions {
            content.head.version = Some(format!("v{:06}", self.written));
        } else {
            slot.contents.clear();
        }
        let stored = Stored { etag: content.head.etag.clone(), version: content.head.version.clone() };
        slot.contents.push(content);
        slot.is_deleted = false;
        Written::Stored(stored)
    }

    /// Puts content here as it stood elsewhere, under its version if it has one.
    pub(super) fn restore(&mut self, key: &str, content: Content) {
        self.written += 1;
        let slot = self.slots.entry(key.to_owned()).or_default();
        slot.contents.push(content);
        slot.is_deleted = false;
    }

    /// Deletes what is there; where versions are kept, behind a delete marker.
    pub(super) fn remove(&mut self, key: &str) {
        if !self.keeps_versions {
            self.slots.remove(key);
        } else if let Some(slot) = self.slots.get_mut(key) {
            slot.is_deleted = true;
        }
    }

    /// What is there under keys that begin with `prefix`, in their order, from behind `after` on.
    pub(super) fn list(&self, prefix: &str, after: Option<&str>) -> impl Iterator<Item = Listed> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let slots = self.slots.range::<str, _>((from, Bound::Unbounded));
        slots.take_while(move |(key, _)| key.starts_with(prefix)).filter_map(|(key, slot)| {
            let head = &slot.current()?.head;
            Some(Listed { key: key.clone(), etag: head.etag.clone(), size_bytes: head.size_bytes })
        })
    }

    /// The keys under which something is there.
    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        self.slots.iter().filter(|(_, slot)| slot.current().is_some()).map(|(key, _)| key)
    }
}

//! Objects on local disk.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use fanfold_domain::{ByteRange, ETag, ObjectName, SourcePin};
use fanfold_ports::{
    Clock, Fault, Objects, PortError,
    objects::{
        ByteStream, Condition, Expected, HeldPart, Listed, MAX_LISTED, Metadata, ObjectHead, Pin, ReadError,
        Stored, Upload, UploadError, UploadedPart, Written,
    },
};
use futures::stream;

use crate::{
    LocalClock,
    extent::{Extent, Store},
    file::{Stamp, directory_of, followed, publish},
    reading::Reading,
    uploads::Uploads,
};

/// Where `fanfold local` reads and writes.
#[derive(Debug, Clone)]
pub struct Places {
    /// The file that is the source.
    pub source: PathBuf,
    /// What the source is called in the run, and its identity.
    pub pin: SourcePin,
    /// Objects that become files: the output and the list of bad records.
    pub outputs: BTreeMap<ObjectName, PathBuf>,
}

/// A source file, work objects, and outputs that appear whole.
#[derive(Debug)]
pub struct LocalObjects {
    places: Places,
    source: Arc<File>,
    /// What the file was when it was opened.
    seen: Stamp,
    store: Store,
    /// Where that is.
    directory: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<ObjectName, Object>,
    uploads: Uploads,
}

#[derive(Debug, Clone)]
struct Object {
    extents: Vec<Extent>,
    head: ObjectHead,
}

impl LocalObjects {
    /// Opens the source, and makes room for work objects beside the output `beside`.
    ///
    /// # Errors
    /// The source cannot be read, or there is no writing beside the output.
    pub fn open(places: Places, beside: &Path) -> io::Result<Self> {
        let file = File::open(&places.source)?;
        let seen = Stamp::of(&file.metadata()?)?;
        if seen.size_bytes != places.pin.size_bytes {
            return Err(io::Error::other("it changed just now"));
        }
        let directory = directory_of(&followed(beside)).to_owned();
        let store = Store::new(&directory)?;
        Ok(Self { source: Arc::new(file), seen, store, directory, state: Mutex::default(), places })
    }

    /// Whether an output's file stands there from an earlier run.
    pub fn was_published_before(&self, object: &ObjectName) -> bool {
        self.places.outputs.get(object).is_some_and(|path| path.exists())
    }

    /// Forgets all work objects whose keys begin with this one's, so that memory does not grow with their
    /// number. What was copied from them stays.
    pub fn forget(&self, first: &ObjectName) {
        let mut state = self.state();
        let is_of = |object: &ObjectName| object.bucket == first.bucket && object.key.starts_with(&first.key);
        let found = state.objects.range(first.clone()..).map(|(object, _)| object);
        let found: Vec<ObjectName> = found.take_while(|object| is_of(object)).cloned().collect();
        for object in found {
            state.objects.remove(&object);
        }
    }

    /// Whether the object is one of the run's: its source, an output, or what the run wrote.
    pub(crate) fn knows(&self, object: &ObjectName) -> bool {
        self.is_source(object)
            || self.places.outputs.contains_key(object)
            || self.state().objects.contains_key(object)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the bytes of a work object. Where that fails, what a person can do something about is the disk.
    fn keep(&self, bytes: &[u8]) -> Result<Extent, PortError> {
        let named = || format!("a temporary file in {}", self.directory.display());
        self.store.keep(bytes).map_err(|error| failed("write", named(), &error))
    }

    fn is_source(&self, object: &ObjectName) -> bool {
        *object == self.places.pin.object
    }

    /// The extents of an object, and its entity tag.
    fn find(&self, object: &ObjectName) -> Result<(Vec<Extent>, ETag), ReadError> {
        if self.is_source(object) {
            self.check_source()?;
            let range = ByteRange::new(0, self.places.pin.size_bytes);
            return Ok((vec![Extent { file: self.source.clone(), range }], self.places.pin.etag.clone()));
        }
        let state = self.state();
        let found = state.objects.get(object).ok_or_else(|| ReadError::Missing(object.clone()))?;
        Ok((found.extents.clone(), found.head.etag.clone()))
    }

    /// Says whether the source's file was written to, replaced or removed since it was opened: then it is
    /// another source, and what was read of it may be of either.
    ///
    /// # Errors
    /// It was.
    pub fn check_source(&self) -> Result<(), ReadError> {
        match fs::metadata(&self.places.source).and_then(|seen| Stamp::of(&seen)) {
            Ok(now) if now == self.seen => Ok(()),
            Ok(_) => Err(ReadError::Changed(self.places.pin.object.clone())),
            Err(_gone) => Err(ReadError::Missing(self.places.pin.object.clone())),
        }
    }

    fn slice(&self, object: &ObjectName, pin: &Pin, range: ByteRange) -> Result<Vec<Extent>, ReadError> {
        let (extents, etag) = self.find(object)?;
        if pin.etag.as_ref().is_some_and(|wanted| *wanted != etag) {
            return Err(ReadError::Changed(object.clone()));
        }
        let mut at = 0;
        let mut found = Vec::new();
        for extent in extents {
            let len = extent.range.len();
            let (start, end) = (range.start.max(at), range.end.min(at + len));
            if start < end {
                found.push(extent.slice(ByteRange::new(start - at, end - at)));
            }
            at += len;
        }
        if range.is_empty() || range.end > at {
            let detail = format!("range {range} of {at} bytes");
            return Err(PortError::new(Fault::Permanent, "read", object, detail).into());
        }
        Ok(found)
    }

    /// Stores an object if the condition holds, and writes its file if it is an output.
    fn store(
        &self,
        object: &ObjectName,
        extents: Vec<Extent>,
        metadata: &Metadata,
        condition: &Condition,
        etag: ETag,
    ) -> Result<Written, PortError> {
        let mut state = self.state();
        let there = state.objects.get(object).map(|object| &object.head.etag);
        let allowed = match condition {
            Condition::Always => true,
            Condition::Absent => there.is_none(),
            Condition::Matches(etag) => there == Some(etag),
        };
        if !allowed {
            return Ok(Written::Refused);
        }
        if let Some(path) = self.places.outputs.get(object) {
            publish(path, &extents).map_err(|error| failed("write", path.display(), &error))?;
        }
        let head = head(etag.clone(), size_of(&extents), metadata.clone());
        state.objects.insert(object.clone(), Object { extents, head });
        Ok(Written::Stored(Stored { etag, version: None }))
    }
}

#[async_trait]
impl Objects for LocalObjects {
    async fn head(
        &self,
        object: &ObjectName,
        _version: Option<&str>,
    ) -> Result<Option<ObjectHead>, PortError> {
        if self.is_source(object) {
            let head = head(self.places.pin.etag.clone(), self.seen.size_bytes, Metadata::new());
            return Ok(Some(ObjectHead { modified_at: self.seen.modified_at, ..head }));
        }
        Ok(self.state().objects.get(object).map(|object| object.head.clone()))
    }

    async fn read(&self, object: &ObjectName, pin: &Pin, range: ByteRange) -> Result<ByteStream, ReadError> {
        let extents = self.slice(object, pin, range)?.into_iter();
        Ok(Box::pin(stream::unfold(Reading::new(extents), {
            let name = object.clone();
            move |mut reading| {
                let piece = reading.next().map(|piece| piece.map_err(|error| failed("read", &name, &error)));
                std::future::ready(piece.map(|piece| (piece, reading)))
            }
        })))
    }

    async fn put(
        &self,
        object: &ObjectName,
        body: Bytes,
        condition: Condition,
        metadata: &Metadata,
    ) -> Result<Written, PortError> {
        let extent = self.keep(&body)?;
        let etag =
            ETag::new(&format!("{:016x}", crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &body)));
        self.store(object, vec![extent], metadata, &condition, etag)
    }

    async fn create_upload(&self, object: &ObjectName, metadata: &Metadata) -> Result<Upload, PortError> {
        Ok(self.state().uploads.begin(object, metadata))
    }

    async fn upload_part(
        &self,
        upload: &Upload,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart, UploadError> {
        let extent = self.keep(&body)?;
        self.state().uploads.add(upload, number, vec![extent])
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: u32,
        from: &ObjectName,
        pin: &Pin,
        range: ByteRange,
    ) -> Result<UploadedPart, UploadError> {
        // Written bytes never change, so a copy shares them.
        let extents = self.slice(from, pin, range)?;
        self.state().uploads.add(upload, number, extents)
    }

    async fn upload_parts(&self, upload: &Upload) -> Result<Vec<HeldPart>, UploadError> {
        self.state().uploads.held(upload)
    }

    fn copies_are_free(&self) -> bool {
        true
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[UploadedPart],
        condition: Condition,
        expected: Expected,
    ) -> Result<Written, UploadError> {
        let (metadata, extents) = self.state().uploads.parts(upload, parts)?;
        let size = size_of(&extents);
        if size != expected.size_bytes {
            let detail = format!("{size} bytes, and {} were expected", expected.size_bytes);
            return Err(PortError::new(Fault::Permanent, "complete", &upload.object, detail).into());
        }
        let etag = ETag::new(&format!("{}-{}", upload.id, parts.len()));
        let written = self.store(&upload.object, extents, &metadata, &condition, etag)?;
        if written != Written::Refused {
            self.state().uploads.end(upload);
        }
        Ok(written)
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), PortError> {
        self.state().uploads.end(upload);
        Ok(())
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, PortError> {
        check_count("list", bucket, limit)?;
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(ObjectName::new(bucket, after)),
            _ => Bound::Included(ObjectName::new(bucket, prefix)),
        };
        let state = self.state();
        let objects = state.objects.range((from, Bound::Unbounded));
        let listed = objects
            .take_while(|(name, _)| name.bucket == bucket && name.key.starts_with(prefix))
            .map(|(name, Object { head, .. })| Listed {
                key: name.key.clone(),
                etag: head.etag.clone(),
                size_bytes: head.size_bytes,
            });
        Ok(listed.take(limit).collect())
    }

    /// Of work objects; an output that became a file stays.
    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<(), PortError> {
        if !keys.is_empty() {
            check_count("delete", bucket, keys.len())?;
        }
        let mut state = self.state();
        for key in keys {
            state.objects.remove(&ObjectName::new(bucket, key));
        }
        Ok(())
    }
}

/// As many as S3 takes at once.
fn check_count(operation: &'static str, bucket: &str, count: usize) -> Result<(), PortError> {
    if (1..=MAX_LISTED).contains(&count) {
        return Ok(());
    }
    let detail = format!("{count} objects at once, and 1 to {MAX_LISTED} are allowed");
    Err(PortError::new(Fault::Permanent, operation, bucket, detail))
}

fn head(etag: ETag, size_bytes: u64, metadata: Metadata) -> ObjectHead {
    ObjectHead { etag, version: None, size_bytes, crc64: None, metadata, modified_at: LocalClock.now() }
}

fn size_of(extents: &[Extent]) -> u64 {
    extents.iter().map(|extent| extent.range.len()).sum()
}

fn failed(operation: &'static str, subject: impl std::fmt::Display, error: &io::Error) -> PortError {
    PortError::new(Fault::Permanent, operation, subject, error.to_string())
}

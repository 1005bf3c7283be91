//! Folders in the place of buckets: objects that records name, and those that are made of them.
//!
//! A key is a path within its folder. Files have no metadata and none of S3's entity tags: a pin of such a tag cannot
//! be checked here, and whatever is there is read.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use async_trait::async_trait;
use bytes::Bytes;
use fanfold_domain::{ByteRange, ETag, ObjectName};
use fanfold_ports::{
    Fault, Objects, PortError,
    objects::{
        ByteStream, Condition, Expected, HeldPart, Listed, Metadata, ObjectHead, Pin, ReadError, Stored,
        Upload, UploadError, UploadedPart, Written,
    },
};
use futures::{StreamExt, stream};
use tempfile::Builder;

use crate::{
    LocalObjects,
    file::{Stamp, directory_of},
};

/// What the tags of files begin with, so that they are told from S3's.
const TAG: &str = "file-";

/// The objects of a run, and folders behind them: an object that the run does not know may be a file.
#[derive(Debug)]
pub struct Folders<'a> {
    objects: &'a LocalObjects,
    /// The folder of each bucket.
    folders: &'a BTreeMap<String, PathBuf>,
}

impl<'a> Folders<'a> {
    /// Puts folders behind the objects of a run.
    pub fn new(objects: &'a LocalObjects, folders: &'a BTreeMap<String, PathBuf>) -> Self {
        Self { objects, folders }
    }

    /// The file that is the object; none if the run has it, no folder is its bucket, or its key is no path that
    /// stays within one.
    fn file(&self, object: &ObjectName) -> Option<PathBuf> {
        let key = Path::new(&object.key);
        let stays = key.components().all(|part| matches!(part, Component::Normal(_)));
        let folder = self.folders.get(&object.bucket)?;
        (stays && !object.key.is_empty() && !self.objects.knows(object)).then(|| folder.join(key))
    }
}

/// What stands there, if it is a file.
fn standing(file: &Path) -> io::Result<Option<(Stamp, ETag)>> {
    match fs::metadata(file) {
        Ok(found) if found.is_file() => {
            let stamp = Stamp::of(&found)?;
            let etag = ETag::new(&format!("{TAG}{}", stamp.digest()));
            Ok(Some((stamp, etag)))
        }
        Ok(_) => Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(file: &Path, range: ByteRange) -> io::Result<Bytes> {
    let mut open = fs::File::open(file)?;
    open.seek(SeekFrom::Start(range.start))?;
    let mut bytes = Vec::new();
    open.take(range.len()).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == range.len() { Ok(bytes.into()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

/// Writes beside the file, and gives that its name: it is there whole or not at all.
fn write(file: &Path, body: &[u8]) -> io::Result<()> {
    let folder = directory_of(file);
    fs::create_dir_all(folder)?;
    let readable = Permissions::from_mode(0o666); // less what the user's mask takes away
    let mut beside = Builder::new().prefix(".fanfold-").permissions(readable).tempfile_in(folder)?;
    beside.write_all(body)?;
    beside.persist(file)?;
    Ok(())
}

/// Files of a folder as a bucket lists its objects: in the byte order of their keys, from behind `after` on.
struct Listing<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    limit: usize,
    found: Vec<Listed>,
}

impl Listing<'_> {
    /// Reads a folder whose files' keys begin with `base`. Links to folders are not followed: they may lead back.
    fn read(&mut self, folder: &Path, base: &str) -> io::Result<()> {
        let mut keys = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                let reason = format!("{} has a name that is not UTF-8", entry.path().display());
                return Err(io::Error::new(ErrorKind::InvalidData, reason));
            };
            // As it stands in keys, so that it is sorted as they are.
            let slash = if entry.file_type()?.is_dir() { "/" } else { "" };
            let key = format!("{base}{name}{slash}");
            if self.may_hold(&key) {
                keys.push((key, entry.path()));
            }
        }
        keys.sort_unstable();
        for (key, path) in keys {
            if self.found.len() == self.limit {
                return Ok(());
            }
            if key.ends_with('/') {
                self.read(&path, &key)?;
            } else if let Some((stamp, etag)) = standing(&path)? {
                self.found.push(Listed { key, etag, size_bytes: stamp.size_bytes });
            }
        }
        Ok(())
    }

    /// Whether a file is wanted, or a folder (whose key ends with a slash) may hold what is.
    fn may_hold(&self, key: &str) -> bool {
        let is_above = |wanted: &str| key.ends_with('/') && wanted.starts_with(key);
        let of_prefix = key.starts_with(self.prefix) || is_above(self.prefix);
        of_prefix && self.after.is_none_or(|after| key > after || is_above(after))
    }
}

fn failed(operation: &'static str, file: &Path, error: &io::Error) -> PortError {
    PortError::new(Fault::Permanent, operation, file.display(), error.to_string())
}

#[async_trait]
impl Objects for Folders<'_> {
    async fn head(
        &self,
        object: &ObjectName,
        version: Option<&str>,
    ) -> Result<Option<ObjectHead>, PortError> {
        let Some(file) = self.file(object) else { return self.objects.head(object, version).await };
        let found = standing(&file).map_err(|error| failed("look at", &file, &error))?;
        Ok(found.map(|(stamp, etag)| ObjectHead {
            etag,
            version: None,
            size_bytes: stamp.size_bytes,
            crc64: None,
            metadata: Metadata::new(),
            modified_at: stamp.modified_at,
        }))
    }

    async fn read(&self, object: &ObjectName, pin: &Pin, range: ByteRange) -> Result<ByteStream, ReadError> {
        let Some(file) = self.file(object) else { return self.objects.read(object, pin, range).await };
        let found = standing(&file).map_err(|error| failed("read", &file, &error))?;
        let (_, etag) = found.ok_or_else(|| ReadError::Missing(object.clone()))?;
        let checked = pin.etag.as_ref().filter(|wanted| wanted.as_str().starts_with(TAG));
        if checked.is_some_and(|wanted| *wanted != etag) {
            return Err(ReadError::Changed(object.clone()));
        }
        let bytes = read(&file, range).map_err(|error| failed("read", &file, &error))?;
        Ok(stream::iter([Ok(bytes)]).boxed())
    }

    async fn put(
        &self,
        object: &ObjectName,
        body: Bytes,
        condition: Condition,
        metadata: &Metadata,
    ) -> Result<Written, PortError> {
        let Some(file) = self.file(object) else {
            return self.objects.put(object, body, condition, metadata).await;
        };
        let put = || {
            let there = standing(&file)?.map(|(_, etag)| etag);
            let allowed = match &condition {
                Condition::Always => true,
                Condition::Absent => there.is_none(),
                Condition::Matches(etag) => there.as_ref() == Some(etag),
            };
            if !allowed {
                return Ok(Written::Refused);
            }
            write(&file, &body)?;
            let (_, etag) = standing(&file)?.ok_or(ErrorKind::NotFound)?;
            Ok(Written::Stored(Stored { etag, version: None }))
        };
        put().map_err(|error: io::Error| failed("write", &file, &error))
    }

    async fn create_upload(&self, object: &ObjectName, metadata: &Metadata) -> Result<Upload, PortError> {
        self.objects.create_upload(object, metadata).await
    }

    async fn upload_part(
        &self,
        upload: &Upload,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart, UploadError> {
        self.objects.upload_part(upload, number, body).await
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: u32,
        from: &ObjectName,
        pin: &Pin,
        range: ByteRange,
    ) -> Result<UploadedPart, UploadError> {
        self.objects.copy_part(upload, number, from, pin, range).await
    }

    async fn upload_parts(&self, upload: &Upload) -> Result<Vec<HeldPart>, UploadError> {
        self.objects.upload_parts(upload).await
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[UploadedPart],
        condition: Condition,
        expected: Expected,
    ) -> Result<Written, UploadError> {
        self.objects.complete_upload(upload, parts, condition, expected).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), PortError> {
        self.objects.abort_upload(upload).await
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, PortError> {
        let Some(folder) = self.folders.get(bucket) else {
            return self.objects.list(bucket, prefix, after, limit).await;
        };
        let mut listing = Listing { prefix, after, limit, found: Vec::new() };
        listing.read(folder, "").map_err(|error| failed("list", folder, &error))?;
        Ok(listing.found)
    }

    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<(), PortError> {
        self.objects.delete(bucket, keys).await
    }

    fn copies_are_free(&self) -> bool {
        self.objects.copies_are_free()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(folder: &Path, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
        let mut listing = Listing { prefix, after, limit, found: Vec::new() };
        listing.read(folder, "").unwrap();
        listing.found.into_iter().map(|listed| listed.key).collect()
    }

    #[test]
    fn pages_of_a_folder_are_those_of_a_bucket_whatever_their_size() {
        let folder = tempfile::tempdir().unwrap();
        let mut all = ["a!", "a.b", "a/b", "a/c/d", "a0", "b/a", "b/é", "b-c", "z/z/z"].map(String::from);
        for key in &all {
            let file = folder.path().join(key);
            fs::create_dir_all(directory_of(&file)).unwrap();
            fs::write(file, key).unwrap();
        }
        all.sort();
        for limit in 1..=all.len() + 1 {
            for prefix in ["", "a", "a/", "a/c", "b/é", "z/", "c"] {
                let expected: Vec<&String> = all.iter().filter(|key| key.starts_with(prefix)).collect();
                let mut found: Vec<String> = Vec::new();
                loop {
                    let page = keys(folder.path(), prefix, found.last().map(String::as_str), limit);
                    let is_last = page.len() < limit;
                    found.extend(page);
                    if is_last {
                        break;
                    }
                }
                assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{prefix:?}, {limit} a page");
            }
        }
    }

    #[test]
    fn a_link_that_leads_back_is_not_followed_and_one_to_a_file_is() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        fs::write(place("file"), "x").unwrap();
        std::os::unix::fs::symlink(".", place("back")).unwrap();
        std::os::unix::fs::symlink("file", place("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", place("dangling")).unwrap();
        assert_eq!(keys(folder.path(), "", None, 10), ["file", "link"]);
    }
}

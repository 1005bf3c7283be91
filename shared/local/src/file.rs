//! The files that a run reads and writes under their own names.

use std::{
    fs::{Metadata, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::UNIX_EPOCH,
};

use fanfold_domain::Timestamp;

use crate::extent::Extent;

/// What tells that a file was written to or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) size_bytes: u64,
    pub(crate) modified_at: Timestamp,
    /// Finer than the above, which is in milliseconds.
    modified_ns: u128,
    device_and_inode: (u64, u64),
}

impl Stamp {
    pub(crate) fn of(file: &Metadata) -> io::Result<Self> {
        let modified = file.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            size_bytes: file.len(),
            modified_at: Timestamp(u64::try_from(modified.as_millis()).unwrap_or(u64::MAX)),
            modified_ns: modified.as_nanos(),
            device_and_inode: (file.dev(), file.ino()),
        })
    }
}

/// Where a file stands.
pub(crate) fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes all extents beside `path` and then gives them its name, at once.
pub(crate) fn publish(path: &Path, extents: &[Extent]) -> io::Result<()> {
    let readable = Permissions::from_mode(0o666); // less what the user's mask takes away
    let mut file =
        tempfile::Builder::new().prefix(".fanfold-").permissions(readable).tempfile_in(directory_of(path))?;
    extents.iter().try_for_each(|extent| extent.write_to(file.as_file_mut()))?;
    file.persist(path)?;
    Ok(())
}

//! The files that a run reads and writes under their own names.

use std::{
    fs::{self, FileType, Metadata, Permissions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use fanfold_domain::Timestamp;

use crate::extent::Extent;

/// As many symbolic links as the system follows itself.
const MOST_LINKS: usize = 40;

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

    /// All of it, short and plain.
    pub(crate) fn digest(&self) -> String {
        let (device, inode) = self.device_and_inode;
        format!("{:x}-{:x}-{device:x}-{inode:x}", self.size_bytes, self.modified_ns)
    }
}

/// Where a file stands.
pub(crate) fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The place that a name leads to, by symbolic links if it is one, whether or not anything stands there.
pub fn followed(path: &Path) -> PathBuf {
    let mut place = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(target) = fs::read_link(&place) else { return place };
        place = directory_of(&place).join(target);
    }
    path.to_owned()
}

/// Says whether an output may be given this name: only a regular file is ever replaced, or nothing.
///
/// # Errors
/// Something else stands there, or what it is cannot be told.
pub fn check_output(path: &Path) -> io::Result<()> {
    standing(path).map(|_| ())
}

/// What stands there already, which is a regular file.
fn standing(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(found)),
        Ok(found) => {
            let kind = kind(found.file_type());
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {kind}, and not a regular file")))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn kind(found: FileType) -> &'static str {
    match found {
        found if found.is_dir() => "a directory",
        found if found.is_char_device() || found.is_block_device() => "a device",
        found if found.is_fifo() => "a pipe",
        found if found.is_socket() => "a socket",
        _ => "something else",
    }
}

/// Writes all extents beside the file that `path` leads to, and then gives them its name, at once. A file that
/// stands there keeps its mode. The disk has them before the name: a power cut leaves the one or the other whole.
pub(crate) fn publish(path: &Path, extents: &[Extent]) -> io::Result<()> {
    let place = followed(path);
    let before = standing(path)?;
    let readable = Permissions::from_mode(0o666); // less what the user's mask takes away
    let mut file = tempfile::Builder::new()
        .prefix(".fanfold-")
        .permissions(readable)
        .tempfile_in(directory_of(&place))?;
    extents.iter().try_for_each(|extent| extent.write_to(file.as_file_mut()))?;
    if let Some(before) = before {
        file.as_file().set_permissions(Permissions::from_mode(before.mode() & 0o777))?;
    }
    file.as_file().sync_all()?;
    file.persist(place)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_to_their_end_and_never_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("other")).unwrap();
        for (link, target) in [("a", "other/b"), ("other/b", "c"), ("x", "y"), ("y", "x")] {
            symlink(target, at(link)).unwrap();
        }
        assert_eq!(followed(&at("a")), at("other/c"));
        assert_eq!(followed(&at("none")), at("none"));
        assert_eq!(followed(&at("x")), at("x"));
        assert!(check_output(&at("x")).is_err());
        assert!(check_output(&at("a")).is_ok(), "a link to nothing yet");
    }

    #[test]
    fn what_is_no_regular_file_is_named() {
        let refusal = |path: &Path| check_output(path).unwrap_err().to_string();
        assert_eq!(refusal(Path::new("/dev/null")), "it is a device, and not a regular file");
        assert_eq!(refusal(Path::new("/")), "it is a directory, and not a regular file");
    }
}

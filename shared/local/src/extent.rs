//! Bytes that were written: in one temporary file without a name.
//!
//! Memory would not be faster: a new page costs as much there as in the page cache.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use fanfold_domain::ByteRange;

/// Bytes of one read of a file: what stays in a core's cache until it is processed.
const READ_BYTES: u64 = 256 << 10;

/// Some bytes of a file, which never change once an extent names them.
#[derive(Debug, Clone)]
pub(crate) struct Extent {
    pub(crate) file: Arc<File>,
    pub(crate) range: ByteRange,
}

impl Extent {
    /// The extent's bytes within `range`, which counts from the extent's start.
    pub(crate) fn slice(&self, range: ByteRange) -> Self {
        let start = self.range.start;
        Self { file: self.file.clone(), range: ByteRange::new(start + range.start, start + range.end) }
    }

    /// Appends the extent to others: to the last one, if it goes on where that ends.
    pub(crate) fn append_to(&self, extents: &mut Vec<Self>) {
        match extents.last_mut() {
            Some(last) if Arc::ptr_eq(&last.file, &self.file) && last.range.end == self.range.start => {
                last.range.end = self.range.end;
            }
            _ => extents.push(self.clone()),
        }
    }

    /// Takes the next piece off the extent's front; `None` when there is none left. `last` is the piece
    /// before it, whose memory is used again unless somebody still holds it.
    pub(crate) fn next_piece(&mut self, last: Bytes) -> Option<io::Result<Bytes>> {
        if self.range.is_empty() {
            return None;
        }
        let start = self.range.start;
        self.range.start = self.range.end.min(start + READ_BYTES);
        let len = usize::try_from(self.range.start - start).expect("a piece is small");
        let mut piece = last.try_into_mut().unwrap_or_default();
        piece.resize(len, 0);
        Some(self.file.read_exact_at(&mut piece, start).map(|()| piece.freeze()))
    }

    /// Writes the extent's bytes to `out`; from file to file inside the kernel.
    pub(crate) fn write_to(&self, out: &mut File) -> io::Result<()> {
        let mut from = self.file.try_clone()?;
        from.seek(SeekFrom::Start(self.range.start))?;
        let copied = io::copy(&mut from.take(self.range.len()), out)?;
        if copied == self.range.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// Where written bytes are kept.
#[derive(Debug)]
pub(crate) struct Store {
    /// The system removes it when the process ends, however it ends.
    file: Arc<File>,
    kept_bytes: AtomicU64,
}

impl Store {
    /// A store on the disk of `directory`.
    pub(crate) fn new(directory: &Path) -> io::Result<Self> {
        Ok(Self { file: Arc::new(tempfile::tempfile_in(directory)?), kept_bytes: AtomicU64::new(0) })
    }

    /// Keeps `bytes`.
    pub(crate) fn keep(&self, bytes: &[u8]) -> io::Result<Extent> {
        let len = bytes.len() as u64;
        let start = self.kept_bytes.fetch_add(len, Ordering::Relaxed);
        self.file.write_all_at(bytes, start)?;
        Ok(Extent { file: self.file.clone(), range: ByteRange::new(start, start + len) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(extents: Vec<Extent>) -> Vec<u8> {
        let mut file = tempfile::tempfile().unwrap();
        for extent in extents {
            extent.write_to(&mut file).unwrap();
        }
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn extents_are_one_where_they_touch() {
        let store = Store::new(&std::env::temp_dir()).unwrap();
        let kept = [&b"ab"[..], b"", b"c", b"d"].map(|bytes| store.keep(bytes).unwrap());
        let mut extents = Vec::new();
        for extent in [&kept[0], &kept[1], &kept[2], &kept[0], &kept[3]] {
            extent.append_to(&mut extents);
        }
        assert_eq!(extents.len(), 3);
        assert_eq!(read(extents), b"abcabd");
    }
}

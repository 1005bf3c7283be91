//! Ranged reads of the pinned source, and what they cost.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use fanfold_domain::{ByteRange, SourcePin};
use fanfold_ports::{
    Objects,
    objects::{ByteStream, Pin, ReadError},
};
use futures::TryStreamExt;

/// Reads one source.
pub(super) struct Reader {
    objects: Arc<dyn Objects>,
    source: SourcePin,
    bytes_read: AtomicU64,
}

impl Reader {
    pub(super) fn new(objects: Arc<dyn Objects>, source: SourcePin) -> Self {
        Self { objects, source, bytes_read: AtomicU64::new(0) }
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.source.size_bytes
    }

    /// Bytes asked for so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Opens a range that has at least one byte.
    pub(super) async fn open(&self, range: ByteRange) -> Result<ByteStream, ReadError> {
        self.bytes_read.fetch_add(range.len(), Ordering::Relaxed);
        self.objects.read(&self.source.object, &Pin::from(&self.source), range).await
    }

    /// Reads a range into memory.
    pub(super) async fn read(&self, range: ByteRange) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        if !range.is_empty() {
            let mut stream = self.open(range).await?;
            while let Some(piece) = stream.try_next().await? {
                bytes.extend_from_slice(&piece);
            }
        }
        Ok(bytes)
    }
}

//! What the images of a chunk may take of memory together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A permit is for as many bytes, so that a semaphore's count is enough for any memory.
const PERMIT_BYTES: u64 = 1 << 10;

/// Files as they were read have this share of the memory; what they are decoded to has the rest. Two budgets, taken
/// one after the other: whoever waits for the second never holds what another needs to get there.
const FILES_ARE_ONE_IN: u64 = 4;

/// The memory of a chunk's images.
pub(super) struct Memory {
    pub(super) files: Budget,
    pub(super) pixels: Budget,
}

/// A number of bytes that are lent.
pub(super) struct Budget {
    /// All there are.
    pub(super) bytes: u64,
    left: Arc<Semaphore>,
}

impl Memory {
    pub(super) fn new(bytes: u64) -> Self {
        let files = bytes / FILES_ARE_ONE_IN;
        Self { files: Budget::new(files), pixels: Budget::new(bytes - files) }
    }
}

impl Budget {
    fn new(bytes: u64) -> Self {
        let permits = usize::try_from(bytes / PERMIT_BYTES).unwrap_or(Semaphore::MAX_PERMITS);
        Self { bytes, left: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))) }
    }

    /// Waits for as many bytes, which are at most all there are, until the permit is dropped.
    pub(super) async fn take(&self, bytes: u64) -> OwnedSemaphorePermit {
        // Rounded up, but for the last of all: whoever needs everything gets it.
        let permits = bytes.div_ceil(PERMIT_BYTES).min(self.bytes / PERMIT_BYTES);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        self.left.clone().acquire_many_owned(permits).await.expect("nobody closes it")
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn no_more_is_lent_than_there_is_and_what_comes_back_is_lent_again() {
        let Memory { files, pixels } = Memory::new(16 << 20);
        assert_eq!((files.bytes, pixels.bytes), (4 << 20, 12 << 20));
        let first = pixels.take(7 << 20).await;
        let second = pixels.take(5 << 20).await;
        assert!(pixels.take(1).now_or_never().is_none(), "all is lent");
        drop(second);
        assert!(pixels.take(6 << 20).now_or_never().is_none());
        assert!(pixels.take(5 << 20).now_or_never().is_some());
        drop(first);
        assert!(pixels.take(12 << 20).now_or_never().is_some(), "one image may have all of it");
    }
}

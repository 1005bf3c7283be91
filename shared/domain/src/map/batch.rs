//! Batches: contiguous chunks that one child of a Map does one after another.

use crate::ChunkIndex;

/// The most batches of a stage: a Map without a result writer returns an array of what each child returned, of at most
/// 256 KiB, and one Map has at most 10,000 children under way.
pub const MAX_BATCHES: u32 = 10_000;
/// The most chunks in a batch, but where a stage has so many that they would make too many batches.
pub const MAX_BATCH_CHUNKS: u32 = 1_000;
/// The input of a batch, about: some seconds to a minute of most programs' work.
const BATCH_BYTES: u64 = 64 << 20;
/// Batches for each of the children that run at once, so that a slow one does not leave the others idle.
const BATCHES_A_LANE: u32 = 4;
/// Half of the batches may be ended by their number of chunks, and half by their bytes.
const HALF: u32 = MAX_BATCHES / 2 - 1;

/// Contiguous chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// The first of them.
    pub first: ChunkIndex,
    /// How many, at least 1.
    pub count: u32,
}

/// Where a batch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    chunks: u32,
    bytes: u64,
}

impl BatchLimits {
    /// Those of a stage of `chunks` chunks over `bytes` of input, of which `lanes` batches are done at once. With
    /// `wanted` a batch has so many chunks whatever their size. Either way there are at most [`MAX_BATCHES`].
    pub fn of(chunks: u32, bytes: u64, lanes: u32, wanted: Option<u32>) -> Self {
        let by_lanes = chunks / lanes.saturating_mul(BATCHES_A_LANE).max(1);
        let most = wanted.unwrap_or_else(|| by_lanes.clamp(1, MAX_BATCH_CHUNKS));
        // Two batches that end by their bytes, one after the other, have more of them than the limit.
        let fitting = bytes.saturating_mul(2).div_ceil(u64::from(HALF));
        Self {
            chunks: most.max(chunks.div_ceil(HALF)).max(1),
            bytes: if wanted.is_some() { u64::MAX } else { BATCH_BYTES.max(fitting) },
        }
    }

    /// Divides chunks of these bytes, in order, into batches. A chunk over the limit is a batch of its own.
    pub fn batches(self, chunks: impl IntoIterator<Item = u64>) -> Vec<Batch> {
        let mut batches: Vec<Batch> = Vec::new();
        let mut held = 0u64;
        for (index, bytes) in (0..).map(ChunkIndex).zip(chunks) {
            held = held.saturating_add(bytes);
            match batches.last_mut() {
                Some(batch) if batch.count < self.chunks && held <= self.bytes => batch.count += 1,
                _ => {
                    batches.push(Batch { first: index, count: 1 });
                    held = bytes;
                }
            }
        }
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(chunks: &[u64], lanes: u32, wanted: Option<u32>) -> Vec<Batch> {
        let count = u32::try_from(chunks.len()).unwrap();
        BatchLimits::of(count, chunks.iter().sum(), lanes, wanted).batches(chunks.iter().copied())
    }

    #[test]
    fn small_chunks_are_shared_among_the_lanes_and_large_ones_go_alone() {
        let counts = |batches: Vec<Batch>| batches.iter().map(|batch| batch.count).collect::<Vec<_>>();
        assert_eq!(counts(of(&[1_000; 80], 2, None)), [10; 8]);
        assert_eq!(counts(of(&[1_000; 5], 200, None)), [1; 5]);
        assert_eq!(counts(of(&[64 << 20; 100], 2, None)), [1; 100]);
        assert_eq!(counts(of(&[64 << 20; 5], 2, Some(2))), [2, 2, 1]);
        assert_eq!(counts(of(&[0], 2, None)), [1]);
    }

    proptest! {
        #[test]
        fn batches_tile_the_chunks_within_their_limits(
            chunks in proptest::collection::vec(0u64..200 << 20, 1..400),
            lanes in 2u32..10_000,
            wanted in proptest::option::of(1u32..=MAX_BATCH_CHUNKS),
        ) {
            let limits = BatchLimits::of(u32::try_from(chunks.len()).unwrap(), chunks.iter().sum(), lanes, wanted);
            let mut next = 0;
            for batch in limits.batches(chunks.iter().copied()) {
                prop_assert_eq!(batch.first.0, next);
                prop_assert!((1..=limits.chunks).contains(&batch.count));
                let range = next as usize..(next + batch.count) as usize;
                prop_assert!(batch.count == 1 || chunks[range].iter().sum::<u64>() <= limits.bytes);
                next += batch.count;
            }
            prop_assert_eq!(next as usize, chunks.len());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn there_are_never_too_many(
            count in prop_oneof![1u32..60_000, Just(crate::group::MAX_CHUNKS)],
            sizes in proptest::collection::vec(0u64..5 << 30, 1..20),
            lanes in 2u32..=10_000,
            wanted in proptest::option::of(1u32..=MAX_BATCH_CHUNKS),
        ) {
            let chunks = sizes.iter().copied().cycle().take(count as usize);
            let bytes = chunks.clone().sum();
            let batches = BatchLimits::of(count, bytes, lanes, wanted).batches(chunks);
            prop_assert!(batches.len() <= MAX_BATCHES as usize, "{}", batches.len());
        }
    }
}

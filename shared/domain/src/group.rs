//! Groups: how large they are, and the pure state of their counters.
//!
//! The ledger keeps a [`GroupCount`] for every group and a [`RootCount`] for every stage. The rules stand
//! here once; the DynamoDB adapter writes the same rules as conditional updates and the memory ledger calls
//! them as they are, and one contract suite holds both to the same behaviour.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{ChunkIndex, GroupIndex};

/// The most chunks a stage may have.
pub const MAX_CHUNKS: u32 = 1_000_000;
/// The most groups a stage may have: the root's set of folded groups stays small.
pub const MAX_GROUPS: u32 = 1_000;
/// The most chunks in a group: its sets stay within an item.
pub const MAX_GROUP_CHUNKS: u32 = 1_024;
/// The input a group is to hold, about.
pub const GROUP_BYTES: u64 = 64 << 20;
/// The most indexes marked at once: one comparison each, and DynamoDB takes 300 operators.
pub const MAX_MARKS: usize = 64;

/// How a stage's chunks are divided into groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grouping {
    /// Number of chunks in the stage, 1 to [`MAX_CHUNKS`].
    pub chunks: u32,
    /// Chunks in each group but the last: a power of two, at most [`MAX_GROUP_CHUNKS`].
    pub group_chunks: u32,
}

/// A stage that would have more chunks than can be counted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the split gives {found} chunks, and a stage has at most {MAX_CHUNKS}: {fitting} fits")]
pub struct TooManyChunks {
    /// How many there would be.
    pub found: u64,
    /// The smallest split that fits.
    pub fitting: Fitting,
}

/// The smallest split that gives no more chunks than a stage may have, by what the split counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fitting {
    /// Chunks of this many bytes.
    Bytes(u64),
    /// Chunks of this many records.
    Records(u64),
}

impl fmt::Display for Fitting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "a split size of at least {bytes} bytes"),
            Self::Records(records) => write!(f, "a split of at least {records} records a chunk"),
        }
    }
}

impl TooManyChunks {
    /// The same of a split by number of records, of a source of `records`.
    #[must_use]
    pub fn of_records(self, records: u64) -> Self {
        Self { fitting: Fitting::Records(records.div_ceil(u64::from(MAX_CHUNKS))), ..self }
    }
}

impl Grouping {
    /// Chooses the group size for `chunks` chunks over `input_bytes`: the smallest power of two that gives at
    /// most [`MAX_GROUPS`] groups and about [`GROUP_BYTES`] of input a group.
    ///
    /// # Errors
    /// More than [`MAX_CHUNKS`] chunks, with the chunk size that fits.
    ///
    /// # Panics
    /// If `chunks` is 0: an empty source has one empty chunk.
    pub fn choose(chunks: u64, input_bytes: u64) -> Result<Self, TooManyChunks> {
        assert!(chunks > 0, "an empty source has one empty chunk");
        let count = u32::try_from(chunks).ok().filter(|n| *n <= MAX_CHUNKS).ok_or_else(|| TooManyChunks {
            found: chunks,
            fitting: Fitting::Bytes(input_bytes.div_ceil(u64::from(MAX_CHUNKS)).next_multiple_of(1024)),
        })?;
        let chunk_bytes = (input_bytes / chunks).max(1);
        let by_bytes = u32::try_from(GROUP_BYTES / chunk_bytes).unwrap_or(u32::MAX).max(1);
        let by_bytes = 1 << by_bytes.min(MAX_GROUP_CHUNKS).ilog2();
        let by_count = count.div_ceil(MAX_GROUPS).next_power_of_two();
        Ok(Self { chunks: count, group_chunks: by_bytes.max(by_count).min(MAX_GROUP_CHUNKS) })
    }

    /// How the chunks of a stage are grouped that reads `fan_in` parts of this one in each of its chunks. With a
    /// fan-in of 1 the same indexes are grouped alike.
    #[must_use]
    pub fn aggregated(self, fan_in: u32) -> Self {
        let chunks = self.chunks.div_ceil(fan_in);
        let by_bytes = 1 << (self.group_chunks / fan_in).max(1).ilog2();
        let by_count = chunks.div_ceil(MAX_GROUPS).next_power_of_two();
        Self { chunks, group_chunks: by_bytes.max(by_count) }
    }

    /// Number of groups.
    pub fn groups(self) -> u32 {
        self.chunks.div_ceil(self.group_chunks)
    }

    /// The group that a chunk belongs to.
    pub fn group_of(self, chunk: ChunkIndex) -> GroupIndex {
        GroupIndex(chunk.0 / self.group_chunks)
    }

    /// The chunk indexes of a group, half-open; empty for a group that the stage does not have.
    pub fn chunks_of(self, group: GroupIndex) -> std::ops::Range<u32> {
        let start = group.0.saturating_mul(self.group_chunks).min(self.chunks);
        start..start.saturating_add(self.group_chunks).min(self.chunks)
    }

    /// Number of chunks in a group.
    pub fn size_of(self, group: GroupIndex) -> usize {
        self.chunks_of(group).len()
    }
}

/// What is summed over chunks, then over groups. All of it is additive, whatever the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sums {
    /// Data records read, bad ones included.
    pub records: u64,
    /// Bad records among them.
    pub bad_records: u64,
    /// Source bytes read.
    pub bytes_in: u64,
    /// Bytes written for the output.
    pub bytes_out: u64,
    /// Chunks that failed (and were tolerated, if the run goes on).
    pub failed_chunks: u64,
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.bad_records += other.bad_records;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.failed_chunks += other.failed_chunks;
    }
}

impl std::iter::Sum for Sums {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::default(), |mut total, item| {
            total += item;
            total
        })
    }
}

/// How a chunk ended, as the ledger counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mark {
    /// Its part exists; what it adds to the sums.
    Done(Sums),
    /// It failed for good.
    Failed,
}

impl Mark {
    /// What this mark adds to its group's sums.
    pub fn sums(&self) -> Sums {
        match self {
            Self::Done(sums) => *sums,
            Self::Failed => Sums { failed_chunks: 1, ..Sums::default() },
        }
    }
}

/// What is noted of a chunk beside its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// What follows from its end was done.
    Handed,
    /// The chunk one window further on was sent by its worker.
    SentNext,
    /// The chunk of the stage at this place that reads its part index by index was sent by its worker.
    SentReader(usize),
}

/// A group's counters: which chunks ended, and which of those had their consequences carried out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GroupCount {
    /// Chunks done.
    pub done: BTreeSet<ChunkIndex>,
    /// Chunks failed. No chunk is both.
    pub failed: BTreeSet<ChunkIndex>,
    /// Chunks whose end was acted upon (next chunk released, full group sent to be folded).
    pub handed: BTreeSet<ChunkIndex>,
    /// Chunks whose workers sent the one a window further on.
    pub sent_next: BTreeSet<ChunkIndex>,
    /// By the place of a stage that reads this one index by index: chunks whose workers sent the one that reads them.
    pub sent_readers: BTreeMap<usize, BTreeSet<ChunkIndex>>,
    /// Sums over `done` and `failed`.
    pub sums: Sums,
}

impl GroupCount {
    /// Whether a chunk ended, either way.
    pub fn has(&self, chunk: ChunkIndex) -> bool {
        self.done.contains(&chunk) || self.failed.contains(&chunk)
    }

    /// Marks all of `marks`, or none if one of them ended before. Returns whether it marked.
    pub fn mark(&mut self, marks: &[(ChunkIndex, Mark)]) -> bool {
        if marks.iter().any(|(chunk, _)| self.has(*chunk)) {
            return false;
        }
        for (chunk, mark) in marks {
            match mark {
                Mark::Done(_) => self.done.insert(*chunk),
                Mark::Failed => self.failed.insert(*chunk),
            };
            self.sums += mark.sums();
        }
        true
    }

    /// Notes these of its chunks.
    pub fn note(&mut self, notes: &[(ChunkIndex, Note)]) {
        for (chunk, note) in notes {
            match note {
                Note::Handed => &mut self.handed,
                Note::SentNext => &mut self.sent_next,
                Note::SentReader(place) => self.sent_readers.entry(*place).or_default(),
            }
            .insert(*chunk);
        }
    }

    /// How many chunks ended.
    pub fn ended(&self) -> usize {
        self.done.len() + self.failed.len()
    }
}

/// A stage's counters: which groups are folded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RootCount {
    /// Groups whose object exists.
    pub folded: BTreeSet<GroupIndex>,
    /// Sums over `folded`; `bytes_out` is the sum of the group objects' sizes, the output's header included.
    pub sums: Sums,
}

impl RootCount {
    /// Marks a group folded unless it was. Returns whether it marked.
    pub fn mark(&mut self, group: GroupIndex, sums: Sums) -> bool {
        let new = self.folded.insert(group);
        if new {
            self.sums += sums;
        }
        new
    }

    /// Whether all groups are folded.
    pub fn is_full(&self, grouping: Grouping) -> bool {
        self.folded.len() == grouping.groups() as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn done(records: u64) -> Mark {
        Mark::Done(Sums { records, ..Sums::default() })
    }

    #[test]
    fn groups_hold_about_64_mib() {
        let grouping = Grouping::choose(34, 126_000_000).unwrap();
        assert_eq!((grouping.group_chunks, grouping.groups()), (16, 3));
        assert_eq!(Grouping::choose(16, 1 << 30).unwrap().group_chunks, 1);
        assert_eq!(Grouping::choose(1, 0).unwrap().groups(), 1);
    }

    #[test]
    fn a_million_chunks_fit_and_one_more_does_not() {
        assert_eq!(Grouping::choose(1_000_000, 64_000_000_000_000).unwrap().groups(), 977);
        let refused = Grouping::choose(1_000_001, 1_000_001_000).unwrap_err();
        assert_eq!(refused.fitting, Fitting::Bytes(1024));
        assert_eq!(refused.of_records(2_000_001).fitting, Fitting::Records(3));
    }

    #[test]
    fn a_mark_is_all_or_nothing() {
        let mut group = GroupCount::default();
        assert!(group.mark(&[(ChunkIndex(0), done(5))]));
        assert!(!group.mark(&[(ChunkIndex(1), done(7)), (ChunkIndex(0), done(5))]));
        assert!(!group.mark(&[(ChunkIndex(0), Mark::Failed)]));
        assert_eq!((group.ended(), group.sums.records), (1, 5));
    }

    proptest! {
        #[test]
        fn groups_tile_the_chunks(chunks in 1u64..=1_000_000, bytes in 0u64..1 << 44) {
            let grouping = Grouping::choose(chunks, bytes).unwrap();
            prop_assert!(grouping.groups() <= MAX_GROUPS);
            prop_assert!(grouping.group_chunks.is_power_of_two() && grouping.group_chunks <= MAX_GROUP_CHUNKS);
            let mut next = 0;
            for group in 0..grouping.groups() {
                let range = grouping.chunks_of(GroupIndex(group));
                prop_assert_eq!(range.start, next);
                prop_assert!(!range.is_empty());
                prop_assert_eq!(grouping.group_of(ChunkIndex(range.end - 1)), GroupIndex(group));
                next = range.end;
            }
            prop_assert_eq!(u64::from(next), chunks);
        }

        #[test]
        fn sums_do_not_depend_on_the_order(mut order in Just((0u32..50).collect::<Vec<_>>()).prop_shuffle()) {
            let mut group = GroupCount::default();
            order.extend(0..50); // every completion twice
            for i in order {
                group.mark(&[(ChunkIndex(i), done(u64::from(i)))]);
            }
            prop_assert_eq!(group.sums.records, 49 * 50 / 2);
        }
    }
}

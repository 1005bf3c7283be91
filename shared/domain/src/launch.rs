//! Launches: chunks given to one Kubernetes Job (always `KubeJob`) on one cluster.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{ChunkIndex, Generation, Run, RunId, StackId, Timestamp, ids::InvalidId, pipeline::Eks};

/// The most chunks in a launch: Objects in the API server grow with their number.
pub const MAX_LAUNCH_CHUNKS: u32 = 1_000;
/// Launches that a stage is divided into, so that several clusters can share it, if it has as many chunks.
const LAUNCHES: u32 = 16;
/// What a pod is to read, about, in bytes, where the pipeline does not say how many chunks it does: it makes ten
/// times its start of some seconds.
const POD_BYTES: u64 = 256 << 20;

/// A set of chunk indexes, written as `0-62,70`: ascending, no two ranges touch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChunkSet(Vec<RangeInclusive<u32>>);

impl ChunkSet {
    /// How many chunks it has.
    pub fn len(&self) -> u32 {
        self.0.iter().map(|range| range.end() - range.start() + 1).sum()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its chunks, ascending.
    pub fn iter(&self) -> impl Iterator<Item = ChunkIndex> + '_ {
        self.0.iter().cloned().flatten().map(ChunkIndex)
    }

    /// The chunks of page `page`, of `size` chunks each but the last.
    pub fn page(&self, page: u32, size: u32) -> Vec<ChunkIndex> {
        let (skip, take) = (page as usize * size as usize, size as usize);
        self.iter().skip(skip).take(take).collect()
    }
}

impl FromIterator<ChunkIndex> for ChunkSet {
    fn from_iter<I: IntoIterator<Item = ChunkIndex>>(chunks: I) -> Self {
        let mut indexes: Vec<u32> = chunks.into_iter().map(|chunk| chunk.0).collect();
        indexes.sort_unstable();
        indexes.dedup();
        let mut ranges: Vec<RangeInclusive<u32>> = Vec::new();
        for index in indexes {
            match ranges.last_mut() {
                Some(last) if last.end() + 1 == index => *last = *last.start()..=index,
                _ => ranges.push(index..=index),
            }
        }
        Self(ranges)
    }
}

impl fmt::Display for ChunkSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, range) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            if range.start() == range.end() {
                write!(f, "{comma}{}", range.start())?;
            } else {
                write!(f, "{comma}{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

impl FromStr for ChunkSet {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId {
            what: "set of chunks",
            found: text.to_owned(),
            allowed: "ascending indexes and ranges such as 0-62,70",
        };
        let mut ranges: Vec<RangeInclusive<u32>> = Vec::new();
        for item in text.split(',').filter(|_| !text.is_empty()) {
            let (start, end) = item.split_once('-').unwrap_or((item, item));
            let start: u32 = start.parse().map_err(|_| invalid())?;
            let end: u32 = end.parse().map_err(|_| invalid())?;
            let follows = ranges.last().is_none_or(|last| start > 0 && *last.end() < start - 1);
            if start > end || end == u32::MAX || !follows {
                return Err(invalid());
            }
            ranges.push(start..=end);
        }
        Ok(Self(ranges))
    }
}

impl Serialize for ChunkSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChunkSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A stage that would need more pods at once than it may have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{chunks} chunks make {launches} launches of at most {MAX_LAUNCH_CHUNKS}, each of which needs a pod, and \
     max_concurrency is {max_concurrency}: at least {launches} fits, or larger chunks"
)]
pub struct TooManyLaunches {
    /// How many chunks there are.
    pub chunks: u32,
    /// How many launches they would make.
    pub launches: u32,
    /// How many pods there may be.
    pub max_concurrency: u32,
}

/// How the chunks of a stage are divided into launches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launching {
    /// Chunks of the stage, at least 1.
    pub chunks: u32,
    /// Chunks in each launch but the last.
    pub launch_chunks: u32,
    max_concurrency: u32,
}

impl Launching {
    /// Divides `chunks` so that each launch may have a pod of `max_concurrency`.
    ///
    /// # Errors
    /// There would be more launches than pods.
    pub fn of(chunks: u32, max_concurrency: u32) -> Result<Self, TooManyLaunches> {
        let launches = LAUNCHES.min(max_concurrency).max(1);
        let least = chunks.div_ceil(MAX_LAUNCH_CHUNKS);
        if least > max_concurrency {
            return Err(TooManyLaunches { chunks, launches: least, max_concurrency });
        }
        let launch_chunks = chunks.div_ceil(launches).clamp(1, MAX_LAUNCH_CHUNKS);
        Ok(Self { chunks, launch_chunks, max_concurrency })
    }

    /// Number of launches.
    pub fn launches(self) -> u32 {
        self.chunks.div_ceil(self.launch_chunks)
    }

    /// The chunks of a launch.
    pub fn chunks_of(self, launch: LaunchIndex) -> ChunkSet {
        let start = launch.0.saturating_mul(self.launch_chunks).min(self.chunks);
        (start..start.saturating_add(self.launch_chunks).min(self.chunks)).map(ChunkIndex).collect()
    }

    /// How many pods a launch may have at once, at least 1: all together the stage's `max_concurrency`.
    pub fn pods_of(self, launch: LaunchIndex) -> u32 {
        let launches = self.launches();
        let one_more = u32::from(launch.0 < self.max_concurrency % launches);
        (self.max_concurrency / launches + one_more).max(1)
    }
}

/// How many of `chunks` chunks of a launch a pod does one after another, if `pods` may run at once: as the stage
/// says, or else as many as make its start worth while and leave none of those pods without work.
pub fn chunks_per_pod(eks: &Eks, chunk_bytes: u64, chunks: u32, pods: u32) -> u32 {
    let most = chunks.max(1);
    let wanted = eks.chunks_per_pod.unwrap_or_else(|| {
        let by_bytes = u32::try_from(POD_BYTES / chunk_bytes.max(1)).unwrap_or(u32::MAX);
        by_bytes.clamp(1, chunks.div_ceil(pods.max(1)).max(1))
    });
    wanted.clamp(1, most)
}

/// A launch of a stage, 0-based.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LaunchIndex(pub u32);

impl fmt::Display for LaunchIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whose launch it is.
#[derive(Debug, Clone, Copy)]
pub struct StageName<'a> {
    /// The run.
    pub run: &'a RunId,
    /// The stage's name.
    pub stage: &'a str,
    /// The run's generation.
    pub generation: Generation,
}

impl<'a> StageName<'a> {
    /// A stage of a run in its present generation.
    pub fn of(run: &'a Run, stage: &'a str) -> Self {
        Self { run: &run.id, stage, generation: run.generation }
    }
}

/// A launch as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Which one.
    pub index: LaunchIndex,
    /// Raised by every change of this item; 0 before it is kept.
    pub revision: u64,
    /// Raised each time it is given to a cluster anew: part of its Job's name.
    pub generation: u32,
    /// Its chunks: all at first, what was left of them when it was launched again.
    pub chunks: ChunkSet,
    /// The cluster it was given to, once it was.
    pub cluster: Option<String>,
    /// The stack that its Job's name and label name. None before it is given to a cluster, and if a version gave it to
    /// one that named no stack: that Job has neither, and is found by its name alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<StackId>,
    /// Whether its Job is known to have been created there: from then on it is the sweeper's.
    #[serde(default)]
    pub is_created: bool,
    /// When it was last given to a cluster, or last found none.
    pub placed_at: Timestamp,
    /// Since when something keeps it, as its note says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_since: Option<Timestamp>,
    /// What keeps it, for a person to act on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Launch {
    /// A launch that nobody has kept yet.
    pub fn new(index: LaunchIndex, chunks: ChunkSet, now: Timestamp) -> Self {
        Self {
            index,
            revision: 0,
            generation: 0,
            chunks,
            cluster: None,
            stack: None,
            is_created: false,
            placed_at: now,
            kept_since: None,
            note: None,
        }
    }

    /// The launch as the ledger has it after this was saved.
    #[must_use]
    pub fn saved(self) -> Self {
        Self { revision: self.revision + 1, ..self }
    }

    /// The launch, to be given to a cluster anew with what is left of it. A Job that it has somewhere is of an older
    /// generation then, by which it is known to be nobody's.
    #[must_use]
    pub fn anew(self, chunks: ChunkSet, note: String, now: Timestamp) -> Self {
        Self {
            generation: self.generation + 1,
            chunks,
            cluster: None,
            stack: None,
            is_created: false,
            placed_at: now,
            kept_since: None,
            note: Some(note),
            ..self
        }
    }

    /// The name of its Job: a hash of stack, run, stage and generation, then launch and launch generation. A DNS label,
    /// short enough for Kubernetes to add an index to it.
    ///
    /// The stack is hashed too because two stacks derive the same run id of equal idempotency keys, and of schedules
    /// of equal times, and may share a namespace.
    pub fn job_name(&self, stage: &StageName<'_>) -> String {
        let StageName { run, stage, generation } = stage;
        let stack = self.stack.as_ref().map(|stack| format!("{stack}/")).unwrap_or_default();
        let hash = Sha256::digest(format!("{stack}{run}/{stage}/{generation}"));
        format!("fanfold-{}-{}-{}", hex::encode(&hash[..10]), self.index, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Origin;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(indexes: impl IntoIterator<Item = u32>) -> ChunkSet {
        indexes.into_iter().map(ChunkIndex).collect()
    }

    #[test]
    fn a_set_is_written_shortly() {
        assert_eq!(set([3, 1, 2, 2, 9, 7, 8, 5]).to_string(), "1-3,5,7-9");
        assert_eq!(set([]).to_string(), "");
        for text in ["1-", "2-1", "1,2", "3,1", "a", "1,,2", "0-4294967295", "-1"] {
            assert!(text.parse::<ChunkSet>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_set_is_read_back_and_its_pages_tile_it(
            indexes in proptest::collection::btree_set(0u32..2_000, 0..200), size in 1u32..20,
        ) {
            let chunks = set(indexes.clone());
            prop_assert_eq!(chunks.to_string().parse::<ChunkSet>().unwrap(), chunks.clone());
            prop_assert_eq!(chunks.len() as usize, indexes.len());
            let pages = (0..chunks.len().div_ceil(size)).flat_map(|page| chunks.page(page, size));
            let paged: BTreeSet<u32> = pages.map(|chunk| chunk.0).collect();
            prop_assert_eq!(paged, indexes);
            prop_assert!(chunks.page(chunks.len().div_ceil(size), size).is_empty());
        }

        #[test]
        fn launches_tile_the_stage_and_share_its_pods(chunks in 1u32..1_000_000, max_concurrency in 2u32..10_000) {
            match Launching::of(chunks, max_concurrency) {
                Ok(launching) => {
                    let launches = launching.launches();
                    let sizes = (0..launches).map(|launch| launching.chunks_of(LaunchIndex(launch)).len());
                    prop_assert_eq!(sizes.clone().sum::<u32>(), chunks);
                    prop_assert!(sizes.clone().all(|size| (1..=MAX_LAUNCH_CHUNKS).contains(&size)));
                    let pods: u32 = (0..launches).map(|launch| launching.pods_of(LaunchIndex(launch))).sum();
                    prop_assert_eq!(pods, max_concurrency);
                }
                Err(refused) => {
                    prop_assert!(refused.launches > max_concurrency);
                    prop_assert!(Launching::of(chunks, refused.launches).is_ok());
                }
            }
        }
    }

    #[test]
    fn small_stages_are_shared_too() {
        let launching = Launching::of(40, 200).unwrap();
        assert_eq!((launching.launch_chunks, launching.launches()), (3, 14));
        assert_eq!(Launching::of(3, 2).unwrap().launches(), 2);
    }

    #[test]
    fn a_pod_does_as_many_chunks_as_its_start_is_worth() {
        let mut eks = crate::pipeline::Pipeline::parse(
            "pipeline: p\nsource: {prefix: a/, format: lines}\nstages: [{name: s, run_on: eks, process: copy}]\n",
        )
        .map(|pipeline| match pipeline.stages[0].run_on.clone() {
            crate::pipeline::RunOn::Eks(eks) => *eks,
            crate::pipeline::RunOn::Lambda => unreachable!("the document says eks"),
        })
        .unwrap();
        assert_eq!(chunks_per_pod(&eks, 64 << 20, 100, 10), 4);
        assert_eq!(chunks_per_pod(&eks, 1 << 30, 100, 10), 1);
        assert_eq!(chunks_per_pod(&eks, 1, 100, 10), 10);
        eks.chunks_per_pod = Some(50);
        assert_eq!(chunks_per_pod(&eks, 1, 100, 10), 50);
        assert_eq!(chunks_per_pod(&eks, 1, 7, 10), 7);
    }

    #[test]
    fn a_job_is_named_after_all_that_makes_it_this_one() {
        let run = RunId::derive("p", &Origin::Submission { idempotency_key: "k" });
        let stage = StageName { run: &run, stage: "confirm", generation: Generation(0) };
        let launch = Launch { generation: 12, ..Launch::new(LaunchIndex(999), set([1]), Timestamp(0)) };
        let name = launch.job_name(&stage);
        assert!(crate::cluster::is_dns_label(&name) && name.len() <= 50, "{name}");
        assert_ne!(name, launch.job_name(&StageName { generation: Generation(1), ..stage }));
        assert_ne!(name, launch.job_name(&StageName { stage: "other", ..stage }));
        assert_ne!(name, Launch { generation: 13, ..launch.clone() }.job_name(&stage));
        let [one, other] = ["one", "other"].map(|arn| Some(StackId::of_ledger(arn)));
        let [one, other] = [one, other].map(|stack| Launch { stack, ..launch.clone() }.job_name(&stage));
        assert!(one != other && one != name && one.len() == name.len(), "{one} {other}");
    }

    /// As it was written before Jobs named their stack. Its Job, which may still run, has the name of then.
    #[test]
    fn a_launch_without_a_stack_is_read_and_keeps_its_jobs_name() {
        let text = r#"{"index":3,"revision":2,"generation":1,"chunks":"0-7","cluster":"one","is_created":true,
                       "placed_at":1767323045000}"#;
        let launch: Launch = serde_json::from_str(text).unwrap();
        assert_eq!((launch.stack.as_ref(), launch.is_created), (None, true));
        let run = "0123456789abcdef0123456789abcdef".parse().unwrap();
        let stage = StageName { run: &run, stage: "confirm", generation: Generation(0) };
        assert_eq!(launch.job_name(&stage), "fanfold-388ef34f4d5938b8d012-3-1");
    }
}

//! The Distributed Map: what an execution is started with, what its items are, and what it tells. Pure.
//!
//! One execution is the fan-out of one stage of a run in one generation, and is named after the three: a repeated start
//! is the same start. Its items are the lines of a batch list in the work bucket: batches of chunks for the worker, or
//! launches for the launcher.
//!
//! Architecture invariant: nothing here knows Step Functions' language; the state machine's definition and this module
//! are held together by a test.

mod batch;
mod message;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use batch::{Batch, BatchLimits, MAX_BATCH_CHUNKS, MAX_BATCHES};
pub use message::{BatchMessage, ChildFailure, Item, MapEnd, MapMessage, Told, is_to_blame};

use crate::{
    Generation, Run, RunId,
    key::StageKeys,
    launch::StageName,
    pipeline::{RunOn, Stage},
};

/// The error of a child's function that another try may mend: the state machine retries it by this name.
pub const TRANSIENT: &str = "Fanfold.Transient";
/// The error of a child's function that no further try would mend.
pub const PERMANENT: &str = "Fanfold.Permanent";

/// How long a child that is an Express execution may last, its retries' waits included, in milliseconds: AWS ends it at
/// five minutes, and no Catch sees that.
pub const EXPRESS_MS: u64 = 4 * 60_000;
/// The longest that the retries of a child wait altogether, in milliseconds: six waits from 2 s on after errors of the
/// service, each twice as long as the one before, and one of 2 s after a function died.
pub const WAITS_MS: u64 = 128_000;
/// How often a child's function may take all of its time: it is tried once more after it died.
pub const INVOCATIONS: u64 = 2;
/// How long one try of an Express child may last, in milliseconds.
pub const EXPRESS_TRY_MS: u64 = (EXPRESS_MS - WAITS_MS) / INVOCATIONS;
/// What of it Lambda may need before the worker begins, in milliseconds.
const START_MS: u64 = 6_000;
/// What the worker keeps of its time to tell how an attempt went, in milliseconds.
pub const TELLING_MS: u64 = 15_000;
/// Launchers at work at once: each creates one Job, so that a few are enough for all.
const LAUNCHERS: u32 = 10;

/// What the children of a Map do, and how they are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Children {
    /// Batches, by short-lived Express executions.
    Express,
    /// Batches, by Standard executions.
    Standard,
    /// Launches, by Standard executions.
    Launches,
}

impl Children {
    /// Those of a stage: Express where all tries with their waits fit into what an Express execution may last.
    pub fn of(stage: &Stage) -> Self {
        match stage.run_on {
            RunOn::Eks(_) => Self::Launches,
            RunOn::Lambda if stage.timeout_ms + TELLING_MS + START_MS <= EXPRESS_TRY_MS => Self::Express,
            RunOn::Lambda => Self::Standard,
        }
    }

    /// How long the worker may take for a batch, in milliseconds, where not its own function's time counts alone.
    pub fn batch_ms(self) -> Option<u64> {
        (self == Self::Express).then_some(EXPRESS_TRY_MS - START_MS)
    }

    /// How many of them may be under way at once, for a stage of this `max_concurrency`.
    pub fn at_once(self, max_concurrency: u32) -> u32 {
        if self == Self::Launches { LAUNCHERS } else { max_concurrency }
    }
}

/// What an execution is started with: the same for each start of one stage, and for no other stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapInput {
    /// The version of this input and of what the execution tells.
    pub v: u32,
    /// Whose chunks.
    pub run: RunId,
    /// Of which stage.
    pub stage: String,
    /// Of which generation.
    pub generation: Generation,
    /// The bucket of the batch list.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// What its children do.
    pub children: Children,
    /// How many of them may be under way at once.
    pub max_concurrency: u32,
    /// How many of a hundred items may fail and the Map go on.
    pub tolerated_failure_percentage: u32,
}

impl MapInput {
    /// The input for `stage` of `run`, of `chunks` chunks in `items` items.
    pub fn new(run: &Run, stage: &Stage, bucket: &str, chunks: u32, items: u32) -> Self {
        let children = Children::of(stage);
        let most_failed = run.pipeline.on_error.tolerate_failed_chunks.most_of(chunks);
        Self {
            v: crate::message::VERSION,
            run: run.id.clone(),
            stage: stage.name.clone(),
            generation: run.generation,
            bucket: bucket.to_owned(),
            key: StageKeys::new(&run.id, &stage.name, run.generation).batches(),
            children,
            max_concurrency: children.at_once(stage.max_concurrency),
            tolerated_failure_percentage: tolerated_percentage(most_failed, items),
        }
    }

    /// The execution's name.
    pub fn name(&self) -> ExecutionName {
        ExecutionName::of(&StageName { run: &self.run, stage: &self.stage, generation: self.generation })
    }
}

/// Rounded up: an item that fails has at least one failed chunk, so that a Map which is ended for its failed items is of
/// a run that fails for its failed chunks.
fn tolerated_percentage(most_failed: u32, items: u32) -> u32 {
    let percentage = (u64::from(most_failed) * 100).div_ceil(u64::from(items.max(1)));
    u32::try_from(percentage.min(100)).expect("a percentage is at most 100")
}

/// The name of the execution that fans a stage out: `{run}-{stage}-{generation}`, at most 76 characters of the 80 that
/// Step Functions takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionName(String);

impl ExecutionName {
    /// That of a stage.
    pub fn of(StageName { run, stage, generation }: &StageName<'_>) -> Self {
        Self(format!("{run}-{stage}-{generation}"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExecutionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Origin, pipeline::Pipeline};
    use proptest::prelude::*;

    fn stage(text: &str) -> Stage {
        let text = format!(
            "{{pipeline: p, source: {{format: lines}}, stages: [{{name: s, process: copy, {text}}}]}}"
        );
        Pipeline::parse(&text).unwrap().stages.remove(0)
    }

    #[test]
    fn only_children_whose_every_try_fits_are_express() {
        assert_eq!(Children::of(&stage("timeout: 35s")), Children::Express);
        assert_eq!(Children::of(&stage("timeout: 36s")), Children::Standard);
        assert_eq!(Children::of(&stage("timeout: 5m")), Children::Standard);
        assert_eq!(Children::of(&stage("timeout: 1s, run_on: eks")), Children::Launches);
        const { assert!(INVOCATIONS * EXPRESS_TRY_MS + WAITS_MS <= EXPRESS_MS) };
    }

    #[test]
    fn no_name_is_longer_than_an_executions() {
        let run = RunId::derive("p", &Origin::Submission { idempotency_key: "k" });
        let stage = "s".repeat(32);
        let name = StageName { run: &run, stage: &stage, generation: Generation(u32::MAX) };
        assert!(ExecutionName::of(&name).as_str().len() <= 80);
    }

    proptest! {
        #[test]
        fn a_map_is_ended_for_its_items_only_where_the_run_fails_for_its_chunks(
            items in 1u32..10_000, more in 0u32..1_000_000, most_failed in 0u32..1_000_000,
        ) {
            let most_failed = most_failed.min(items + more);
            let percentage = tolerated_percentage(most_failed, items);
            // The fewest items whose failure ends the Map.
            let ends_at = u64::from(percentage) * u64::from(items) / 100 + 1;
            prop_assert!(percentage == 100 || ends_at > u64::from(most_failed));
        }
    }
}

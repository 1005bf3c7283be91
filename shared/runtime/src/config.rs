//! Every environment variable that a function reads, and which function reads which.
//!
//! The SDK and the Lambda runtime read their own beside these: `AWS_REGION`, credentials,
//! `AWS_ENDPOINT_URL`, `AWS_LAMBDA_RUNTIME_API` and the like.

use std::{collections::BTreeMap, fmt};

/// The DynamoDB table of the ledger: its name.
pub const FANFOLD_LEDGER_TABLE: &str = "FANFOLD_LEDGER_TABLE";
/// The ledger's table by its ARN, from which the stack's id is made: it names account and region too.
pub const FANFOLD_LEDGER_TABLE_ARN: &str = "FANFOLD_LEDGER_TABLE_ARN";
/// The bucket of parts, manifests and group objects: its name.
pub const FANFOLD_WORK_BUCKET: &str = "FANFOLD_WORK_BUCKET";
/// The bucket whose objects listings and schedules name: its name.
pub const FANFOLD_INPUT_BUCKET: &str = "FANFOLD_INPUT_BUCKET";
/// The bucket of outputs, unless a pipeline names another: its name. May be the input bucket.
pub const FANFOLD_OUTPUT_BUCKET: &str = "FANFOLD_OUTPUT_BUCKET";
/// The buckets that runs may read: their ARNs, separated by commas. Optional: without it nothing is compared. So it is of
/// the other lists of what the stack's roles may reach.
pub const FANFOLD_ALLOWED_SOURCE_BUCKETS: &str = "FANFOLD_ALLOWED_SOURCE_BUCKETS";
/// The buckets that outputs may go to: their ARNs, the output bucket's first.
pub const FANFOLD_ALLOWED_OUTPUT_BUCKETS: &str = "FANFOLD_ALLOWED_OUTPUT_BUCKETS";
/// The buckets that workers' results may go to under any key, beside the output bucket: their ARNs.
pub const FANFOLD_ALLOWED_RESULT_BUCKETS: &str = "FANFOLD_ALLOWED_RESULT_BUCKETS";
/// What keys of workers' results in the output bucket begin with.
pub const FANFOLD_RESULT_PREFIX: &str = "FANFOLD_RESULT_PREFIX";
/// The tables that workers may write: their ARNs.
pub const FANFOLD_ALLOWED_TABLES: &str = "FANFOLD_ALLOWED_TABLES";
/// The functions that plan steps may invoke: their ARNs.
pub const FANFOLD_ALLOWED_PLAN_FUNCTIONS: &str = "FANFOLD_ALLOWED_PLAN_FUNCTIONS";
/// The bus that a run's milestones are announced on: its name.
pub const FANFOLD_EVENT_BUS: &str = "FANFOLD_EVENT_BUS";
/// The queue `intake`: its URL.
pub const FANFOLD_INTAKE_QUEUE_URL: &str = "FANFOLD_INTAKE_QUEUE_URL";
/// The queue `chunks`: its URL.
pub const FANFOLD_CHUNKS_QUEUE_URL: &str = "FANFOLD_CHUNKS_QUEUE_URL";
/// The queue `launches`: its URL.
pub const FANFOLD_LAUNCHES_QUEUE_URL: &str = "FANFOLD_LAUNCHES_QUEUE_URL";
/// The queue `completions`: its URL.
pub const FANFOLD_COMPLETIONS_QUEUE_URL: &str = "FANFOLD_COMPLETIONS_QUEUE_URL";
/// The queue `folds`: its URL.
pub const FANFOLD_FOLDS_QUEUE_URL: &str = "FANFOLD_FOLDS_QUEUE_URL";
/// The stack's default pipeline: a pipeline document. Optional.
pub const FANFOLD_DEFAULT_PIPELINE: &str = "FANFOLD_DEFAULT_PIPELINE";
/// The dead-letter queue of `chunks`: its ARN, by which a dead letter is told from a message.
pub const FANFOLD_CHUNKS_DEAD_QUEUE_ARN: &str = "FANFOLD_CHUNKS_DEAD_QUEUE_ARN";
/// The dead-letter queue of `launches`: its ARN.
pub const FANFOLD_LAUNCHES_DEAD_QUEUE_ARN: &str = "FANFOLD_LAUNCHES_DEAD_QUEUE_ARN";
/// The dead-letter queue of `folds`: its ARN.
pub const FANFOLD_FOLDS_DEAD_QUEUE_ARN: &str = "FANFOLD_FOLDS_DEAD_QUEUE_ARN";
/// The dead-letter queue of `completions`: its ARN.
pub const FANFOLD_COMPLETIONS_DEAD_QUEUE_ARN: &str = "FANFOLD_COMPLETIONS_DEAD_QUEUE_ARN";
/// The dead-letter queue of EventBridge's target, what never reached `intake`: its ARN.
pub const FANFOLD_EVENTS_DEAD_QUEUE_ARN: &str = "FANFOLD_EVENTS_DEAD_QUEUE_ARN";
/// The state machine of Distributed Maps: its ARN.
pub const FANFOLD_MAP_STATE_MACHINE_ARN: &str = "FANFOLD_MAP_STATE_MACHINE_ARN";
/// Whether S3 is sent the checksum of a whole object: `on` (the default) or `off`, for an endpoint that does
/// not know it.
pub const FANFOLD_S3_WHOLE_CHECKSUM: &str = "FANFOLD_S3_WHOLE_CHECKSUM";
/// The largest source, in MiB, that the splitter scans itself; a larger one is scanned by workers. 4096 unless it
/// is set.
pub const FANFOLD_SCAN_ALONE_MIB: &str = "FANFOLD_SCAN_ALONE_MIB";
/// Of a pod: whose chunks it does, as a run's id.
pub const FANFOLD_RUN: &str = "FANFOLD_RUN";
/// Of a pod: of which stage.
pub const FANFOLD_STAGE: &str = "FANFOLD_STAGE";
/// Of a pod: of which generation of the run.
pub const FANFOLD_GENERATION: &str = "FANFOLD_GENERATION";
/// Of a pod: the chunks of its launch, such as `0-62,70`.
pub const FANFOLD_CHUNKS: &str = "FANFOLD_CHUNKS";
/// Of a pod: how many of them it does; its index says which.
pub const FANFOLD_CHUNKS_PER_POD: &str = "FANFOLD_CHUNKS_PER_POD";
/// Of a pod: how many pods of its index failed before. Kubernetes' own count; optional.
pub const FANFOLD_FAILED_TRIES: &str = "FANFOLD_FAILED_TRIES";
/// Of a pod: its index, 0-based. Kubernetes sets it.
pub const JOB_COMPLETION_INDEX: &str = "JOB_COMPLETION_INDEX";
/// What is logged, as `tracing` filters: `info`, `debug,aws_config=warn`. Every function reads it; optional.
pub const RUST_LOG: &str = "RUST_LOG";

/// A function of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Function {
    /// Plans runs.
    Splitter,
    /// Works on chunks.
    Worker,
    /// The worker as a pod: no Lambda, and not in template.yaml.
    Pod,
    /// Gives chunks to clusters.
    Launcher,
    /// Counts completions.
    Tracker,
    /// Folds and assembles.
    Merger,
    /// Repairs.
    Sweeper,
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Splitter => "splitter",
            Self::Worker => "worker",
            Self::Pod => "pod",
            Self::Launcher => "launcher",
            Self::Tracker => "tracker",
            Self::Merger => "merger",
            Self::Sweeper => "sweeper",
        })
    }
}

/// Which function reads which variables, beside [`RUST_LOG`]. A function that reads another one does not
/// start; a test compares the table with template.yaml.
pub const READS: &[(Function, &[&str])] = &[
    (
        Function::Splitter,
        &[
            FANFOLD_LEDGER_TABLE,
            FANFOLD_WORK_BUCKET,
            FANFOLD_INPUT_BUCKET,
            FANFOLD_OUTPUT_BUCKET,
            FANFOLD_ALLOWED_SOURCE_BUCKETS,
            FANFOLD_ALLOWED_OUTPUT_BUCKETS,
            FANFOLD_ALLOWED_RESULT_BUCKETS,
            FANFOLD_RESULT_PREFIX,
            FANFOLD_ALLOWED_TABLES,
            FANFOLD_ALLOWED_PLAN_FUNCTIONS,
            FANFOLD_EVENT_BUS,
            FANFOLD_INTAKE_QUEUE_URL,
            FANFOLD_CHUNKS_QUEUE_URL,
            FANFOLD_LAUNCHES_QUEUE_URL,
            FANFOLD_FOLDS_QUEUE_URL,
            FANFOLD_DEFAULT_PIPELINE,
            FANFOLD_SCAN_ALONE_MIB,
            FANFOLD_MAP_STATE_MACHINE_ARN,
            FANFOLD_S3_WHOLE_CHECKSUM,
        ],
    ),
    (
        Function::Worker,
        &[
            FANFOLD_LEDGER_TABLE,
            FANFOLD_WORK_BUCKET,
            FANFOLD_CHUNKS_QUEUE_URL,
            FANFOLD_COMPLETIONS_QUEUE_URL,
            FANFOLD_S3_WHOLE_CHECKSUM,
        ],
    ),
    (
        Function::Pod,
        &[
            FANFOLD_LEDGER_TABLE,
            FANFOLD_WORK_BUCKET,
            FANFOLD_COMPLETIONS_QUEUE_URL,
            FANFOLD_S3_WHOLE_CHECKSUM,
            FANFOLD_RUN,
            FANFOLD_STAGE,
            FANFOLD_GENERATION,
            FANFOLD_CHUNKS,
            FANFOLD_CHUNKS_PER_POD,
            FANFOLD_FAILED_TRIES,
            JOB_COMPLETION_INDEX,
        ],
    ),
    (
        Function::Launcher,
        &[
            FANFOLD_LEDGER_TABLE,
            FANFOLD_LEDGER_TABLE_ARN,
            FANFOLD_WORK_BUCKET,
            FANFOLD_LAUNCHES_QUEUE_URL,
            FANFOLD_COMPLETIONS_QUEUE_URL,
            FANFOLD_S3_WHOLE_CHECKSUM,
        ],
    ),
    (
        Function::Tracker,
        &[
            FANFOLD_LEDGER_TABLE,
            FANFOLD_WORK_BUCKET,
            FANFOLD_EVENT_BUS,
            FANFOLD_INTAKE_QUEUE_URL,
            FANFOLD_CHUNKS_QUEUE_URL,
            FANFOLD_LAUNCHES_QUEUE_URL,
            FANFOLD_COMPLETIONS_QUEUE_URL,
            FANFOLD_FOLDS_QUEUE_URL,
            FANFOLD_CHUNKS_DEAD_QUEUE_ARN,
            FANFOLD_LAUNCHES_DEAD_QUEUE_ARN,
            FANFOLD_S3_WHOLE_CHECKSUM,
        ],
    ),
    (
        Function::Merger,
        &[
            FANFOLD_LEDGER_TABLE,
            FANFOLD_WORK_BUCKET,
            FANFOLD_INTAKE_QUEUE_URL,
            FANFOLD_EVENT_BUS,
            FANFOLD_FOLDS_QUEUE_URL,
            FANFOLD_S3_WHOLE_CHECKSUM,
        ],
    ),
    (
        Function::Sweeper,
        &[
            FANFOLD_LEDGER_TABLE,
            FANFOLD_LEDGER_TABLE_ARN,
            FANFOLD_WORK_BUCKET,
            FANFOLD_EVENT_BUS,
            FANFOLD_INTAKE_QUEUE_URL,
            FANFOLD_LAUNCHES_QUEUE_URL,
            FANFOLD_COMPLETIONS_QUEUE_URL,
            FANFOLD_FOLDS_QUEUE_URL,
            FANFOLD_COMPLETIONS_DEAD_QUEUE_ARN,
            FANFOLD_FOLDS_DEAD_QUEUE_ARN,
            FANFOLD_EVENTS_DEAD_QUEUE_ARN,
            FANFOLD_MAP_STATE_MACHINE_ARN,
            FANFOLD_S3_WHOLE_CHECKSUM,
        ],
    ),
];

/// The variables of a function; see [`READS`].
pub fn reads(function: Function) -> &'static [&'static str] {
    READS.iter().find(|(of, _)| *of == function).map_or(&[], |(_, variables)| variables)
}

/// All variables of this process that are UTF-8: what a command of the worker may inherit from.
pub fn environment() -> BTreeMap<String, String> {
    let all = std::env::vars_os();
    all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// A variable of this process.
#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
pub(crate) fn from_environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// The value of [`RUST_LOG`].
pub(crate) fn log_filter() -> Option<String> {
    from_environment(RUST_LOG).filter(|filter| !filter.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_its_variables_once() {
        use Function::{Launcher, Merger, Pod, Splitter, Sweeper, Tracker, Worker};
        for function in [Splitter, Worker, Pod, Launcher, Tracker, Merger, Sweeper] {
            let mut variables = reads(function).to_vec();
            assert!(variables.contains(&FANFOLD_LEDGER_TABLE), "{function}");
            variables.sort_unstable();
            assert!(variables.windows(2).all(|pair| pair[0] != pair[1]), "{function}");
            assert_eq!(READS.iter().filter(|(of, _)| *of == function).count(), 1);
        }
    }
}

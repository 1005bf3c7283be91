//! Calls as plans of faults name them.

use std::time::Duration;

/// A service that calls are made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Objects.
    S3,
    /// Queues.
    Sqs,
    /// The ledger, the fleet, rates and users' tables.
    DynamoDb,
    /// The bus of events.
    EventBridge,
}

impl Service {
    /// The service that an operation is one of, if it is one of these.
    pub(super) fn of(operation: &str) -> Option<Self> {
        Some(match operation {
            "head" | "read" | "put" | "create_upload" | "upload_part" | "copy_part" | "complete_upload"
            | "abort_upload" | "list" | "delete" => Self::S3,
            "send" => Self::Sqs,
            "put_events" => Self::EventBridge,
            "run" | "root" | "group" | "owner" | "mark" | "hand" | "failures" | "pipelines" | "put rows"
            | "reserve" | "pace" | "launch" | "launches" | "clusters" | "outages" => Self::DynamoDb,
            _ if operation.contains("_run") || operation.contains("_output") => Self::DynamoDb,
            "mark_folded" | "note_failure" | "note_outage" | "put_pipeline" | "put_cluster"
            | "save_launch" => Self::DynamoDb,
            _ => return None,
        })
    }
}

/// A call as it was made, where a plan was told to note them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The call's number, from 0, over all invocations.
    pub number: u64,
    /// The invocation that made it.
    pub invocation: String,
    /// The port's operation.
    pub operation: &'static str,
    /// Whether it has an effect.
    pub is_write: bool,
    /// When it was made, from the making of the plan on.
    pub at: Duration,
}

/// What released an invocation that was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// Others had as many effects as were waited for.
    ByEffects,
    /// Nothing else happened any more.
    ByTime,
}

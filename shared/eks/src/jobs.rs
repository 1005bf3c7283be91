//! From Kubernetes' Jobs to the port's.

use fanfold_domain::Timestamp;
use fanfold_ports::clusters::{ClusterFault, KubeJobEnd, KubeJobState};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::failure::Failure;
use crate::indexes;

/// A Job as the port has it.
pub(crate) fn state(job: Job) -> Result<KubeJobState, Failure> {
    let Job { metadata, status, .. } = job;
    let name = metadata.name.unwrap_or_default();
    let status = status.unwrap_or_default();
    let parsed = |text: Option<&String>| {
        indexes::parse(text.map_or("", String::as_str)).map_err(|error| {
            let detail = format!("the Job {name}: {error}");
            Failure::InTheWay { fault: ClusterFault::Invalid, detail }
        })
    };
    let failed_indexes = parsed(status.failed_indexes.as_ref())?;
    let completed_indexes = parsed(status.completed_indexes.as_ref())?;
    Ok(KubeJobState {
        name,
        labels: metadata.labels.unwrap_or_default(),
        annotations: metadata.annotations.unwrap_or_default(),
        created_at: timestamp(metadata.creation_timestamp),
        active: count(status.active),
        ready: count(status.ready),
        failed_indexes,
        completed_indexes,
        end: end(&status),
        is_going: metadata.deletion_timestamp.is_some(),
    })
}

/// How a Job ended. `SuccessCriteriaMet` and `FailureTarget` are no ends: they come first, while pods still run.
fn end(status: &JobStatus) -> Option<KubeJobEnd> {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    conditions.iter().filter(|condition| condition.status == "True").find_map(|condition| {
        match condition.type_.as_str() {
            "Complete" => Some(KubeJobEnd::Complete),
            "Failed" => Some(failed(condition)),
            _ => None,
        }
    })
}

fn failed(condition: &JobCondition) -> KubeJobEnd {
    KubeJobEnd::Failed {
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
    }
}

fn count(pods: Option<i32>) -> u32 {
    pods.and_then(|pods| u32::try_from(pods).ok()).unwrap_or_default()
}

/// A time of Kubernetes; 0 if there is none, which no object that it has stored lacks.
pub(crate) fn timestamp(time: Option<Time>) -> Timestamp {
    let ms = time.map_or(0, |time| time.0.as_millisecond());
    Timestamp(u64::try_from(ms).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A Job of the name `j`, as the API server writes it.
    fn job(status: Value) -> Job {
        let metadata = json!({
            "name": "j",
            "namespace": "fanfold",
            "uid": "5f0f4f8e-53b1-4a4e-9b6a-0d8c5b0f9a11",
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": { "app.kubernetes.io/managed-by": "fanfold", "fanfold/launch": "3" },
        });
        let job = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "status": status });
        serde_json::from_value(job).unwrap()
    }

    fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
        let at = "2026-01-02T03:05:00Z";
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastProbeTime": at, "lastTransitionTime": at,
        })
    }

    #[test]
    fn a_job_that_was_just_created_has_nothing_yet() {
        let state = state(job(json!({}))).unwrap();
        assert_eq!(state.created_at, Timestamp(1_767_323_045_000));
        assert_eq!(state.labels["fanfold/launch"], "3");
        assert_eq!((state.name.as_str(), state.active, state.ready), ("j", 0, 0));
        assert_eq!((state.end, state.is_going), (None, false));
    }

    #[test]
    fn a_running_jobs_indexes_are_counted() {
        let status = json!({
            "active": 3, "ready": 2, "succeeded": 4, "failed": 2, "terminating": 0,
            "completedIndexes": "0,2-4", "failedIndexes": "1,7", "startTime": "2026-01-02T03:04:05Z",
            "uncountedTerminatedPods": {},
        });
        let state = state(job(status)).unwrap();
        assert_eq!((state.active, state.ready, state.end), (3, 2, None));
        assert_eq!((state.completed_indexes, state.failed_indexes), (vec![0, 2, 3, 4], vec![1, 7]));
    }

    #[test]
    fn a_complete_job_has_ended() {
        let reached = "Reached expected number of succeeded pods";
        let first = condition("SuccessCriteriaMet", "True", "CompletionsReached", reached);
        let last = condition("Complete", "True", "CompletionsReached", reached);
        let early = state(job(json!({ "conditions": [first.clone()] }))).unwrap();
        assert_eq!(early.end, None);
        let late = state(job(json!({ "conditions": [first, last], "completedIndexes": "0-9" }))).unwrap();
        assert_eq!((late.end, late.completed_indexes.len()), (Some(KubeJobEnd::Complete), 10));
    }

    #[test]
    fn a_failed_job_says_why() {
        let (reason, message) = ("DeadlineExceeded", "Job was active longer than specified deadline");
        let first = condition("FailureTarget", "True", reason, message);
        let last = condition("Failed", "True", reason, message);
        let early = state(job(json!({ "conditions": [first.clone()] }))).unwrap();
        assert_eq!(early.end, None);
        let late = state(job(json!({ "conditions": [first, last] }))).unwrap();
        let failed = KubeJobEnd::Failed { reason: reason.to_owned(), message: message.to_owned() };
        assert_eq!(late.end, Some(failed));
    }

    #[test]
    fn a_condition_that_does_not_hold_is_none() {
        let conditions = json!([
            condition("Suspended", "True", "JobSuspended", "Job suspended"),
            condition("Failed", "False", "", ""),
        ]);
        assert_eq!(state(job(json!({ "conditions": conditions }))).unwrap().end, None);
    }

    #[test]
    fn a_job_that_is_being_deleted_is_going() {
        let mut job = job(json!({}));
        job.metadata.deletion_timestamp = job.metadata.creation_timestamp.clone();
        assert!(state(job).unwrap().is_going);
    }

    #[test]
    fn indexes_that_cannot_be_read_name_their_job() {
        let failure = state(job(json!({ "failedIndexes": "0-2147483647" }))).unwrap_err();
        assert_eq!(failure.fault(), ClusterFault::Invalid);
        assert!(failure.to_string().contains("the Job j"), "{failure}");
    }
}

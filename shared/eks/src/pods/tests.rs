//! Pods as the API server writes them, in every way in which they come to grief.

use fanfold_domain::Timestamp;
use serde_json::{Value, json};

use super::*;

/// The pod of index 7 of a Job, as the port has it.
fn read(status: Value) -> KubePod {
    let index = json!({ INDEX: "7" });
    let metadata = json!({
        "name": "j-7-x2k9c",
        "namespace": "fanfold",
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "annotations": index,
        "labels": { "batch.kubernetes.io/job-name": "j", INDEX: "7" },
    });
    pod(serde_json::from_value(json!({ "metadata": metadata, "status": status })).unwrap())
}

fn container(name: &str, state: Value) -> Value {
    json!({
        "name": name, "state": state, "lastState": {}, "ready": false, "restartCount": 0,
        "image": "fanfold.local/worker:1", "imageID": "",
    })
}

fn ended(reason: &str, exit_code: i32) -> Value {
    json!({ "terminated": {
        "exitCode": exit_code, "reason": reason, "containerID": "containerd://2f",
        "startedAt": "2026-01-02T03:04:06Z", "finishedAt": "2026-01-02T03:04:09Z",
    } })
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({ "waiting": { "reason": reason, "message": message } })
}

fn trouble_ended(reason: &str, exit_code: i32) -> ContainerTrouble {
    ContainerTrouble::Ended { reason: reason.to_owned(), message: String::new(), exit_code }
}

fn trouble_waiting(reason: &str, message: &str) -> ContainerTrouble {
    ContainerTrouble::Waiting { reason: reason.to_owned(), message: message.to_owned() }
}

#[test]
fn a_pod_that_completed_has_no_trouble() {
    let pod = read(json!({
        "phase": "Succeeded",
        "conditions": [
            { "type": "PodScheduled", "status": "True" },
            { "type": "Ready", "status": "False", "reason": "PodCompleted" },
        ],
        "initContainerStatuses": [container("copy", ended("Completed", 0))],
        "containerStatuses": [container("main", ended("Completed", 0))],
    }));
    assert_eq!((pod.name.as_str(), pod.index), ("j-7-x2k9c", Some(7)));
    assert_eq!((pod.phase, pod.created_at), (PodPhase::Succeeded, Timestamp(1_767_323_045_000)));
    assert_eq!((pod.reason, pod.troubles), (None, Vec::new()));
}

#[test]
fn a_pod_that_starts_has_no_trouble_yet() {
    let pod = read(json!({
        "phase": "Pending",
        "conditions": [{ "type": "PodScheduled", "status": "True" }],
        "initContainerStatuses": [container("copy", json!({ "running": {} }))],
        "containerStatuses": [container("main", json!({ "waiting": { "reason": "PodInitializing" } }))],
    }));
    assert_eq!((pod.phase, pod.reason, pod.troubles), (PodPhase::Pending, None, Vec::new()));
    let creating = json!({ "waiting": { "reason": "ContainerCreating" } });
    let pod = read(json!({ "phase": "Pending", "containerStatuses": [container("main", creating)] }));
    assert_eq!(pod.troubles, []);
}

#[test]
fn a_container_that_took_too_much_memory_was_killed() {
    let pod = read(json!({
        "phase": "Failed",
        "containerStatuses": [container("main", ended("OOMKilled", 137))],
    }));
    assert_eq!(pod.phase, PodPhase::Failed);
    assert_eq!(pod.troubles, [("main".to_owned(), trouble_ended("OOMKilled", 137))]);
}

#[test]
fn an_image_that_cannot_be_pulled_keeps_a_container_waiting() {
    let message = "Back-off pulling image \"registry.example/nothing:1\": not found";
    let pod = read(json!({
        "phase": "Pending",
        "initContainerStatuses": [container("copy", waiting("ImagePullBackOff", message))],
        "containerStatuses": [container("main", json!({ "waiting": { "reason": "PodInitializing" } }))],
    }));
    assert_eq!(pod.troubles, [("copy".to_owned(), trouble_waiting("ImagePullBackOff", message))]);
    assert_eq!(pod.reason, None);
}

#[test]
fn a_container_that_is_started_again_ended_before() {
    let message = "back-off 10s restarting failed container";
    let mut again = container("main", waiting("CrashLoopBackOff", message));
    again["lastState"] = ended("Error", 3);
    let pod = read(json!({ "phase": "Running", "containerStatuses": [again] }));
    let troubles = [trouble_waiting("CrashLoopBackOff", message), trouble_ended("Error", 3)];
    assert_eq!(pod.troubles, troubles.map(|trouble| ("main".to_owned(), trouble)));
}

#[test]
fn a_pod_that_fits_on_no_node_says_so() {
    let message = "0/1 nodes are available: 1 Insufficient memory.";
    let pod = read(json!({
        "phase": "Pending",
        "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
        }],
    }));
    assert_eq!(pod.reason.as_deref(), Some(format!("Unschedulable: {message}").as_str()));
    assert_eq!((pod.phase, pod.troubles), (PodPhase::Pending, Vec::new()));
}

#[test]
fn an_evicted_pod_says_what_its_node_lacked() {
    let message = "The node was low on resource: ephemeral-storage.";
    let pod = read(json!({
        "phase": "Failed", "reason": "Evicted", "message": message,
        "conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": message,
        }],
    }));
    assert_eq!(pod.reason.as_deref(), Some(format!("Evicted: {message}").as_str()));
}

#[test]
fn a_pod_that_was_taken_from_its_node_says_by_whom() {
    let message = "Taint manager: deleting due to NoExecute taint";
    let pod = read(json!({
        "phase": "Failed",
        "conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
            "message": message,
        }],
        "containerStatuses": [container("main", ended("Error", 143))],
    }));
    assert_eq!(pod.reason.as_deref(), Some(format!("DeletionByTaintManager: {message}").as_str()));
    assert_eq!(pod.troubles, [("main".to_owned(), trouble_ended("Error", 143))]);
}

#[test]
fn a_pod_beyond_its_own_deadline_says_so() {
    let message = "Pod was active on the node longer than the specified deadline";
    let pod = read(json!({ "phase": "Failed", "reason": "DeadlineExceeded", "message": message }));
    assert_eq!(pod.reason.as_deref(), Some(format!("DeadlineExceeded: {message}").as_str()));
}

#[test]
fn an_index_may_be_in_the_label_alone_or_missing() {
    let of = |metadata| pod(serde_json::from_value(json!({ "metadata": metadata })).unwrap()).index;
    assert_eq!(of(json!({ "labels": { INDEX: "12" } })), Some(12));
    assert_eq!(of(json!({})), None);
    assert_eq!(read(json!({ "phase": "Unknown" })).phase, PodPhase::Unknown);
}

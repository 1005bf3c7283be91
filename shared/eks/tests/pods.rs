//! What real Kubernetes says of Jobs and pods that fare well or ill; set up as `contract.rs` says.

mod real;

use std::time::Duration;

use fanfold_domain::{StackId, cluster::Cluster};
use fanfold_eks::EksClusters;
use fanfold_ports::Clusters;
use fanfold_ports::clusters::{
    ClusterFault, ContainerTrouble, JobCreated, KubeJob, KubeJobEnd, KubeJobState, KubePod, MANAGED_BY,
    PodPhase, STACK,
};
use serde_json::{Value, json};

/// A Job on a real cluster, for one test.
struct Running {
    clusters: EksClusters,
    cluster: Cluster,
    job: String,
}

impl Running {
    /// A Job of two indexes, each tried once, with one container; its and the Job's specifications go over these.
    async fn start(container: Value, spec: Value) -> Self {
        let [cluster, _] = real::clusters();
        let clusters = EksClusters::connect().await;
        let job = real::unique();
        let mut manifest = json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": { "name": job, "labels": { MANAGED_BY.0: MANAGED_BY.1, STACK: stack() } },
            "spec": {
                "completionMode": "Indexed", "completions": 2, "parallelism": 2, "backoffLimitPerIndex": 0,
                "ttlSecondsAfterFinished": 600,
                "template": { "spec": {
                    "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
                    "containers": [{ "name": "main", "image": real::PAUSE }],
                } },
            },
        });
        merge(&mut manifest["spec"], spec);
        merge(&mut manifest["spec"]["template"]["spec"]["containers"][0], container);
        let created = clusters.create_job(&cluster, &KubeJob { name: job.clone(), manifest }).await;
        assert_eq!(created.expect("the Job was created"), JobCreated::Now);
        Self { clusters, cluster, job }
    }

    /// Looks until the Job is such, for a minute at most.
    async fn job(&self, is_such: impl Fn(&KubeJobState) -> bool) -> KubeJobState {
        for _ in 0..300 {
            let jobs = self.clusters.jobs(&self.cluster, &stack()).await.expect("the list was answered");
            let job = jobs.into_iter().find(|job| job.name == self.job).expect("the Job is there");
            if is_such(&job) {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("the Job never was such: {:?}", self.clusters.pods(&self.cluster, &self.job).await);
    }

    /// Looks until both pods are such, for a minute at most.
    async fn pods(&self, is_such: impl Fn(&KubePod) -> bool) -> [KubePod; 2] {
        for _ in 0..300 {
            let pods = self.clusters.pods(&self.cluster, &self.job).await.expect("the list was answered");
            match <[KubePod; 2]>::try_from(pods) {
                Ok(pods) if pods.iter().all(&is_such) => return pods,
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
        panic!("the pods never were such: {:?}", self.clusters.pods(&self.cluster, &self.job).await);
    }

    async fn end(self) {
        self.clusters.delete_job(&self.cluster, &self.job).await.expect("the Job was deleted");
    }
}

/// The stack of all these Jobs.
fn stack() -> StackId {
    StackId::of_ledger("pods")
}

/// Puts the fields of `over` over those of `value`.
fn merge(value: &mut Value, over: Value) {
    match (value, over) {
        (Value::Object(fields), Value::Object(over)) => {
            for (name, over) in over {
                merge(fields.entry(name).or_insert(Value::Null), over);
            }
        }
        (value, over) => *value = over,
    }
}

fn indexes(pods: &[KubePod]) -> Vec<Option<u32>> {
    let mut indexes: Vec<_> = pods.iter().map(|pod| pod.index).collect();
    indexes.sort_unstable();
    indexes
}

#[tokio::test]
async fn pods_that_run_have_no_trouble() {
    let running = Running::start(json!({}), json!({})).await;
    let pods = running.pods(|pod| pod.phase == PodPhase::Running).await;
    assert_eq!(indexes(&pods), [Some(0), Some(1)]);
    assert!(pods.iter().all(|pod| pod.reason.is_none() && pod.troubles.is_empty()), "{pods:?}");
    let job = running.job(|job| job.ready == 2).await;
    assert_eq!((job.active, job.end), (2, None));
    running.end().await;
}

#[tokio::test]
async fn a_program_that_is_not_in_its_image_fails_every_index() {
    let running = Running::start(json!({ "command": ["/nothing"] }), json!({})).await;
    let job = running.job(|job| job.end.is_some()).await;
    assert_eq!((job.failed_indexes, job.completed_indexes), (vec![0, 1], Vec::new()));
    let end = job.end.expect("it was looked for");
    assert!(matches!(&end, KubeJobEnd::Failed { reason, .. } if reason == "FailedIndexes"), "{end:?}");
    for pod in running.pods(|pod| pod.phase == PodPhase::Failed).await {
        let [(container, ContainerTrouble::Ended { reason, message, exit_code })] = &pod.troubles[..] else {
            panic!("another trouble: {pod:?}");
        };
        assert_eq!((container.as_str(), reason.as_str(), *exit_code), ("main", "StartError", 128));
        assert!(message.contains("/nothing"), "{message}");
        let log = running.clusters.log_tail(&running.cluster, &pod.name, "main", 5).await;
        assert_eq!(log.expect("the log was answered"), "");
    }
    running.end().await;
}

#[tokio::test]
async fn an_image_that_is_nowhere_keeps_pods_waiting() {
    let running = Running::start(json!({ "image": "127.0.0.1:1/nothing:1" }), json!({})).await;
    let is_waiting = |pod: &KubePod| {
        matches!(&pod.troubles[..], [(_, ContainerTrouble::Waiting { reason, .. })]
            if reason == "ErrImagePull" || reason == "ImagePullBackOff")
    };
    let pods = running.pods(is_waiting).await;
    assert!(pods.iter().all(|pod| pod.phase == PodPhase::Pending), "{pods:?}");
    let log = running.clusters.log_tail(&running.cluster, &pods[0].name, "main", 5).await;
    assert_eq!(log.expect("the log was answered"), "");
    let job = running.job(|job| job.active == 2).await;
    assert_eq!((job.ready, job.end), (0, None));
    running.end().await;
}

#[tokio::test]
async fn pods_that_fit_on_no_node_say_so() {
    let resources = json!({ "resources": { "requests": { "memory": "900Ti" } } });
    let running = Running::start(resources, json!({})).await;
    let pods = running.pods(|pod| pod.reason.is_some()).await;
    let reason = pods[0].reason.as_deref().expect("it was looked for");
    assert!(reason.starts_with("Unschedulable: 0/1 nodes are available"), "{reason}");
    assert_eq!(pods[0].phase, PodPhase::Pending);
    running.end().await;
}

#[tokio::test]
async fn a_job_that_took_too_long_says_so() {
    let running = Running::start(json!({}), json!({ "activeDeadlineSeconds": 1 })).await;
    let end = running.job(|job| job.end.is_some()).await.end.expect("it was looked for");
    assert!(matches!(&end, KubeJobEnd::Failed { reason, .. } if reason == "DeadlineExceeded"), "{end:?}");
    running.end().await;
}

/// Its role lets the launcher do nothing there, and nowhere is no such namespace.
#[tokio::test]
async fn a_namespace_that_is_not_ours_refuses() {
    let [cluster, _] = real::clusters();
    let clusters = EksClusters::connect().await;
    for namespace in ["forbidden", "nowhere"] {
        let cluster = Cluster { namespace: namespace.to_owned(), ..cluster.clone() };
        let error = clusters.jobs(&cluster, &stack()).await.expect_err("it may not be listed");
        assert_eq!(error.fault, ClusterFault::Refused);
        assert!(error.detail.contains("cannot list resource \"jobs\""), "{error}");
    }
}

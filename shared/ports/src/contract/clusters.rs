//! What all clusters keep to.

use std::sync::Arc;

use fanfold_domain::{StackId, cluster::Cluster};
use futures::future::join_all;
use serde_json::{Value as Json, json};

use super::eventually;
use crate::{
    Clusters,
    clusters::{ClusterError, ClusterFault, JobCreated, KubeJob, KubeJobState, MANAGED_BY, STACK},
};

/// A label by which Jobs of one name are told apart.
const VERSION: &str = "fanfold.test/version";

/// An annotation of theirs.
const NOTE: &str = "fanfold.test/note";

/// Clusters under test.
#[derive(Clone)]
pub struct ClustersUnderTest {
    /// The port. Others may use the same clusters.
    pub clusters: Arc<dyn Clusters>,
    /// A cluster.
    pub here: Cluster,
    /// Another one.
    pub there: Cluster,
    /// From this all names of the test's Jobs are derived, and of no other test's: a DNS label of at most 40
    /// characters.
    pub unique: String,
}

impl ClustersUnderTest {
    /// The stack of the test's Jobs, which no other test has.
    fn stack(&self) -> StackId {
        StackId::of_ledger(&self.unique)
    }

    /// A Job that runs nothing: it is suspended.
    fn job(&self, name: &str, version: &str) -> KubeJob {
        let name = format!("{}-{name}", self.unique);
        let manifest = json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": name,
                "labels": { MANAGED_BY.0: MANAGED_BY.1, STACK: self.stack(), VERSION: version },
                "annotations": { NOTE: "0-62,70" },
            },
            "spec": { "suspend": true, "template": { "spec": {
                "restartPolicy": "Never",
                "containers": [{ "name": "c", "image": self.here.worker_image }],
            } } },
        });
        KubeJob { name, manifest }
    }

    async fn create(&self, job: &KubeJob) -> Result<JobCreated, ClusterError> {
        self.clusters.create_job(&self.here, job).await
    }

    async fn must_create(&self, job: &KubeJob) {
        assert_eq!(self.create(job).await.expect("the Job was created"), JobCreated::Now);
    }

    async fn delete(&self, job: &KubeJob) {
        self.clusters.delete_job(&self.here, &job.name).await.expect("the Job was deleted");
    }

    /// A Job in the list of a cluster.
    async fn listed(&self, cluster: &Cluster, job: &KubeJob) -> Option<KubeJobState> {
        let jobs = self.clusters.jobs(cluster, &self.stack()).await.expect("the list was answered");
        jobs.into_iter().find(|listed| listed.name == job.name)
    }
}

fn without(mut job: KubeJob, pointer: &str, key: &str) -> KubeJob {
    let within = job.manifest.pointer_mut(pointer).and_then(Json::as_object_mut);
    within.and_then(|within| within.remove(key)).expect("the sample has it");
    job
}

/// A creation whose answer was lost is made again.
pub async fn the_same_job_again_was_there_before(t: &ClustersUnderTest) {
    let job = t.job("again", "1");
    t.must_create(&job).await;
    for _ in 0..2 {
        assert_eq!(t.create(&job).await.expect("it is a success"), JobCreated::Before);
    }
    t.delete(&job).await;
}

/// A message that was delivered twice, to two functions.
pub async fn of_creations_at_once_one_is_new(t: &ClustersUnderTest) {
    let job = t.job("race", "1");
    let created = join_all((0..5).map(|_| t.create(&job))).await;
    let is_new = |created: &Result<JobCreated, ClusterError>| matches!(created, Ok(JobCreated::Now));
    assert!(created.iter().all(Result::is_ok), "{created:?}");
    assert_eq!(created.iter().filter(|created| is_new(created)).count(), 1);
    t.delete(&job).await;
}

/// What is there stays as it is.
pub async fn another_job_of_that_name_is_invalid(t: &ClustersUnderTest) {
    let job = t.job("other", "1");
    t.must_create(&job).await;
    let error = t.create(&t.job("other", "2")).await.expect_err("it is another one");
    assert_eq!(error.fault, ClusterFault::Invalid, "{error}");
    assert!(error.detail.contains(&job.name), "{error}");
    let listed = t.listed(&t.here, &job).await.expect("it is there");
    assert_eq!(listed.labels.get(VERSION).map(String::as_str), Some("1"));
    t.delete(&job).await;
}

/// Whoever repeats it.
pub async fn a_job_without_containers_is_invalid(t: &ClustersUnderTest) {
    let job = without(t.job("empty", "1"), "/spec/template/spec", "containers");
    let error = t.create(&job).await.expect_err("there is nothing to run");
    assert_eq!(error.fault, ClusterFault::Invalid, "{error}");
    assert_eq!(t.listed(&t.here, &job).await, None);
}

/// Labels and annotations, and nothing of an end.
pub async fn a_job_is_listed_as_it_was_created(t: &ClustersUnderTest) {
    let job = t.job("listed", "1");
    t.must_create(&job).await;
    let listed = t.listed(&t.here, &job).await.expect("it is there");
    let stack = t.stack();
    let labels = [MANAGED_BY, (STACK, stack.as_str()), (VERSION, "1")];
    assert_eq!(listed.labels, labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!(listed.annotations.get(NOTE).map(String::as_str), Some("0-62,70"));
    assert!(listed.created_at.0 > 1_500_000_000_000, "{:?} is no time of today in ms", listed.created_at);
    assert_eq!((listed.active, listed.ready), (0, 0));
    assert_eq!((listed.failed_indexes, listed.completed_indexes), (Vec::new(), Vec::new()));
    assert_eq!((listed.end, listed.is_going), (None, false));
    assert_eq!(t.clusters.pods(&t.here, &job.name).await.expect("the list was answered"), []);
    t.delete(&job).await;
}

/// Nor one of another stack, nor of a version that labelled no stack: what is listed may be deleted.
pub async fn a_job_that_is_not_the_stacks_is_not_listed(t: &ClustersUnderTest) {
    let labels = "/metadata/labels";
    let strange = without(t.job("strange", "1"), labels, MANAGED_BY.0);
    let unlabelled = without(t.job("older", "1"), labels, STACK);
    let mut other = t.job("other-stack", "1");
    other.manifest["metadata"]["labels"][STACK] = json!(StackId::of_ledger("another"));
    for job in [strange, unlabelled, other] {
        t.must_create(&job).await;
        assert_eq!(t.listed(&t.here, &job).await, None);
        t.delete(&job).await;
    }
}

/// Whatever its labels, and only on its own cluster.
pub async fn a_job_is_found_by_its_name(t: &ClustersUnderTest) {
    let job = without(t.job("named", "1"), "/metadata/labels", STACK);
    let found = async |cluster| t.clusters.job(cluster, &job.name).await.expect("it was answered");
    assert_eq!(found(&t.here).await, None);
    t.must_create(&job).await;
    let state = found(&t.here).await.expect("it is there");
    assert_eq!((state.name.as_str(), state.annotations[NOTE].as_str()), (job.name.as_str(), "0-62,70"));
    assert_eq!(found(&t.there).await, None);
    t.delete(&job).await;
}

/// Each cluster has its own.
pub async fn a_job_is_on_the_cluster_that_it_was_given_to(t: &ClustersUnderTest) {
    let job = t.job("here", "1");
    t.must_create(&job).await;
    assert_eq!(t.listed(&t.there, &job).await, None);
    t.clusters.delete_job(&t.there, &job.name).await.expect("it is not there");
    assert!(t.listed(&t.here, &job).await.is_some());
    t.delete(&job).await;
}

/// At once or a little later; and what is not there is deleted.
pub async fn a_deleted_job_is_gone_and_may_be_deleted_again(t: &ClustersUnderTest) {
    let job = t.job("gone", "1");
    t.delete(&job).await;
    t.must_create(&job).await;
    t.delete(&job).await;
    eventually("the Job was gone", async || t.listed(&t.here, &job).await.is_none()).await;
    t.delete(&job).await;
}

/// Its name is free as soon as it is gone; until then the cluster cannot answer.
pub async fn a_job_may_be_created_again_after_its_deletion(t: &ClustersUnderTest) {
    t.must_create(&t.job("anew", "1")).await;
    let anew = t.job("anew", "2");
    t.delete(&anew).await;
    eventually("the Job was created again", async || match t.create(&anew).await {
        Ok(created) => created == JobCreated::Now,
        Err(error) => {
            assert_eq!(error.fault, ClusterFault::Unreachable, "{error}");
            false
        }
    })
    .await;
    t.delete(&anew).await;
}

/// Nor has it a log: neither is an error.
pub async fn what_is_not_there_has_no_pods_and_no_log(t: &ClustersUnderTest) {
    let job = t.job("nowhere", "1");
    assert_eq!(t.clusters.pods(&t.here, &job.name).await.expect("the list was answered"), []);
    let log = t.clusters.log_tail(&t.here, &format!("{}-0-abcde", job.name), "c", 10).await;
    assert_eq!(log.expect("the log was answered"), "");
}

/// Nothing was done, and nothing will be.
pub async fn an_unknown_cluster_refuses_everything(t: &ClustersUnderTest) {
    let nowhere = Cluster { name: "nowhere".to_owned(), eks: "nowhere".to_owned(), ..t.here.clone() };
    let job = t.job("unknown", "1");
    let clusters = &t.clusters;
    let refusals = [
        clusters.create_job(&nowhere, &job).await.map(drop),
        clusters.delete_job(&nowhere, &job.name).await,
        clusters.jobs(&nowhere, &t.stack()).await.map(drop),
        clusters.job(&nowhere, &job.name).await.map(drop),
        clusters.pods(&nowhere, &job.name).await.map(drop),
        clusters.log_tail(&nowhere, &job.name, "c", 1).await.map(drop),
    ];
    for refusal in refusals {
        let error = refusal.expect_err("there is no such cluster");
        assert_eq!((error.fault, error.cluster.as_str()), (ClusterFault::Refused, "nowhere"), "{error}");
    }
}

/// Tests clusters: the argument names an `async fn() -> ClustersUnderTest`.
#[macro_export]
macro_rules! clusters_contract {
    ($instance:path) => {
        $crate::contract_tests!(
            clusters,
            $instance,
            [
                the_same_job_again_was_there_before,
                of_creations_at_once_one_is_new,
                another_job_of_that_name_is_invalid,
                a_job_without_containers_is_invalid,
                a_job_is_listed_as_it_was_created,
                a_job_that_is_not_the_stacks_is_not_listed,
                a_job_is_found_by_its_name,
                a_job_is_on_the_cluster_that_it_was_given_to,
                a_deleted_job_is_gone_and_may_be_deleted_again,
                a_job_may_be_created_again_after_its_deletion,
                what_is_not_there_has_no_pods_and_no_log,
                an_unknown_cluster_refuses_everything,
            ]
        );
    };
}

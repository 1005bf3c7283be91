//! Clusters in memory: they keep Jobs, and leave it to whoever drives the test what becomes of them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use fanfold_domain::{StackId, Timestamp, cluster::Cluster};
use serde_json::Value as Json;

use super::MemoryClock;
use crate::{
    Clock,
    clusters::{
        ClusterError, ClusterFault, Clusters, JobCreated, KubeJob, KubeJobState, KubePod, MANAGED_BY, STACK,
    },
};

/// The most of a log that is handed back, in bytes.
const MAX_LOG_BYTES: usize = 8 << 10;

type Texts = BTreeMap<String, String>;

/// A Job as a driver sees it, and changes it as a cluster would.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryJob {
    /// What it was created from.
    pub manifest: Json,
    /// What the port says of it.
    pub state: KubeJobState,
    /// Its pods that are still there, oldest first.
    pub pods: Vec<KubePod>,
    /// What containers wrote, by the names of pod and container.
    pub logs: BTreeMap<(String, String), String>,
}

/// Clusters by their names in Fanfold, each with one namespace of Jobs.
///
/// Nothing runs by itself: a Job stays as it was created until a driver changes it. A cluster that nobody added
/// refuses everything.
#[derive(Debug)]
pub struct MemoryClusters {
    clock: MemoryClock,
    clusters: Mutex<BTreeMap<String, State>>,
}

#[derive(Debug, Default)]
struct State {
    jobs: BTreeMap<String, MemoryJob>,
    /// How it fails, and until when.
    outage: Option<(ClusterFault, Timestamp)>,
}

impl State {
    /// Fails if the cluster does so now in one of these ways.
    fn check(&self, now: Timestamp, faults: [ClusterFault; 2]) -> Result<(), (ClusterFault, String)> {
        match self.outage {
            Some((fault, until)) if now < until && faults.contains(&fault) => {
                Err((fault, format!("{fault:?}: a test wants it so")))
            }
            _ => Ok(()),
        }
    }
}

impl MemoryClusters {
    /// No clusters.
    pub fn new(clock: MemoryClock) -> Self {
        Self { clock, clusters: Mutex::default() }
    }

    /// Adds a cluster without Jobs; one that is there stays as it is.
    pub fn add(&self, cluster: &str) {
        self.clusters().entry(cluster.to_owned()).or_default();
    }

    /// Takes a cluster away with all its Jobs.
    pub fn remove(&self, cluster: &str) {
        self.clusters().remove(cluster);
    }

    /// From now on, for `ms` milliseconds, a cluster fails so: all calls of one that is unreachable or refuses, and of
    /// one that is full or finds all invalid the creations of Jobs that are not there. None has an effect, and the
    /// Jobs live on.
    pub fn fail(&self, cluster: &str, fault: ClusterFault, ms: u64) {
        let until = self.clock.now().plus_ms(ms);
        if let Some(state) = self.clusters().get_mut(cluster) {
            state.outage = Some((fault, until));
        }
    }

    /// From now on a cluster answers again.
    pub fn recover(&self, cluster: &str) {
        if let Some(state) = self.clusters().get_mut(cluster) {
            state.outage = None;
        }
    }

    /// All Jobs of a cluster by name, also those that are not ours.
    pub fn all_jobs(&self, cluster: &str) -> Vec<MemoryJob> {
        self.clusters().get(cluster).map(|state| state.jobs.values().cloned().collect()).unwrap_or_default()
    }

    /// A Job, if it is there.
    pub fn job(&self, cluster: &str, name: &str) -> Option<MemoryJob> {
        self.clusters().get(cluster)?.jobs.get(name).cloned()
    }

    /// Changes a Job; none that is not there, which the answer says.
    pub fn change<R>(
        &self,
        cluster: &str,
        name: &str,
        change: impl FnOnce(&mut MemoryJob) -> R,
    ) -> Option<R> {
        self.clusters().get_mut(cluster)?.jobs.get_mut(name).map(change)
    }

    /// Takes a Job away, as a person does or its time to live; nothing if it is not there.
    pub fn take(&self, cluster: &str, name: &str) -> Option<MemoryJob> {
        self.clusters().get_mut(cluster)?.jobs.remove(name)
    }

    fn clusters(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call of a cluster that answers.
    fn call<R>(
        &self,
        cluster: &Cluster,
        operation: &'static str,
        call: impl FnOnce(&mut State) -> Result<R, (ClusterFault, String)>,
    ) -> Result<R, ClusterError> {
        let now = self.clock.now();
        let error = |(fault, detail)| ClusterError::new(fault, &cluster.name, operation, detail);
        let mut clusters = self.clusters();
        let Some(state) = clusters.get_mut(&cluster.name) else {
            return Err(error((ClusterFault::Refused, "there is no such cluster".to_owned())));
        };
        let answer = state.check(now, [ClusterFault::Unreachable, ClusterFault::Refused]);
        answer.and_then(|()| call(state)).map_err(error)
    }
}

#[async_trait]
impl Clusters for MemoryClusters {
    async fn create_job(&self, cluster: &Cluster, job: &KubeJob) -> Result<JobCreated, ClusterError> {
        let now = self.clock.now();
        // Kubernetes writes whole seconds.
        let created_at = Timestamp(now.0 / 1_000 * 1_000);
        self.call(cluster, "create job", |state| {
            let new = new_job(job, created_at).map_err(|detail| (ClusterFault::Invalid, detail))?;
            let Some(found) = state.jobs.get(&job.name) else {
                state.check(now, [ClusterFault::Full, ClusterFault::Invalid])?;
                state.jobs.insert(job.name.clone(), new);
                return Ok(JobCreated::Now);
            };
            compare(&new.state, &found.state)
        })
    }

    async fn delete_job(&self, cluster: &Cluster, name: &str) -> Result<(), ClusterError> {
        self.call(cluster, "delete job", |state| {
            state.jobs.remove(name);
            Ok(())
        })
    }

    async fn jobs(&self, cluster: &Cluster, stack: &StackId) -> Result<Vec<KubeJobState>, ClusterError> {
        self.call(cluster, "list jobs", |state| {
            let wanted = [MANAGED_BY, (STACK, stack.as_str())];
            let has = |job: &KubeJobState, (label, value): (&str, &str)| {
                job.labels.get(label).is_some_and(|found| found == value)
            };
            let states = state.jobs.values().map(|job| &job.state);
            Ok(states.filter(|job| wanted.iter().all(|label| has(job, *label))).cloned().collect())
        })
    }

    async fn job(&self, cluster: &Cluster, name: &str) -> Result<Option<KubeJobState>, ClusterError> {
        self.call(cluster, "get job", |state| Ok(state.jobs.get(name).map(|job| job.state.clone())))
    }

    async fn pods(&self, cluster: &Cluster, job: &str) -> Result<Vec<KubePod>, ClusterError> {
        self.call(cluster, "list pods", |state| {
            Ok(state.jobs.get(job).map(|job| job.pods.clone()).unwrap_or_default())
        })
    }

    async fn log_tail(
        &self,
        cluster: &Cluster,
        pod: &str,
        container: &str,
        lines: u32,
    ) -> Result<String, ClusterError> {
        let whose = (pod.to_owned(), container.to_owned());
        self.call(cluster, "read log", |state| {
            let log = state.jobs.values().find_map(|job| job.logs.get(&whose));
            Ok(log.map(|log| tail(log, lines as usize).to_owned()).unwrap_or_default())
        })
    }
}

/// What becomes of a manifest, or why it is none: as much of Kubernetes' rules as mistakes of ours would break.
fn new_job(job: &KubeJob, created_at: Timestamp) -> Result<MemoryJob, String> {
    let KubeJob { name, manifest } = job;
    if manifest.pointer("/metadata/name").and_then(Json::as_str) != Some(name) {
        return Err(format!("the manifest of {name} has another name, or none"));
    }
    let containers = manifest.pointer("/spec/template/spec/containers").and_then(Json::as_array);
    if containers.is_none_or(Vec::is_empty) {
        return Err(format!("Job.batch {name:?} is invalid: spec.template.spec.containers: Required value"));
    }
    let state = KubeJobState {
        name: name.clone(),
        labels: texts(manifest, "labels")?,
        annotations: texts(manifest, "annotations")?,
        created_at,
        active: 0,
        ready: 0,
        failed_indexes: Vec::new(),
        completed_indexes: Vec::new(),
        end: None,
        is_going: false,
    };
    Ok(MemoryJob { manifest: manifest.clone(), state, pods: Vec::new(), logs: BTreeMap::new() })
}

/// The labels or annotations of a manifest.
fn texts(manifest: &Json, field: &str) -> Result<Texts, String> {
    let Some(texts) = manifest.pointer(&format!("/metadata/{field}")) else { return Ok(Texts::new()) };
    let text = |(name, value): (&String, &Json)| Some((name.clone(), value.as_str()?.to_owned()));
    let read = texts.as_object().and_then(|texts| texts.iter().map(text).collect());
    read.ok_or_else(|| format!("{field} that are no texts: {texts}"))
}

fn compare(wanted: &KubeJobState, found: &KubeJobState) -> Result<JobCreated, (ClusterFault, String)> {
    let name = &wanted.name;
    if found.is_going {
        return Err((ClusterFault::Unreachable, format!("a Job {name} of before is being deleted")));
    }
    if wanted.labels.iter().all(|(label, value)| found.labels.get(label) == Some(value)) {
        return Ok(JobCreated::Before);
    }
    let labels = (&found.labels, &wanted.labels);
    Err((
        ClusterFault::Invalid,
        format!("a Job {name} is there with the labels {:?}, not {:?}", labels.0, labels.1),
    ))
}

/// The last lines, at most so many, in at most [`MAX_LOG_BYTES`].
fn tail(log: &str, lines: usize) -> &str {
    let wanted: usize = log.split_inclusive('\n').rev().take(lines).map(str::len).sum();
    &log[log.ceil_char_boundary(log.len() - wanted.min(MAX_LOG_BYTES))..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cluster() -> Cluster {
        Cluster::parse("{cluster: one, region: us-east-1, worker_image: w}").unwrap()
    }

    fn job() -> KubeJob {
        let manifest = json!({
            "metadata": { "name": "j", "labels": { MANAGED_BY.0: MANAGED_BY.1, STACK: stack() } },
            "spec": { "template": { "spec": { "containers": [{ "name": "c" }] } } },
        });
        KubeJob { name: "j".to_owned(), manifest }
    }

    fn stack() -> StackId {
        StackId::of_ledger("one")
    }

    fn clusters() -> MemoryClusters {
        let clusters = MemoryClusters::new(MemoryClock::seeded(0));
        clusters.add("one");
        clusters
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_ends_and_costs_no_job() {
        let clusters = clusters();
        clusters.create_job(&cluster(), &job()).await.unwrap();
        clusters.fail("one", ClusterFault::Unreachable, 1_000);
        let fault = clusters.jobs(&cluster(), &stack()).await.unwrap_err().fault;
        assert_eq!(fault, ClusterFault::Unreachable);
        clusters.clock.sleep_ms(1_000).await;
        assert_eq!(clusters.jobs(&cluster(), &stack()).await.unwrap().len(), 1);
        clusters.delete_job(&cluster(), "j").await.unwrap();
        assert_eq!(clusters.all_jobs("one"), []);
    }

    #[tokio::test]
    async fn a_full_cluster_takes_nothing_new_and_does_all_else() {
        let clusters = clusters();
        clusters.fail("one", ClusterFault::Full, 1_000);
        let fault = clusters.create_job(&cluster(), &job()).await.unwrap_err().fault;
        assert_eq!((fault, clusters.all_jobs("one").len()), (ClusterFault::Full, 0));
        clusters.recover("one");
        clusters.create_job(&cluster(), &job()).await.unwrap();
        clusters.fail("one", ClusterFault::Full, 1_000);
        assert_eq!(clusters.create_job(&cluster(), &job()).await.unwrap(), JobCreated::Before);
        assert_eq!(clusters.jobs(&cluster(), &stack()).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_driver_decides_what_becomes_of_a_job() {
        let clusters = clusters();
        clusters.create_job(&cluster(), &job()).await.unwrap();
        let whose = ("j-0".to_owned(), "c".to_owned());
        let changed = clusters.change("one", "j", |job| {
            job.state.completed_indexes = vec![0, 2];
            job.logs.insert(whose, "a\nb\nc\n".to_owned());
        });
        assert_eq!(changed, Some(()));
        assert_eq!(clusters.jobs(&cluster(), &stack()).await.unwrap()[0].completed_indexes, [0, 2]);
        assert_eq!(clusters.log_tail(&cluster(), "j-0", "c", 2).await.unwrap(), "b\nc\n");
        assert_eq!(clusters.change("one", "other", |_| ()), None);
        assert!(clusters.take("one", "j").is_some() && clusters.job("one", "j").is_none());
    }

    #[tokio::test]
    async fn a_job_that_is_being_deleted_keeps_its_name_for_a_while() {
        let clusters = clusters();
        clusters.create_job(&cluster(), &job()).await.unwrap();
        clusters.change("one", "j", |job| job.state.is_going = true);
        let error = clusters.create_job(&cluster(), &job()).await.unwrap_err();
        assert_eq!(error.fault, ClusterFault::Unreachable, "{error}");
    }

    #[test]
    fn a_logs_end_is_kept() {
        assert_eq!(
            (tail("a\nb", 1), tail("a\nb\n", 1), tail("a\n", 9), tail("", 9)),
            ("b", "b\n", "a\n", "")
        );
        assert_eq!(tail("a\n", 0), "");
        let long = format!("é{}", "x".repeat(MAX_LOG_BYTES - 1));
        assert_eq!(tail(&long, 1).len(), MAX_LOG_BYTES - 1);
    }
}

//! Kubernetes, as far as Jobs of ours meet it: pods of an Indexed Job that start late, fail, are tried again, are
//! evicted or lost with their node, and what the Job says of them.

mod control;
mod mishaps;
mod neighbours;
mod shown;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use fanfold_domain::{ChunkSet, cluster::Cluster};
use fanfold_ports::{
    clusters::{KubeJobEnd, KubePod},
    memory::{Invocation, MemoryClusters},
};
use fanfold_worker::pod::Assignment;
use tokio::{sync::oneshot, task::JoinSet};

pub(crate) use self::neighbours::is_ours;
use self::shown::{declare, failed};
use crate::{
    chance::Chance,
    ports::{SharedRecord, lock},
    scenario::KubeScenario,
};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
/// How long a pod has to end once it is told to.
const GRACE_MS: u64 = 30 * SECOND;
/// Kubernetes' wait before an index is tried again, first and at most.
const BACKOFF_MS: (u64, u64) = (10 * SECOND, 6 * MINUTE);
/// How long a node may be silent before its pods are held to be lost.
const SILENCE_MS: u64 = 6 * MINUTE;
/// Exit codes that fail an index at once.
const PERMANENT: [u8; 2] = [65, 78];
const WORKER: &str = "worker";

/// The clusters, and whether a service has changed their Jobs since the driver looked.
#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) clusters: MemoryClusters,
    pub(crate) is_changed: AtomicBool,
}

/// A Job by its cluster and its name.
type JobKey = (String, String);

/// A Job as Kubernetes' own controller keeps it.
#[derive(Debug)]
struct KubeJob {
    /// Tells it from one of the same name that was there before.
    uid: u64,
    /// What each of its pods is told, but the chunks.
    template: Assignment,
    chunks: ChunkSet,
    per_pod: u32,
    parallelism: usize,
    backoff_limit: u32,
    max_failed: usize,
    ends_at_ms: u64,
    indexes: Vec<Index>,
    /// Its failed pods, as they are shown.
    failed_pods: Vec<KubePod>,
    end: Option<(KubeJobEnd, u64)>,
    /// When what has ended is deleted.
    kept_ms: u64,
    had_image_trouble: bool,
}

#[derive(Debug)]
struct Index {
    failures: u32,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Waiting { from_ms: u64 },
    Active { pod: u64 },
    Succeeded,
    Failed,
}

/// What keeps a pod pending, as it says.
#[derive(Debug, Clone, Copy)]
enum Kept {
    Starting,
    Unschedulable,
    ImagePull,
}

#[derive(Debug)]
enum Life {
    Pending { until_ms: u64, kept: Kept },
    Running { invocation: Invocation, stop: Option<oneshot::Sender<()>> },
}

#[derive(Debug)]
struct Pod {
    name: String,
    /// Whose it is; nobody's, if its Job is gone or thinks that it is.
    job: Option<JobKey>,
    index: u32,
    assignment: Assignment,
    created_at_ms: u64,
    life: Life,
    stop_at_ms: Option<u64>,
    kill_at_ms: Option<u64>,
    lost_at_ms: Option<u64>,
    /// Whether its end costs no try.
    is_disrupted: bool,
}

/// Pods that began just now: the driver makes an invocation of each.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) pod: u64,
    pub(crate) name: String,
    pub(crate) assignment: Assignment,
}

/// Kubernetes on all clusters.
#[derive(Debug)]
pub(crate) struct Kube {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) declared: Vec<Cluster>,
    scenario: KubeScenario,
    chance: Chance,
    record: SharedRecord,
    jobs: BTreeMap<JobKey, KubeJob>,
    pods: BTreeMap<u64, Pod>,
    /// The pods that run, and how they ended: with an exit code, or killed.
    pub(crate) running: JoinSet<(u64, Option<u8>)>,
    numbers: u64,
}

impl Kube {
    pub(crate) fn new(
        scenario: Option<KubeScenario>,
        seed: u64,
        clusters: MemoryClusters,
        record: SharedRecord,
    ) -> Self {
        let scenario = scenario.unwrap_or_default();
        let declared: Vec<Cluster> = scenario.clusters.iter().map(declare).collect();
        for cluster in &declared {
            clusters.add(&cluster.name);
        }
        Self {
            cloud: Arc::new(Cloud { clusters, is_changed: AtomicBool::new(false) }),
            declared,
            scenario,
            chance: Chance::of(seed, "kubernetes"),
            record,
            jobs: BTreeMap::new(),
            pods: BTreeMap::new(),
            running: JoinSet::new(),
            numbers: 0,
        }
    }

    /// Whether a Job has not ended, or a pod still runs.
    pub(crate) fn is_busy(&self) -> bool {
        !self.pods.is_empty() || !self.running.is_empty() || self.jobs.values().any(|job| job.end.is_none())
    }

    /// When something is due.
    pub(crate) fn due(&self) -> impl Iterator<Item = u64> + '_ {
        let of_pods = self.pods.values().flat_map(|pod| {
            let pending = match pod.life {
                Life::Pending { until_ms, .. } => Some(until_ms),
                Life::Running { .. } => None,
            };
            [pending, pod.stop_at_ms, pod.kill_at_ms, pod.lost_at_ms].into_iter().flatten()
        });
        let of_jobs = self.jobs.values().flat_map(|job| {
            let waiting = job.indexes.iter().filter_map(|index| match index.state {
                State::Waiting { from_ms } if job.end.is_none() => Some(from_ms),
                _ => None,
            });
            let gone = job.end.as_ref().map_or(job.ends_at_ms, |(_, at)| at + job.kept_ms);
            waiting.chain([gone])
        });
        of_pods.chain(of_jobs)
    }

    /// Does what is due; the pods that begin.
    pub(crate) fn step(&mut self, now: u64, is_rough: bool) -> Vec<Begun> {
        if self.cloud.is_changed.swap(false, Ordering::Relaxed) {
            self.look(now, is_rough);
        }
        let mut begun = Vec::new();
        let pods: Vec<u64> = self.pods.keys().copied().collect();
        for id in pods {
            begun.extend(self.step_pod(id, now, is_rough));
        }
        let jobs: Vec<JobKey> = self.jobs.keys().cloned().collect();
        for key in jobs {
            self.step_job(&key, now, is_rough);
        }
        begun
    }

    /// Makes a pod that began an invocation's.
    pub(crate) fn begin(
        &mut self,
        pod: u64,
        now: u64,
        invocation: Invocation,
        stop: oneshot::Sender<()>,
        hangs_for_ms: u64,
    ) {
        let Some(pod) = self.pods.get_mut(&pod) else { return };
        pod.life = Life::Running { invocation, stop: Some(stop) };
        pod.lost_at_ms = (hangs_for_ms > SILENCE_MS).then(|| now + SILENCE_MS);
        let job = pod.job.clone();
        if let Some(key) = job {
            self.publish(&key);
        }
    }

    /// What becomes of an index whose pod ended.
    pub(crate) fn settle(&mut self, pod: u64, exit_code: Option<u8>, now: u64, is_rough: bool) {
        let Some(pod) = self.pods.remove(&pod) else { return };
        self.tell(format!("pod {} ended: {exit_code:?}", pod.name));
        let Some(key) = pod.job.clone() else { return };
        let backoff_ms = self.chance.within(SECOND..10 * SECOND);
        let Some(job) = self.jobs.get_mut(&key) else { return };
        let index = &mut job.indexes[pod.index as usize];
        match exit_code {
            Some(0) => index.state = State::Succeeded,
            _ if pod.is_disrupted => index.state = State::Waiting { from_ms: now + backoff_ms },
            code => {
                index.failures += 1;
                let is_last = index.failures > job.backoff_limit;
                if is_last || code.is_some_and(|code| PERMANENT.contains(&code)) {
                    index.state = State::Failed;
                } else {
                    let (first, most) = BACKOFF_MS;
                    let wait_ms = (first << (index.failures - 1).min(10)).min(most);
                    index.state = State::Waiting { from_ms: now + wait_ms + backoff_ms };
                }
                job.failed_pods.push(failed(&pod, code));
            }
        }
        if job.indexes[pod.index as usize].state == State::Failed {
            let chunks = job.chunks.page(pod.index, job.per_pod);
            let mut record = lock(&self.record);
            record.count("indexes failed");
            record.failed_by_job(&job.template.run, chunks);
        }
        if exit_code != Some(0) {
            let log = format!("starting\nexit {exit_code:?}\n");
            self.cloud.clusters.change(&key.0, &key.1, |job| {
                job.logs.insert((pod.name.clone(), WORKER.to_owned()), log);
            });
        }
        self.end_if_due(&key, now, is_rough);
        self.publish(&key);
    }

    fn tell(&self, line: String) {
        lock(&self.record).tell(format!("             {line}"));
    }
}

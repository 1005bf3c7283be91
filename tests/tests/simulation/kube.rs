//! Kubernetes, as far as Jobs of ours meet it: pods of an Indexed Job that start late, fail, are tried again, are
//! evicted or lost with their node, and what the Job says of them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use fanfold_domain::{ChunkSet, Generation, Timestamp, cluster::Cluster};
use fanfold_ports::{
    clusters::{CHUNKS, CHUNKS_PER_POD, ClusterFault, ContainerTrouble, KubeJobEnd, KubePod, PodPhase},
    memory::{Invocation, MEMORY_EPOCH, MemoryClusters, MemoryJob},
};
use fanfold_worker::pod::Assignment;
use serde_json::Value;
use tokio::{sync::oneshot, task::JoinSet};

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

    // ---- What people and the world do ----------------------------------------------------------------

    /// Somebody deletes a Job, if there is one.
    pub(crate) fn delete_some_job(&mut self) {
        let live: Vec<JobKey> =
            self.jobs.iter().filter(|(_, job)| job.end.is_none()).map(|(key, _)| key.clone()).collect();
        if live.is_empty() {
            return;
        }
        let (cluster, name) = &live[self.chance.index(live.len())];
        self.tell(format!("somebody deletes Job {name} on {cluster}"));
        lock(&self.record).count("jobs deleted by hand");
        self.cloud.clusters.take(cluster, name);
        self.cloud.is_changed.store(true, Ordering::Relaxed);
    }

    /// A cluster does not answer for a while, or takes nothing new; its pods may be lost meanwhile.
    pub(crate) fn fail(&mut self, cluster: usize, fault: ClusterFault, ms: u64, loses_pods: bool, now: u64) {
        let Some(name) = self.declared.get(cluster).map(|cluster| cluster.name.clone()) else { return };
        self.tell(format!("cluster {name} is {fault:?} for {ms} ms, loses pods: {loses_pods}"));
        self.cloud.clusters.fail(&name, fault, ms);
        if loses_pods {
            self.lose_pods(&name, now + ms);
        }
    }

    /// A cluster is gone for good.
    pub(crate) fn remove(&mut self, cluster: usize, now: u64) {
        let Some(name) = self.declared.get(cluster).map(|cluster| cluster.name.clone()) else { return };
        self.tell(format!("cluster {name} is gone for good"));
        self.cloud.clusters.remove(&name);
        self.lose_pods(&name, now);
        self.cloud.is_changed.store(true, Ordering::Relaxed);
    }

    /// The pods of a cluster are nobody's any more: most are dead, and others go on.
    fn lose_pods(&mut self, cluster: &str, again_from_ms: u64) {
        let of_cluster = |pod: &Pod| pod.job.as_ref().is_some_and(|(of, _)| of == cluster);
        let lost: Vec<u64> = self.pods.iter().filter(|(_, pod)| of_cluster(pod)).map(|(id, _)| *id).collect();
        for id in lost {
            let goes_on = self.chance.percent(30);
            let Some(key) = self.lose_pod(id, again_from_ms) else { continue };
            if !goes_on
                && let Some(Life::Running { invocation, .. }) = self.pods.get(&id).map(|pod| &pod.life)
            {
                invocation.crash();
            }
            self.publish(&key);
        }
    }

    /// A pod's Job forgets it, and does its index again; whose it was.
    fn lose_pod(&mut self, id: u64, again_from_ms: u64) -> Option<JobKey> {
        let pod = self.pods.get_mut(&id)?;
        let key = pod.job.take()?;
        pod.lost_at_ms = None;
        let (name, index) = (pod.name.clone(), pod.index as usize);
        if matches!(pod.life, Life::Pending { .. }) {
            self.pods.remove(&id);
        }
        self.tell(format!("pod {name} is lost"));
        lock(&self.record).count("pods lost");
        let job = self.jobs.get_mut(&key)?;
        job.indexes[index].state = State::Waiting { from_ms: again_from_ms };
        Some(key)
    }

    // ---- Kubernetes' own loop ------------------------------------------------------------------------

    /// Looks which Jobs are new, and which are gone.
    fn look(&mut self, now: u64, is_rough: bool) {
        let names: Vec<String> = self.declared.iter().map(|cluster| cluster.name.clone()).collect();
        let mut there = BTreeMap::new();
        for cluster in names {
            for job in self.cloud.clusters.all_jobs(&cluster) {
                let uid = job.logs.get(&uid_key()).and_then(|uid| uid.parse::<u64>().ok());
                there.insert((cluster.clone(), job.state.name.clone()), (uid, job));
            }
        }
        let gone: Vec<JobKey> = self
            .jobs
            .iter()
            .filter(|(key, job)| there.get(*key).is_none_or(|(uid, _)| *uid != Some(job.uid)))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.tell(format!("Job {} on {} is gone", key.1, key.0));
            self.jobs.remove(&key);
            self.dismiss(&key, now, is_rough);
        }
        for (key, (_, job)) in there {
            if !self.jobs.contains_key(&key) {
                self.adopt(key, &job, now);
            }
        }
    }

    fn adopt(&mut self, key: JobKey, created: &MemoryJob, now: u64) {
        self.numbers += 1;
        let uid = self.numbers;
        let begins_at = now + self.chance.within(1..3 * SECOND);
        let job = read_job(uid, created, begins_at);
        let (cluster, name) = key.clone();
        self.cloud.clusters.change(&cluster, &name, |job| job.logs.insert(uid_key(), uid.to_string()));
        self.tell(format!("Job {name} on {cluster} has {} indexes, for {}", job.indexes.len(), job.chunks));
        self.jobs.insert(key, job);
    }

    /// Tells the pods of a Job to stop; some do not hear it.
    fn dismiss(&mut self, key: &JobKey, now: u64, is_rough: bool) {
        let mut unborn = Vec::new();
        for (id, pod) in self.pods.iter_mut().filter(|(_, pod)| pod.job.as_ref() == Some(key)) {
            pod.job = None;
            if matches!(pod.life, Life::Pending { .. }) {
                unborn.push(*id);
            } else if !(is_rough && self.chance.percent(30)) {
                pod.stop_at_ms = Some(now);
            }
        }
        for id in unborn {
            self.pods.remove(&id);
        }
    }

    fn step_pod(&mut self, id: u64, now: u64, is_rough: bool) -> Vec<Begun> {
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        let Some(pod) = self.pods.get_mut(&id) else { return Vec::new() };
        if is_due(pod.kill_at_ms) {
            pod.kill_at_ms = None;
            if let Life::Running { invocation, .. } = &pod.life {
                invocation.crash();
            }
        }
        if is_due(pod.stop_at_ms) {
            pod.stop_at_ms = None;
            pod.kill_at_ms = Some(now + GRACE_MS);
            pod.is_disrupted = true;
            if let Life::Running { stop, .. } = &mut pod.life
                && let Some(stop) = stop.take()
            {
                // One that ended just now hears nothing.
                stop.send(()).ok();
            }
            let name = pod.name.clone();
            self.tell(format!("pod {name} is told to stop"));
            return Vec::new();
        }
        if is_due(pod.lost_at_ms) {
            if let Some(key) = self.lose_pod(id, now) {
                self.publish(&key);
            }
            return Vec::new();
        }
        match pod.life {
            Life::Pending { until_ms, .. } if until_ms <= now => self.births(id, now, is_rough),
            _ => Vec::new(),
        }
    }

    /// A pod that begins, and perhaps another of the same index, whose node was thought to be lost.
    fn births(&mut self, id: u64, now: u64, is_rough: bool) -> Vec<Begun> {
        let is_double = is_rough && self.chance.percent(self.scenario.doubles_percent);
        let is_evicted = is_rough && self.chance.percent(self.scenario.evictions_percent);
        let evicted_at = now + self.chance.one_of(&[0, 20, 200, 10 * SECOND]);
        let Some(pod) = self.pods.get_mut(&id) else { return Vec::new() };
        let begun =
            |pod: u64, of: &Pod| Begun { pod, name: of.name.clone(), assignment: of.assignment.clone() };
        let mut all = vec![begun(id, pod)];
        if is_evicted {
            pod.stop_at_ms = Some(evicted_at);
            lock(&self.record).count("pods evicted");
        }
        if is_double {
            self.numbers += 1;
            let double = Pod {
                name: format!("{}-double", pod.name),
                job: None,
                index: pod.index,
                assignment: pod.assignment.clone(),
                created_at_ms: now,
                life: Life::Pending { until_ms: now, kept: Kept::Starting },
                stop_at_ms: None,
                kill_at_ms: None,
                lost_at_ms: None,
                is_disrupted: false,
            };
            all.push(begun(self.numbers, &double));
            self.pods.insert(self.numbers, double);
            lock(&self.record).count("pods doubled");
        }
        all
    }

    fn step_job(&mut self, key: &JobKey, now: u64, is_rough: bool) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        if let Some((_, ended_at)) = &job.end {
            if ended_at + job.kept_ms <= now {
                self.cloud.clusters.take(&key.0, &key.1);
                self.jobs.remove(key);
            }
            return;
        }
        if job.ends_at_ms <= now {
            let message = "Job was active longer than specified deadline".to_owned();
            self.end(
                key,
                KubeJobEnd::Failed { reason: "DeadlineExceeded".to_owned(), message },
                now,
                is_rough,
            );
            return self.publish(key);
        }
        let active = job.indexes.iter().filter(|index| matches!(index.state, State::Active { .. })).count();
        let due = job
            .indexes
            .iter()
            .enumerate()
            .filter(|(_, index)| matches!(index.state, State::Waiting { from_ms } if from_ms <= now));
        let due: Vec<u32> = due
            .map(|(index, _)| u32::try_from(index).expect("small"))
            .take(job.parallelism.saturating_sub(active))
            .collect();
        let has_new = !due.is_empty();
        for index in due {
            self.create_pod(key, index, now, is_rough);
        }
        if has_new {
            self.publish(key);
        }
    }

    fn create_pod(&mut self, key: &JobKey, index: u32, now: u64, is_rough: bool) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        self.numbers += 1;
        let (chance, scenario) = (&self.chance, &self.scenario);
        let kept = if !is_rough || !chance.percent(scenario.pendings_percent) {
            Kept::Starting
        } else if chance.percent(30) && !job.had_image_trouble {
            job.had_image_trouble = true;
            Kept::ImagePull
        } else {
            Kept::Unschedulable
        };
        let pending_ms = match kept {
            Kept::Starting => chance.within(1..scenario.start_ms),
            Kept::Unschedulable => chance.within(30 * SECOND..8 * MINUTE),
            Kept::ImagePull => chance.within(10 * SECOND..80 * SECOND),
        };
        let of_index = &mut job.indexes[index as usize];
        of_index.state = State::Active { pod: self.numbers };
        let chunks = job.chunks.page(index, job.per_pod);
        let pod = Pod {
            name: format!("{}-{index}-{}", key.1, self.numbers),
            job: Some(key.clone()),
            index,
            assignment: Assignment { chunks, failed_tries: of_index.failures, ..job.template.clone() },
            created_at_ms: now,
            life: Life::Pending { until_ms: now + pending_ms, kept },
            stop_at_ms: None,
            kill_at_ms: None,
            lost_at_ms: None,
            is_disrupted: false,
        };
        self.pods.insert(self.numbers, pod);
    }

    fn end_if_due(&mut self, key: &JobKey, now: u64, is_rough: bool) {
        let Some(job) = self.jobs.get(key).filter(|job| job.end.is_none()) else { return };
        let failed = job.indexes.iter().filter(|index| index.state == State::Failed).count();
        let succeeded = job.indexes.iter().filter(|index| index.state == State::Succeeded).count();
        let as_failed = |reason: &str, message: &str| KubeJobEnd::Failed {
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        if failed > job.max_failed {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            self.end(key, as_failed("MaxFailedIndexesExceeded", message), now, is_rough);
        } else if failed + succeeded == job.indexes.len() {
            let end = if failed == 0 {
                KubeJobEnd::Complete
            } else {
                as_failed("FailedIndexes", "Job has failed indexes")
            };
            self.end(key, end, now, is_rough);
        }
    }

    fn end(&mut self, key: &JobKey, end: KubeJobEnd, now: u64, is_rough: bool) {
        self.tell(format!("Job {} on {} ended: {end:?}", key.1, key.0));
        let Some(job) = self.jobs.get_mut(key) else { return };
        if matches!(end, KubeJobEnd::Failed { .. }) {
            let mut record = lock(&self.record);
            record.count("jobs failed");
            record.failed_by_job(&job.template.run, job.chunks.iter().collect());
        }
        job.end = Some((end, now));
        self.dismiss(key, now, is_rough);
    }

    /// Says in the Job how it stands.
    fn publish(&self, key: &JobKey) {
        let Some(job) = self.jobs.get(key) else { return };
        let own: Vec<&Pod> = self.pods.values().filter(|pod| pod.job.as_ref() == Some(key)).collect();
        let count = |n: usize| u32::try_from(n).expect("small");
        let ready = own.iter().filter(|pod| matches!(pod.life, Life::Running { .. })).count();
        let with = |state: &State| {
            let found = job.indexes.iter().enumerate().filter(move |(_, index)| index.state == *state);
            found.map(|(index, _)| count(index)).collect::<Vec<u32>>()
        };
        let pods = job.failed_pods.iter().cloned().chain(own.iter().map(|pod| shown(pod))).collect();
        self.cloud.clusters.change(&key.0, &key.1, |stored| {
            let state = &mut stored.state;
            (state.active, state.ready) = (count(own.len()), count(ready));
            state.failed_indexes = with(&State::Failed);
            state.completed_indexes = with(&State::Succeeded);
            state.end = job.end.as_ref().map(|(end, _)| end.clone());
            stored.pods = pods;
        });
    }

    fn tell(&self, line: String) {
        lock(&self.record).tell(format!("             {line}"));
    }
}

/// A cluster as it is declared.
fn declare((name, weight, max_pods): &(String, u32, u32)) -> Cluster {
    let text = format!(
        "{{cluster: {name}, region: us-east-1, weight: {weight}, max_pods: {max_pods}, worker_image: 'w:1'}}"
    );
    Cluster::parse(&text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// Where a Job's log notes which one it is.
fn uid_key() -> (String, String) {
    (String::new(), "uid".to_owned())
}

/// A Job by its manifest.
fn read_job(uid: u64, created: &MemoryJob, begins_at_ms: u64) -> KubeJob {
    let spec = &created.manifest["spec"];
    let number = |field: &str| spec[field].as_u64().unwrap_or_else(|| panic!("{field} in {spec}"));
    let small = |field: &str| u32::try_from(number(field)).expect("small");
    let variables = &spec["template"]["spec"]["containers"][0]["env"];
    let variable = |name: &str| {
        let mut all = variables.as_array().into_iter().flatten();
        let found = all.find(|variable| variable["name"] == name);
        found
            .and_then(|variable| variable["value"].as_str())
            .unwrap_or_else(|| panic!("{name} in {variables}"))
    };
    let template = Assignment {
        run: variable("FANFOLD_RUN").parse().expect("an id"),
        stage: variable("FANFOLD_STAGE").to_owned(),
        generation: Generation(variable("FANFOLD_GENERATION").parse().expect("a number")),
        chunks: Vec::new(),
        failed_tries: 0,
    };
    assert_eq!(
        spec["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"],
        Value::from(PERMANENT.to_vec())
    );
    let annotation = |name: &str| created.state.annotations.get(name).map(String::as_str);
    let (chunks, per_pod) = (variable("FANFOLD_CHUNKS"), variable("FANFOLD_CHUNKS_PER_POD"));
    assert_eq!(
        (annotation(CHUNKS), annotation(CHUNKS_PER_POD)),
        (Some(chunks), Some(per_pod)),
        "as pods are told"
    );
    let chunks: ChunkSet = chunks.parse().expect("a set of chunks");
    let per_pod: u32 = per_pod.parse().expect("a number");
    assert_eq!(chunks.len().div_ceil(per_pod), small("completions"), "an index for every page");
    let index = || Index { failures: 0, state: State::Waiting { from_ms: begins_at_ms } };
    KubeJob {
        uid,
        template,
        chunks,
        per_pod,
        parallelism: usize::try_from(number("parallelism")).expect("small"),
        backoff_limit: small("backoffLimitPerIndex"),
        max_failed: usize::try_from(number("maxFailedIndexes")).expect("small"),
        ends_at_ms: created.state.created_at.ms_since(MEMORY_EPOCH)
            + number("activeDeadlineSeconds") * SECOND,
        indexes: std::iter::repeat_with(index).take(small("completions") as usize).collect(),
        failed_pods: Vec::new(),
        end: None,
        kept_ms: number("ttlSecondsAfterFinished") * SECOND,
        had_image_trouble: false,
    }
}

/// A pod that is there, as it is shown.
fn shown(pod: &Pod) -> KubePod {
    let waiting = |reason: &str, message: &str| {
        let trouble = ContainerTrouble::Waiting { reason: reason.to_owned(), message: message.to_owned() };
        vec![(WORKER.to_owned(), trouble)]
    };
    let (phase, reason, troubles) = match &pod.life {
        Life::Running { .. } => (PodPhase::Running, None, Vec::new()),
        Life::Pending { kept: Kept::Starting, .. } => (PodPhase::Pending, None, Vec::new()),
        Life::Pending { kept: Kept::Unschedulable, .. } => {
            (PodPhase::Pending, Some("Unschedulable: 0/1 nodes are available".to_owned()), Vec::new())
        }
        Life::Pending { kept: Kept::ImagePull, .. } => {
            (PodPhase::Pending, None, waiting("ImagePullBackOff", "the registry is slow"))
        }
    };
    KubePod {
        name: pod.name.clone(),
        index: Some(pod.index),
        phase,
        created_at: created_at(pod),
        reason,
        troubles,
    }
}

/// A pod that failed, as it is shown.
fn failed(pod: &Pod, exit_code: Option<u8>) -> KubePod {
    let (reason, exit_code) = match exit_code {
        Some(code) => ("Error", i32::from(code)),
        None => ("OOMKilled", 137),
    };
    let trouble = ContainerTrouble::Ended { reason: reason.to_owned(), message: String::new(), exit_code };
    KubePod {
        name: pod.name.clone(),
        index: Some(pod.index),
        phase: PodPhase::Failed,
        created_at: created_at(pod),
        reason: None,
        troubles: vec![(WORKER.to_owned(), trouble)],
    }
}

fn created_at(pod: &Pod) -> Timestamp {
    MEMORY_EPOCH.plus_ms(pod.created_at_ms)
}

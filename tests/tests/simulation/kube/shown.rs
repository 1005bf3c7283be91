//! What Kubernetes says of Jobs and pods, and how it reads a Job.

use fanfold_domain::{ChunkSet, Generation, Timestamp, cluster::Cluster};
use fanfold_ports::{
    clusters::{CHUNKS, CHUNKS_PER_POD, ContainerTrouble, KubePod, PodPhase},
    memory::{MEMORY_EPOCH, MemoryJob},
};
use fanfold_worker::pod::Assignment;
use serde_json::Value;

use super::{Index, JobKey, Kept, Kube, KubeJob, Life, PERMANENT, Pod, SECOND, State, WORKER};

impl Kube {
    /// Says in the Job how it stands.
    pub(super) fn publish(&self, key: &JobKey) {
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
}

/// A cluster as it is declared.
pub(super) fn declare((name, weight, max_pods): &(String, u32, u32)) -> Cluster {
    let text = format!(
        "{{cluster: {name}, region: us-east-1, weight: {weight}, max_pods: {max_pods}, worker_image: 'w:1'}}"
    );
    Cluster::parse(&text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// Where a Job's log notes which one it is.
pub(super) fn uid_key() -> (String, String) {
    (String::new(), "uid".to_owned())
}

/// A Job by its manifest.
pub(super) fn read_job(uid: u64, created: &MemoryJob, begins_at_ms: u64) -> KubeJob {
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
pub(super) fn failed(pod: &Pod, exit_code: Option<u8>) -> KubePod {
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

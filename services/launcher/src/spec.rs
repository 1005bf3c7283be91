//! The Kubernetes Job of a launch: pure.

use fanfold_domain::{
    Launch, Run, Timestamp,
    cluster::Cluster,
    launch::{StageName, chunks_per_pod},
    pipeline::{Eks, Stage, Toleration},
};
use fanfold_ports::clusters::{
    CHUNKS, CHUNKS_PER_POD, KubeJob, LAUNCH, LAUNCH_GENERATION, MANAGED_BY, RUN, STACK, STAGE,
};
use serde_json::{Value, json};

/// What every pod is told of the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// The region of table, bucket and queue; a cluster may be elsewhere.
    pub region: String,
    /// The ledger's table.
    pub ledger_table: String,
    /// The bucket of parts.
    pub work_bucket: String,
    /// The URL of the queue `completions`.
    pub completions_queue_url: String,
    /// Whether S3 is sent the checksum of a whole object.
    pub whole_checksum: bool,
}

/// The container that does the work, as failure policy and logs know it.
pub const WORKER: &str = "worker";
/// Exit codes that no other pod would better (`EX_DATAERR`, `EX_CONFIG` of sysexits.h).
pub const PERMANENT_EXITS: [u8; 2] = [65, 78];
/// Kubernetes' own count of an index's failed pods, as an annotation of each pod.
const FAILED_TRIES: &str = "metadata.annotations['batch.kubernetes.io/job-index-failure-count']";
/// How long an ended Job stays to be looked at, in seconds.
const KEPT_S: u64 = 3_600;
/// How long a pod has to end, in seconds: ten more than the worker takes for its chunk.
const GRACE_S: u64 = 30;
/// What all pods of a cluster are told by whoever runs it: a config map, if there is one.
const SHARED_VARIABLES: &str = "fanfold-worker";

/// A launch that is to become a Job on a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Whose chunks.
    pub run: &'a Run,
    /// The stage.
    pub stage: &'a Stage,
    /// Its pods, as the pipeline wants them.
    pub eks: &'a Eks,
    /// The launch, of at least one chunk, given to the cluster.
    pub launch: &'a Launch,
    /// Where it goes.
    pub cluster: &'a Cluster,
    /// How many pods may run at once, at least 1.
    pub pods: u32,
    /// When it is made.
    pub now: Timestamp,
}

impl Request<'_> {
    /// The Job.
    pub fn kube_job(&self, surroundings: &Surroundings) -> KubeJob {
        let Self { run, stage, launch, pods, .. } = *self;
        let chunks = launch.chunks.len();
        let per_pod = self.chunks_per_pod();
        let completions = chunks.div_ceil(per_pod);
        let labels = self.labels();
        let name = launch.job_name(&StageName::of(run, &stage.name));
        let manifest = json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": name,
                "labels": labels,
                // What each index does: whoever finds the Job may know less of the launch by then.
                "annotations": { CHUNKS: launch.chunks.to_string(), CHUNKS_PER_POD: per_pod.to_string() },
            },
            "spec": {
                "completionMode": "Indexed",
                "completions": completions,
                "parallelism": pods.min(completions),
                "backoffLimitPerIndex": stage.retry.attempts - 1,
                "maxFailedIndexes": self.tolerated_chunks().min(completions),
                "podFailurePolicy": { "rules": [
                    { "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }] },
                    { "action": "FailIndex", "onExitCodes": {
                        "containerName": WORKER, "operator": "In", "values": PERMANENT_EXITS,
                    } },
                ] },
                "activeDeadlineSeconds": run.deadline_at.ms_since(self.now).div_ceil(1_000).max(1),
                "ttlSecondsAfterFinished": KEPT_S,
                "template": {
                    "metadata": { "labels": labels },
                    "spec": self.pod(per_pod, surroundings),
                },
            },
        });
        KubeJob { name, manifest }
    }

    /// How many chunks each pod does.
    pub fn chunks_per_pod(&self) -> u32 {
        // What a later stage reads is thought to be as much as the first one does.
        let chunk_bytes = self.run.input().size_bytes / u64::from(self.stage_chunks().max(1));
        chunks_per_pod(self.eks, chunk_bytes, self.launch.chunks.len(), self.pods)
    }

    fn stage_chunks(&self) -> u32 {
        self.run.grouping_of(&self.stage.name).map_or(0, |grouping| grouping.chunks)
    }

    fn labels(&self) -> Value {
        let mut labels = json!({
            MANAGED_BY.0: MANAGED_BY.1,
            RUN: self.run.id,
            STAGE: self.stage.name,
            "fanfold.dev/pipeline": self.run.pipeline.name,
            "fanfold.dev/generation": self.run.generation.to_string(),
            LAUNCH: self.launch.index.to_string(),
            LAUNCH_GENERATION: self.launch.generation.to_string(),
        });
        // An older version may have created the Job of a launch without one, with these labels and no more.
        if let Some(stack) = &self.launch.stack {
            labels[STACK] = json!(stack);
        }
        labels
    }

    /// How many chunks of the stage may fail.
    fn tolerated_chunks(&self) -> u32 {
        self.run.pipeline.on_error.tolerate_failed_chunks.most_of(self.stage_chunks())
    }

    fn pod(&self, per_pod: u32, surroundings: &Surroundings) -> Value {
        let Eks { image, service_account, node_selector, tolerations, run_as_user, .. } = self.eks;
        let tolerations: Vec<Value> = tolerations.iter().map(Toleration::to_document).collect();
        let mut volumes = vec![json!({ "name": "tmp", "emptyDir": {} })];
        let mut installs = Vec::new();
        if image.is_some() {
            volumes.push(json!({ "name": "fanfold", "emptyDir": {} }));
            installs.push(self.install());
        } else {
            volumes.push(json!({ "name": "work", "emptyDir": {} }));
        }
        json!({
            "restartPolicy": "Never",
            "serviceAccountName": service_account,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": GRACE_S,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": run_as_user,
                "runAsGroup": run_as_user,
                "fsGroup": run_as_user,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "nodeSelector": node_selector,
            "tolerations": tolerations,
            "volumes": volumes,
            "initContainers": installs,
            "containers": [self.worker(per_pod, surroundings)],
        })
    }

    /// Puts the worker beside the user's program.
    fn install(&self) -> Value {
        json!({
            "name": "install",
            "image": self.cluster.worker_image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["/fanfold-worker", "install", "/fanfold"],
            "securityContext": confined(),
            "resources": {
                "requests": { "cpu": "10m", "memory": "32Mi" },
                "limits": { "memory": "64Mi" },
            },
            "volumeMounts": [{ "name": "fanfold", "mountPath": "/fanfold" }],
        })
    }

    fn worker(&self, per_pod: u32, surroundings: &Surroundings) -> Value {
        let Eks { image, cpu_millis, memory_bytes, .. } = self.eks;
        let cpu = format!("{cpu_millis}m");
        let memory = memory_bytes.to_string();
        let mut container = json!({
            "name": WORKER,
            "image": image.as_ref().unwrap_or(&self.cluster.worker_image),
            "imagePullPolicy": "IfNotPresent",
            "env": self.variables(per_pod, surroundings),
            "envFrom": [{ "configMapRef": { "name": SHARED_VARIABLES, "optional": true } }],
            "resources": {
                "requests": { "cpu": cpu, "memory": memory },
                "limits": { "memory": memory },
            },
            "securityContext": confined(),
        });
        let mut mounts = vec![json!({ "name": "tmp", "mountPath": "/tmp" })];
        if image.is_some() {
            // The working directory stays the image's own, so that its program runs unchanged.
            container["command"] = json!(["/fanfold/fanfold-worker", "pod"]);
            mounts.push(json!({ "name": "fanfold", "mountPath": "/fanfold", "readOnly": true }));
        } else {
            container["command"] = json!(["/fanfold-worker", "pod"]);
            container["workingDir"] = json!("/work");
            mounts.push(json!({ "name": "work", "mountPath": "/work" }));
        }
        container["volumeMounts"] = json!(mounts);
        container
    }

    fn variables(&self, per_pod: u32, surroundings: &Surroundings) -> Vec<Value> {
        let Self { run, stage, launch, eks, .. } = self;
        let certificates = if eks.image.is_some() { "/fanfold" } else { "" };
        let whole_checksum = if surroundings.whole_checksum { "on" } else { "off" };
        let told = [
            ("AWS_REGION", surroundings.region.clone()),
            // An image need not have any of its own.
            ("SSL_CERT_FILE", format!("{certificates}/ca-certificates.crt")),
            ("FANFOLD_LEDGER_TABLE", surroundings.ledger_table.clone()),
            ("FANFOLD_WORK_BUCKET", surroundings.work_bucket.clone()),
            ("FANFOLD_COMPLETIONS_QUEUE_URL", surroundings.completions_queue_url.clone()),
            ("FANFOLD_S3_WHOLE_CHECKSUM", whole_checksum.to_owned()),
            ("FANFOLD_RUN", run.id.to_string()),
            ("FANFOLD_STAGE", stage.name.clone()),
            ("FANFOLD_GENERATION", run.generation.to_string()),
            ("FANFOLD_CHUNKS", launch.chunks.to_string()),
            ("FANFOLD_CHUNKS_PER_POD", per_pod.to_string()),
        ];
        let mut variables: Vec<Value> =
            told.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let failed_tries = json!({ "fieldRef": { "fieldPath": FAILED_TRIES } });
        variables.push(json!({ "name": "FANFOLD_FAILED_TRIES", "valueFrom": failed_tries }));
        variables
    }
}

/// What no container of ours may do.
fn confined() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    })
}

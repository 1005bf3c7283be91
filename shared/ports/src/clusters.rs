//! Kubernetes clusters: Jobs of ours, and what became of them.

use std::{collections::BTreeMap, error::Error, fmt};

use async_trait::async_trait;
use fanfold_domain::{StackId, Timestamp, cluster::Cluster};
use thiserror::Error as ThisError;

/// The label that all Jobs and pods of ours carry, and its value.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "fanfold");

/// The label of the stack that created a Job or pod: a [`StackId`]. Several stacks may share a namespace, and a Job of
/// another stack, or of a version that wrote no such label, must never be taken for this stack's.
pub const STACK: &str = "fanfold.dev/stack";
/// The label of a Job's run: its id.
pub const RUN: &str = "fanfold.dev/run";
/// The label with the name of its stage.
pub const STAGE: &str = "fanfold.dev/stage";
/// The label of a Job's launch: its index.
pub const LAUNCH: &str = "fanfold.dev/launch";
/// The label of the launch's generation.
pub const LAUNCH_GENERATION: &str = "fanfold.dev/launch-generation";
/// The annotation of the chunks that a Job does, such as `0-62,70`.
pub const CHUNKS: &str = "fanfold.dev/chunks";
/// The annotation of how many of them each index does, in their order.
pub const CHUNKS_PER_POD: &str = "fanfold.dev/chunks-per-pod";

/// What a failed call to a cluster means to its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClusterFault {
    /// It does not answer, or answers that it cannot (a timeout, 429, 5xx): the call may have had its effect.
    Unreachable,
    /// It is not there, or lets us not in (no such cluster, 401, 403, no such namespace): nothing was done, and
    /// nothing will be until a person changes something.
    Refused,
    /// It is full (a quota): nothing was done, and it may be later.
    Full,
    /// It does not take this very request, whoever repeats it (400, 422, another Job of that name).
    Invalid,
}

/// A call to a cluster that failed.
#[derive(Debug, ThisError)]
#[error("cluster {cluster}: {operation}: {detail}")]
pub struct ClusterError {
    /// What it means.
    pub fault: ClusterFault,
    /// The cluster's name in Fanfold.
    pub cluster: String,
    /// What was asked, in a few words.
    pub operation: &'static str,
    /// The cluster's own message, or what is known instead.
    pub detail: String,
    /// What lies beneath.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl ClusterError {
    /// An error without anything beneath.
    pub fn new(
        fault: ClusterFault,
        cluster: impl Into<String>,
        operation: &'static str,
        detail: impl fmt::Display,
    ) -> Self {
        Self { fault, cluster: cluster.into(), operation, detail: detail.to_string(), source: None }
    }
}

/// A Kubernetes Job to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct KubeJob {
    /// Its name, which says all that makes it this one: a Job of the same name and labels is the same.
    pub name: String,
    /// The whole of it: a `batch/v1` Job as JSON, its name in `metadata.name`, without a namespace.
    pub manifest: serde_json::Value,
}

/// How a creation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobCreated {
    /// It is new.
    Now,
    /// It was there before, the same: of the same labels.
    Before,
}

/// How a Job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KubeJobEnd {
    /// Every index succeeded.
    Complete,
    /// It failed.
    Failed {
        /// Kubernetes' reason, such as `DeadlineExceeded` or `FailedIndexes`.
        reason: String,
        /// Kubernetes' message.
        message: String,
    },
}

/// A Job as its cluster has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeJobState {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// When the cluster created it.
    pub created_at: Timestamp,
    /// Pods that are pending or running.
    pub active: u32,
    /// Pods of these that are ready: what is active but not ready is pending or about to be.
    pub ready: u32,
    /// Indexes that failed for good, in order.
    pub failed_indexes: Vec<u32>,
    /// Indexes that succeeded, in order.
    pub completed_indexes: Vec<u32>,
    /// How it ended, if it has.
    pub end: Option<KubeJobEnd>,
    /// Whether it is being deleted.
    pub is_going: bool,
}

/// Where a pod stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodPhase {
    /// Not all of its containers were started.
    Pending,
    /// It runs.
    Running,
    /// All its containers ended with exit code 0.
    Succeeded,
    /// A container failed, or it was evicted.
    Failed,
    /// Its node does not answer.
    Unknown,
}

/// A container that does not run as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerTrouble {
    /// It cannot be started, so far.
    Waiting {
        /// Kubernetes' reason, such as `ImagePullBackOff`.
        reason: String,
        /// Kubernetes' message.
        message: String,
    },
    /// It ended otherwise than with exit code 0.
    Ended {
        /// Kubernetes' reason, such as `OOMKilled`, `Error` or `StartError`.
        reason: String,
        /// Kubernetes' message, often empty.
        message: String,
        /// Its exit code.
        exit_code: i32,
    },
}

/// A pod of a Job as its cluster has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubePod {
    /// Its name.
    pub name: String,
    /// The index that it works on.
    pub index: Option<u32>,
    /// Where it stands.
    pub phase: PodPhase,
    /// When the cluster created it.
    pub created_at: Timestamp,
    /// Why it as a whole is where it is, such as `Evicted: ...`, `Unschedulable: 0/1 nodes are available ...`.
    pub reason: Option<String>,
    /// Its containers (init containers too) that do not run as they should, by name.
    pub troubles: Vec<(String, ContainerTrouble)>,
}

/// Kubernetes clusters.
#[async_trait]
pub trait Clusters: Send + Sync {
    /// Creates a Job in the cluster's namespace. One of its name that is there already is a success if its labels
    /// are those of `job`, and [`ClusterFault::Invalid`] if not. One request unless it was there.
    async fn create_job(&self, cluster: &Cluster, job: &KubeJob) -> Result<JobCreated, ClusterError>;

    /// Deletes a Job with its pods; one that is not there is deleted.
    async fn delete_job(&self, cluster: &Cluster, name: &str) -> Result<(), ClusterError>;

    /// All Jobs of a stack in the cluster's namespace, by the labels [`MANAGED_BY`] and [`STACK`]. One request, or one
    /// for each 500.
    async fn jobs(&self, cluster: &Cluster, stack: &StackId) -> Result<Vec<KubeJobState>, ClusterError>;

    /// The Job of a name in the cluster's namespace, of whatever stack, if it is there. One request.
    async fn job(&self, cluster: &Cluster, name: &str) -> Result<Option<KubeJobState>, ClusterError>;

    /// The pods of a Job that are still there, oldest first. One request, or one for each 500.
    async fn pods(&self, cluster: &Cluster, job: &str) -> Result<Vec<KubePod>, ClusterError>;

    /// The last lines that a container wrote, at most `lines`; empty if there are none to be had.
    async fn log_tail(
        &self,
        cluster: &Cluster,
        pod: &str,
        container: &str,
        lines: u32,
    ) -> Result<String, ClusterError>;
}

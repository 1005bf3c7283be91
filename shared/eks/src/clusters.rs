//! The port: each call a request or a few, in the cluster's namespace.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use fanfold_domain::{StackId, cluster::Cluster};
use fanfold_ports::clusters::{
    ClusterError, ClusterFault, Clusters, JobCreated, KubeJob, KubeJobState, KubePod,
};
use k8s_openapi::List;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use serde::de::DeserializeOwned;

use crate::aws::Aws;
use crate::failure::Failure;
use crate::requests::Requests;
use crate::session::{Asking, Session};
use crate::{jobs, pods, wire};

/// How much of a log is handed back, in bytes.
const MOST_LOG: usize = 8 << 10;

/// Clusters of EKS.
///
/// To be used within one tokio runtime, in which the connections live.
pub struct EksClusters {
    aws: Aws,
    sessions: Mutex<HashMap<Whom, Arc<Session>>>,
}

/// All that decides whom a session speaks to, and as whom.
#[derive(PartialEq, Eq, Hash)]
struct Whom {
    region: String,
    eks: String,
    role: Option<String>,
}

impl EksClusters {
    /// Takes credentials and endpoints from where the SDK finds them. Nothing is called where `AWS_REGION` is set, as
    /// it is on Lambda. The machine's clock must be right to some minutes: tokens are signed with its time.
    pub async fn connect() -> Self {
        Self::new(Aws::load().await)
    }

    pub(crate) fn new(aws: Aws) -> Self {
        Self { aws, sessions: Mutex::default() }
    }

    fn session(&self, cluster: &Cluster) -> Arc<Session> {
        let Cluster { region, eks, role, .. } = cluster.clone();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.entry(Whom { region, eks, role }).or_default().clone()
    }

    /// Makes a request: once, and once more if the token was refused or the cluster has moved.
    async fn ask(&self, cluster: &Cluster, request: http::Request<Vec<u8>>) -> Result<Bytes, Failure> {
        let session = self.session(cluster);
        let asking = Asking { aws: &self.aws, cluster, now: self.aws.now() };
        let connection = session.connection(asking).await?;
        let failure = match wire::exchange(&connection.client, request.clone()).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let asking = Asking { now: self.aws.now(), ..asking };
        let renewed = match &failure {
            Failure::Answered(answer) if answer.status == 401 => {
                Some(session.with_new_token(asking, &connection).await?)
            }
            Failure::Broken(_) => session.where_it_moved(asking, &connection).await?,
            _ => None,
        };
        match renewed {
            Some(connection) => wire::exchange(&connection.client, request).await,
            None => Err(failure),
        }
    }

    async fn create(&self, cluster: &Cluster, job: &KubeJob) -> Result<JobCreated, Failure> {
        match self.ask(cluster, Requests::of(&cluster.namespace).create(job)?).await {
            Ok(_) => Ok(JobCreated::Now),
            // Kubernetes counts against a quota before it looks whether the name is taken: where the quota is full, a
            // creation that is repeated is told of nothing else (kubernetes/kubernetes#106842).
            Err(failure) if failure.is_taken() || failure.fault() == ClusterFault::Full => {
                self.look(cluster, job, failure).await
            }
            Err(failure) => Err(failure),
        }
    }

    /// Whether the Job was there before its creation failed so.
    async fn look(&self, cluster: &Cluster, job: &KubeJob, failure: Failure) -> Result<JobCreated, Failure> {
        match self.ask(cluster, Requests::of(&cluster.namespace).get(&job.name)?).await {
            Ok(found) => compare(job, &read(&found)?),
            Err(absent) if absent.status() != Some(404) => Err(absent),
            Err(_) if failure.is_taken() => Err(going(job)),
            Err(_) => Err(failure),
        }
    }

    async fn delete(&self, cluster: &Cluster, job: &str) -> Result<(), Failure> {
        match self.ask(cluster, Requests::of(&cluster.namespace).delete(job)?).await {
            Err(failure) if failure.status() != Some(404) => Err(failure),
            _ => Ok(()),
        }
    }

    /// All pages of a list.
    async fn list<T>(
        &self,
        cluster: &Cluster,
        page: impl Fn(Option<&str>) -> Result<http::Request<Vec<u8>>, Failure> + Send,
    ) -> Result<Vec<T>, Failure>
    where
        T: k8s_openapi::ListableResource + DeserializeOwned + Send,
    {
        let mut items = Vec::new();
        let mut more = None;
        loop {
            let list: List<T> = read(&self.ask(cluster, page(more.as_deref())?).await?)?;
            items.extend(list.items);
            more = list.metadata.continue_.filter(|token| !token.is_empty());
            if more.is_none() {
                return Ok(items);
            }
        }
    }

    async fn list_jobs(&self, cluster: &Cluster, stack: &StackId) -> Result<Vec<KubeJobState>, Failure> {
        let requests = Requests::of(&cluster.namespace);
        let listed: Vec<Job> = self.list(cluster, |more| requests.list_jobs(stack, more)).await?;
        listed.into_iter().map(jobs::state).collect()
    }

    async fn get_job(&self, cluster: &Cluster, name: &str) -> Result<Option<KubeJobState>, Failure> {
        match self.ask(cluster, Requests::of(&cluster.namespace).get(name)?).await {
            Ok(found) => jobs::state(read(&found)?).map(Some),
            Err(absent) if absent.status() == Some(404) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn list_pods(&self, cluster: &Cluster, job: &str) -> Result<Vec<KubePod>, Failure> {
        let requests = Requests::of(&cluster.namespace);
        let listed: Vec<Pod> = self.list(cluster, |more| requests.list_pods(job, more)).await?;
        let mut found: Vec<_> = listed.into_iter().map(pods::pod).collect();
        found.sort_by(|a, b| (a.created_at, &a.name).cmp(&(b.created_at, &b.name)));
        Ok(found)
    }

    async fn log(
        &self,
        cluster: &Cluster,
        pod: &str,
        container: &str,
        lines: u32,
    ) -> Result<String, Failure> {
        let request = Requests::of(&cluster.namespace).log(pod, container, lines)?;
        match self.ask(cluster, request).await {
            Ok(log) => Ok(tail(&log)),
            // 404: the pod is gone. 400: the container has not started, and perhaps never will.
            Err(failure) if matches!(failure.status(), Some(400 | 404)) => Ok(String::new()),
            Err(failure) => Err(failure),
        }
    }
}

#[async_trait]
impl Clusters for EksClusters {
    async fn create_job(&self, cluster: &Cluster, job: &KubeJob) -> Result<JobCreated, ClusterError> {
        self.create(cluster, job).await.map_err(|failure| failure.at(cluster, "create job"))
    }

    async fn delete_job(&self, cluster: &Cluster, name: &str) -> Result<(), ClusterError> {
        self.delete(cluster, name).await.map_err(|failure| failure.at(cluster, "delete job"))
    }

    async fn jobs(&self, cluster: &Cluster, stack: &StackId) -> Result<Vec<KubeJobState>, ClusterError> {
        self.list_jobs(cluster, stack).await.map_err(|failure| failure.at(cluster, "list jobs"))
    }

    async fn job(&self, cluster: &Cluster, name: &str) -> Result<Option<KubeJobState>, ClusterError> {
        self.get_job(cluster, name).await.map_err(|failure| failure.at(cluster, "get job"))
    }

    async fn pods(&self, cluster: &Cluster, job: &str) -> Result<Vec<KubePod>, ClusterError> {
        self.list_pods(cluster, job).await.map_err(|failure| failure.at(cluster, "list pods"))
    }

    async fn log_tail(
        &self,
        cluster: &Cluster,
        pod: &str,
        container: &str,
        lines: u32,
    ) -> Result<String, ClusterError> {
        self.log(cluster, pod, container, lines).await.map_err(|failure| failure.at(cluster, "read log"))
    }
}

/// Whether the Job that is there is the one to be created. It may have more labels: admission controllers add some.
fn compare(wanted: &KubeJob, found: &Job) -> Result<JobCreated, Failure> {
    if found.metadata.deletion_timestamp.is_some() {
        return Err(going(wanted));
    }
    let labels = wanted.manifest.pointer("/metadata/labels").cloned().unwrap_or_default();
    let asked: BTreeMap<String, String> = serde_json::from_value(labels).unwrap_or_default();
    let there = found.metadata.labels.clone().unwrap_or_default();
    if asked.iter().all(|(name, value)| there.get(name) == Some(value)) {
        return Ok(JobCreated::Before);
    }
    let detail = format!("a Job {} is there with the labels {there:?}, not {asked:?}", wanted.name);
    Err(Failure::InTheWay { fault: ClusterFault::Invalid, detail })
}

/// The name is still taken, and will not be for long.
fn going(job: &KubeJob) -> Failure {
    let detail = format!("a Job {} of before is being deleted", job.name);
    Failure::InTheWay { fault: ClusterFault::Unreachable, detail }
}

fn read<T: DeserializeOwned>(answer: &Bytes) -> Result<T, Failure> {
    serde_json::from_slice(answer).map_err(Failure::Unreadable)
}

/// The last of a log, in whole characters; what is no UTF-8 is replaced.
fn tail(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    let start = text.ceil_char_boundary(text.len().saturating_sub(MOST_LOG));
    text[start..].to_owned()
}

#[cfg(test)]
mod tests;

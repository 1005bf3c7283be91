//! The requests that the port's calls make of Kubernetes.

use fanfold_domain::StackId;
use fanfold_ports::clusters::{ClusterFault, KubeJob, MANAGED_BY, STACK};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::Resource;
use kube::api::{DeleteParams, ListParams, LogParams, PostParams};
use kube::core::{Request, request};

use crate::failure::Failure;

/// The label by which the Job controller marks a Job's pods.
const JOB_NAME: &str = "batch.kubernetes.io/job-name";
/// Objects in one page of a list.
const PAGE: u32 = 500;
/// How much of a log is asked for, in bytes. Kubernetes counts from the first line of the tail, so that the limit
/// cuts off what came last: it is well above what is kept, and only keeps lines without end out of memory.
const LOG_BYTES: i64 = 256 << 10;

type Built = Result<http::Request<Vec<u8>>, Failure>;

/// Jobs and pods of one namespace.
pub(crate) struct Requests<'a> {
    namespace: &'a str,
}

impl<'a> Requests<'a> {
    pub(crate) fn of(namespace: &'a str) -> Self {
        Self { namespace }
    }

    pub(crate) fn create(&self, job: &KubeJob) -> Built {
        let mut manifest = job.manifest.clone();
        let metadata = manifest.get_mut("metadata").and_then(|metadata| metadata.as_object_mut());
        let Some(metadata) = metadata.filter(|it| it.get("name").is_some_and(|name| *name == *job.name))
        else {
            return Err(invalid(format!("the manifest of {} has another name, or none", job.name)));
        };
        metadata.insert("namespace".to_owned(), self.namespace.into());
        built(self.jobs().create(&PostParams::default(), manifest.to_string().into_bytes()))
    }

    pub(crate) fn get(&self, job: &str) -> Built {
        built(self.jobs().get(named(job)?, &kube::api::GetParams::default()))
    }

    pub(crate) fn delete(&self, job: &str) -> Built {
        built(self.jobs().delete(named(job)?, &DeleteParams::background()))
    }

    /// A page of a stack's Jobs; the first one without `more`.
    pub(crate) fn list_jobs(&self, stack: &StackId, more: Option<&str>) -> Built {
        let (label, value) = MANAGED_BY;
        built(self.jobs().list(&page(&format!("{label}={value},{STACK}={stack}"), more)))
    }

    /// A page of a Job's pods; the first one without `more`.
    pub(crate) fn list_pods(&self, job: &str, more: Option<&str>) -> Built {
        built(self.pods().list(&page(&format!("{JOB_NAME}={}", named(job)?), more)))
    }

    pub(crate) fn log(&self, pod: &str, container: &str, lines: u32) -> Built {
        let wanted = LogParams {
            container: Some(container.to_owned()),
            tail_lines: Some(lines.into()),
            limit_bytes: Some(LOG_BYTES),
            ..LogParams::default()
        };
        built(self.pods().logs(named(pod)?, &wanted))
    }

    fn jobs(&self) -> Request {
        Request::new(Job::url_path(&(), Some(self.namespace)))
    }

    fn pods(&self) -> Request {
        Request::new(Pod::url_path(&(), Some(self.namespace)))
    }
}

fn page(labels: &str, more: Option<&str>) -> ListParams {
    ListParams {
        label_selector: Some(labels.to_owned()),
        limit: Some(PAGE),
        continue_token: more.map(str::to_owned),
        ..ListParams::default()
    }
}

/// A name that is one segment of a path, and nothing of a query: a DNS subdomain.
fn named(name: &str) -> Result<&str, Failure> {
    let is_name = (1..=253).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
        && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if is_name { Ok(name) } else { Err(invalid(format!("{name:?} is no name of an object"))) }
}

fn built(request: Result<http::Request<Vec<u8>>, request::Error>) -> Built {
    request.map_err(invalid)
}

fn invalid(detail: impl ToString) -> Failure {
    Failure::before("request", ClusterFault::Invalid, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn job(manifest: Value) -> KubeJob {
        KubeJob { name: "one".to_owned(), manifest }
    }

    fn line(request: &http::Request<Vec<u8>>) -> String {
        format!("{} {}", request.method(), request.uri())
    }

    #[test]
    fn a_job_is_created_as_it_is_given_in_the_namespace() {
        let manifest = json!({ "metadata": { "name": "one" }, "spec": { "unheard": { "of": 1 } } });
        let request = Requests::of("work").create(&job(manifest)).unwrap();
        assert_eq!(line(&request), "POST /apis/batch/v1/namespaces/work/jobs?");
        let sent: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(
            sent,
            json!({ "metadata": { "name": "one", "namespace": "work" }, "spec": { "unheard": { "of": 1 } } })
        );
    }

    #[test]
    fn a_manifest_of_another_name_is_not_sent() {
        for manifest in [json!({}), json!({ "metadata": { "name": "two" } }), json!([])] {
            let failure = Requests::of("work").create(&job(manifest)).unwrap_err();
            assert_eq!(failure.fault(), ClusterFault::Invalid);
        }
    }

    #[test]
    fn a_job_is_deleted_with_its_pods() {
        let request = Requests::of("work").delete("one").unwrap();
        assert_eq!(line(&request), "DELETE /apis/batch/v1/namespaces/work/jobs/one?");
        let options: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(options["propagationPolicy"], "Background");
    }

    #[test]
    fn lists_are_of_the_stacks_jobs_and_of_a_jobs_pods_in_pages() {
        let (requests, stack) = (Requests::of("work"), StackId::of_ledger("one"));
        let ours = format!("app.kubernetes.io%2Fmanaged-by%3Dfanfold%2Cfanfold.dev%2Fstack%3D{stack}");
        let first = requests.list_jobs(&stack, None).unwrap();
        let (path, query) =
            ("/apis/batch/v1/namespaces/work/jobs", format!("labelSelector={ours}&limit=500"));
        assert_eq!(line(&first), format!("GET {path}?&{query}"));
        let second = requests.list_jobs(&stack, Some("a b=")).unwrap();
        assert_eq!(line(&second), format!("GET {path}?&{query}&continue=a+b%3D"));
        let pods = requests.list_pods("one", None).unwrap();
        let query = "labelSelector=batch.kubernetes.io%2Fjob-name%3Done&limit=500";
        assert_eq!(line(&pods), format!("GET /api/v1/namespaces/work/pods?&{query}"));
    }

    #[test]
    fn a_log_is_asked_for_from_its_end() {
        let request = Requests::of("work").log("one-0-abc", "main", 20).unwrap();
        let query = "container=main&limitBytes=262144&tailLines=20";
        assert_eq!(line(&request), format!("GET /api/v1/namespaces/work/pods/one-0-abc/log?&{query}"));
    }

    #[test]
    fn a_name_is_no_path() {
        let requests = Requests::of("work");
        for name in ["", "a/b", "..", "a?b", "a%2fb", "A"] {
            assert_eq!(requests.delete(name).unwrap_err().fault(), ClusterFault::Invalid, "{name}");
            assert!(requests.list_pods(name, None).is_err() && requests.log(name, "c", 1).is_err(), "{name}");
        }
    }
}

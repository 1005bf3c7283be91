//! What is asked of AWS and of Kubernetes, how often, and as whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fanfold_ports::clusters::MANAGED_BY;
use serde_json::{Value, json};

use super::*;
use crate::fake::{Answer, Fake, Seen, TestTime, cluster, clusters, described};

const DESCRIBE: &str = "GET /clusters/Prod_1";
const JOBS: &str = "/apis/batch/v1/namespaces/fanfold/jobs";

fn job(version: &str) -> KubeJob {
    let labels = json!({ MANAGED_BY.0: MANAGED_BY.1, "version": version });
    KubeJob { name: "j".to_owned(), manifest: json!({ "metadata": { "name": "j", "labels": labels } }) }
}

fn stack() -> StackId {
    StackId::of_ledger("one")
}

fn ok(body: Value) -> Answer {
    (200, body.to_string())
}

fn status(code: u16, reason: &str, message: &str) -> Answer {
    let body = json!({ "kind": "Status", "code": code, "reason": reason, "message": message });
    (code, body.to_string())
}

fn no_jobs() -> Answer {
    ok(json!({ "kind": "JobList", "apiVersion": "batch/v1", "metadata": {}, "items": [] }))
}

/// An AWS whose cluster is at `kubernetes`.
async fn aws_with(kubernetes: &Fake) -> Fake {
    let url = kubernetes.url.clone();
    Fake::start(move |_| ok(described(&url))).await
}

/// A Kubernetes that answers one thing after another, the last one for ever.
async fn kubernetes(answers: impl IntoIterator<Item = Answer>) -> Fake {
    let answers: Vec<_> = answers.into_iter().collect();
    let count = AtomicUsize::new(0);
    let next = move |_: &Seen| {
        let place = count.fetch_add(1, Ordering::Relaxed);
        answers[place.min(answers.len() - 1)].clone()
    };
    Fake::start(next).await
}

/// The port in front of such a Kubernetes, and both servers.
async fn before(answers: impl IntoIterator<Item = Answer>) -> (EksClusters, Fake, Fake) {
    let kubernetes = kubernetes(answers).await;
    let aws = aws_with(&kubernetes).await;
    (clusters(&aws, &TestTime::default()), aws, kubernetes)
}

fn fault<T>(answer: Result<T, ClusterError>) -> (ClusterFault, String) {
    let error = answer.map(drop).unwrap_err();
    (error.fault, error.to_string())
}

#[tokio::test]
async fn a_new_job_is_one_request() {
    let (port, aws, kubernetes) = before([ok(json!({}))]).await;
    for _ in 0..2 {
        assert_eq!(port.create_job(&cluster(), &job("1")).await.unwrap(), JobCreated::Now);
    }
    let post = format!("POST {JOBS}");
    assert_eq!(kubernetes.lines(), [post.as_str(), &post]);
    assert_eq!(aws.lines(), [DESCRIBE]);
    let seen = &kubernetes.seen()[0];
    assert!(seen.authorization.starts_with("Bearer k8s-aws-v1."), "{seen:?}");
    let sent: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(sent.pointer("/metadata/namespace"), Some(&json!("fanfold")));
}

/// What becomes of a creation whose name is taken, by what is there.
async fn created_beside(there: Answer) -> (Result<JobCreated, ClusterError>, Vec<String>) {
    let taken = status(409, "AlreadyExists", "jobs.batch \"j\" already exists");
    let (port, _aws, kubernetes) = before([taken, there]).await;
    let created = port.create_job(&cluster(), &job("1")).await;
    (created, kubernetes.lines())
}

fn found(metadata: Value) -> Answer {
    ok(json!({ "kind": "Job", "apiVersion": "batch/v1", "metadata": metadata }))
}

#[tokio::test]
async fn a_name_that_is_taken_is_looked_at() {
    let labels = json!({ MANAGED_BY.0: MANAGED_BY.1, "version": "1", "webhook": "added" });
    let (created, lines) = created_beside(found(json!({ "name": "j", "labels": labels }))).await;
    assert_eq!(created.unwrap(), JobCreated::Before);
    assert_eq!(lines, [format!("POST {JOBS}"), format!("GET {JOBS}/j")]);

    let labels = json!({ MANAGED_BY.0: MANAGED_BY.1, "version": "2" });
    let (created, _) = created_beside(found(json!({ "name": "j", "labels": labels.clone() }))).await;
    let (fault_of_other, told) = fault(created);
    assert_eq!(fault_of_other, ClusterFault::Invalid);
    assert!(told.contains("\"version\": \"1\"") && told.contains("\"version\": \"2\""), "{told}");

    let going = json!({ "name": "j", "labels": labels, "deletionTimestamp": "2026-01-02T03:04:05Z" });
    let (created, _) = created_beside(found(going)).await;
    assert_eq!(fault(created).0, ClusterFault::Unreachable);

    let (created, _) = created_beside(status(404, "NotFound", "jobs.batch \"j\" not found")).await;
    assert_eq!(fault(created).0, ClusterFault::Unreachable);
}

/// Of 404 alone it may be said that it is gone: its launch is made anew then.
#[tokio::test]
async fn a_job_is_looked_up_by_its_name() {
    let labels = json!({ MANAGED_BY.0: MANAGED_BY.1 });
    let (port, _aws, kubernetes) = before([found(json!({ "name": "j", "labels": labels }))]).await;
    assert_eq!(port.job(&cluster(), "j").await.unwrap().unwrap().name, "j");
    assert_eq!(kubernetes.lines(), [format!("GET {JOBS}/j")]);
    let (port, _aws, _kubernetes) = before([status(404, "NotFound", "jobs.batch \"j\" not found")]).await;
    assert_eq!(port.job(&cluster(), "j").await.unwrap(), None);
    let (port, _aws, _kubernetes) = before([status(403, "Forbidden", "cannot get resource")]).await;
    assert_eq!(fault(port.job(&cluster(), "j").await).0, ClusterFault::Refused);
}

#[tokio::test]
async fn a_full_quota_hides_no_job_that_is_there() {
    let full = || status(403, "Forbidden", "jobs.batch \"j\" is forbidden: exceeded quota: q");
    let labels = json!({ MANAGED_BY.0: MANAGED_BY.1, "version": "1" });
    let there = found(json!({ "name": "j", "labels": labels }));
    let (port, _aws, _kubernetes) = before([full(), there]).await;
    assert_eq!(port.create_job(&cluster(), &job("1")).await.unwrap(), JobCreated::Before);

    let absent = status(404, "NotFound", "jobs.batch \"j\" not found");
    let (port, _aws, kubernetes) = before([full(), absent]).await;
    let (found, told) = fault(port.create_job(&cluster(), &job("1")).await);
    assert_eq!((found, kubernetes.lines().len()), (ClusterFault::Full, 2));
    assert!(told.contains("exceeded quota: q"), "{told}");
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let (time, refused) = (TestTime::default(), Arc::new(AtomicUsize::new(1)));
    let (passing, left) = (time.clone(), refused.clone());
    let kubernetes = Fake::start(move |_| {
        passing.pass_s(1); // so that another token is another text
        match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => status(401, "Unauthorized", "Unauthorized"),
            Err(_) => no_jobs(),
        }
    });
    let kubernetes = kubernetes.await;
    let aws = aws_with(&kubernetes).await;
    let port = clusters(&aws, &time);
    assert_eq!(port.jobs(&cluster(), &stack()).await.unwrap(), []);
    let [first, second] = kubernetes.seen().try_into().unwrap();
    assert_ne!(first.authorization, second.authorization);

    refused.store(9, Ordering::Relaxed);
    assert_eq!(fault(port.jobs(&cluster(), &stack()).await).0, ClusterFault::Refused);
    assert_eq!((kubernetes.lines().len(), aws.lines().len()), (4, 1));
}

#[tokio::test]
async fn nothing_else_is_tried_again() {
    for (answer, wanted) in [
        (status(503, "ServiceUnavailable", "not ready"), ClusterFault::Unreachable),
        (status(429, "TooManyRequests", "later"), ClusterFault::Unreachable),
        (status(403, "Forbidden", "cannot create resource"), ClusterFault::Refused),
        (status(422, "Invalid", "spec.template"), ClusterFault::Invalid),
    ] {
        let (port, aws, kubernetes) = before([answer]).await;
        assert_eq!(fault(port.create_job(&cluster(), &job("1")).await).0, wanted);
        assert_eq!((kubernetes.lines().len(), aws.lines().len()), (1, 1));
    }
}

#[tokio::test]
async fn a_cluster_that_has_moved_is_found() {
    let (former, current) = (kubernetes([no_jobs()]).await, kubernetes([no_jobs()]).await);
    let urls = [former.url.clone(), current.url.clone()];
    let described_so_far = AtomicUsize::new(0);
    let aws =
        Fake::start(move |_| ok(described(&urls[described_so_far.fetch_add(1, Ordering::Relaxed).min(1)])));
    let aws = aws.await;
    let port = clusters(&aws, &TestTime::default());
    port.jobs(&cluster(), &stack()).await.unwrap();
    drop(former);
    tokio::task::yield_now().await; // its task ends, and with it the listener
    for _ in 0..2 {
        port.jobs(&cluster(), &stack()).await.unwrap();
    }
    assert_eq!((aws.lines().len(), current.lines().len()), (2, 2));
}

#[tokio::test]
async fn a_cluster_that_is_down_where_it_was_is_unreachable() {
    let (port, aws, kubernetes) = before([no_jobs()]).await;
    port.jobs(&cluster(), &stack()).await.unwrap();
    drop(kubernetes);
    tokio::task::yield_now().await;
    let (found, told) = fault(port.jobs(&cluster(), &stack()).await);
    assert_eq!(found, ClusterFault::Unreachable);
    assert!(told.contains("refused"), "{told}");
    assert_eq!(aws.lines().len(), 2);

    let aws = Fake::start(|_| ok(described("http://127.0.0.1:1"))).await;
    let port = clusters(&aws, &TestTime::default());
    assert_eq!(fault(port.jobs(&cluster(), &stack()).await).0, ClusterFault::Unreachable);
    assert_eq!(aws.lines().len(), 1, "what was described just now is not asked again");
}

#[tokio::test]
async fn a_cluster_that_is_gone_refuses() {
    let kubernetes = kubernetes([no_jobs()]).await;
    let (url, is_gone) = (kubernetes.url.clone(), Arc::<AtomicUsize>::default());
    let gone = is_gone.clone();
    let aws = Fake::start(move |_| match gone.load(Ordering::Relaxed) {
        0 => ok(described(&url)),
        _ => {
            let message = "No cluster found for name: Prod_1.";
            (404, json!({ "__type": "ResourceNotFoundException", "message": message }).to_string())
        }
    });
    let aws = aws.await;
    let port = clusters(&aws, &TestTime::default());
    port.jobs(&cluster(), &stack()).await.unwrap();
    drop(kubernetes);
    is_gone.store(1, Ordering::Relaxed);
    let (found, told) = fault(port.jobs(&cluster(), &stack()).await);
    assert_eq!(found, ClusterFault::Refused);
    assert!(told.contains("ResourceNotFoundException: No cluster found for name: Prod_1. (404)"), "{told}");
}

#[tokio::test]
async fn a_cluster_that_is_not_active_refuses_and_says_so() {
    for (key, value, wanted) in [
        ("status", json!("CREATING"), "cluster Prod_1 is CREATING"),
        ("status", json!("FAILED"), "cluster Prod_1 is FAILED"),
        ("endpoint", Value::Null, "cluster Prod_1 has no endpoint"),
        ("certificateAuthority", json!({}), "cluster Prod_1 has no certificate authority"),
        ("certificateAuthority", json!({ "data": "" }), "no certificate in it"),
        ("certificateAuthority", json!({ "data": "?" }), "unusable certificate authority"),
    ] {
        let mut body = described("http://127.0.0.1:1");
        body["cluster"][key] = value;
        let aws = Fake::start(move |_| ok(body.clone())).await;
        let (found, told) = fault(clusters(&aws, &TestTime::default()).jobs(&cluster(), &stack()).await);
        assert_eq!(found, ClusterFault::Refused, "{told}");
        assert!(told.contains(wanted), "{told}");
    }
}

#[tokio::test]
async fn an_aws_that_fails_is_unreachable() {
    for code in [429, 500, 503] {
        let aws = Fake::start(move |_| (code, json!({ "message": "later" }).to_string())).await;
        let (found, told) = fault(clusters(&aws, &TestTime::default()).jobs(&cluster(), &stack()).await);
        assert_eq!(found, ClusterFault::Unreachable, "{told}");
        assert_eq!(aws.lines(), [DESCRIBE], "it is not retried");
    }
}

#[tokio::test]
async fn tokens_and_endpoints_are_kept_for_a_while() {
    let kubernetes = kubernetes([no_jobs()]).await;
    let aws = aws_with(&kubernetes).await;
    let time = TestTime::default();
    let port = clusters(&aws, &time);
    let mut tokens = Vec::new();
    for minutes in [0, 9, 1, 4, 1] {
        time.pass_s(minutes * 60);
        port.jobs(&cluster(), &stack()).await.unwrap();
        tokens.push(kubernetes.seen().pop().unwrap().authorization);
    }
    let same: Vec<_> = tokens.windows(2).map(|pair| pair[0] == pair[1]).collect();
    assert_eq!(same, [true, false, true, true], "renewed after 10 minutes");
    assert_eq!(aws.lines().len(), 2, "described anew after 15 minutes");
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let page = |name: &str, more: &str| {
        let items = json!([{ "metadata": { "name": name }, "status": {} }]);
        let metadata = json!({ "continue": more });
        ok(json!({ "kind": "JobList", "apiVersion": "batch/v1", "metadata": metadata, "items": items }))
    };
    let (port, _aws, kubernetes) = before([page("a", "next"), page("b", "")]).await;
    let jobs = port.jobs(&cluster(), &stack()).await.unwrap();
    assert_eq!(jobs.iter().map(|job| job.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let queries: Vec<_> = kubernetes.seen().into_iter().map(|seen| seen.query).collect();
    assert!(!queries[0].contains("continue=") && queries[1].ends_with("continue=next"), "{queries:?}");
}

#[tokio::test]
async fn a_log_that_is_not_there_is_empty() {
    let message = "container \"main\" in pod \"p\" is waiting to start: ContainerCreating";
    for answer in [status(400, "BadRequest", message), status(404, "NotFound", "pods \"p\" not found")] {
        let (port, _aws, _kubernetes) = before([answer]).await;
        assert_eq!(port.log_tail(&cluster(), "p", "main", 5).await.unwrap(), "");
    }
    let (port, _aws, _kubernetes) = before([status(500, "InternalError", "kubelet")]).await;
    assert_eq!(fault(port.log_tail(&cluster(), "p", "main", 5).await).0, ClusterFault::Unreachable);
}

#[test]
fn a_logs_last_bytes_are_kept() {
    let log = format!("first\n{}é\nlast\n", "x".repeat(MOST_LOG));
    let kept = tail(log.as_bytes());
    assert!(kept.len() <= MOST_LOG && kept.ends_with("xé\nlast\n"), "{} bytes", kept.len());
    assert_eq!(tail(b"a\xffb"), "a\u{fffd}b");
}

#[tokio::test]
async fn a_role_is_assumed_for_its_cluster() {
    let kubernetes = kubernetes([no_jobs()]).await;
    let url = kubernetes.url.clone();
    let aws = Fake::start(move |seen| match seen.line.as_str() {
        DESCRIBE => ok(described(&url)),
        _ => (200, ASSUMED.to_owned()),
    });
    let aws = aws.await;
    let port = clusters(&aws, &TestTime::default());
    let role = Some("arn:aws:iam::123456789012:role/launcher".to_owned());
    port.jobs(&Cluster { role, ..cluster() }, &stack()).await.unwrap();
    assert_eq!(aws.lines(), ["POST /", DESCRIBE]);
    let [assume, describe] = aws.seen().try_into().unwrap();
    assert!(
        assume.body.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Flauncher"),
        "{assume:?}"
    );
    assert!(assume.authorization.contains("Credential=AKIDOWN/"), "{assume:?}");
    assert!(describe.authorization.contains("Credential=ASIAROLE/"), "{describe:?}");
    assert!(describe.authorization.contains("/eu-west-1/eks/"), "{describe:?}");
}

const ASSUMED: &str = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
    <Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
    <SessionToken>t</SessionToken><Expiration>2026-01-02T04:04:05Z</Expiration></Credentials>\
    </AssumeRoleResult></AssumeRoleResponse>";

#[tokio::test]
async fn a_role_that_may_not_be_assumed_refuses() {
    let denied = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User x is not \
                  authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>";
    let aws = Fake::start(move |_| (403, denied.to_owned())).await;
    let port = clusters(&aws, &TestTime::default());
    let role = Some("arn:aws:iam::123456789012:role/launcher".to_owned());
    let (found, told) = fault(port.jobs(&Cluster { role, ..cluster() }, &stack()).await);
    assert_eq!(found, ClusterFault::Refused);
    assert!(told.contains("AssumeRole: AccessDenied: User x is not authorized"), "{told}");
}

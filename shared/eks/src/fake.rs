//! AWS and a Kubernetes API server in one, for tests of what is asked of them: it answers as a test says, over plain
//! HTTP.

use std::sync::{Arc, Mutex, atomic::AtomicU64, atomic::Ordering};
use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_async::time::TimeSource;
use base64::{Engine, prelude::BASE64_STANDARD};
use fanfold_domain::cluster::Cluster;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{EksClusters, aws::Aws};

/// A request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Method and path, without the query.
    pub(crate) line: String,
    pub(crate) query: String,
    /// What it says for itself: a signature or a token.
    pub(crate) authorization: String,
    pub(crate) body: String,
}

pub(crate) type Answer = (u16, String);

/// A server, until it is dropped.
pub(crate) struct Fake {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    /// Answers each request as `answer` says of it.
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let task = tokio::spawn(serve(listener, seen.clone(), answer));
        Self { url, seen, task }
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Their lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }
}

/// One request a connection.
async fn serve(listener: TcpListener, seen: Arc<Mutex<Vec<Seen>>>, answer: impl Fn(&Seen) -> Answer) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = receive(&mut stream).await;
        let (status, body) = answer(&request);
        seen.lock().unwrap().push(request);
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all((head + &body).as_bytes()).await.unwrap();
    }
}

async fn receive(stream: &mut TcpStream) -> Seen {
    let mut bytes = Vec::new();
    loop {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the request ends before its end");
        let text = String::from_utf8(bytes.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| {
            let mut fields = head.lines().filter_map(|line| line.split_once(": "));
            fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        if body.len() < header("content-length").map_or(0, |length| length.parse().unwrap()) {
            continue;
        }
        let words: Vec<_> = head.split(' ').collect();
        let (path, query) = words[1].split_once('?').unwrap_or((words[1], ""));
        return Seen {
            line: format!("{} {path}", words[0]),
            query: query.to_owned(),
            authorization: header("authorization").unwrap_or_default(),
            body: body.to_owned(),
        };
    }
}

/// A clock that a test moves on.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestTime(Arc<AtomicU64>);

impl TestTime {
    pub(crate) fn pass_s(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl TimeSource for TestTime {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045 + self.0.load(Ordering::Relaxed))
    }
}

/// The port, with all of AWS at `fake`.
pub(crate) fn clusters(fake: &Fake, time: &TestTime) -> EksClusters {
    EksClusters::new(aws(fake, time))
}

pub(crate) fn aws(fake: &Fake, time: &TestTime) -> Aws {
    let credentials = Credentials::new("AKIDOWN", "secret", None, None, "test");
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(&fake.url)
        .time_source(time.clone())
        .build();
    Aws::new(&sdk)
}

pub(crate) fn cluster() -> Cluster {
    Cluster::parse("{cluster: one, eks: Prod_1, region: eu-west-1, worker_image: w}").unwrap()
}

/// What `DescribeCluster` says of a cluster there.
pub(crate) fn described(url: &str) -> Value {
    let data = BASE64_STANDARD.encode(include_str!("fake_ca.pem"));
    json!({ "cluster": {
        "name": "Prod_1", "status": "ACTIVE", "endpoint": url, "certificateAuthority": { "data": data },
    } })
}

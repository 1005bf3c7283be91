//! The samples in events/: each is what its function is sent, and together they are one run's journey.
//!
//! The handlers run on memory ports behind the code that reads SQS's batches, so that a sample is read as in
//! Lambda. What a service sends on must be what stands in the next service's sample.

#[path = "events/announced.rs"]
mod announced;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use fanfold_domain::{
    ETag, ObjectName, Origin, Run, RunId, RunState, Sequencer, StackId, cluster::Cluster, pipeline::Pipeline,
};
use fanfold_engine::plan::ScanLimits;
use fanfold_launcher::{Launcher, spec::Surroundings};
use fanfold_lifecycle::RunCache;
use fanfold_merger::Merger;
use fanfold_ports::{
    Fleet, KubePorts, Ledger, Ports, Queue,
    memory::{MemoryClusters, MemoryWeb, MemoryWorld, memory_ports},
};
use fanfold_runtime::sqs::{Delivery, SqsBatchResponse, SqsEvent, run_batch, run_whole_batch};
use fanfold_splitter::Splitter;
use fanfold_sweeper::{DeadQueue, LeftOff, Sweeper};
use fanfold_tracker::{Notes, Tracker};
use fanfold_worker::{Delivered, Worker};
use serde_json::Value;

const BUCKET: &str = "fanfold-inputbucket-1gq9vzk3mxr5t";
const KEY: &str = "orders/2025 november+ü.csv";
const SEQUENCER: &str = "00617F08299329D189";
/// What the samples say of the source.
const VERSION: &str = "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e";
const ETAG: &str = "8388a73df8df5044ee7483eccedec820";

/// A sample, as text.
fn sample(name: &str) -> String {
    read(&format!("../events/{name}"))
}

/// The pipeline of the samples.
fn orders() -> String {
    read("../examples/orders.yaml")
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The run of the samples, when its source has this version.
fn run_id(version: &str) -> RunId {
    let sequencer = Sequencer::new(SEQUENCER);
    let origin = Origin::Upload { bucket: BUCKET, key: KEY, version_or_etag: version, sequencer: &sequencer };
    RunId::derive("orders", &origin)
}

/// The services over one memory, in which the samples' source lies.
struct Stack {
    world: MemoryWorld,
    ports: Ports,
    etag: ETag,
}

impl Stack {
    fn new() -> Self {
        let (world, ports) = memory_ports();
        let etag = world.objects.insert(BUCKET, KEY, sample("orders.csv")).etag;
        Self { world, ports, etag }
    }

    /// A sample, with the entity tag that this memory gave the source, and without a version, which it keeps
    /// none of.
    fn event(&self, name: &str) -> SqsEvent {
        serde_json::from_str(&self.text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn text(&self, name: &str) -> String {
        let version = format!(r#"\"version-id\":\"{VERSION}\","#);
        sample(name)
            .replace(&version, "")
            .replace(ETAG, self.etag.as_str())
            .replace(run_id(VERSION).as_str(), run_id(self.etag.as_str()).as_str())
    }

    async fn split(&self, event: SqsEvent) -> SqsBatchResponse {
        self.split_by(&orders(), event).await
    }

    async fn split_by(&self, document: &str, event: SqsEvent) -> SqsBatchResponse {
        // Two chunks, as the samples have.
        let document = document.replace("records: 30000", "records: 2");
        let splitter = Splitter {
            ports: self.ports.clone(),
            maps: self.world.maps.clone(),
            work_bucket: "work".into(),
            input_bucket: BUCKET.into(),
            output_bucket: "output".into(),
            default_pipeline: Some(Pipeline::parse(&document).expect("events/orders.yaml is a pipeline")),
            scan_limits: ScanLimits::DEFAULT,
            reach: fanfold_domain::Reach::default(),
        };
        respond(run_batch(event, 1, async |message: Delivery| splitter.handle(&message.body).await).await)
    }

    fn worker(&self) -> Worker {
        let (ports, runs) = (self.ports.clone(), RunCache::default());
        let web = Arc::new(MemoryWeb::nobody(self.world.clock.clone()));
        let (work_bucket, inherited) = ("work".into(), BTreeMap::new());
        Worker { ports, web, functions: None, work_bucket, inherited, runs }
    }

    async fn worked(&self, body: &str) {
        self.worker().handle(Delivered::first(body), None).await.expect("the chunk was worked on");
    }

    async fn tracked(&self, bodies: Vec<String>) {
        assert!(self.tracker().handle(&bodies).await.is_empty());
    }

    async fn merged(&self, body: &str) {
        self.merger().handle(body).await.expect("it was folded");
    }

    async fn work(&self, event: SqsEvent) -> SqsBatchResponse {
        let worker = self.worker();
        let handle = async |message: Delivery| {
            let Delivery { id, body, receive_count, .. } = &message;
            worker.handle(Delivered { id, body, receive_count: *receive_count }, None).await
        };
        respond(run_batch(event, 1, handle).await)
    }

    fn tracker(&self) -> Tracker {
        Tracker {
            ports: self.ports.clone(),
            work_bucket: "work".into(),
            runs: RunCache::default(),
            notes: Notes::default(),
        }
    }

    async fn track(&self, event: SqsEvent) -> SqsBatchResponse {
        let tracker = self.tracker();
        let handle = async |batch: Vec<Delivery>| {
            let bodies: Vec<String> = batch.into_iter().map(|message| message.body).collect();
            tracker.handle(&bodies).await
        };
        respond(run_whole_batch(event, handle).await)
    }

    async fn track_dead(&self, event: SqsEvent) -> SqsBatchResponse {
        let tracker = self.tracker();
        respond(run_batch(event, 4, async |message: Delivery| tracker.handle_dead(&message.body).await).await)
    }

    fn merger(&self) -> Merger {
        Merger { ports: self.ports.clone(), work_bucket: "work".into() }
    }

    async fn merge(&self, event: SqsEvent) -> SqsBatchResponse {
        let merger = self.merger();
        respond(run_batch(event, 1, async |message: Delivery| merger.handle(&message.body).await).await)
    }

    /// Takes what was sent to a queue.
    fn sent(&self, queue: Queue) -> Vec<String> {
        self.world.queues.drain(queue).into_iter().map(|message| message.body).collect()
    }

    async fn run(&self) -> Run {
        let mut runs = self.world.ledger.recent_runs(2).await.expect("memory answers").items;
        assert_eq!(runs.len(), 1);
        runs.remove(0)
    }
}

fn respond<E: std::fmt::Display>(response: Result<SqsBatchResponse, E>) -> SqsBatchResponse {
    response.unwrap_or_else(|error| panic!("{error}"))
}

/// The messages of an event.
fn bodies(event: &SqsEvent) -> Vec<String> {
    event.records.iter().map(|message| message.body.clone().expect("a message has a body")).collect()
}

/// Messages as JSON, in the order of their text: queues keep none.
fn messages(bodies: &[String]) -> Vec<Value> {
    let mut sorted = bodies.to_vec();
    sorted.sort_unstable();
    sorted.iter().map(|body| serde_json::from_str(body).expect("a message is JSON")).collect()
}

/// `event` with one message more, which no service can read.
fn with_garbage(mut event: SqsEvent) -> SqsEvent {
    let mut garbage = event.records[0].clone();
    garbage.message_id = Some("garbage".into());
    garbage.body = Some("{\"v\":1}".into());
    event.records.push(garbage);
    event
}

fn failed(response: &SqsBatchResponse) -> Vec<&str> {
    response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_samples_are_one_run_from_upload_to_output() {
    let stack = Stack::new();

    let upload = stack.event("splitter.json");
    assert_eq!(failed(&stack.split(with_garbage(upload)).await), ["garbage"]);
    assert_eq!(stack.run().await.id, run_id(stack.etag.as_str()));

    let chunk = stack.event("worker.json");
    let chunks = stack.sent(Queue::Chunks);
    assert_eq!(messages(&bodies(&chunk)), messages(&chunks)[..1]);
    assert_eq!(failed(&stack.work(with_garbage(chunk.clone())).await), ["garbage"]);
    let mut other = chunk;
    other.records[0].body = chunks.iter().max().cloned();
    assert_eq!(failed(&stack.work(other).await), Vec::<&str>::new());

    let completions = stack.event("tracker.json");
    assert_eq!(messages(&bodies(&completions)), messages(&stack.sent(Queue::Completions)));
    assert_eq!(failed(&stack.track(with_garbage(completions)).await), ["garbage"]);

    let fold = stack.event("merger.json");
    assert_eq!(messages(&bodies(&fold)), messages(&stack.sent(Queue::Folds)));
    assert_eq!(failed(&stack.merge(with_garbage(fold)).await), ["garbage"]);

    let assembly = stack.event("merger-assemble.json");
    assert_eq!(messages(&bodies(&assembly)), messages(&stack.sent(Queue::Folds)));
    assert_eq!(failed(&stack.merge(with_garbage(assembly)).await), ["garbage"]);

    let run = stack.run().await;
    assert_eq!(run.state, RunState::Succeeded, "{:?}", run.reason);
    let output = ObjectName::new("output", format!("{KEY}_Output"));
    let lines = stack.world.objects.contents(&output).expect("the output is there");
    assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 4, "a header and three orders");
}

#[tokio::test(start_paused = true)]
async fn a_dead_chunk_becomes_a_failed_one() {
    let stack = Stack::new();
    stack.split(stack.event("splitter.json")).await;
    let dead = stack.event("tracker-chunks-dead.json");
    let source = dead.records[0].event_source_arn.as_deref().expect("a message has a source");
    assert!(source.contains("ChunksDeadQueue"), "{source}");
    assert_eq!(bodies(&dead), bodies(&stack.event("worker.json")));
    assert_eq!(failed(&stack.track_dead(with_garbage(dead)).await), ["garbage"]);
    let run = stack.run().await;
    assert_eq!(run.state, RunState::Failed);
    assert!(run.reason.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_launch_becomes_a_job() {
    let stack = Stack::new();
    let document = orders().replace("process: orders", "process: orders\n    run_on: eks");
    stack.split_by(&document, stack.event("splitter.json")).await;
    let launch = stack.event("launcher.json");
    assert_eq!(messages(&bodies(&launch)), messages(&stack.sent(Queue::Launches))[..1]);

    let cluster = Cluster::parse("{cluster: one, region: us-east-1, worker_image: w}").expect("it is one");
    stack.world.fleet.put_cluster(&cluster).await.expect("memory answers");
    let clusters = Arc::new(MemoryClusters::new(stack.world.clock.clone()));
    clusters.add("one");
    let surroundings = Surroundings {
        region: "us-east-1".into(),
        ledger_table: "ledger".into(),
        work_bucket: "work".into(),
        completions_queue_url: "http://queue".into(),
        whole_checksum: true,
    };
    let kube = KubePorts { fleet: stack.world.fleet.clone(), clusters: clusters.clone() };
    let (ports, own) = (stack.ports.clone(), StackId::of_ledger("ledger"));
    let launcher = Launcher { ports, kube, stack: own, surroundings, runs: RunCache::default() };
    let handle = async |message: Delivery| launcher.handle(&message.body).await;
    assert_eq!(failed(&respond(run_batch(with_garbage(launch), 1, handle).await)), ["garbage"]);
    assert_eq!(clusters.all_jobs("one").len(), 1);
}

/// The run of the samples, fanned out by a Map: its list's only line is the sample, and the rest is as by messages.
#[tokio::test(start_paused = true)]
async fn a_batch_of_a_map_is_told_of_as_its_chunks_are() {
    let stack = Stack::new();
    let document = orders().replace("stages:", "fan_out: { distributed-map: { batch: 2 } }\nstages:");
    stack.split_by(&document, stack.event("splitter.json")).await;
    let execution = stack.world.maps.executions().into_values().next().expect("one was started");
    let list = ObjectName::new(&execution.input.bucket, &execution.input.key);
    let list = stack.world.objects.contents(&list).expect("its list is there");
    let batch = stack.text("worker-batch.json");
    let read = |text: &[u8]| serde_json::from_slice::<Value>(text).expect("it is JSON");
    assert_eq!(read(&list), read(batch.as_bytes()));
    assert_eq!(stack.sent(Queue::Chunks), Vec::<String>::new());

    let worker = stack.worker();
    worker.handle_batch(&batch, None).await.expect("memory answers");
    let completions = bodies(&stack.event("tracker.json"));
    assert_eq!(messages(&completions), messages(&stack.sent(Queue::Completions)));
}

#[tokio::test(start_paused = true)]
async fn what_a_map_left_undone_goes_on_by_messages() {
    let stack = Stack::new();
    let document = orders().replace("stages:", "fan_out: distributed-map\nstages:");
    stack.split_by(&document, stack.event("splitter.json")).await;
    let told = stack.event("tracker-map.json");
    assert_eq!(failed(&stack.track(with_garbage(told)).await), ["garbage"]);
    // Of the child that failed, and again of the Map that ended.
    let chunks = stack.sent(Queue::Chunks);
    let chunk = bodies(&stack.event("worker.json")).remove(0);
    assert_eq!((chunks.len(), chunks.iter().filter(|sent| **sent == chunk).count()), (4, 2));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_not_delivered_goes_to_the_intake_again() {
    let stack = Stack::new();
    let (ports, maps) = (stack.ports.clone(), stack.world.maps.clone());
    let sweeper = Sweeper { ports, maps, work_bucket: "work".into(), left_off: LeftOff::default() };
    let event = stack.event("sweeper-events-dead.json");
    let sent = bodies(&event);
    let handle = async |message: Delivery| sweeper.handle_dead(DeadQueue::Events, &message.body).await;
    assert_eq!(failed(&respond(run_batch(event, 1, handle).await)), Vec::<&str>::new());
    assert_eq!(stack.sent(Queue::Intake), sent);
    assert_eq!(sent, bodies(&stack.event("splitter.json")));
}

#[test]
fn the_schedule_is_no_batch() {
    // How the sweeper tells them apart.
    assert!(serde_json::from_str::<SqsEvent>(&sample("sweeper.json")).is_err());
}

#[test]
fn every_sample_is_read_by_a_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    let here = [include_str!("events.rs"), include_str!("events/announced.rs")].concat();
    for entry in fs::read_dir(folder).expect("there are samples") {
        let name = entry.expect("a folder can be read").file_name().into_string().expect("names are text");
        assert!(here.contains(&format!("\"{name}\"")), "no test reads events/{name}");
    }
}

//! The worker on memory ports: a batch of a Distributed Map, and what is left of it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::{collections::BTreeMap, sync::Arc};

use fanfold_domain::{
    ByteRange, Chunk, ChunkIndex, GroupIndex, Grouping, LineEnd, Mark, ObjectName, Plan, Run, RunState, Sums,
    Timestamp, key, manifest,
    map::{Batch, BatchMessage},
    message::{ChunkEnd, ChunkMessage, Completion, decode, encode},
    pipeline::Pipeline,
};
use fanfold_lifecycle::RunCache;
use fanfold_ports::{
    Ledger, Objects, Ports, Queue,
    contract::sample_run,
    ledger::StageId,
    memory::{Faults, Invocation, MEMORY_EPOCH, MemoryClock, MemoryWeb, MemoryWorld, Rates},
};
use fanfold_worker::Worker;

const CHUNKS: u32 = 4;

/// A world with a run of four chunks of a line each, of a pipeline with this stage.
async fn world(faults: Faults, stage: &str) -> (MemoryWorld, Run) {
    let world = MemoryWorld::seeded(0, faults);
    let head = world.objects.insert("input", "in/a", "a\nb\nc\nd\n");
    let text = format!(
        "{{pipeline: p, source: {{format: lines}}, fan_out: distributed-map, stages: [{{name: s, {stage}}}]}}"
    );
    let mut run = sample_run("batched", MEMORY_EPOCH);
    run.pipeline = Pipeline::parse(&text).unwrap();
    run.state = RunState::Running;
    run.source.object = ObjectName::new("input", "in/a");
    (run.source.version, run.source.etag, run.source.size_bytes) = (None, head.etag, head.size_bytes);
    run.plan = Some(Plan {
        grouping: Grouping { chunks: CHUNKS, group_chunks: 8 },
        preamble: ByteRange::new(0, 0),
        header: None,
        line_end: LineEnd::Lf,
    });
    let mut manifest = String::new();
    for index in 0..CHUNKS {
        let start = u64::from(index) * 2;
        Chunk { index: ChunkIndex(index), range: ByteRange::new(start, start + 2) }.write_line(&mut manifest);
    }
    world.objects.insert("work", key::manifest(&run.id), manifest);
    world.ledger.create_run(&run).await.unwrap();
    (world, run)
}

fn worker(ports: Ports) -> Worker {
    let web = Arc::new(MemoryWeb::nobody(MemoryClock::seeded(0)));
    let (work_bucket, inherited, runs) = ("work".into(), BTreeMap::new(), RunCache::default());
    Worker { ports, web, functions: None, work_bucket, inherited, runs }
}

fn batch(run: &Run, first: u32, count: u32) -> String {
    encode(&BatchMessage::new(run, run.first_stage(), Batch { first: ChunkIndex(first), count }))
}

fn ends(world: &MemoryWorld) -> Vec<(u32, ChunkEnd)> {
    let messages = world.queues.drain(Queue::Completions);
    let read = |body: &str| decode::<Completion>(body).unwrap();
    messages.iter().map(|message| read(&message.body)).map(|told| (told.chunk.0, told.end)).collect()
}

/// The chunks that go on by the queue, and how many tries they had.
fn handed_on(world: &MemoryWorld) -> Vec<(u32, u32)> {
    let messages = world.queues.drain(Queue::Chunks);
    let read = |body: &str| decode::<ChunkMessage>(body).unwrap();
    messages.iter().map(|message| read(&message.body)).map(|sent| (sent.chunk.0, sent.failed_tries)).collect()
}

fn in_ms(worker: &Worker, ms: u64) -> Timestamp {
    worker.ports.clock.now().plus_ms(ms)
}

#[tokio::test]
async fn each_chunk_of_a_batch_becomes_a_part_and_a_completion() {
    let (world, run) = world(Faults::none(), "process: copy").await;
    worker(world.calm_ports()).handle_batch(&batch(&run, 1, 2), None).await.unwrap();
    let told: Vec<u32> = ends(&world).into_iter().map(|(chunk, _)| chunk).collect();
    assert_eq!((told, handed_on(&world)), (vec![1, 2], vec![]));
    for (chunk, is_there) in [(0, false), (1, true), (2, true), (3, false)] {
        let part = ObjectName::new("work", run.keys(&run.last_stage().name).part(ChunkIndex(chunk)));
        assert_eq!(world.objects.head(&part, None).await.unwrap().is_some(), is_there, "{chunk}");
    }
}

#[tokio::test]
async fn a_batch_that_is_given_again_makes_nothing_twice() {
    let (world, run) = world(Faults::none(), "process: copy").await;
    let worker = worker(world.calm_ports());
    worker.handle_batch(&batch(&run, 0, 4), None).await.unwrap();
    let first = ends(&world);
    worker.handle_batch(&batch(&run, 0, 4), None).await.unwrap();
    assert_eq!(ends(&world), first);
    let attempts = world.objects.keys("work").into_iter().filter(|key| key.ends_with(".statistics")).count();
    assert_eq!(attempts, 4);
}

#[tokio::test]
async fn a_chunk_that_failed_is_tried_again_by_the_queue_and_the_others_are_done() {
    let stage =
        "command: [/bin/sh, -c, 'case $FANFOLD_CHUNK in 1) exit 3;; *) cat;; esac'], retry: {attempts: 2}";
    let (world, run) = world(Faults::none(), stage).await;
    worker(world.calm_ports()).handle_batch(&batch(&run, 0, 3), None).await.unwrap();
    let done: Vec<u32> = ends(&world).into_iter().map(|(chunk, _)| chunk).collect();
    assert_eq!((done, handed_on(&world)), (vec![0, 2], vec![(1, 1)]));
}

#[tokio::test]
async fn a_chunk_without_another_try_has_failed() {
    let (world, run) = world(Faults::none(), "command: [/bin/sh, -c, 'exit 3'], retry: {attempts: 1}").await;
    worker(world.calm_ports()).handle_batch(&batch(&run, 2, 1), None).await.unwrap();
    let told = ends(&world);
    let [(2, ChunkEnd::Failed(failure))] = &told[..] else { panic!("{told:?}") };
    assert!(failure.reason.contains("after 1 tries"), "{}", failure.reason);
    assert_eq!(handed_on(&world), []);
}

#[tokio::test]
async fn chunks_for_which_there_is_no_time_go_on_by_the_queue_untried() {
    let (world, run) = world(Faults::none(), "process: copy").await;
    let worker = worker(world.calm_ports());
    // Enough for an attempt that is under way, and not for another.
    worker.handle_batch(&batch(&run, 0, 4), Some(in_ms(&worker, 19_000))).await.unwrap();
    assert_eq!((ends(&world).len(), handed_on(&world)), (1, vec![(1, 0), (2, 0), (3, 0)]));
}

#[tokio::test]
async fn an_attempt_that_was_begun_late_and_stopped_counts_as_none() {
    let stage = "command: [/bin/sh, -c, 'case $FANFOLD_CHUNK in 0) cat;; *) sleep 600;; esac'], timeout: 10m";
    let (world, run) = world(Faults::none(), stage).await;
    let worker = worker(world.calm_ports());
    worker.handle_batch(&batch(&run, 0, 3), Some(in_ms(&worker, 21_500))).await.unwrap();
    assert_eq!((ends(&world).len(), handed_on(&world)), (1, vec![(1, 0), (2, 0)]));
}

/// Or else a chunk that never gets done would never fail.
#[tokio::test]
async fn the_first_attempt_of_a_batch_counts_though_it_was_stopped() {
    let (world, run) = world(Faults::none(), "command: [/bin/sleep, '600'], timeout: 10m").await;
    let worker = worker(world.calm_ports());
    worker.handle_batch(&batch(&run, 0, 2), Some(in_ms(&worker, 15_200))).await.unwrap();
    assert_eq!((ends(&world), handed_on(&world)), (vec![], vec![(0, 1), (1, 0)]));
}

#[tokio::test]
async fn a_batch_of_an_express_child_ends_before_its_child_does() {
    let (world, run) = world(Faults::none(), "process: copy, timeout: 10s").await;
    let message: BatchMessage = decode(&batch(&run, 0, 4)).unwrap();
    let short = BatchMessage { time_ms: Some(19_000), ..message };
    let worker = worker(world.calm_ports());
    worker.handle_batch(&encode(&short), Some(in_ms(&worker, 900_000))).await.unwrap();
    assert_eq!((ends(&world).len(), handed_on(&world).len()), (1, 3));
}

/// A Map is given all chunks of its stage, those that failed before it began as well.
#[tokio::test]
async fn a_chunk_that_failed_with_what_it_reads_fails_for_that_and_the_rest_of_its_batch_is_done() {
    let (world, run) = world(Faults::none(), "process: copy}, {name: t, process: copy").await;
    let keys = run.keys("s");
    for done in [0, 2] {
        world.objects.insert("work", keys.part(ChunkIndex(done)), "a\n");
    }
    let mark = |chunk, mark| (ChunkIndex(chunk), mark);
    let done = |chunk| mark(chunk, Mark::Done(Sums::default()));
    let marks = [done(0), mark(1, Mark::Failed), done(2), done(3)];
    world.ledger.mark(&StageId::of(&run, "s"), GroupIndex(0), &marks, &[]).await.unwrap();
    let whole = Batch { first: ChunkIndex(0), count: CHUNKS };
    let batch = encode(&BatchMessage::new(&run, run.last_stage(), whole));
    worker(world.calm_ports()).handle_batch(&batch, None).await.unwrap();
    let told = ends(&world);
    let [
        (0, ChunkEnd::Done(_)),
        (1, ChunkEnd::Failed(read)),
        (2, ChunkEnd::Done(_)),
        (3, ChunkEnd::Failed(lost)),
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(read.reason, "chunk 1 of stage s, which it reads, failed");
    assert!(lost.reason.ends_with("the work bucket must keep it until the run ends"), "{}", lost.reason);
    assert_eq!(handed_on(&world), []);
}

#[tokio::test]
async fn an_ended_run_is_not_worked_on() {
    let (world, run) = world(Faults::none(), "process: copy").await;
    world.ledger.save_run(&Run { state: RunState::Failed, ..run.clone() }).await.unwrap();
    worker(world.calm_ports()).handle_batch(&batch(&run, 0, 4), None).await.unwrap();
    assert_eq!(world.queues.pending(), []);
}

/// The state machine tries an error again by what kind it is.
#[tokio::test]
async fn a_batch_that_another_try_may_do_fails_otherwise_than_one_that_none_will() {
    let (calm, run) = world(Faults::none(), "process: copy").await;
    let unknown = batch(&run, 0, 4).replacen("\"v\":1", "\"v\":2", 1);
    assert!(worker(calm.calm_ports()).handle_batch(&unknown, None).await.unwrap_err().is_permanent());
    let beyond = worker(calm.calm_ports()).handle_batch(&batch(&run, 9, 1), None).await.unwrap_err();
    assert!(!matches!(&beyond, fanfold_worker::WorkerError::Port(_)), "{beyond}");
    let rates = Rates { transient: 10_000, ..Rates::NONE };
    let (rough, run) = world(Faults::seeded(0, rates), "process: copy").await;
    let ports = rough.ports(&Invocation::new("worker"));
    assert!(!worker(ports).handle_batch(&batch(&run, 0, 4), None).await.unwrap_err().is_permanent());
    assert_eq!(manifest::LINE_BYTES, 66);
}

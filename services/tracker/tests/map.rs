//! The tracker on memory ports: what a Distributed Map tells, and what goes on by queues.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use fanfold_domain::{
    ByteRange, ChunkIndex, GroupIndex, Grouping, LaunchIndex, LineEnd, Mark, Plan, Run, RunState, Sums,
    map::{Batch, BatchMessage, ChildFailure, Item, MapEnd, MapMessage},
    message::{ChunkEnd, ChunkMessage, Completion, LaunchMessage, decode, encode},
    pipeline::Pipeline,
};
use fanfold_lifecycle::RunCache;
use fanfold_ports::{
    Clock, Ledger, Queue,
    contract::sample_run,
    ledger::{Freshness, StageId},
    memory::{MEMORY_EPOCH, MemoryWorld, memory_ports},
};
use fanfold_tracker::{Notes, Tracker};

const DIED: &str = "Runtime.ExitError";
const THROTTLED: &str = "Lambda.TooManyRequestsException";

/// A world with a running run of `chunks` chunks in groups of four that a Map fans out, and its tracker.
async fn running(chunks: u32, stage: &str) -> (MemoryWorld, Tracker, Run) {
    let text = format!(
        "{{pipeline: p, source: {{format: lines}}, fan_out: distributed-map, \
         stages: [{{name: s, process: copy, max_concurrency: 3, {stage}}}], on_error: {{tolerate_failed_chunks: 2}}}}"
    );
    let mut run = sample_run("mapped", MEMORY_EPOCH);
    run.pipeline = Pipeline::parse(&text).unwrap();
    run.state = RunState::Running;
    run.plan = Some(Plan {
        grouping: Grouping { chunks, group_chunks: 4 },
        preamble: ByteRange::new(0, 0),
        header: None,
        line_end: LineEnd::Lf,
    });
    let (world, ports) = memory_ports();
    world.ledger.create_run(&run).await.unwrap();
    let tracker =
        Tracker { ports, work_bucket: "work".into(), runs: RunCache::default(), notes: Notes::default() };
    (world, tracker, run)
}

async fn mark(world: &MemoryWorld, run: &Run, chunks: impl IntoIterator<Item = u32>) {
    let grouping = run.plan.as_ref().unwrap().grouping;
    for chunk in chunks.into_iter().map(ChunkIndex) {
        let marks = [(chunk, Mark::Done(Sums::default()))];
        world.ledger.mark(&StageId::last_of(run), grouping.group_of(chunk), &marks, &[]).await.unwrap();
    }
}

fn child_failed(run: &Run, first: u32, count: u32, error: &str) -> String {
    let batch = Batch { first: ChunkIndex(first), count };
    let item = Item::Batch(BatchMessage::new(run, run.first_stage(), batch));
    let cause = r#"{"errorType":"x","errorMessage":"signal: killed"}"#.to_owned();
    encode(&MapMessage::ChildFailed(ChildFailure { item, error: error.to_owned(), cause }))
}

fn map_ended(run: &Run) -> String {
    let StageId { run, stage, generation } = StageId::last_of(run);
    encode(&MapMessage::MapEnded(MapEnd { run, stage, generation }))
}

async fn handle(tracker: &Tracker, body: String) {
    assert!(tracker.handle(&[body]).await.is_empty());
}

fn sent_chunks(world: &MemoryWorld) -> Vec<u32> {
    let messages = world.queues.drain(Queue::Chunks);
    messages.iter().map(|message| decode::<ChunkMessage>(&message.body).unwrap().chunk.0).collect()
}

/// The message with which it looks again, if there is one.
fn again(world: &MemoryWorld) -> Option<String> {
    let mut messages = world.queues.drain(Queue::Completions);
    assert!(messages.len() <= 1 && messages.iter().all(|message| message.delay_s > 0), "{messages:?}");
    messages.pop().map(|message| message.body)
}

async fn now(world: &MemoryWorld, run: &Run) -> Run {
    world.ledger.run(&run.id, Freshness::Consistent).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_end_of_a_chunk_releases_none() {
    let (world, tracker, run) = running(8, "").await;
    let StageId { run: id, stage, generation } = StageId::last_of(&run);
    let end = ChunkEnd::Done(Sums::default());
    handle(
        &tracker,
        encode(&Completion { run: id, stage, generation, chunk: ChunkIndex(0), end, sent: Vec::new() }),
    )
    .await;
    assert_eq!(world.queues.pending(), []);
}

#[tokio::test]
async fn the_only_chunk_of_a_child_whose_worker_died_fails_with_the_childs_reason() {
    let (world, tracker, run) = running(8, "").await;
    handle(&tracker, child_failed(&run, 5, 1, DIED)).await;
    let count = world.ledger.group(&StageId::last_of(&run), GroupIndex(1)).await.unwrap();
    assert_eq!(count.failed.into_iter().collect::<Vec<_>>(), [ChunkIndex(5)]);
    let failures = world.ledger.failures(&StageId::last_of(&run), 9).await.unwrap();
    assert!(failures[0].1.reason.ends_with("Runtime.ExitError: signal: killed"), "{failures:?}");
    assert_eq!((sent_chunks(&world), now(&world, &run).await.state), (vec![], RunState::Running));
}

#[tokio::test]
async fn a_child_that_has_a_part_though_it_failed_is_done() {
    let (world, tracker, run) = running(8, "").await;
    mark(&world, &run, [5]).await;
    handle(&tracker, child_failed(&run, 5, 1, DIED)).await;
    let count = world.ledger.group(&StageId::last_of(&run), GroupIndex(1)).await.unwrap();
    assert_eq!((count.failed.len(), world.queues.pending()), (0, vec![]));
}

#[tokio::test]
async fn who_of_a_batch_is_to_blame_is_found_out_by_the_queue() {
    let (world, tracker, run) = running(8, "").await;
    mark(&world, &run, [2]).await;
    handle(&tracker, child_failed(&run, 2, 4, DIED)).await;
    assert_eq!(sent_chunks(&world), [3, 4, 5]);
    assert_eq!(now(&world, &run).await.state, RunState::Running);
}

#[tokio::test]
async fn a_chunk_that_no_worker_was_given_has_not_failed() {
    let (world, tracker, run) = running(8, "").await;
    handle(&tracker, child_failed(&run, 5, 1, THROTTLED)).await;
    assert_eq!(sent_chunks(&world), [5]);
}

#[tokio::test(start_paused = true)]
async fn what_a_map_left_undone_goes_on_within_the_stages_window() {
    let (world, tracker, run) = running(12, "").await;
    mark(&world, &run, [0, 1, 4]).await;
    let look = async || {
        handle(&tracker, again(&world).unwrap_or_else(|| map_ended(&run))).await;
        world.clock.sleep_ms(20_000).await;
        sent_chunks(&world)
    };
    assert_eq!(look().await, [2, 3, 5]);
    // Nothing has ended since: nothing more is sent.
    assert!(look().await.is_empty());
    mark(&world, &run, [3, 5]).await;
    assert_eq!(look().await, [6, 7]);
    mark(&world, &run, [2, 6, 7, 8, 9, 10]).await;
    assert_eq!(look().await, [11]);
    mark(&world, &run, [11]).await;
    handle(&tracker, again(&world).unwrap()).await;
    assert_eq!(world.queues.pending(), []);
}

#[tokio::test]
async fn a_map_that_left_nothing_undone_needs_nothing() {
    let (world, tracker, run) = running(5, "").await;
    mark(&world, &run, 0..5).await;
    handle(&tracker, map_ended(&run)).await;
    assert_eq!(world.queues.pending(), []);
}

/// Were each that comes twice sent on, they would double each time.
#[tokio::test(start_paused = true)]
async fn however_often_the_end_is_told_there_is_one_look_at_a_time() {
    let (world, tracker, run) = running(12, "").await;
    let told = vec![map_ended(&run); 3];
    assert!(tracker.handle(&told).await.is_empty());
    assert_eq!(sent_chunks(&world), [0, 1, 2]);
    assert_eq!(world.queues.drain(Queue::Completions).len(), 1);
    // The sweeper tells it too, whenever it looks.
    world.clock.sleep_ms(60_000).await;
    assert!(tracker.handle(&told).await.is_empty());
    assert!(sent_chunks(&world).is_empty());
    assert_eq!(world.queues.drain(Queue::Completions).len(), 1);
}

/// Each looks for itself, and none again for the other's having looked.
#[tokio::test(start_paused = true)]
async fn what_the_maps_of_two_stages_left_undone_goes_on_side_by_side() {
    let (world, tracker, mut run) = running(12, "").await;
    let stage =
        |name: &str| format!("{{name: {name}, process: copy, max_concurrency: 3, depends: {{stage: s}}}}");
    let text = format!(
        "{{pipeline: p, source: {{format: lines}}, fan_out: distributed-map, \
         stages: [{{name: s, process: copy}}, {}, {}]}}",
        stage("b"),
        stage("c")
    );
    run.pipeline = Pipeline::parse(&text).unwrap();
    world.ledger.save_run(&run).await.unwrap();
    let ended = |stage: &str| {
        let StageId { run, stage, generation } = StageId::of(&run, stage);
        encode(&MapMessage::MapEnded(MapEnd { run, stage, generation }))
    };
    let mut bodies = vec![ended("b"), ended("c")];
    for expected in [vec![0, 1, 2, 0, 1, 2], vec![]] {
        for body in bodies {
            handle(&tracker, body).await;
        }
        assert_eq!(sent_chunks(&world), expected);
        world.clock.sleep_ms(20_000).await;
        bodies = world.queues.drain(Queue::Completions).into_iter().map(|message| message.body).collect();
        assert_eq!(bodies.len(), 2);
    }
}

#[tokio::test]
async fn launches_that_have_not_ended_are_sent_whole() {
    let (world, tracker, run) = running(20, "run_on: eks").await;
    // Three launches of seven, seven and six chunks.
    mark(&world, &run, (0..7).chain([8])).await;
    handle(&tracker, map_ended(&run)).await;
    let sent = world.queues.drain(Queue::Launches);
    let sent: Vec<LaunchMessage> = sent.iter().map(|message| decode(&message.body).unwrap()).collect();
    let told: Vec<_> = sent.iter().map(|launch| (launch.launch, launch.chunks.to_string())).collect();
    assert_eq!(told, [(LaunchIndex(1), "7-13".to_owned()), (LaunchIndex(2), "14-19".to_owned())]);
    assert_eq!(world.queues.pending(), []);
}

#[tokio::test]
async fn a_launch_that_failed_fails_its_chunks_unless_nobody_had_it() {
    let (world, tracker, run) = running(20, "run_on: eks").await;
    let StageId { run: id, stage, generation } = StageId::last_of(&run);
    let chunks = (0..2).map(ChunkIndex).collect();
    let launch = LaunchMessage {
        run: id,
        stage,
        generation,
        launch: LaunchIndex(0),
        launch_generation: 0,
        chunks,
        waited: 0,
    };
    let failed = |error: &str| {
        let (item, error, cause) = (Item::Launch(launch.clone()), error.to_owned(), "why".to_owned());
        encode(&MapMessage::ChildFailed(ChildFailure { item, error, cause }))
    };
    handle(&tracker, failed(THROTTLED)).await;
    let sent = world.queues.drain(Queue::Launches);
    assert_eq!(decode::<LaunchMessage>(&sent[0].body).unwrap(), launch);
    handle(&tracker, failed(fanfold_domain::map::PERMANENT)).await;
    let count = world.ledger.group(&StageId::last_of(&run), GroupIndex(0)).await.unwrap();
    assert_eq!((count.failed.len(), now(&world, &run).await.state), (2, RunState::Running));
}

#[tokio::test]
async fn of_an_ended_run_nothing_goes_on() {
    let (world, tracker, run) = running(5, "").await;
    world.ledger.save_run(&Run { state: RunState::Cancelled, ..run.clone() }).await.unwrap();
    for body in [map_ended(&run), child_failed(&run, 0, 1, DIED), child_failed(&run, 0, 2, DIED)] {
        handle(&tracker, body).await;
    }
    assert_eq!(world.queues.pending(), []);
}

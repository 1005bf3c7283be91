//! The sweeper on memory ports: runs whose Distributed Map told nobody of its end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use fanfold_domain::{
    ByteRange, ChunkIndex, GroupIndex, Grouping, LineEnd, Mark, Plan, Run, RunState, Sums, Timestamp,
    map::{MapEnd, MapInput, MapMessage},
    message::{decode, encode},
    pipeline::Pipeline,
};
use fanfold_ports::{
    Clock, Ledger, Maps, Queue,
    contract::sample_run,
    ledger::{CreatedOwner, StageId},
    memory::{MEMORY_EPOCH, MemoryWorld, memory_ports},
};
use fanfold_sweeper::{DeadQueue, LeftOff, Sweeper};

const MINUTE: u64 = 60_000;
const NEVER: Timestamp = Timestamp(u64::MAX);

/// A world with a running run of three chunks that a Map fans out, one of them done, six minutes ago.
async fn world(fan_out: &str) -> (MemoryWorld, Sweeper, Run) {
    let (world, ports) = memory_ports();
    let text = format!(
        "{{pipeline: p, source: {{format: lines}}, fan_out: {fan_out}, stages: [{{name: s, process: copy, timeout: 2m}}]}}"
    );
    let mut run = sample_run("swept", MEMORY_EPOCH);
    run.pipeline = Pipeline::parse(&text).unwrap();
    run.state = RunState::Running;
    run.plan = Some(Plan {
        grouping: Grouping { chunks: 3, group_chunks: 4 },
        preamble: ByteRange::new(0, 0),
        header: None,
        line_end: LineEnd::Lf,
    });
    let CreatedOwner::Now(run) = world.ledger.create_run_as_owner(&run).await.unwrap() else {
        panic!("it was there")
    };
    let run = *run;
    mark(&world, &run, &[1]).await;
    world.clock.sleep_ms(6 * MINUTE).await;
    let maps = world.maps.clone();
    (world, Sweeper { ports, maps, work_bucket: "work".into(), left_off: LeftOff::default() }, run)
}

async fn mark(world: &MemoryWorld, run: &Run, chunks: &[u32]) {
    let marks: Vec<_> =
        chunks.iter().map(|chunk| (ChunkIndex(*chunk), Mark::Done(Sums::default()))).collect();
    world.ledger.mark(&StageId::last_of(run), GroupIndex(0), &marks, &[]).await.unwrap();
}

fn input(run: &Run) -> MapInput {
    MapInput::new(run, run.first_stage(), "work", 3, 3)
}

/// What the tracker is told, and after how many seconds.
fn told(world: &MemoryWorld) -> Vec<(MapMessage, u32)> {
    let messages = world.queues.drain(Queue::Completions);
    messages.iter().map(|message| (decode(&message.body).unwrap(), message.delay_s)).collect()
}

fn end(run: &Run) -> MapMessage {
    let StageId { run, stage, generation } = StageId::last_of(run);
    MapMessage::MapEnded(MapEnd { run, stage, generation })
}

#[tokio::test(start_paused = true)]
async fn a_map_that_is_under_way_is_left_alone() {
    let (world, sweeper, run) = world("distributed-map").await;
    world.maps.start(&input(&run)).await.unwrap();
    sweeper.sweep(NEVER).await.unwrap();
    assert_eq!(told(&world), []);
}

#[tokio::test(start_paused = true)]
async fn a_map_that_ended_without_a_word_is_told_of() {
    let (world, sweeper, run) = world("distributed-map").await;
    world.maps.start(&input(&run)).await.unwrap();
    world.maps.end(&input(&run).name(), "ABORTED");
    sweeper.sweep(NEVER).await.unwrap();
    assert_eq!(told(&world), [(end(&run), 0)]);
    // Not again before that had time.
    sweeper.sweep(NEVER).await.unwrap();
    assert_eq!(told(&world), []);
}

#[tokio::test(start_paused = true)]
async fn a_map_that_never_was_is_one_that_has_ended() {
    let (world, sweeper, run) = world("distributed-map").await;
    sweeper.sweep(NEVER).await.unwrap();
    assert_eq!(told(&world), [(end(&run), 0)]);
}

/// It may be started at this very moment.
#[tokio::test(start_paused = true)]
async fn a_map_of_a_stage_that_is_not_begun_has_not_ended() {
    let (world, sweeper, mut run) = world("distributed-map").await;
    let text = "{pipeline: p, source: {format: lines}, fan_out: distributed-map, \
                stages: [{name: r, process: copy}, {name: s, process: copy}]}";
    run.pipeline = Pipeline::parse(text).unwrap();
    world.ledger.mark_folded(&StageId::first_of(&run), GroupIndex(0), Sums::default()).await.unwrap();
    mark_first(&world, &run).await;
    for (begun, count) in [(Vec::new(), 0), (vec!["s".to_owned()], 1)] {
        let now = world.ledger.run(&run.id, fanfold_ports::ledger::Freshness::Consistent).await.unwrap();
        let now = Run { begun_stages: begun, pipeline: run.pipeline.clone(), ..now.unwrap() };
        world.ledger.save_run(&now).await.unwrap();
        world.clock.sleep_ms(6 * MINUTE).await;
        sweeper.sweep(NEVER).await.unwrap();
        assert_eq!(told(&world).len(), count);
    }
}

/// The chunks of the first stage.
async fn mark_first(world: &MemoryWorld, run: &Run) {
    let marks = [0, 1, 2].map(|chunk| (ChunkIndex(chunk), Mark::Done(Sums::default())));
    world.ledger.mark(&StageId::first_of(run), GroupIndex(0), &marks, &[]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stage_all_of_which_has_ended_needs_no_map() {
    let (world, sweeper, run) = world("distributed-map").await;
    mark(&world, &run, &[0, 2]).await;
    sweeper.sweep(NEVER).await.unwrap();
    assert_eq!(told(&world), []);
}

#[tokio::test(start_paused = true)]
async fn a_run_by_queues_has_no_map() {
    let (world, sweeper, _) = world("sqs").await;
    sweeper.sweep(NEVER).await.unwrap();
    assert_eq!(told(&world), []);
}

#[tokio::test(start_paused = true)]
async fn what_a_map_told_and_nobody_could_do_is_told_again() {
    let (world, sweeper, run) = world("distributed-map").await;
    let body = encode(&end(&run));
    sweeper.handle_dead(DeadQueue::Completions, &body).await.unwrap();
    assert_eq!(told(&world), [(end(&run), 60)]);
}

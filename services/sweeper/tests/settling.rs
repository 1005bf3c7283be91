//! The sweeper on memory ports: ends that nobody announced, and runs that are to be cleaned.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use fanfold_domain::{
    Cleaning, Run, RunState, Timestamp,
    message::{FoldMessage, decode, encode},
    pipeline::CleanupOn,
};
use fanfold_ports::{
    Clock, Ledger, Queue,
    contract::sample_run,
    ledger::Freshness,
    memory::{Faults, Invocation, MEMORY_EPOCH, MemoryWorld},
};
use fanfold_sweeper::{DeadQueue, LeftOff, Sweeper};

const MINUTE: u64 = 60_000;
const NEVER: Timestamp = Timestamp(u64::MAX);

/// A world with a run that failed just now, which nobody has announced.
async fn ended(on: CleanupOn) -> (MemoryWorld, Sweeper, Run) {
    let world = MemoryWorld::seeded(0, Faults::none());
    let mut run = sample_run("settled", MEMORY_EPOCH);
    run.pipeline.cleanup.on = on;
    run.reason = Some("it was to".to_owned());
    let run = run.advanced(RunState::Failed, MEMORY_EPOCH).unwrap();
    world.ledger.create_run(&run).await.unwrap();
    let ports = world.ports(&Invocation::new("sweeper"));
    let maps = world.maps.clone();
    (world, Sweeper { ports, maps, work_bucket: "work".into(), left_off: LeftOff::default() }, run)
}

async fn now(world: &MemoryWorld, run: &Run) -> Run {
    world.ledger.run(&run.id, Freshness::Consistent).await.unwrap().unwrap()
}

async fn sweep_after(world: &MemoryWorld, sweeper: &Sweeper, minutes: u64) -> Vec<FoldMessage> {
    world.clock.sleep_ms(minutes * MINUTE).await;
    sweeper.sweep(NEVER).await.unwrap();
    world.queues.drain(Queue::Folds).iter().map(|message| decode(&message.body).unwrap()).collect()
}

fn cleanup(run: &Run) -> FoldMessage {
    FoldMessage::Cleanup { run: run.id.clone(), generation: run.generation }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_nobody_announced_is_announced_after_a_minute_and_once() {
    let (world, sweeper, run) = ended(CleanupOn::Never).await;
    sweeper.sweep(NEVER).await.unwrap();
    assert_eq!(world.events.all(), [], "whoever ended it may be about to");
    for _ in 0..3 {
        sweep_after(&world, &sweeper, 1).await;
    }
    let events = world.events.all();
    assert_eq!((events.len(), events[0].detail_type), (1, "Run Failed"));
    let run = now(&world, &run).await;
    assert!(run.is_settled());
    assert_eq!(run.updated_at, MEMORY_EPOCH, "it ended no later for that");
    assert_eq!(world.ledger.unfinished_runs(None, 10).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn an_announcement_that_the_bus_refuses_is_tried_at_every_sweep() {
    let (world, sweeper, run) = ended(CleanupOn::Never).await;
    world.faults.refuse("the bus");
    for _ in 0..2 {
        world.clock.sleep_ms(MINUTE).await;
        assert!(sweeper.sweep(NEVER).await.unwrap_err().to_string().contains("the bus"));
    }
    assert!(!now(&world, &run).await.is_settled());
    let mended = Sweeper { ports: world.calm_ports(), ..sweeper };
    sweep_after(&world, &mended, 1).await;
    assert!(now(&world, &run).await.is_settled());
    assert_eq!(world.events.all().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_announcement_that_the_bus_refuses_for_a_day_is_given_up() {
    let (world, sweeper, run) = ended(CleanupOn::Never).await;
    world.faults.refuse("the bus");
    world.clock.sleep_ms(24 * 60 * MINUTE).await;
    sweeper.sweep(NEVER).await.unwrap();
    assert!(now(&world, &run).await.is_settled());
    assert_eq!(world.events.all(), []);
}

#[tokio::test(start_paused = true)]
async fn a_run_is_cleaned_once_its_end_is_announced_and_its_last_attempt_is_over() {
    let (world, sweeper, run) = ended(CleanupOn::Always).await;
    assert_eq!(sweep_after(&world, &sweeper, 19).await, [], "an attempt may still go on");
    assert_eq!(sweep_after(&world, &sweeper, 1).await, [cleanup(&run)]);
    let Cleaning::Asked(_) = now(&world, &run).await.cleaning else { panic!("a redrive would repeat it") };
    assert_eq!(sweep_after(&world, &sweeper, 5).await, [], "it may be under way");
    assert_eq!(sweep_after(&world, &sweeper, 15).await, [cleanup(&run)], "its message was lost");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_cleaned_before_its_end_is_announced() {
    let (world, sweeper, run) = ended(CleanupOn::Always).await;
    world.faults.refuse("the bus");
    world.clock.sleep_ms(60 * MINUTE).await;
    assert!(sweeper.sweep(NEVER).await.is_err());
    assert_eq!((world.queues.pending(), now(&world, &run).await.cleaning), (Vec::new(), Cleaning::NotBegun));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_to_keep_its_work_objects_keeps_them() {
    for on in [CleanupOn::Never, CleanupOn::Succeeded] {
        let (world, sweeper, _) = ended(on).await;
        assert_eq!(sweep_after(&world, &sweeper, 60).await, []);
        assert_eq!(world.ledger.unfinished_runs(None, 10).await.unwrap(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cleaning_that_died_is_not_asked_for_again() {
    let (world, sweeper, run) = ended(CleanupOn::Always).await;
    sweep_after(&world, &sweeper, 1).await;
    assert_eq!(sweep_after(&world, &sweeper, 20).await, [cleanup(&run)]);
    sweeper.handle_dead(DeadQueue::Folds, &encode(&cleanup(&run))).await.unwrap();
    let Cleaning::GivenUp(_) = now(&world, &run).await.cleaning else { panic!("it was given up") };
    assert_eq!(sweep_after(&world, &sweeper, 60).await, []);
}

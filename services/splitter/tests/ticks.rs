//! Ticks of schedules: which run each begins, and of what.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use fanfold_domain::{Milestone, ObjectName, Run, RunState, message::tick_of, pipeline::Pipeline};
use fanfold_engine::plan::ScanLimits;
use fanfold_ports::{
    Ledger,
    memory::{Faults, Invocation, MemoryWorld, memory_ports},
};
use fanfold_splitter::Splitter;
use serde_json::Value;

const PIPELINE: &str =
    "pipeline: p\nsource: {prefix: in/, format: lines}\nstages: [{name: s, process: index}]\n";
const SCHEDULE: &str = "schedule: {rate: 5 minutes, object: sales/all.csv}\n";
const KEY: &str = "sales/all.csv";
const SIX: &str = "2025-11-21T06:00:00Z";

fn splitter(schedule: &str) -> (MemoryWorld, Splitter) {
    let (world, ports) = memory_ports();
    let splitter = Splitter {
        ports,
        maps: world.maps.clone(),
        work_bucket: "work".into(),
        input_bucket: "input".into(),
        output_bucket: "output".into(),
        default_pipeline: Some(Pipeline::parse(&format!("{PIPELINE}{schedule}")).unwrap()),
        scan_limits: ScanLimits::DEFAULT,
        reach: fanfold_domain::Reach::default(),
    };
    (world, splitter)
}

async fn runs(world: &MemoryWorld) -> Vec<Run> {
    world.ledger.recent_runs(10).await.unwrap().items
}

#[tokio::test]
async fn each_tick_is_a_run_of_the_object_as_it_is_then() {
    let (world, splitter) = splitter(SCHEDULE);
    let first = world.objects.insert("input", KEY, "a\n").etag;
    splitter.handle(&tick_of("p", SIX)).await.unwrap();
    let second = world.objects.insert("input", KEY, "b\n").etag;
    splitter.handle(&tick_of("p", "2025-11-21T06:05:00Z")).await.unwrap();
    let mut etags: Vec<_> = runs(&world).await.into_iter().map(|run| run.source.etag).collect();
    etags.sort_by_key(|etag| *etag != first);
    assert_eq!(etags, [first, second]);
}

#[tokio::test]
async fn a_tick_that_comes_again_is_the_same_run_whatever_became_of_its_object() {
    let (world, splitter) = splitter(SCHEDULE);
    let pinned = world.objects.insert("input", KEY, "a\n").etag;
    for _ in 0..2 {
        splitter.handle(&tick_of("p", SIX)).await.unwrap();
        world.objects.remove(&ObjectName::new("input", KEY));
    }
    let runs = runs(&world).await;
    assert_eq!((runs.len(), &runs[0].source.etag, runs[0].state), (1, &pinned, RunState::Running));
}

#[tokio::test]
async fn a_tick_whose_object_is_missing_is_a_failed_run_and_told() {
    let (world, splitter) = splitter(SCHEDULE);
    splitter.handle(&tick_of("p", SIX)).await.unwrap();
    let run = runs(&world).await.remove(0);
    assert_eq!(run.state, RunState::Failed);
    assert_eq!(run.reason.as_deref(), Some("s3://input/sales/all.csv does not exist"));
    assert!(run.is_settled());
    let events = world.events.all();
    let detail: Value = serde_json::from_str(&events[0].detail).unwrap();
    assert_eq!((events.len(), events[0].detail_type), (1, Milestone::Failed.detail_type()));
    assert_eq!(detail["reason"], "s3://input/sales/all.csv does not exist");
}

#[tokio::test]
async fn a_tick_of_a_schedule_that_is_no_more_begins_nothing() {
    let (world, splitter) = splitter("");
    world.objects.insert("input", KEY, "a\n");
    splitter.handle(&tick_of("p", SIX)).await.unwrap();
    assert_eq!(runs(&world).await, []);
}

#[tokio::test]
async fn a_tick_of_a_pipeline_that_is_no_more_is_a_failed_run() {
    let (world, splitter) = splitter(SCHEDULE);
    splitter.handle(&tick_of("gone", SIX)).await.unwrap();
    let run = runs(&world).await.remove(0);
    assert_eq!((run.state, run.reason.as_deref()), (RunState::Failed, Some("there is no pipeline \"gone\"")));
}

#[tokio::test]
async fn a_tick_whose_time_nobody_filled_in_is_delivered_again() {
    let (world, splitter) = splitter(SCHEDULE);
    assert!(splitter.handle(&tick_of("p", "<aws.scheduler.scheduled-time>")).await.is_err());
    assert_eq!(runs(&world).await, []);
}

/// The run goes on, and what is to be told stays in its item, for the sweeper.
#[tokio::test]
async fn a_bus_that_refuses_everything_holds_up_no_run() {
    let world = MemoryWorld::seeded(0, Faults::none());
    world.faults.refuse("the bus");
    let splitter = Splitter { ports: world.ports(&Invocation::new("splitter")), ..splitter(SCHEDULE).1 };
    world.objects.insert("input", KEY, "a\n");
    splitter.handle(&tick_of("p", SIX)).await.unwrap();
    let run = runs(&world).await.remove(0);
    assert_eq!((run.state, world.events.all()), (RunState::Running, Vec::new()));
    assert_eq!(run.unannounced.iter().map(|left| left.milestone).collect::<Vec<_>>(), [Milestone::Started]);
}

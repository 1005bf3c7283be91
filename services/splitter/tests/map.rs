//! The splitter on memory ports: from an event to a Distributed Map.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use fanfold_domain::{
    GroupIndex, Grouping, ObjectName, Plan, Run, RunState, Sums,
    map::{BatchMessage, Children, MapInput},
    message::{Intake, LaunchMessage, decode, encode},
    pipeline::Pipeline,
};
use fanfold_engine::plan::ScanLimits;
use fanfold_ports::{
    Ledger, Queue,
    contract::sample_run,
    ledger::StageId,
    maps::MapStatus,
    memory::{Faults, Faulty, Invocation, MEMORY_EPOCH, MemoryWorld, Rates},
};
use fanfold_splitter::{Splitter, SplitterError};
use serde_json::json;

const KEY: &str = "in/a.txt";

/// A pipeline of one record a chunk, with this fan-out and stage.
fn pipeline(fan_out: &str, stage: &str) -> Pipeline {
    let text = format!(
        "{{pipeline: p, source: {{prefix: in/, format: lines}}, split: {{records: 1}}, fan_out: {fan_out}, \
         stages: [{{name: s, process: copy, max_concurrency: 2, {stage}}}], on_error: {{tolerate_failed_chunks: 10%}}}}"
    );
    Pipeline::parse(&text).unwrap()
}

fn splitter(world: &MemoryWorld, pipeline: &Pipeline) -> Splitter {
    let maps = Faulty::new(world.maps.clone(), world.faults.clone(), Invocation::new("splitter"));
    Splitter {
        ports: world.ports(&Invocation::new("splitter")),
        maps: std::sync::Arc::new(maps),
        work_bucket: "work".into(),
        input_bucket: "input".into(),
        output_bucket: "output".into(),
        default_pipeline: Some(pipeline.clone()),
        scan_limits: ScanLimits::DEFAULT,
    }
}

/// Sends the splitter the event of a source of `records` records.
async fn split(world: &MemoryWorld, pipeline: &Pipeline, records: usize) -> Result<(), SplitterError> {
    let head = world.objects.insert("input", KEY, "x\n".repeat(records));
    let splitter = splitter(world, pipeline);
    let object = json!({"key": KEY, "size": head.size_bytes, "etag": head.etag.as_str(), "sequencer": "01"});
    let detail = json!({"bucket": {"name": "input"}, "object": object});
    let event = json!({"source": "aws.s3", "detail-type": "Object Created", "detail": detail});
    splitter.handle(&event.to_string()).await
}

async fn run(world: &MemoryWorld) -> Run {
    world.ledger.recent_runs(1).await.unwrap().items.remove(0)
}

/// The only execution's input, and the lines of its list.
fn started(world: &MemoryWorld) -> (MapInput, Vec<String>) {
    let executions = world.maps.executions();
    assert_eq!(executions.len(), 1);
    let execution = executions.into_values().next().unwrap();
    assert_eq!(execution.status, MapStatus::Running);
    let list =
        world.objects.contents(&ObjectName::new(&execution.input.bucket, &execution.input.key)).unwrap();
    let lines = std::str::from_utf8(&list).unwrap().lines().map(str::to_owned).collect();
    (execution.input, lines)
}

#[tokio::test]
async fn a_run_is_begun_by_one_execution_over_all_of_its_chunks() {
    let world = MemoryWorld::seeded(0, Faults::none());
    split(&world, &pipeline("distributed-map", "timeout: 10s"), 40).await.unwrap();
    let run = run(&world).await;
    assert_eq!((run.state, world.queues.drain(Queue::Chunks)), (RunState::Running, vec![]));
    let (input, lines) = started(&world);
    assert_eq!(input.name().to_string(), format!("{}-s-0", run.id));
    assert_eq!((input.children, input.max_concurrency), (Children::Express, 2));
    let batches: Vec<BatchMessage> = lines.iter().map(|line| decode(line).unwrap()).collect();
    let chunks: Vec<u32> = batches.iter().flat_map(BatchMessage::chunks).map(|chunk| chunk.0).collect();
    assert_eq!(chunks, (0..40).collect::<Vec<_>>());
    assert!(batches.iter().all(|batch| batch.run == run.id && batch.count == 5));
    // Four of the forty chunks, and so four of the eight items.
    assert_eq!(input.tolerated_failure_percentage, 50);
}

#[tokio::test]
async fn a_pipeline_may_say_how_large_a_batch_is() {
    let world = MemoryWorld::seeded(0, Faults::none());
    split(&world, &pipeline("{distributed-map: {batch: 30}}", ""), 40).await.unwrap();
    let (input, lines) = started(&world);
    assert_eq!((input.children, lines.len()), (Children::Standard, 2));
}

#[tokio::test]
async fn on_clusters_each_item_is_a_launch() {
    let world = MemoryWorld::seeded(0, Faults::none());
    split(&world, &pipeline("distributed-map", "run_on: eks"), 40).await.unwrap();
    assert_eq!((run(&world).await.state, world.queues.pending()), (RunState::Running, vec![]));
    let (input, lines) = started(&world);
    assert_eq!(input.children, Children::Launches);
    let launches: Vec<LaunchMessage> = lines.iter().map(|line| decode(line).unwrap()).collect();
    let chunks: Vec<_> = launches.iter().map(|launch| launch.chunks.to_string()).collect();
    assert_eq!(chunks, ["0-19", "20-39"]);
}

#[tokio::test]
async fn too_many_chunks_for_their_pods_start_nothing() {
    let world = MemoryWorld::seeded(0, Faults::none());
    split(&world, &pipeline("distributed-map", "run_on: eks"), 2_001).await.unwrap();
    let run = run(&world).await;
    assert_eq!((run.state, world.maps.executions().len()), (RunState::Failed, 0));
    assert!(run.reason.unwrap().contains("3 launches"));
}

#[tokio::test]
async fn an_event_that_is_tried_until_it_goes_well_starts_one_execution() {
    let rates = Rates { transient: 800, lost_request: 500, lost_answer: 800, conflict: 300, ..Rates::NONE };
    let mut tries = 0;
    for seed in 0..40 {
        let world = MemoryWorld::seeded(seed, Faults::seeded(seed, rates));
        let pipeline = pipeline("distributed-map", "");
        while split(&world, &pipeline, 9).await.is_err() {
            tries += 1;
            // Nothing may be lost with a failed try: it is running only once its execution was started.
            let runs = world.ledger.recent_runs(1).await.unwrap().items;
            let is_running = runs.first().is_some_and(|run| run.state == RunState::Running);
            assert!(!is_running || world.maps.executions().len() == 1, "seed {seed}");
        }
        let (_, lines) = started(&world);
        assert_eq!((run(&world).await.state, lines.len()), (RunState::Running, 9), "seed {seed}");
    }
    assert!(tries > 40, "{tries}");
}

/// A running run of two stages, the second of which waits for all of the first, which has ended; and the message that
/// begins the second.
async fn with_a_stage_to_begin(world: &MemoryWorld) -> String {
    let mut run = Run { state: RunState::Running, ..sample_run("staged", MEMORY_EPOCH) };
    let document = "{pipeline: p, source: {format: lines}, fan_out: distributed-map, \
                    stages: [{name: s, process: copy}, {name: t, process: copy}]}";
    run.pipeline = Pipeline::parse(document).unwrap();
    run.plan = Some(Plan { grouping: Grouping { chunks: 3, group_chunks: 4 }, ..Plan::unplanned() });
    world.ledger.create_run(&run).await.unwrap();
    world.ledger.mark_folded(&StageId::first_of(&run), GroupIndex(0), Sums::default()).await.unwrap();
    encode(&Intake::Stage { run: run.id, generation: run.generation, stage: 1 })
}

#[tokio::test]
async fn a_later_stage_that_can_never_begin_fails_its_run_with_the_reason() {
    let world = MemoryWorld::seeded(0, Faults::none());
    let message = with_a_stage_to_begin(&world).await;
    let execution = format!("{}-t-0", run(&world).await.id);
    world.faults.refuse(execution);
    splitter(&world, &pipeline("distributed-map", "timeout: 10s")).handle(&message).await.unwrap();
    let run = run(&world).await;
    assert_eq!(run.state, RunState::Failed);
    let reason = run.reason.unwrap();
    assert!(reason.contains("stage t cannot be begun") && reason.contains("AccessDenied"), "{reason}");
    assert_eq!(world.queues.drain(Queue::Folds).len(), 1, "its bad records are to be listed");
}

#[tokio::test]
async fn what_keeps_a_later_stage_from_beginning_for_now_is_noted_and_tried_again() {
    let faults = Faults::seeded(1, Rates { transient: 10_000, ..Rates::NONE });
    let world = MemoryWorld::seeded(0, faults);
    let message = with_a_stage_to_begin(&world).await;
    let calm = splitter(&world, &pipeline("distributed-map", "timeout: 10s"));
    let maps = Faulty::new(world.maps.clone(), world.faults.clone(), Invocation::new("splitter"));
    let throttled = Splitter { ports: world.calm_ports(), maps: std::sync::Arc::new(maps), ..calm };
    throttled.handle(&message).await.unwrap_err();
    let troubled = run(&world).await;
    assert_eq!(troubled.state, RunState::Running);
    assert!(troubled.trouble_of(Some("t")).unwrap().contains("SlowDown"));
    world.faults.cease();
    throttled.handle(&message).await.unwrap();
    assert!(run(&world).await.has_begun("t"));
}

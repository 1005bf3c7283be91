//! The splitter on memory ports: from events to runs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::sync::Arc;

use fanfold_domain::{
    ByteRange, ChunkIndex, Grouping, ObjectName, Origin, Plan, Reach, Run, RunId, RunState, Stamp, Sums,
    message::{ChunkMessage, FoldMessage, Intake, Submission, decode, encode},
    pipeline::Pipeline,
};
use fanfold_engine::plan::ScanLimits;
use fanfold_ports::{
    Clock, Ledger, Objects, Ports, Queue,
    contract::sample_run,
    ledger::{CreatedOwner, Freshness, StageId},
    memory::{Faults, Faulty, Invocation, MEMORY_EPOCH, MemoryWorld, Rates, memory_ports},
    objects::{Condition, ObjectHead},
};
use fanfold_splitter::Splitter;

const PIPELINE: &str = "pipeline: p\nsource: {prefix: in/, format: csv, header: true}\nsplit: {records: 2}\n\
     stages: [{name: s, process: index, max_concurrency: 2}]\n";
const KEY: &str = "in/a b+c.csv";
const SOURCE: &str = "head\nr1\nr2\nr3\nr4\nr5\n";

fn splitter() -> (MemoryWorld, Splitter) {
    let (world, ports) = memory_ports();
    let splitter = splitter_on(&world, ports);
    (world, splitter)
}

fn splitter_on(world: &MemoryWorld, ports: Ports) -> Splitter {
    let default_pipeline = Some(Pipeline::parse(PIPELINE).unwrap());
    Splitter {
        ports,
        maps: world.maps.clone(),
        work_bucket: "work".into(),
        input_bucket: "input".into(),
        output_bucket: "output".into(),
        default_pipeline,
        scan_limits: ScanLimits::DEFAULT,
        reach: Reach::default(),
    }
}

fn event(key: &str, head: &ObjectHead, sequencer: &str) -> String {
    let object = serde_json::json!({"key": key, "size": head.size_bytes, "etag": head.etag.as_str(), "sequencer": sequencer});
    let detail = serde_json::json!({"bucket": {"name": "input"}, "object": object});
    serde_json::json!({"source": "aws.s3", "detail-type": "Object Created", "detail": detail}).to_string()
}

async fn runs(world: &MemoryWorld) -> Vec<Run> {
    world.ledger.recent_runs(10).await.unwrap().items
}

async fn only_run(world: &MemoryWorld) -> Run {
    let mut runs = runs(world).await;
    assert_eq!(runs.len(), 1);
    runs.remove(0)
}

fn sent_chunks(world: &MemoryWorld) -> Vec<u32> {
    let messages = world.queues.drain(Queue::Chunks);
    messages.iter().map(|message| decode::<ChunkMessage>(&message.body).unwrap().chunk.0).collect()
}

#[tokio::test]
async fn an_upload_becomes_a_running_run_with_its_first_window_sent() {
    let (world, splitter) = splitter();
    let head = world.objects.insert("input", KEY, SOURCE);
    splitter.handle(&event(KEY, &head, "01")).await.unwrap();
    let run = only_run(&world).await;
    assert_eq!((run.state, run.plan.unwrap().grouping.chunks), (RunState::Running, 3));
    assert_eq!(run.output, ObjectName::new("output", format!("{KEY}_Output")));
    assert_eq!(sent_chunks(&world), [0, 1]);
}

#[tokio::test]
async fn a_duplicate_event_begins_nothing() {
    let (world, splitter) = splitter();
    let head = world.objects.insert("input", KEY, SOURCE);
    splitter.handle(&event(KEY, &head, "01")).await.unwrap();
    sent_chunks(&world);
    splitter.handle(&event(KEY, &head, "0100")).await.unwrap();
    assert_eq!(only_run(&world).await.state, RunState::Running);
    assert_eq!(world.queues.pending(), []);
}

#[tokio::test]
async fn a_duplicate_event_that_finds_all_groups_folded_completes_the_run() {
    let (world, splitter) = splitter();
    let head = world.objects.insert("input", KEY, SOURCE);
    splitter.handle(&event(KEY, &head, "01")).await.unwrap();
    let run = only_run(&world).await;
    // The last group was folded while the run was planning, and whoever made it running died thereafter.
    world
        .ledger
        .mark_folded(&StageId::last_of(&run), fanfold_domain::GroupIndex(0), Sums::default())
        .await
        .unwrap();
    splitter.handle(&event(KEY, &head, "01")).await.unwrap();
    assert_eq!(only_run(&world).await.state, RunState::Completing);
    let folds = world.queues.drain(Queue::Folds);
    assert!(matches!(decode(&folds[0].body).unwrap(), FoldMessage::Assemble { .. }));
}

#[tokio::test]
async fn a_stage_is_begun_once_however_often_that_is_asked_for() {
    let (world, splitter) = splitter();
    let mut run = Run { state: RunState::Running, ..sample_run("staged", MEMORY_EPOCH) };
    run.pipeline =
        Pipeline::parse(&PIPELINE.replace(
            "max_concurrency: 2}",
            "max_concurrency: 2}, {name: t, process: copy, max_concurrency: 2}",
        ))
        .unwrap();
    let grouping = Grouping { chunks: 3, group_chunks: 4 };
    run.plan = Some(Plan { grouping, ..Plan::unplanned() });
    world.ledger.create_run(&run).await.unwrap();
    let group = fanfold_domain::GroupIndex(0);
    world.ledger.mark_folded(&StageId::first_of(&run), group, Sums::default()).await.unwrap();
    let begin = encode(&Intake::Stage { run: run.id.clone(), generation: run.generation, stage: 1 });
    for sent in [vec![0, 1], vec![]] {
        splitter.handle(&begin).await.unwrap();
        assert_eq!((sent_chunks(&world), only_run(&world).await.has_begun("t")), (sent, true));
    }
}

fn reach() -> Reach {
    let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    Reach {
        input_bucket: Some("input".into()),
        source_buckets: list(&["input", "archive"]),
        output_buckets: list(&["output"]),
        ..Reach::default()
    }
}

/// S3 would refuse it once all the work is done.
#[tokio::test]
async fn a_run_of_a_pipeline_that_names_what_no_role_may_reach_fails_at_once() {
    let (world, mut splitter) = splitter();
    splitter.reach = reach();
    let document = format!("{PIPELINE}merge: {{bucket: elsewhere}}\n");
    splitter.default_pipeline = Some(Pipeline::parse(&document).unwrap());
    let head = world.objects.insert("input", KEY, SOURCE);
    splitter.handle(&event(KEY, &head, "01")).await.unwrap();
    let run = only_run(&world).await;
    assert_eq!(run.state, RunState::Failed);
    let reason = run.reason.unwrap();
    for said in ["merge.bucket: found \"elsewhere\"", "allowed: output", "OtherOutputBucketArns"] {
        assert!(reason.contains(said), "{said} in {reason}");
    }
    assert!(sent_chunks(&world).is_empty());
    assert_eq!(world.ledger.owner(&run.output).await.unwrap(), None, "nobody's output was taken");
}

#[tokio::test]
async fn a_submission_of_an_object_that_no_role_may_read_fails_at_once() {
    let (world, mut splitter) = splitter();
    splitter.reach = reach();
    for bucket in ["elsewhere", "archive"] {
        world.objects.insert(bucket, KEY, SOURCE);
        let object = Some(ObjectName::new(bucket, KEY));
        let submission =
            Submission { pipeline: "p".into(), object, version: None, idempotency_key: bucket.into() };
        let detail: serde_json::Value = serde_json::from_str(&encode(&submission)).unwrap();
        let event =
            serde_json::json!({"source": "fanfold", "detail-type": "Run Submitted", "detail": detail});
        splitter.handle(&event.to_string()).await.unwrap();
    }
    let mut runs = runs(&world).await;
    runs.sort_by_key(|run| run.source.object.bucket.clone());
    assert_eq!((runs[0].state, runs[0].reason.clone()), (RunState::Running, None), "it is listed");
    assert_eq!(runs[1].state, RunState::Failed);
    let reason = runs[1].reason.clone().unwrap();
    assert!(reason.contains("\"elsewhere\"; allowed: input, archive"), "{reason}");
    assert!(reason.contains("OtherSourceBucketArns"), "{reason}");
}

#[tokio::test]
async fn an_object_that_a_run_wrote_begins_none() {
    let (world, splitter) = splitter();
    let name = ObjectName::new("input", KEY);
    let stamp = Stamp::of(&sample_run("other", MEMORY_EPOCH), &name).to_metadata();
    world.objects.put(&name, "x\n".into(), Condition::Always, &stamp).await.unwrap();
    let head = world.objects.head(&name, None).await.unwrap().unwrap();
    splitter.handle(&event(KEY, &head, "01")).await.unwrap();
    assert_eq!(runs(&world).await, []);
}

#[tokio::test]
async fn a_copy_of_an_output_is_a_source_like_any_other() {
    let (world, splitter) = splitter();
    let run = sample_run("other", MEMORY_EPOCH);
    for written in [&run.output, &run.errors] {
        let stamp = Stamp::of(&run, written).to_metadata();
        // S3 copies metadata too, unless it is told to replace them.
        let copy = ObjectName::new("input", format!("in/{}", written.key.replace('_', "-")));
        world.objects.put(&copy, "h\nx\n".into(), Condition::Always, &stamp).await.unwrap();
        let head = world.objects.head(&copy, None).await.unwrap().unwrap();
        splitter.handle(&event(&copy.key, &head, "01")).await.unwrap();
    }
    let states: Vec<RunState> = runs(&world).await.iter().map(|run| run.state).collect();
    assert_eq!(states, [RunState::Running, RunState::Running]);
}

#[tokio::test]
async fn an_object_that_no_pipeline_wants_begins_none() {
    let (world, splitter) = splitter();
    for key in ["elsewhere/a.csv", "in/a.csv_Output", "in/a.csv_Errors", "in/folder/"] {
        let head = world.objects.insert("input", key, SOURCE);
        splitter.handle(&event(key, &head, "01")).await.unwrap();
    }
    assert_eq!(runs(&world).await, []);
}

#[tokio::test]
async fn a_submission_to_an_unknown_pipeline_is_a_failed_run() {
    for (name, called) in [("q", "q"), ("No Such\nName", "unknown")] {
        let (world, splitter) = splitter();
        world.objects.insert("input", KEY, SOURCE);
        for _ in 0..2 {
            splitter.handle(&submission(name, "k")).await.unwrap();
        }
        let run = only_run(&world).await;
        assert_eq!(run.id, RunId::derive(name, &Origin::Submission { idempotency_key: "k" }));
        assert_eq!((run.state, run.pipeline.name.as_str()), (RunState::Failed, called));
        assert_eq!(run.reason.unwrap(), format!("there is no pipeline {name:?}"));
        assert_eq!(world.queues.pending(), []);
    }
}

fn submission(pipeline: &str, key: &str) -> String {
    encode(&Intake::Submission(Submission {
        pipeline: pipeline.into(),
        object: Some(ObjectName::new("input", KEY)),
        version: None,
        idempotency_key: key.into(),
    }))
}

#[tokio::test]
async fn two_submissions_with_one_key_are_one_run() {
    let (world, splitter) = splitter();
    world.objects.insert("input", KEY, SOURCE);
    splitter.handle(&submission("p", "k")).await.unwrap();
    splitter.handle(&submission("p", "k")).await.unwrap();
    assert_eq!(only_run(&world).await.state, RunState::Running);
}

#[tokio::test]
async fn a_submission_of_nothing_is_a_failed_run() {
    let (world, splitter) = splitter();
    splitter.handle(&submission("p", "k")).await.unwrap();
    let run = only_run(&world).await;
    assert_eq!(run.state, RunState::Failed);
    assert_eq!(run.reason.unwrap(), format!("s3://input/{KEY} does not exist"));
    // It took nothing from anyone.
    assert_eq!((run.epoch, world.ledger.owner(&run.output).await.unwrap()), (fanfold_domain::Epoch(0), None));
}

#[tokio::test]
async fn what_is_refused_for_good_fails_the_run_at_once_with_the_reason() {
    for refused in ["s3://input/", "s3://work/"] {
        for by_event in [true, false] {
            let world = MemoryWorld::seeded(0, Faults::none());
            let splitter = splitter_on(&world, world.ports(&Invocation::new("splitter")));
            let head = world.objects.insert("input", KEY, SOURCE);
            world.faults.refuse(refused);
            let body = if by_event { event(KEY, &head, "01") } else { submission("p", "k") };
            splitter.handle(&body).await.unwrap();
            let run = only_run(&world).await;
            assert_eq!(run.state, RunState::Failed, "{refused}");
            let reason = run.reason.unwrap();
            assert!(reason.contains("AccessDenied") && reason.contains(refused), "{reason}");
        }
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_delivered_again() {
    let (_, splitter) = splitter();
    let newer = submission("p", "k").replacen("\"v\":1", "\"v\":2", 1);
    assert!(splitter.handle(&newer).await.is_err());
    assert!(splitter.handle("nonsense").await.is_err());
}

#[tokio::test]
async fn a_key_too_long_for_its_output_is_a_failed_run() {
    let (world, splitter) = splitter();
    let key = format!("in/{}", "x".repeat(1_019));
    let head = world.objects.insert("input", &key, SOURCE);
    splitter.handle(&event(&key, &head, "01")).await.unwrap();
    let run = only_run(&world).await;
    assert_eq!(run.state, RunState::Failed);
    assert!(run.reason.unwrap().contains("1029 bytes; allowed: at most 1024"));
}

#[tokio::test]
async fn a_source_in_utf_16_is_a_failed_run() {
    let (world, splitter) = splitter();
    let head = world.objects.insert("input", KEY, &b"\xff\xfeh\0\n\0"[..]);
    splitter.handle(&event(KEY, &head, "01")).await.unwrap();
    let run = only_run(&world).await;
    assert_eq!(run.state, RunState::Failed);
    let reason = run.reason.unwrap();
    assert!(reason.contains("UTF-16") && reason.contains(KEY), "{reason}");
}

#[tokio::test]
async fn an_empty_source_is_one_empty_chunk() {
    let (world, splitter) = splitter();
    let head = world.objects.insert("input", KEY, "");
    splitter.handle(&event(KEY, &head, "01")).await.unwrap();
    let run = only_run(&world).await;
    assert_eq!((run.state, run.plan.unwrap().grouping.chunks), (RunState::Running, 1));
    assert_eq!(sent_chunks(&world), [0]);
}

#[tokio::test]
async fn a_source_that_is_gone_is_a_failed_run() {
    let (world, splitter) = splitter();
    let head = world.objects.insert("input", KEY, SOURCE);
    world.objects.remove(&ObjectName::new("input", KEY));
    splitter.handle(&event(KEY, &head, "01")).await.unwrap();
    let run = only_run(&world).await;
    assert_eq!(run.state, RunState::Failed);
    assert!(run.reason.unwrap().contains("replaced or removed"));
    assert_eq!(world.queues.pending(), []);
}

#[tokio::test]
async fn the_newer_of_two_uploads_supersedes_the_older_in_either_order() {
    for order in [["01", "02"], ["02", "01"]] {
        let (world, splitter) = splitter();
        let head = world.objects.insert("input", KEY, SOURCE);
        for sequencer in order {
            splitter.handle(&event(KEY, &head, sequencer)).await.unwrap();
        }
        let runs = runs(&world).await;
        let of =
            |text: &str| runs.iter().find(|run| run.sequencer == Some(fanfold_domain::Sequencer::new(text)));
        assert_eq!(of("01").unwrap().state, RunState::Superseded, "{order:?}");
        assert_eq!(of("02").unwrap().state, RunState::Running, "{order:?}");
    }
}

#[tokio::test]
async fn an_older_upload_stays_superseded_though_a_submission_lies_between() {
    let (world, splitter) = splitter();
    let head = world.objects.insert("input", KEY, SOURCE);
    splitter.handle(&event(KEY, &head, "05")).await.unwrap();
    splitter.handle(&submission("p", "k")).await.unwrap();
    splitter.handle(&event(KEY, &head, "04")).await.unwrap();
    let runs = runs(&world).await;
    let of = |text: Option<&str>| {
        let sequencer = text.map(fanfold_domain::Sequencer::new);
        runs.iter().find(|run| run.sequencer == sequencer).unwrap()
    };
    assert_eq!(of(Some("04")).state, RunState::Superseded);
    assert!(of(Some("04")).reason.as_ref().unwrap().contains("newer upload"));
    assert_eq!(of(None).state, RunState::Running);
}

/// A run of the source, as it is created and left.
fn left(world: &MemoryWorld, name: &str) -> Run {
    let head = world.objects.insert("input", KEY, SOURCE);
    let mut run = sample_run(name, MEMORY_EPOCH);
    run.pipeline = Pipeline::parse(PIPELINE).unwrap();
    run.source.object = ObjectName::new("input", KEY);
    (run.source.version, run.source.etag, run.source.size_bytes) = (None, head.etag, head.size_bytes);
    Run { output: ObjectName::new("output", "shared"), ..run }
}

#[tokio::test]
async fn a_run_that_lost_its_output_while_it_was_planned_never_takes_it_back() {
    let (world, splitter) = splitter();
    let [older, newer] = ["older", "newer"].map(|name| left(&world, name));
    for run in [&older, &newer] {
        assert!(matches!(world.ledger.create_run_as_owner(run).await.unwrap(), CreatedOwner::Now(_)));
    }
    // The newer one's splitter died before it ended the older one.
    for run in [&older, &newer, &older] {
        splitter.handle(&encode(&Intake::Resume { run: run.id.clone() })).await.unwrap();
    }
    assert_eq!(world.ledger.owner(&newer.output).await.unwrap().unwrap().run, newer.id);
    let states =
        async |run: &Run| world.ledger.run(&run.id, Freshness::Consistent).await.unwrap().unwrap().state;
    assert_eq!([states(&older).await, states(&newer).await], [RunState::Superseded, RunState::Running]);
}

/// As earlier versions created it.
#[tokio::test]
async fn a_run_left_in_planning_without_its_output_goes_on_when_it_is_resumed() {
    let (world, splitter) = splitter();
    let run = left(&world, "resumed");
    world.ledger.create_run(&run).await.unwrap();
    splitter.handle(&encode(&Intake::Resume { run: run.id.clone() })).await.unwrap();
    let run = world.ledger.run(&run.id, Freshness::Consistent).await.unwrap().unwrap();
    assert_eq!((run.state, run.epoch), (RunState::Running, fanfold_domain::Epoch(1)));
    let grouping = Grouping { chunks: 3, group_chunks: 1_024 };
    let plan = run.plan.unwrap();
    assert_eq!((plan.grouping, plan.preamble), (grouping, ByteRange::new(0, 5)));
    assert_eq!(plan, Plan { header: Some(ByteRange::new(0, 4)), ..plan.clone() });
    assert_eq!(grouping.group_of(ChunkIndex(2)).0, 0);
}

/// What a newer version's document says where this one can read it.
fn newer(prefix: &str) -> String {
    serde_json::json!({ "source": { "prefix": prefix, "format": "newer" }, "newer": true }).to_string()
}

#[tokio::test]
async fn an_unreadable_pipeline_affects_the_uploads_that_it_may_take_and_no_others() {
    let (world, splitter) = splitter();
    world.ledger.spoil_pipeline("newer", &newer("in/deep/"));
    let deep = world.objects.insert("input", "in/deep/a.csv", SOURCE);
    let refused = splitter.handle(&event("in/deep/a.csv", &deep, "01")).await.unwrap_err().to_string();
    assert!(refused.contains("\"newer\" cannot be read") && refused.contains("apply it again"), "{refused}");
    assert_eq!(runs(&world).await, [], "it went to no other pipeline");
    let head = world.objects.insert("input", KEY, SOURCE);
    splitter.handle(&event(KEY, &head, "01")).await.unwrap();
    assert_eq!(only_run(&world).await.pipeline.name, "p");
    // What was dead-lettered comes back once the pipeline can be read.
    world
        .ledger
        .put_pipeline(
            &Pipeline::parse(&PIPELINE.replace(": p\n", ": newer\n").replace("in/", "in/deep/")).unwrap(),
        )
        .await
        .unwrap();
    splitter.handle(&event("in/deep/a.csv", &deep, "01")).await.unwrap();
    assert!(runs(&world).await.iter().any(|run| run.pipeline.name == "newer"));
}

#[tokio::test]
async fn a_pipeline_of_which_nothing_can_be_read_affects_no_upload() {
    let (world, splitter) = splitter();
    world.ledger.spoil_pipeline("newer", "nonsense");
    let head = world.objects.insert("input", KEY, SOURCE);
    splitter.handle(&event(KEY, &head, "01")).await.unwrap();
    assert_eq!(only_run(&world).await.state, RunState::Running);
}

#[tokio::test]
async fn an_unreadable_pipeline_of_the_same_name_replaces_the_stacks_own() {
    let (world, splitter) = splitter();
    world.ledger.spoil_pipeline("p", &newer("in/"));
    let head = world.objects.insert("input", KEY, SOURCE);
    splitter.handle(&event(KEY, &head, "01")).await.unwrap_err();
    splitter.handle(&submission("p", "k")).await.unwrap_err();
    assert_eq!(runs(&world).await, [], "what is sent again finds no failed run");
}

/// Its keys cannot be told from sources', but what stands in its metadata can.
#[tokio::test]
async fn what_a_run_of_an_unreadable_pipeline_wrote_is_no_source() {
    let (world, splitter) = splitter();
    world.ledger.spoil_pipeline("newer", &newer(""));
    let name = ObjectName::new("input", "x_Out");
    let stamp = Stamp::of(&sample_run("other", MEMORY_EPOCH), &name).to_metadata();
    world.objects.put(&name, "x\n".into(), Condition::Always, &stamp).await.unwrap();
    let head = world.objects.head(&name, None).await.unwrap().unwrap();
    splitter.handle(&event(&name.key, &head, "01")).await.unwrap();
    assert_eq!(runs(&world).await, []);
}

/// A splitter that dies counts too, so that the try is noted before anything is done.
#[tokio::test(start_paused = true)]
async fn tries_at_planning_are_counted_where_they_are_apart_and_a_new_run_costs_no_write() {
    let (world, _) = splitter();
    let splitter = splitter_on(&world, world.calm_ports());
    let head = world.objects.insert("input", KEY, SOURCE);
    splitter.handle(&event(KEY, &head, "01")).await.unwrap();
    assert_eq!(only_run(&world).await.planning_tries, None);

    // Nothing of it can be read for now.
    let run = Run {
        id: RunId::derive("p", &Origin::Submission { idempotency_key: "slow" }),
        ..sample_run("slow", MEMORY_EPOCH)
    };
    world.ledger.create_run(&run).await.unwrap();
    let faults = Faults::seeded(1, Rates { transient: 10_000, ..Rates::NONE });
    let objects = Faulty::new(world.objects.clone(), faults, Invocation::new("splitter"));
    let slow = splitter_on(&world, Ports { objects: Arc::new(objects), ..world.calm_ports() });
    let resume = encode(&Intake::Resume { run: run.id.clone() });
    let mut counts = Vec::new();
    for minutes in [1, 10, 1, 10] {
        world.clock.sleep_ms(minutes * 60_000).await;
        slow.handle(&resume).await.unwrap_err();
        let now = world.ledger.run(&run.id, Freshness::Consistent).await.unwrap().unwrap();
        assert!(now.trouble_of(None).unwrap().contains("SlowDown"));
        counts.push(now.planning_tries.map_or(0, |tries| tries.count));
    }
    assert_eq!(counts, [0, 1, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_for_its_plan_step_forgets_its_tries() {
    let (world, splitter) = splitter();
    let document =
        "{pipeline: p, source: {items: plan}, plan: {command: [./plan]}, stages: [{name: s, process: copy}]}";
    let run = Run { pipeline: Pipeline::parse(document).unwrap(), ..sample_run("planned", MEMORY_EPOCH) };
    world.ledger.create_run(&run.counting_try(MEMORY_EPOCH.plus_ms(600_000)).unwrap()).await.unwrap();
    world.clock.sleep_ms(2 * 600_000).await;
    splitter.handle(&encode(&Intake::Resume { run: run.id.clone() })).await.unwrap();
    assert_eq!((sent_chunks(&world), only_run(&world).await.planning_tries), (vec![0], None));
}

/// As an earlier version created it, without its output: it is cancelled after the splitter read it.
#[tokio::test(start_paused = true)]
async fn a_run_that_ended_as_its_planning_began_takes_no_output() {
    // The splitter's second call is the read by which it counts its try.
    let world = MemoryWorld::seeded(0, Faults::hold_at(1, 1));
    let [older, owner] = ["older", "owner"].map(|name| left(&world, name));
    world.ledger.create_run(&older).await.unwrap();
    assert!(matches!(world.ledger.create_run_as_owner(&owner).await.unwrap(), CreatedOwner::Now(_)));
    world.clock.sleep_ms(fanfold_domain::tries::TRIES_APART_MS).await;
    let splitter = splitter_on(&world, world.ports(&Invocation::new("splitter")));
    let person = world.ports(&Invocation::new("person"));
    let cancel = async {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        fanfold_lifecycle::cancel(&person, &older.id, older.generation, "enough").await.unwrap()
    };
    let resume = encode(&Intake::Resume { run: older.id.clone() });
    let (planned, cancelled) = tokio::join!(splitter.handle(&resume), cancel);
    planned.unwrap();
    assert!(world.faults.released().is_some(), "the splitter was not held");
    assert_eq!(cancelled.state, RunState::Cancelled);
    assert_eq!(world.ledger.owner(&owner.output).await.unwrap().unwrap().run, owner.id);
}

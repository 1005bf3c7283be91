//! The splitter on memory ports: lists and plans that take longer to make than one invocation has.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::time::Duration;

use fanfold_domain::{
    ObjectName, Run, RunState, key,
    message::{Intake, Submission, decode, encode},
    pipeline::Pipeline,
};
use fanfold_engine::plan::{ScanLimits, Strides};
use fanfold_ports::{
    Ledger, Queue,
    memory::{Faults, Invocation, MEMORY_EPOCH, MemoryWorld, Rates},
};
use fanfold_splitter::{Share, Splitter};

const LISTING: &str = "pipeline: p\nsource: {prefix: in/, format: objects, suffix: .txt}\nsplit: {records: 2}\n\
     stages: [{name: s, process: copy, max_concurrency: 2}]\n";
const LINES: &str = "pipeline: p\nsource: {prefix: in/, format: lines}\nsplit: {size: 1KiB}\n\
     stages: [{name: s, process: copy, max_concurrency: 2}]\n";

fn splitter(world: &MemoryWorld, pipeline: &str) -> Splitter {
    Splitter {
        ports: world.ports(&Invocation::new("splitter")),
        maps: world.maps.clone(),
        work_bucket: "work".into(),
        input_bucket: "input".into(),
        output_bucket: "output".into(),
        default_pipeline: Some(Pipeline::parse(pipeline).unwrap()),
        scan_limits: ScanLimits::DEFAULT,
        reach: fanfold_domain::Reach::default(),
    }
}

fn submission(object: Option<&str>) -> String {
    let object = object.map(|key| ObjectName::new("input", key));
    let idempotency_key = "once".to_owned();
    encode(&Intake::Submission(Submission { pipeline: "p".into(), object, version: None, idempotency_key }))
}

/// Time for one page, or one stride, and no more.
const SHORT: Share = Share {
    until: Some(MEMORY_EPOCH),
    strides: Strides { page: 3, cuts: 4, list_bytes: 150, ..Strides::DEFAULT },
};
const LONG: Share = Share { until: None, ..SHORT };

/// Does what the first message asks for and those that follow from it; how many there were.
async fn legs(world: &MemoryWorld, splitter: &Splitter, mut body: String) -> usize {
    for leg in 1.. {
        let before = runs(world).await.first().map(|run| run.updated_at);
        tokio::time::advance(Duration::from_mins(1)).await;
        splitter.handle_until(&body, SHORT).await.unwrap();
        let mut sent = world.queues.drain(Queue::Intake);
        assert!(sent.len() <= 1, "{sent:?}");
        let Some(message) = sent.pop() else { return leg };
        let run = runs(world).await.remove(0);
        assert_eq!(run.state, RunState::Planning);
        assert!(Some(run.updated_at) > before, "the sweeper sees that it gets on");
        assert!(matches!(decode(&message.body), Ok(Intake::Resume { .. })));
        body = message.body;
    }
    unreachable!("it ends")
}

async fn runs(world: &MemoryWorld) -> Vec<Run> {
    world.ledger.recent_runs(10).await.unwrap().items
}

fn world_of_objects(faults: Faults) -> MemoryWorld {
    let world = MemoryWorld::seeded(0, faults);
    for number in 0..10 {
        world.objects.insert("input", format!("in/{number}.txt"), "x");
        world.objects.insert("input", format!("in/{number}.other"), "x");
    }
    world
}

/// The keys that the list of the only run has.
async fn listed(world: &MemoryWorld) -> Vec<String> {
    let run = runs(world).await.remove(0);
    let list = world.objects.contents(&ObjectName::new("work", key::list(&run.id))).unwrap();
    let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["key"].clone();
    std::str::from_utf8(&list).unwrap().lines().map(|text| line(text).as_str().unwrap().to_owned()).collect()
}

fn all() -> Vec<String> {
    (0..10).map(|number| format!("in/{number}.txt")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_listing_out_of_time_goes_on_behind_the_last_key_and_lists_no_page_twice() {
    let world = world_of_objects(Faults::none());
    let splitter = splitter(&world, LISTING);
    let legs = legs(&world, &splitter, submission(None)).await;
    assert_eq!(listed(&world).await, all());
    // Twenty objects in pages of three; then the list of 10 lines is cut in strides of 150 bytes.
    assert_eq!(world.objects.requests()["list"], 7);
    assert!(legs > 7, "{legs}");
    let run = runs(&world).await.remove(0);
    assert_eq!((run.state, run.plan.unwrap().grouping.chunks), (RunState::Running, 5));
}

#[tokio::test(start_paused = true)]
async fn what_comes_and_goes_between_two_legs_is_listed_once_or_not_at_all() {
    let world = world_of_objects(Faults::none());
    let splitter = splitter(&world, LISTING);
    splitter.handle_until(&submission(None), SHORT).await.unwrap();
    // The first page ended with 1.other. Behind it something comes and goes, and before it.
    for key in ["in/0a.txt", "in/5a.txt"] {
        world.objects.insert("input", key, "x");
    }
    for key in ["in/0.txt", "in/6.txt"] {
        world.objects.remove(&ObjectName::new("input", key));
    }
    let message = world.queues.drain(Queue::Intake).remove(0).body;
    legs(&world, &splitter, message).await;
    let mut expected: Vec<String> = all().into_iter().filter(|key| key != "in/6.txt").collect();
    expected.insert(6, "in/5a.txt".to_owned());
    assert_eq!(listed(&world).await, expected);
}

#[tokio::test(start_paused = true)]
async fn two_splitters_that_list_at_once_make_one_list_though_objects_come_meanwhile() {
    for seed in 0..200 {
        let world = world_of_objects(Faults::seeded(seed, Rates::NONE));
        let (one, other) = (splitter(&world, LISTING), splitter(&world, LISTING));
        one.handle_until(&submission(None), SHORT).await.unwrap();
        let message = world.queues.drain(Queue::Intake).remove(0).body;
        let write = async {
            for number in 0..10 {
                tokio::task::yield_now().await;
                world.objects.insert("input", format!("in/{number}+.txt"), "x");
            }
        };
        let share = if seed % 2 == 0 { SHORT } else { LONG };
        let (one_ended, other_ended, ()) =
            tokio::join!(one.handle_until(&message, share), other.handle_until(&message, SHORT), write);
        one_ended.and(other_ended).unwrap();
        while runs(&world).await[0].state == RunState::Planning {
            for message in world.queues.drain(Queue::Intake) {
                one.handle_until(&message.body, SHORT).await.unwrap();
            }
        }
        let listed = listed(&world).await;
        assert!(listed.is_sorted_by(|one, next| one < next), "seed {seed}: {listed:?}");
        assert!(all().iter().all(|key| listed.contains(key)), "seed {seed}: {listed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_prefix_without_a_wanted_object_is_told_after_however_many_legs() {
    let world = world_of_objects(Faults::none());
    let splitter = splitter(&world, &LISTING.replace(".txt", ".none"));
    legs(&world, &splitter, submission(None)).await;
    let run = runs(&world).await.remove(0);
    assert_eq!(run.state, RunState::Failed);
    assert!(run.reason.unwrap().contains("ends in \".none\""));
}

#[tokio::test(start_paused = true)]
async fn a_plan_out_of_time_goes_on_where_it_was_and_is_the_same() {
    let text = (0..4_000).map(|number| format!("line {number}\n")).collect::<Vec<_>>().concat();
    let mut chunks = Vec::new();
    for share in [LONG, SHORT] {
        let world = MemoryWorld::seeded(0, Faults::none());
        world.objects.insert("input", "in/a", text.clone());
        let splitter = splitter(&world, LINES);
        if share.until.is_some() {
            let legs = legs(&world, &splitter, submission(Some("in/a"))).await;
            assert!(legs > 5, "{legs}");
        } else {
            splitter.handle_until(&submission(Some("in/a")), share).await.unwrap();
        }
        let run = runs(&world).await.remove(0);
        assert_eq!(run.state, RunState::Running);
        chunks.push(world.objects.contents(&ObjectName::new("work", key::manifest(&run.id))).unwrap());
    }
    assert_eq!(chunks[0], chunks[1]);
}

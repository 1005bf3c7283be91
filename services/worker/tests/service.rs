//! The worker on memory ports: from a chunk's message to its completion.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::{collections::BTreeMap, sync::Arc};

use fanfold_domain::{
    ByteRange, Chunk, ChunkIndex, Generation, Grouping, LineEnd, ObjectName, PLAN, Plan, Run, RunState, key,
    message::{ChunkEnd, ChunkMessage, Completion, decode, encode},
    pipeline::{Pipeline, Retry},
};
use fanfold_engine::chunk::is_tombstone;
use fanfold_lifecycle::RunCache;
use fanfold_ports::{
    Clock, Functions, Ledger, Objects, Ports, Queue,
    contract::sample_run,
    functions::Returned,
    memory::{
        Faults, Invocation, MEMORY_EPOCH, MemoryClock, MemoryFunctions, MemoryWeb, MemoryWorld,
        QueuedMessage, Rates, Reply,
    },
    web::Request,
};
use fanfold_worker::{Delivered, Worker};

const PIPELINE: &str = "pipeline: p\nsource: {prefix: in/, format: lines, max_record: 4B}\n\
     stages: [{name: s, process: copy, retry: {attempts: 2, backoff: 8s}}]\non_error: {max_bad_records: 1}\n";

/// A world with a run of `source`, whose chunks end at these offsets.
async fn world(faults: Faults, source: &'static str, ends: &[u64]) -> (MemoryWorld, Run) {
    let world = MemoryWorld::seeded(0, faults);
    let head = world.objects.insert("input", "in/a", source);
    let mut run = sample_run("worked", MEMORY_EPOCH);
    run.pipeline = Pipeline::parse(PIPELINE).unwrap();
    run.state = RunState::Running;
    run.source.object = ObjectName::new("input", "in/a");
    (run.source.version, run.source.etag, run.source.size_bytes) = (None, head.etag, head.size_bytes);
    let chunks = u32::try_from(ends.len()).unwrap();
    run.plan = Some(Plan {
        grouping: Grouping { chunks, group_chunks: 8 },
        preamble: ByteRange::new(0, 0),
        header: None,
        line_end: LineEnd::Lf,
    });
    let mut manifest = String::new();
    let mut start = 0;
    for (index, end) in (0..).zip(ends) {
        Chunk { index: ChunkIndex(index), range: ByteRange::new(start, *end) }.write_line(&mut manifest);
        start = *end;
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

fn message(run: &Run, chunk: u32, failed_tries: u32) -> String {
    message_of(run, &run.first_stage().name, chunk, failed_tries)
}

fn message_of(run: &Run, stage: &str, chunk: u32, failed_tries: u32) -> String {
    encode(&ChunkMessage {
        run: run.id.clone(),
        stage: stage.to_owned(),
        generation: Generation(0),
        chunk: ChunkIndex(chunk),
        failed_tries,
        not_before: None,
        platform_faults: None,
    })
}

fn ends(world: &MemoryWorld) -> Vec<ChunkEnd> {
    let messages = world.queues.drain(Queue::Completions);
    messages.iter().map(|message| decode::<Completion>(&message.body).unwrap().end).collect()
}

fn part(run: &Run, chunk: u32) -> ObjectName {
    ObjectName::new("work", run.keys(&run.last_stage().name).part(ChunkIndex(chunk)))
}

#[tokio::test]
async fn a_chunk_becomes_a_part_and_a_completion() {
    let (world, run) = world(Faults::none(), "a\nb\nc\n", &[4, 6]).await;
    worker(world.calm_ports()).handle(Delivered::first(&message(&run, 1, 0)), None).await.unwrap();
    assert_eq!(world.objects.contents(&part(&run, 1)).unwrap(), "c\n");
    let ended = ends(&world);
    assert!(
        matches!(&ended[..], [ChunkEnd::Done(sums)] if sums.records == 1 && sums.bytes_out == 2),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_part_that_exists_is_only_told_of() {
    let (world, run) = world(Faults::none(), "a\n", &[2]).await;
    let worker = worker(world.calm_ports());
    worker.handle(Delivered::first(&message(&run, 0, 0)), None).await.unwrap();
    let read = world.objects.bytes_read();
    worker.handle(Delivered::first(&message(&run, 0, 0)), None).await.unwrap();
    let ended = ends(&world);
    assert_eq!((ended.len(), &ended[0]), (2, &ended[1]));
    let statistics = world.objects.keys("work").iter().filter(|key| key.ends_with(".statistics")).count();
    assert_eq!(statistics, 1);
    assert!(world.objects.bytes_read() - read < 500, "the manifest's line and the winner's statistics");
}

#[tokio::test]
async fn an_ended_run_is_not_worked_on() {
    let (world, run) = world(Faults::none(), "a\n", &[2]).await;
    let ended = Run { state: RunState::Cancelled, ..run.clone() };
    world.ledger.save_run(&ended).await.unwrap();
    worker(world.calm_ports()).handle(Delivered::first(&message(&run, 0, 0)), None).await.unwrap();
    assert_eq!((world.objects.contents(&part(&run, 0)), world.queues.pending()), (None, Vec::new()));
}

#[tokio::test]
async fn a_message_of_another_version_is_delivered_again() {
    let (world, run) = world(Faults::none(), "a\n", &[2]).await;
    let newer = message(&run, 0, 0).replacen("\"v\":1", "\"v\":2", 1);
    assert!(worker(world.calm_ports()).handle(Delivered::first(&newer), None).await.is_err());
}

#[tokio::test]
async fn a_chunk_with_one_bad_record_too_many_fails_at_once_and_keeps_them() {
    let (world, run) = world(Faults::none(), "long line\nok\nlonger line\n", &[25]).await;
    worker(world.calm_ports()).handle(Delivered::first(&message(&run, 0, 0)), None).await.unwrap();
    let ended = ends(&world);
    let [ChunkEnd::Failed(failure)] = &ended[..] else { panic!("{ended:?}") };
    assert_eq!((failure.record, failure.offset), (Some(3), Some(13)));
    let list = ObjectName::new("work", failure.bad_records.as_ref().unwrap());
    assert_eq!(world.objects.contents(&list).unwrap().iter().filter(|byte| **byte == b'\n').count(), 2);
}

#[tokio::test]
async fn a_replaced_source_is_told_of_and_not_tried_again() {
    let (world, run) = world(Faults::none(), "a\n", &[2]).await;
    world.objects.insert("input", "in/a", "b\n");
    worker(world.calm_ports()).handle(Delivered::first(&message(&run, 0, 0)), None).await.unwrap();
    assert!(matches!(ends(&world)[..], [ChunkEnd::SourceChanged { .. }]));
}

/// Ports under the world's plan of faults.
fn broken(world: &MemoryWorld) -> Ports {
    world.ports(&Invocation::new("worker"))
}

#[tokio::test]
async fn a_try_that_failed_is_sent_again_with_a_delay_until_the_last() {
    let (world, mut run) = world(Faults::none(), "a\n", &[2]).await;
    run.pipeline =
        Pipeline::parse(&PIPELINE.replace("process: copy", "command: [/bin/sh, -c, 'exit 3']")).unwrap();
    world.ledger.save_run(&run).await.unwrap();
    let worker = worker(world.calm_ports());
    worker.handle(Delivered::first(&message(&run, 0, 0)), None).await.unwrap();
    let again = world.queues.drain(Queue::Chunks);
    let [QueuedMessage { body, delay_s, .. }] = &again[..] else { panic!("{again:?}") };
    assert_eq!(decode::<ChunkMessage>(body).unwrap().failed_tries, 1);
    assert!((4..=8).contains(delay_s), "{delay_s}");
    worker.handle(Delivered::first(body), None).await.unwrap();
    let ended = ends(&world);
    let [ChunkEnd::Failed(failure)] = &ended[..] else { panic!("{ended:?}") };
    assert!(failure.reason.ends_with("exited with 3 (after 2 tries)"), "{}", failure.reason);
}

#[tokio::test]
async fn a_chunk_whose_part_exists_is_never_called_failed() {
    // The part was created and nobody heard of it, at the last try of all.
    let mut unheard_of = 0;
    for seed in 0..300 {
        let faults = Faults::seeded(seed, Rates { lost_answer: 1_500, ..Rates::NONE });
        let (world, mut run) = world(faults, "a\n", &[2]).await;
        run.pipeline.stages[0].retry = Retry { attempts: 1, backoff_ms: 0 };
        world.ledger.save_run(&run).await.unwrap();
        let fared = worker(broken(&world)).handle(Delivered::first(&message(&run, 0, 0)), None).await;
        let found = world.objects.head(&part(&run, 0), None).await.unwrap();
        let is_there = found.is_some_and(|head| !is_tombstone(&head));
        let ended = ends(&world);
        assert!(!is_there || !matches!(ended[..], [ChunkEnd::Failed(_)]), "seed {seed}: {ended:?}");
        unheard_of += u32::from(is_there && fared.is_ok() && !world.faults.dealt().is_empty());
    }
    assert!(unheard_of > 5, "{unheard_of}");
}

#[tokio::test]
async fn a_part_without_its_statistics_fails_the_chunk_in_the_end() {
    let (world, run) = world(Faults::none(), "a\n", &[2]).await;
    world.objects.insert("work", part(&run, 0).key, "a\n");
    worker(world.calm_ports()).handle(Delivered::first(&message(&run, 0, 1)), None).await.unwrap();
    let ended = ends(&world);
    assert!(matches!(&ended[..], [ChunkEnd::Failed(failure)] if failure.reason.contains("must keep both")));
}

#[tokio::test]
async fn a_manifest_that_expired_fails_the_chunk_and_says_so() {
    let (world, run) = world(Faults::none(), "a\n", &[2]).await;
    world.objects.remove(&ObjectName::new("work", key::manifest(&run.id)));
    worker(world.calm_ports()).handle(Delivered::first(&message(&run, 0, 0)), None).await.unwrap();
    let ended = ends(&world);
    assert!(matches!(&ended[..], [ChunkEnd::Failed(failure)] if failure.reason.contains("manifest.jsonl")));
}

#[tokio::test]
async fn an_attempt_that_outlasts_its_function_is_a_failed_try_that_names_both_times() {
    let (world, mut run) = world(Faults::none(), "a\n", &[2]).await;
    let slow = PIPELINE.replace("process: copy", "command: [/bin/sleep, '600'], timeout: 10m");
    run.pipeline = Pipeline::parse(&slow).unwrap();
    world.ledger.save_run(&run).await.unwrap();
    let worker = worker(world.calm_ports());
    for failed_tries in [0, 1] {
        let ends_at = worker.ports.clock.now().plus_ms(15_050);
        worker.handle(Delivered::first(&message(&run, 0, failed_tries)), Some(ends_at)).await.unwrap();
    }
    let again = world.queues.drain(Queue::Chunks);
    assert_eq!(decode::<ChunkMessage>(&again[0].body).unwrap().failed_tries, 1);
    let ended = ends(&world);
    let [ChunkEnd::Failed(failure)] = &ended[..] else { panic!("{ended:?}") };
    for part in
        ["timeout is 600 s", "had 15 s left", "raise WorkerTimeout or lower the stage's timeout", "2 tries"]
    {
        assert!(failure.reason.contains(part), "{}", failure.reason);
    }
}

/// Makes it a run that asks a third party, and the worker one that knows it.
async fn asking(
    world: &MemoryWorld,
    run: &mut Run,
    stage: &str,
    script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
) -> (Worker, MemoryWeb) {
    let with =
        "url: 'http://third.example/', body: '{previous}{record}', headers: {content-type: text/plain}";
    let stage = format!("process: http, order: sequential, {stage} with: {{{with}, attempts: 1}}");
    run.pipeline = Pipeline::parse(&PIPELINE.replace("process: copy", &stage)).unwrap();
    world.ledger.save_run(run).await.unwrap();
    let web = MemoryWeb::new(world.clock.clone(), script);
    (Worker { web: Arc::new(web.clone()), ..worker(world.calm_ports()) }, web)
}

#[tokio::test(start_paused = true)]
async fn a_sequential_stage_goes_on_where_the_chunk_before_ended() {
    let (world, mut run) = world(Faults::none(), "a\nb\nc\n", &[2, 4, 6]).await;
    let echo = |request: &Request, _| Reply::ok(request.body.clone());
    let (worker, web) = asking(&world, &mut run, "rate: 1/s,", echo).await;
    // The second is told of twice, and asks once.
    for chunk in [0, 1, 1, 2] {
        worker.handle(Delivered::first(&message(&run, chunk, 0)), None).await.unwrap();
    }
    for (chunk, line) in [(0, "a\n"), (1, "ab\n"), (2, "abc\n")] {
        assert_eq!(world.objects.contents(&part(&run, chunk)).unwrap(), line);
    }
    let at: Vec<u64> = web.requests().iter().map(|(at, _)| at.ms_since(MEMORY_EPOCH)).collect();
    assert!(at.len() == 3 && at.windows(2).all(|pair| pair[1] - pair[0] >= 1_000), "{at:?}");
    assert_eq!(ends(&world).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_third_party_that_is_away_is_asked_again_later_and_fails_what_follows_in_the_end() {
    let (world, mut run) = world(Faults::none(), "a\nb\n", &[2, 4]).await;
    let (worker, web) = asking(&world, &mut run, "", |_, _| Reply::status(503)).await;
    worker.handle(Delivered::first(&message(&run, 0, 0)), None).await.unwrap();
    let again = world.queues.drain(Queue::Chunks);
    assert!((4..=8).contains(&again[0].delay_s), "{again:?}");
    worker.handle(Delivered::first(&again[0].body), None).await.unwrap();
    worker.handle(Delivered::first(&message(&run, 1, 0)), None).await.unwrap();
    let ended = ends(&world);
    let [ChunkEnd::Failed(first), ChunkEnd::Failed(second)] = &ended[..] else { panic!("{ended:?}") };
    assert!(
        first.reason.contains("was answered 503") && first.reason.ends_with("(after 2 tries)"),
        "{}",
        first.reason
    );
    assert_eq!(second.reason, "chunk 0, which it follows in a sequential stage, has no part: it failed");
    assert_eq!(web.requests().len(), 2);
}

/// What it says of the next attempt, for which this one has no time left: an hour is four times what a message can be
/// delayed.
#[tokio::test(start_paused = true)]
async fn a_third_party_that_wants_to_be_left_alone_is_for_as_long_as_it_says() {
    for (wait_s, times_sent) in [(600, 1), (3_600, 5)] {
        let (world, mut run) = world(Faults::none(), "a\n", &[2]).await;
        let busy = move |request: &Request, number| {
            let (status, retry_after) =
                if number == 0 { (503, Some(wait_s.to_string())) } else { (200, None) };
            Reply::Answer { status, body: request.body.clone(), retry_after, after_ms: 0 }
        };
        let (worker, web) = asking(&world, &mut run, "", busy).await;
        worker.handle(Delivered::first(&message(&run, 0, 0)), None).await.unwrap();
        let (asked_at, mut times) = (world.clock.now(), 0);
        while let Some(again) = world.queues.drain(Queue::Chunks).pop() {
            assert_eq!(web.requests().len(), 1, "it is left alone");
            world.clock.sleep_ms(u64::from(again.delay_s) * 1_000).await;
            worker.handle(Delivered::first(&again.body), None).await.unwrap();
            times += 1;
        }
        // With the backoff of eight seconds, spread over its upper half.
        let waited_s = world.clock.now().ms_since(asked_at) / 1_000;
        assert!((wait_s + 4..=wait_s + 9).contains(&waited_s), "{waited_s} of {wait_s}");
        assert_eq!((times, web.requests().len(), ends(&world).len()), (times_sent, 2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_the_attempt_before_its_function_ends_and_the_chunk_before_its_run() {
    let busy = |wait_s: u64| {
        move |_: &Request, _| {
            let retry_after = Some(wait_s.to_string());
            Reply::Answer { status: 503, body: "busy".into(), retry_after, after_ms: 0 }
        }
    };
    let (world_of_one, mut run) = world(Faults::none(), "a\n", &[2]).await;
    let (worker, _) = asking(&world_of_one, &mut run, "", busy(120)).await;
    let ends_at = world_of_one.clock.now().plus_ms(100_000);
    worker.handle(Delivered::first(&message(&run, 0, 0)), Some(ends_at)).await.unwrap();
    let again = world_of_one.queues.drain(Queue::Chunks);
    assert!((124..=128).contains(&again[0].delay_s), "{again:?}");

    let (world_of_one, mut run) = world(Faults::none(), "a\n", &[2]).await;
    let (worker, _) = asking(&world_of_one, &mut run, "", busy(100_000)).await;
    worker.handle(Delivered::first(&message(&run, 0, 0)), None).await.unwrap();
    let ended = ends(&world_of_one);
    let [ChunkEnd::Failed(failure)] = &ended[..] else { panic!("{ended:?}") };
    assert!(failure.reason.contains("503: \"busy\""), "{}", failure.reason);
    assert!(failure.reason.ends_with("(after 1 tries)"), "{}", failure.reason);
}

/// Makes it a run that is being planned by a function, which returns so and takes so long.
async fn planning(
    world: &MemoryWorld,
    run: &mut Run,
    takes_ms: u64,
    returns: impl Fn(usize) -> Returned + Send + Sync + 'static,
) -> (Worker, MemoryFunctions) {
    let document =
        "{pipeline: p, source: {items: plan}, plan: {lambda: list}, stages: [{name: s, process: copy}]}";
    run.pipeline = Pipeline::parse(document).unwrap();
    (run.state, run.plan) = (RunState::Planning, None);
    world.ledger.save_run(run).await.unwrap();
    let functions =
        MemoryFunctions::new(world.clock.clone(), takes_ms, move |_, _, number| Ok(returns(number)));
    let port: Arc<dyn Functions> = Arc::new(functions.clone());
    (Worker { functions: Some(port), ..worker(world.calm_ports()) }, functions)
}

fn list(world: &MemoryWorld, run: &Run) -> Option<String> {
    let part = ObjectName::new("work", run.keys(PLAN).part(ChunkIndex(0)));
    world.objects.contents(&part).map(|list| String::from_utf8(list.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_function_as_the_plan_step_gives_the_list_once() {
    let (world, mut run) = world(Faults::none(), "", &[]).await;
    let (worker, functions) =
        planning(&world, &mut run, 0, |_| Returned::Answer("[{\"a\": 1}, 2]".into())).await;
    for _ in 0..2 {
        worker.handle(Delivered::first(&message_of(&run, PLAN, 0, 0)), None).await.unwrap();
    }
    assert_eq!(list(&world, &run).unwrap(), "{\"a\":1}\n2\n");
    let ended = ends(&world);
    assert!(matches!(&ended[..], [ChunkEnd::Done(one), ChunkEnd::Done(two)] if one == two), "{ended:?}");
    assert_eq!(functions.events().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_function_that_fails_is_invoked_again_later_and_its_message_is_the_reason_in_the_end() {
    let (world, mut run) = world(Faults::none(), "", &[]).await;
    let (worker, functions) =
        planning(&world, &mut run, 0, |number| Returned::Failure(format!("ValueError: {number}"))).await;
    let mut waiting = vec![message_of(&run, PLAN, 0, 0)];
    while let Some(body) = waiting.pop() {
        worker.handle(Delivered::first(&body), None).await.unwrap();
        waiting.extend(world.queues.drain(Queue::Chunks).into_iter().map(|again| again.body));
    }
    let ended = ends(&world);
    let [ChunkEnd::Failed(failure)] = &ended[..] else { panic!("{ended:?}") };
    let tries = functions.events().len();
    let reason = format!("function list failed: ValueError: {} (after {tries} tries)", tries - 1);
    assert_eq!(failure.reason, reason);
    assert!(tries > 1);
    let name = ObjectName::new("work", run.keys(PLAN).part(ChunkIndex(0)));
    let found = world.objects.head(&name, None).await.unwrap();
    assert!(is_tombstone(&found.unwrap()), "there is no list, and there will be none");
}

/// And the function of the user's own goes on without it.
#[tokio::test(start_paused = true)]
async fn a_function_that_outlasts_the_worker_counts_as_a_failed_try() {
    let (world, mut run) = world(Faults::none(), "", &[]).await;
    let (worker, _) = planning(&world, &mut run, 100_000, |_| Returned::Answer("[1]".into())).await;
    let ends_at = Some(world.clock.now().plus_ms(60_000));
    worker.handle(Delivered::first(&message_of(&run, PLAN, 0, 0)), ends_at).await.unwrap();
    assert_eq!(world.queues.drain(Queue::Chunks).len(), 1);
    assert_eq!((ends(&world).len(), list(&world, &run)), (0, None));
}

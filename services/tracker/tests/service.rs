//! The tracker on memory ports: what is counted, and what follows.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use fanfold_domain::{
    ByteRange, ChunkIndex, Generation, GroupIndex, Grouping, LineEnd, Mark, ObjectName, Plan, Run, RunState,
    Sums,
    message::{ChunkEnd, ChunkMessage, Completion, Failure, FoldMessage, decode, encode},
    pipeline::Tolerance,
};
use fanfold_lifecycle::RunCache;
use fanfold_ports::{
    Clock, Ledger, Objects, Queue,
    contract::sample_run,
    ledger::{Freshness, StageId},
    memory::{Faults, Invocation, MEMORY_EPOCH, MemoryWorld, memory_ports},
    objects::{Condition, Metadata},
};
use fanfold_tracker::{Notes, Tracker, TrackerError};

const SUMS: Sums = Sums { records: 3, bad_records: 1, bytes_in: 30, bytes_out: 9, failed_chunks: 0 };

/// A world with a running run of `chunks` chunks in groups of `group_chunks`, a window of 2, and its tracker.
async fn running(chunks: u32, group_chunks: u32) -> (MemoryWorld, Tracker, Run) {
    let mut run = sample_run("tracked", MEMORY_EPOCH);
    run.state = RunState::Running;
    run.pipeline.stages[0].max_concurrency = 2;
    run.plan = Some(Plan {
        grouping: Grouping { chunks, group_chunks },
        preamble: ByteRange::new(0, 0),
        header: None,
        line_end: LineEnd::Lf,
    });
    created(run).await
}

async fn created(run: Run) -> (MemoryWorld, Tracker, Run) {
    let (world, ports) = memory_ports();
    world.ledger.create_run(&run).await.unwrap();
    let tracker =
        Tracker { ports, work_bucket: "work".into(), runs: RunCache::default(), notes: Notes::default() };
    (world, tracker, run)
}

fn ended(run: &Run, chunk: u32, end: ChunkEnd) -> String {
    let StageId { run, stage, generation } = StageId::last_of(run);
    encode(&Completion { run, stage, generation, chunk: ChunkIndex(chunk), end, sent: Vec::new() })
}

fn done(run: &Run, chunk: u32) -> String {
    ended(run, chunk, ChunkEnd::Done(SUMS))
}

fn failed(run: &Run, chunk: u32) -> String {
    ended(run, chunk, ChunkEnd::Failed(Failure::of_chunk("it had to")))
}

fn released(world: &MemoryWorld) -> Vec<u32> {
    let messages = world.queues.drain(Queue::Chunks);
    messages.iter().map(|message| decode::<ChunkMessage>(&message.body).unwrap().chunk.0).collect()
}

fn folds(world: &MemoryWorld) -> Vec<FoldMessage> {
    world.queues.drain(Queue::Folds).iter().map(|message| decode(&message.body).unwrap()).collect()
}

async fn now(world: &MemoryWorld, run: &Run) -> Run {
    world.ledger.run(&run.id, Freshness::Consistent).await.unwrap().unwrap()
}

async fn counted(world: &MemoryWorld, run: &Run) -> Sums {
    world.ledger.group(&StageId::last_of(run), GroupIndex(0)).await.unwrap().sums
}

#[tokio::test]
async fn the_end_of_a_chunk_releases_the_one_a_window_later() {
    let (world, tracker, run) = running(4, 8).await;
    assert!(tracker.handle(&[done(&run, 0)]).await.is_empty());
    assert_eq!(released(&world), [2]);
    assert!(tracker.handle(&[done(&run, 1), done(&run, 2)]).await.is_empty());
    assert_eq!(released(&world), [3]);
    assert_eq!(folds(&world), []);
}

#[tokio::test]
async fn a_full_group_is_sent_to_be_folded() {
    let (world, tracker, run) = running(3, 2).await;
    assert!(tracker.handle(&[done(&run, 1), done(&run, 2), done(&run, 0)]).await.is_empty());
    let groups: Vec<_> = folds(&world)
        .into_iter()
        .map(|fold| match fold {
            FoldMessage::Fold { group, .. } => group.0,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(groups, [0, 1]);
}

#[tokio::test]
async fn a_duplicate_completion_is_counted_once_and_followed_once() {
    let (world, tracker, run) = running(4, 8).await;
    assert!(tracker.handle(&[done(&run, 0), done(&run, 0)]).await.is_empty());
    assert!(tracker.handle(&[done(&run, 0), done(&run, 1)]).await.is_empty());
    assert_eq!(counted(&world, &run).await.records, 6);
    assert_eq!(released(&world), [2, 3]);
}

#[tokio::test]
async fn a_chunk_marked_and_not_handed_is_followed_again() {
    let (world, tracker, run) = running(4, 8).await;
    // Another tracker marked it and died.
    let mark = [(ChunkIndex(0), Mark::Done(SUMS))];
    world.ledger.mark(&StageId::last_of(&run), GroupIndex(0), &mark, &[]).await.unwrap();
    assert!(tracker.handle(&[done(&run, 0)]).await.is_empty());
    assert_eq!((released(&world), counted(&world, &run).await), (vec![2], SUMS));
}

#[tokio::test]
async fn one_bad_of_ten_is_the_only_one_to_come_again() {
    let (world, tracker, run) = running(10, 16).await;
    let mut batch: Vec<String> = (0..10).map(|chunk| done(&run, chunk)).collect();
    batch[4] = batch[4].replacen("\"v\":1", "\"v\":2", 1);
    let failed = tracker.handle(&batch).await;
    assert!(matches!(&failed[..], [(4, TrackerError::Message(_))]), "{failed:?}");
    assert_eq!(counted(&world, &run).await.records, 27);
}

#[tokio::test]
async fn a_chunk_that_the_run_does_not_have_fails_alone() {
    let (world, tracker, run) = running(2, 2).await;
    let failed = tracker.handle(&[done(&run, 0), done(&run, 2), done(&run, 1)]).await;
    assert!(matches!(&failed[..], [(1, TrackerError::NoChunk { .. })]), "{failed:?}");
    assert_eq!(counted(&world, &run).await.records, 6);
}

#[tokio::test]
async fn more_chunks_than_one_update_takes_are_all_counted() {
    let (world, tracker, run) = running(100, 128).await;
    let batch: Vec<String> = (0..100).map(|chunk| done(&run, chunk)).collect();
    assert!(tracker.handle(&batch).await.is_empty());
    assert_eq!(counted(&world, &run).await.records, 300);
    assert_eq!(folds(&world).len(), 1);
}

#[tokio::test]
async fn a_failed_chunk_fails_the_run_with_its_reason_and_releases_nothing() {
    let (world, tracker, run) = running(4, 8).await;
    assert!(tracker.handle(&[failed(&run, 1)]).await.is_empty());
    let run = now(&world, &run).await;
    assert_eq!(run.state, RunState::Failed);
    assert!(run.reason.unwrap().starts_with("chunk 1: it had to; 1 of 4 chunks failed"));
    assert!(released(&world).is_empty());
    assert!(matches!(folds(&world)[..], [FoldMessage::Report { .. }]));
}

#[tokio::test]
async fn a_chunk_with_too_many_bad_records_fails_the_run_even_if_failed_chunks_are_tolerated() {
    let (_, _, mut run) = running(4, 8).await;
    run.pipeline.on_error.tolerate_failed_chunks = Tolerance::Count(4);
    let (world, tracker, run) = created(run).await;
    let list = Some("runs/list".to_owned());
    let failure = Failure { bad_records: list, ..Failure::of_chunk("3 bad records") };
    assert!(tracker.handle(&[ended(&run, 1, ChunkEnd::Failed(failure))]).await.is_empty());
    let run = now(&world, &run).await;
    assert_eq!((run.state, run.reason.as_deref()), (RunState::Failed, Some("chunk 1: 3 bad records")));
    assert!(released(&world).is_empty());
}

/// A note is in the memory of the one that counted first, until it counts again, and may be lost.
#[tokio::test]
async fn a_double_at_a_tracker_that_knows_of_no_note_sends_no_chunk_that_has_ended() {
    let (world, tracker, run) = running(8, 8).await;
    let another = || Tracker {
        ports: tracker.ports.clone(),
        work_bucket: "work".into(),
        runs: RunCache::default(),
        notes: Notes::default(),
    };
    for (chunk, next) in [(0, 2), (2, 4)] {
        assert!(another().handle(&[done(&run, chunk)]).await.is_empty());
        assert_eq!(released(&world), [next]);
    }
    let count = world.ledger.group(&StageId::last_of(&run), GroupIndex(0)).await.unwrap();
    assert!(count.handed.is_empty(), "nobody was left to make the notes");
    assert!(another().handle(&[done(&run, 0), done(&run, 2)]).await.is_empty());
    assert_eq!(released(&world), [4], "chunk 2 has ended, and chunk 4 has not");
}

/// The report of the run lists what is counted when it is asked for, and it is asked for once; and with the last mark the
/// sweeper goes on with the stage, unless the run has failed.
#[tokio::test]
async fn a_run_that_one_chunk_fails_does_so_between_the_others_marks_and_that_ones() {
    let (_, _, mut run) = running(2, 2).await;
    run.pipeline.on_error.tolerate_failed_chunks = Tolerance::Count(4);
    run.pipeline.on_error.max_bad_records = 5;
    let mut point = 0;
    loop {
        let faults = Faults::crash_at(point);
        let world = MemoryWorld::seeded(0, faults);
        world.ledger.create_run(&run).await.unwrap();
        let invocation = Invocation::new("tracker");
        let (work_bucket, runs, notes) = ("work".into(), RunCache::default(), Notes::default());
        let tracker = Tracker { ports: world.ports(&invocation), work_bucket, runs, notes };
        let list = Some("runs/list".to_owned());
        let failure = Failure { bad_records: list, ..Failure::of_chunk("6 bad records") };
        let bodies = [done(&run, 0), ended(&run, 1, ChunkEnd::Failed(failure))];
        tokio::select! {
            biased;
            () = invocation.crashed() => {}
            failed = tracker.handle(&bodies) => assert!(failed.is_empty()),
        }
        let count = world.ledger.group(&StageId::last_of(&run), GroupIndex(0)).await.unwrap();
        let has_failed = now(&world, &run).await.state == RunState::Failed;
        assert!(has_failed || !count.failed.contains(&ChunkIndex(1)), "crash at point {point}");
        assert!(!has_failed || count.done.contains(&ChunkIndex(0)), "crash at point {point}");
        if !invocation.has_crashed() {
            assert_eq!((count.ended(), has_failed, folds(&world).len()), (2, true, 1));
            break;
        }
        point += 1;
    }
    assert!(point > 8, "{point} points");
}

#[tokio::test]
async fn a_tolerated_chunk_releases_and_fills_like_any_other() {
    let mut run = running(3, 2).await.2;
    run.pipeline.on_error.tolerate_failed_chunks = Tolerance::Count(1);
    let (world, tracker, run) = created(run).await;
    assert!(tracker.handle(&[failed(&run, 0), done(&run, 1)]).await.is_empty());
    assert_eq!(now(&world, &run).await.state, RunState::Running);
    assert_eq!((released(&world), folds(&world).len()), (vec![2], 1));
    assert!(tracker.handle(&[failed(&run, 2)]).await.is_empty());
    // One group has one failed chunk, the other too: the run is judged when all are folded.
    assert_eq!(now(&world, &run).await.state, RunState::Running);
}

#[tokio::test]
async fn one_bad_record_too_many_fails_the_run_as_its_group_fills() {
    let mut run = running(4, 8).await.2;
    run.pipeline.on_error.max_bad_records = 1;
    let (world, tracker, run) = created(run).await;
    assert!(tracker.handle(&[done(&run, 0), done(&run, 1)]).await.is_empty());
    let run = now(&world, &run).await;
    assert_eq!(run.state, RunState::Failed);
    assert!(run.reason.unwrap().contains("2 bad records of 6"));
}

#[tokio::test]
async fn a_failed_run_is_counted_on_and_releases_nothing() {
    let mut run = running(4, 8).await.2;
    run.state = RunState::Failed;
    let (world, tracker, run) = created(run).await;
    assert!(tracker.handle(&[done(&run, 0)]).await.is_empty());
    assert_eq!((counted(&world, &run).await, world.queues.pending()), (SUMS, Vec::new()));
}

#[tokio::test]
async fn a_completion_of_an_older_generation_is_dropped() {
    let mut run = running(4, 8).await.2;
    run.generation = Generation(1);
    let (world, tracker, run) = created(run).await;
    let old = done(&Run { generation: Generation(0), ..run.clone() }, 0);
    assert!(tracker.handle(&[old]).await.is_empty());
    assert_eq!((counted(&world, &run).await, world.queues.pending()), (Sums::default(), Vec::new()));
}

#[tokio::test]
async fn a_replaced_source_ends_the_run() {
    let (world, tracker, run) = running(4, 8).await;
    let changed = ended(&run, 0, ChunkEnd::SourceChanged { found: "it is gone".into() });
    assert!(tracker.handle(&[changed]).await.is_empty());
    let run = now(&world, &run).await;
    assert_eq!(run.state, RunState::Failed);
    assert!(run.reason.unwrap().contains("it is gone"));
}

fn chunk_message(run: &Run, chunk: u32) -> String {
    let StageId { run, stage, generation } = StageId::last_of(run);
    encode(&ChunkMessage {
        run,
        stage,
        generation,
        chunk: ChunkIndex(chunk),
        failed_tries: 0,
        not_before: None,
    })
}

#[tokio::test]
async fn a_dead_chunk_without_a_part_is_failed() {
    let (world, tracker, run) = running(4, 8).await;
    tracker.handle_dead(&chunk_message(&run, 1)).await.unwrap();
    let run = now(&world, &run).await;
    assert_eq!(run.state, RunState::Failed);
    assert!(run.reason.unwrap().contains("its worker died at every delivery"));
}

#[tokio::test]
async fn a_dead_chunk_with_a_part_is_done() {
    let (world, tracker, run) = running(4, 8).await;
    let keys = run.keys(&run.last_stage().name);
    let statistics = format!("{{\"sums\":{}}}", serde_json::to_string(&SUMS).unwrap());
    world.objects.insert("work", keys.statistics(ChunkIndex(1), "a"), statistics);
    let part = ObjectName::new("work", keys.part(ChunkIndex(1)));
    let named = Metadata::from([("fanfold-attempt".to_owned(), "a".to_owned())]);
    world.objects.put(&part, "123456789".into(), Condition::Always, &named).await.unwrap();
    tracker.handle_dead(&chunk_message(&run, 1)).await.unwrap();
    assert_eq!(now(&world, &run).await.state, RunState::Running);
    assert_eq!((counted(&world, &run).await, released(&world)), (SUMS, vec![3]));
}

#[tokio::test]
async fn a_dead_chunk_whose_statistics_are_gone_is_failed_and_not_tried_for_ever() {
    let (world, tracker, run) = running(4, 8).await;
    world.objects.insert("work", run.keys(&run.last_stage().name).part(ChunkIndex(1)), "123456789");
    tracker.handle_dead(&chunk_message(&run, 1)).await.unwrap();
    assert_eq!(now(&world, &run).await.state, RunState::Failed);
}

#[tokio::test]
async fn a_dead_chunk_whose_part_may_not_be_looked_at_fails_the_run_and_not_the_chunk() {
    let (world, tracker, run) = running(4, 8).await;
    world.faults.refuse("s3://work/");
    let tracker = Tracker { ports: world.ports(&Invocation::new("tracker")), ..tracker };
    tracker.handle_dead(&chunk_message(&run, 1)).await.unwrap();
    let ended = now(&world, &run).await;
    assert_eq!((ended.state, counted(&world, &run).await), (RunState::Failed, Sums::default()));
    assert!(ended.reason.unwrap().contains("AccessDenied"));
}

#[tokio::test(start_paused = true)]
async fn the_waits_for_newer_sources_of_a_batch_are_made_at_once_and_hold_up_nothing_else() {
    let (world, tracker, run) = running(4, 2).await;
    let others: Vec<Run> = ["one", "two", "three"]
        .map(|name| Run {
            plan: run.plan.clone(),
            state: RunState::Running,
            ..sample_run(name, MEMORY_EPOCH)
        })
        .into();
    let mut batch = Vec::new();
    for other in &others {
        world.ledger.create_run(other).await.unwrap();
        for chunk in 0..2 {
            batch.push(ended(other, chunk, ChunkEnd::SourceChanged { found: "it is gone".into() }));
        }
    }
    batch.push(done(&run, 0));
    let began = world.clock.now();
    let counted = async {
        // Long before the waits are over.
        world.clock.sleep_ms(1).await;
        world.ledger.group(&StageId::last_of(&run), GroupIndex(0)).await.unwrap().done.len()
    };
    let (failed, counted) = tokio::join!(tracker.handle(&batch), counted);
    assert_eq!((failed.len(), counted), (0, 1));
    assert_eq!(world.clock.now().ms_since(began), 5_000, "one wait for all");
    for other in others {
        let ended = world.ledger.run(&other.id, Freshness::Consistent).await.unwrap().unwrap();
        assert_eq!(ended.state, RunState::Failed);
    }
}

//! The sweeper on memory ports: what it repairs, and what becomes of messages that died.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use fanfold_domain::{
    ByteRange, ChunkIndex, GroupIndex, Grouping, LineEnd, Mark, ObjectName, Plan, Run, RunState, Stamp, Sums,
    Timestamp,
    message::{ChunkEnd, Completion, FoldMessage, Intake, decode, encode},
    pipeline::Pipeline,
};
use fanfold_ports::{
    Clock, Ledger, Objects, Queue,
    contract::sample_run,
    ledger::{Freshness, StageId, Taken},
    memory::{Invocation, MEMORY_EPOCH, MemoryWorld, memory_ports},
    objects::Condition,
};
use fanfold_sweeper::{DeadQueue, LeftOff, Sweeper};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// When a sweep that takes its time runs out of it.
const NEVER: Timestamp = Timestamp(u64::MAX);

/// A world with a run in `state`, planned as two chunks of one group, that owns its output.
async fn world(state: RunState) -> (MemoryWorld, Sweeper, Run) {
    let (world, ports) = memory_ports();
    let mut run = sample_run("swept", MEMORY_EPOCH);
    run.state = state;
    run.plan = Some(Plan {
        grouping: Grouping { chunks: 2, group_chunks: 2 },
        preamble: ByteRange::new(0, 0),
        header: None,
        line_end: LineEnd::Lf,
    });
    let taken = world.ledger.take_output(&run.output, &run.id, &run.source.object, None).await.unwrap();
    let Taken::Owned(ownership) = taken else { panic!("{taken:?}") };
    run.epoch = ownership.epoch;
    world.ledger.create_run(&run).await.unwrap();
    let maps = world.maps.clone();
    (world, Sweeper { ports, maps, work_bucket: "work".into(), left_off: LeftOff::default() }, run)
}

async fn now(world: &MemoryWorld, run: &Run) -> Run {
    world.ledger.run(&run.id, Freshness::Consistent).await.unwrap().unwrap()
}

async fn mark(world: &MemoryWorld, run: &Run, chunks: &[u32]) {
    let marks: Vec<_> =
        chunks.iter().map(|chunk| (ChunkIndex(*chunk), Mark::Done(Sums::default()))).collect();
    world.ledger.mark(&StageId::last_of(run), GroupIndex(0), &marks, &[]).await.unwrap();
}

fn folds(world: &MemoryWorld) -> Vec<FoldMessage> {
    world.queues.drain(Queue::Folds).iter().map(|message| decode(&message.body).unwrap()).collect()
}

fn fold(run: &Run) -> FoldMessage {
    let StageId { run, stage, generation } = StageId::last_of(run);
    FoldMessage::Fold { run, stage, generation, group: GroupIndex(0) }
}

fn assemble(run: &Run) -> FoldMessage {
    FoldMessage::Assemble { run: run.id.clone(), generation: run.generation }
}

fn report(run: &Run) -> FoldMessage {
    FoldMessage::Report { run: run.id.clone(), generation: run.generation }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_getting_on_is_left_alone() {
    for state in [RunState::Planning, RunState::Running, RunState::Completing] {
        let (world, sweeper, run) = world(state).await;
        world.clock.sleep_ms(4 * MINUTE).await;
        sweeper.sweep(NEVER).await.unwrap();
        assert_eq!((now(&world, &run).await, world.queues.pending()), (run, Vec::new()));
    }
}

/// As the splitter does for each message of a run in planning, and dies then.
async fn try_in_vain(world: &MemoryWorld, run: &Run) -> usize {
    let resumes = world.queues.drain(Queue::Intake);
    for message in &resumes {
        assert_eq!(decode::<Intake>(&message.body).unwrap(), Intake::Resume { run: run.id.clone() });
        if let Some(counted) = now(world, run).await.counting_try(world.clock.now()) {
            world.ledger.save_run(&counted).await.unwrap();
        }
    }
    resumes.len()
}

async fn sweep_each_minute(world: &MemoryWorld, sweeper: &Sweeper, minutes: u64) {
    for _ in 0..minutes {
        world.clock.sleep_ms(MINUTE).await;
        sweeper.sweep(NEVER).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_stuck_in_planning_is_planned_again_every_ten_minutes_and_failed_after_five_further_tries() {
    let (world, sweeper, run) = world(RunState::Planning).await;
    let mut tries = 0;
    for _ in 0..59 {
        sweep_each_minute(&world, &sweeper, 1).await;
        tries += try_in_vain(&world, &run).await;
    }
    assert_eq!((tries, now(&world, &run).await.state), (5, RunState::Planning));
    let noted = now(&world, &run).await.noting_trouble(None, "the bucket is slow").unwrap();
    world.ledger.save_run(&noted).await.unwrap();
    sweep_each_minute(&world, &sweeper, 1).await;
    let run = now(&world, &run).await;
    assert_eq!(run.state, RunState::Failed);
    assert_eq!(run.reason.unwrap(), "it could not be planned in 5 further tries: the bucket is slow");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_behind_others_is_not_failed_for_it() {
    let (world, sweeper, run) = world(RunState::Planning).await;
    sweep_each_minute(&world, &sweeper, 5 * 60).await;
    assert_eq!(now(&world, &run).await.state, RunState::Planning);
    // Its messages come all at once: that is one try.
    assert_eq!(try_in_vain(&world, &run).await, 30);
    assert_eq!(now(&world, &run).await.planning_tries.unwrap().count, 1);
    sweep_each_minute(&world, &sweeper, 20).await;
    assert_eq!(now(&world, &run).await.state, RunState::Planning);
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_planning_gets_on_is_not_failed_however_long_it_takes() {
    let (world, sweeper, run) = world(RunState::Planning).await;
    for _ in 0..10 {
        for _ in 0..40 {
            sweep_each_minute(&world, &sweeper, 1).await;
            try_in_vain(&world, &run).await;
        }
        let now = now(&world, &run).await;
        assert_eq!(now.state, RunState::Planning);
        world.ledger.save_run(&Run { updated_at: world.clock.now(), ..now }).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_tells_what_kept_a_stage_from_being_begun() {
    let (world, sweeper, run) = world(RunState::Running).await;
    let name = run.last_stage().name.clone();
    let noted = run.noting_trouble(Some(&name), "start of x: ThrottlingException (transient)").unwrap();
    world.ledger.save_run(&noted).await.unwrap();
    world.clock.sleep_ms(25 * HOUR).await;
    sweeper.sweep(NEVER).await.unwrap();
    let reason = now(&world, &run).await.reason.unwrap();
    assert!(
        reason.ends_with(&format!(
            "; stage {name} could not be begun: start of x: ThrottlingException (transient)"
        )),
        "{reason}"
    );
}

/// All tries of a plan step may take longer than a splitter does.
#[tokio::test(start_paused = true)]
async fn a_plan_step_is_not_begun_beside_itself() {
    let (world, sweeper, run) = world(RunState::Planning).await;
    let document = "{pipeline: p, source: {items: plan}, plan: {command: [./plan], timeout: 5m}, \
                    stages: [{name: s, process: copy}]}";
    let pipeline = Pipeline::parse(document).unwrap();
    world.ledger.save_run(&Run { pipeline, ..run }).await.unwrap();
    // Three tries of five minutes, and the ten of a splitter.
    world.clock.sleep_ms(24 * MINUTE).await;
    sweeper.sweep(NEVER).await.unwrap();
    assert_eq!(world.queues.drain(Queue::Intake).len(), 0);
    world.clock.sleep_ms(MINUTE).await;
    sweeper.sweep(NEVER).await.unwrap();
    assert_eq!(world.queues.drain(Queue::Intake).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_group_that_nobody_folded_is_sent_again() {
    let (world, sweeper, run) = world(RunState::Running).await;
    mark(&world, &run, &[0]).await;
    world.clock.sleep_ms(6 * MINUTE).await;
    sweeper.sweep(NEVER).await.unwrap();
    assert_eq!(folds(&world), []);
    mark(&world, &run, &[1]).await;
    world.clock.sleep_ms(6 * MINUTE).await;
    sweeper.sweep(NEVER).await.unwrap();
    assert_eq!(folds(&world), [fold(&run)]);
    // The next minute it is not sent again: it may be waiting its turn.
    world.clock.sleep_ms(MINUTE).await;
    sweeper.sweep(NEVER).await.unwrap();
    assert_eq!(folds(&world), []);
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_groups_are_all_folded_is_completed() {
    let (world, sweeper, run) = world(RunState::Running).await;
    world.ledger.mark_folded(&StageId::last_of(&run), GroupIndex(0), Sums::default()).await.unwrap();
    world.clock.sleep_ms(6 * MINUTE).await;
    sweeper.sweep(NEVER).await.unwrap();
    assert_eq!(now(&world, &run).await.state, RunState::Completing);
    assert_eq!(folds(&world), [assemble(&run)]);
}

/// Its first chunks may take as long as they like: were they sent again, they would be worked on twice at once.
#[tokio::test(start_paused = true)]
async fn a_stage_whose_predecessor_has_ended_is_begun_unless_it_was() {
    let (world, sweeper, mut run) = world(RunState::Running).await;
    let document = "{pipeline: p, source: {format: lines}, stages: [{name: s, process: copy}, \
                    {name: t, process: copy}]}";
    run.pipeline = Pipeline::parse(document).unwrap();
    world.ledger.save_run(&run).await.unwrap();
    world.ledger.mark_folded(&StageId::first_of(&run), GroupIndex(0), Sums::default()).await.unwrap();
    let swept = async || {
        world.clock.sleep_ms(6 * MINUTE).await;
        sweeper.sweep(NEVER).await.unwrap();
        let sent = world.queues.drain(Queue::Intake);
        sent.iter().map(|message| decode::<Intake>(&message.body).unwrap()).collect::<Vec<_>>()
    };
    let begin = Intake::Stage { run: run.id.clone(), generation: run.generation, stage: 1 };
    for _ in 0..2 {
        assert_eq!(swept().await, std::slice::from_ref(&begin));
    }
    let begun = Run { begun_stages: vec!["t".into()], ..now(&world, &run).await };
    world.ledger.save_run(&begun).await.unwrap();
    assert_eq!(swept().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_run_stuck_in_completing_is_assembled_again() {
    let (world, sweeper, run) = world(RunState::Completing).await;
    world.clock.sleep_ms(18 * MINUTE).await;
    sweeper.sweep(NEVER).await.unwrap();
    assert_eq!(folds(&world), [assemble(&run)]);
}

#[tokio::test(start_paused = true)]
async fn a_run_past_its_deadline_fails_and_says_how_far_it_came() {
    let (world, sweeper, run) = world(RunState::Running).await;
    mark(&world, &run, &[1]).await;
    world.clock.sleep_ms(24 * 60 * MINUTE).await;
    sweeper.sweep(NEVER).await.unwrap();
    let failed = now(&world, &run).await;
    assert_eq!(failed.state, RunState::Failed);
    let reason = failed.reason.unwrap();
    assert!(reason.contains("still running then, 1 of 2 chunks ended"), "{reason}");
    assert!(folds(&world).contains(&report(&run)));
}

#[tokio::test(start_paused = true)]
async fn a_completing_run_past_its_deadline_fails_once_its_uploads_are_aborted() {
    let (world, sweeper, mut run) = world(RunState::Completing).await;
    let upload =
        world.objects.create_upload(&run.output, &Stamp::of(&run, &run.output).to_metadata()).await.unwrap();
    run.uploads.push(upload.id);
    world.ledger.save_run(&run).await.unwrap();
    world.clock.sleep_ms(24 * 60 * MINUTE).await;
    sweeper.sweep(NEVER).await.unwrap();
    assert_eq!(now(&world, &run).await.state, RunState::Failed);
    assert_eq!(world.objects.open_uploads(), []);
}

#[tokio::test(start_paused = true)]
async fn a_completing_run_past_its_deadline_succeeds_if_its_output_is_there() {
    let (world, sweeper, run) = world(RunState::Completing).await;
    let metadata = Stamp::of(&run, &run.output).to_metadata();
    world.objects.put(&run.output, "x".into(), Condition::Always, &metadata).await.unwrap();
    world.clock.sleep_ms(24 * 60 * MINUTE).await;
    sweeper.sweep(NEVER).await.unwrap();
    assert_eq!(now(&world, &run).await.state, RunState::Succeeded);
}

fn completion(run: &Run) -> String {
    let StageId { run, stage, generation } = StageId::last_of(run);
    encode(&Completion {
        run,
        stage,
        generation,
        chunk: ChunkIndex(0),
        end: ChunkEnd::Done(Sums::default()),
        sent: Vec::new(),
    })
}

#[tokio::test(start_paused = true)]
async fn a_dead_completion_is_counted_again_until_the_deadline() {
    let (world, sweeper, run) = world(RunState::Running).await;
    sweeper.handle_dead(DeadQueue::Completions, &completion(&run)).await.unwrap();
    let back = world.queues.drain(Queue::Completions);
    assert_eq!((back.len(), back[0].body.as_str(), back[0].delay_s), (1, completion(&run).as_str(), 60));
    world.clock.sleep_ms(24 * 60 * MINUTE).await;
    sweeper.handle_dead(DeadQueue::Completions, &completion(&run)).await.unwrap();
    assert_eq!(world.queues.pending(), []);
}

#[tokio::test]
async fn a_dead_completion_of_a_failed_run_still_counts_and_of_a_succeeded_one_does_not() {
    for (state, count) in [(RunState::Failed, 1), (RunState::Cancelled, 1), (RunState::Succeeded, 0)] {
        let (world, sweeper, run) = world(state).await;
        sweeper.handle_dead(DeadQueue::Completions, &completion(&run)).await.unwrap();
        assert_eq!(world.queues.pending().len(), count, "{state}");
    }
}

#[tokio::test]
async fn a_dead_fold_fails_the_run_unless_its_group_is_folded() {
    let (world, sweeper, run) = world(RunState::Running).await;
    let group = run.keys(&run.last_stage().name).group(GroupIndex(0));
    world.objects.insert("work", &group, "x");
    sweeper.handle_dead(DeadQueue::Folds, &encode(&fold(&run))).await.unwrap();
    assert_eq!(now(&world, &run).await.state, RunState::Running);
    world.objects.remove(&ObjectName::new("work", group));
    sweeper.handle_dead(DeadQueue::Folds, &encode(&fold(&run))).await.unwrap();
    let run = now(&world, &run).await;
    assert_eq!(run.state, RunState::Failed);
    assert!(run.reason.unwrap().contains("group 0 of stage confirm could not be folded"));
}

#[tokio::test]
async fn a_dead_fold_of_another_generation_is_of_no_account() {
    let (world, sweeper, run) = world(RunState::Running).await;
    let older = fold(&run);
    let redriven = Run { generation: fanfold_domain::Generation(1), ..run };
    world.ledger.save_run(&redriven).await.unwrap();
    sweeper.handle_dead(DeadQueue::Folds, &encode(&older)).await.unwrap();
    assert_eq!(now(&world, &redriven).await.state, RunState::Running);
}

#[tokio::test]
async fn a_dead_assembly_fails_the_run_and_has_its_bad_records_listed() {
    let (world, sweeper, run) = world(RunState::Completing).await;
    sweeper.handle_dead(DeadQueue::Folds, &encode(&assemble(&run))).await.unwrap();
    assert_eq!(now(&world, &run).await.state, RunState::Failed);
    assert_eq!(folds(&world), [report(&run)]);
}

#[tokio::test]
async fn an_event_that_did_not_reach_intake_is_sent_there() {
    let (world, sweeper, _) = world(RunState::Running).await;
    sweeper.handle_dead(DeadQueue::Events, "{\"any\":1}").await.unwrap();
    assert_eq!(world.queues.drain(Queue::Intake)[0].body, "{\"any\":1}");
}

/// So many other runs that are past their deadline, each at another moment, and when the last of them was.
async fn overdue(world: &MemoryWorld, count: u64) -> Vec<Run> {
    let mut runs = Vec::new();
    for i in 0..count {
        let run = sample_run(&format!("overdue {i}"), MEMORY_EPOCH);
        let run = Run { deadline_at: MEMORY_EPOCH.plus_ms(i), ..run };
        world.ledger.create_run(&run).await.unwrap();
        runs.push(run);
    }
    world.clock.sleep_ms(count).await;
    runs
}

async fn failed(world: &MemoryWorld, runs: &[Run]) -> usize {
    let mut failed = 0;
    for run in runs {
        failed += usize::from(now(world, run).await.state == RunState::Failed);
    }
    failed
}

#[tokio::test(start_paused = true)]
async fn a_sweep_looks_at_every_run_however_many_there_are() {
    let (world, sweeper, _) = world(RunState::Planning).await;
    let runs = overdue(&world, 450).await;
    sweeper.sweep(NEVER).await.unwrap();
    assert_eq!(failed(&world, &runs).await, 450);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_runs_out_of_time_leaves_the_others_to_the_next() {
    let (world, sweeper, _) = world(RunState::Planning).await;
    // These stand in front for ever: nothing needs to be done about them.
    let mut idle = Vec::new();
    for i in 0..40 {
        let run = Run {
            deadline_at: MEMORY_EPOCH.plus_ms(HOUR - i),
            ..sample_run(&format!("idle {i}"), MEMORY_EPOCH)
        };
        world.ledger.create_run(&run).await.unwrap();
        idle.push(run);
    }
    world.clock.sleep_ms(11 * MINUTE).await;
    for _ in 0..4 {
        sweeper.sweep(MEMORY_EPOCH).await.unwrap();
    }
    // Each was sent to be planned again, and none twice.
    assert_eq!(world.queues.drain(Queue::Intake).len(), 41);
}

/// A running run whose beginning is not announced, and a sweeper whose bus refuses everything.
async fn without_a_bus() -> (MemoryWorld, Sweeper, Run) {
    let (world, sweeper, run) = world(RunState::Planning).await;
    let running = run.advanced(RunState::Running, world.clock.now()).unwrap();
    assert!(!running.unannounced.is_empty());
    world.ledger.save_run(&running).await.unwrap();
    world.faults.refuse("the bus");
    let ports = world.ports(&Invocation::new("sweeper"));
    (world, Sweeper { ports, ..sweeper }, run)
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_refuses_keeps_no_run_from_its_repair_and_fails_the_sweep() {
    let (world, sweeper, run) = without_a_bus().await;
    mark(&world, &run, &[0, 1]).await;
    world.clock.sleep_ms(10 * MINUTE).await;
    let failed = sweeper.sweep(NEVER).await.unwrap_err().to_string();
    assert!(failed.contains("1 runs could not be swept") && failed.contains("the bus"), "{failed}");
    assert_eq!(folds(&world), [fold(&run)]);
    assert!(!now(&world, &run).await.unannounced.is_empty(), "it is still to be announced");
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_refuses_keeps_no_run_from_its_deadline() {
    let (world, sweeper, run) = without_a_bus().await;
    world.clock.sleep_ms(24 * HOUR - MINUTE).await;
    sweeper.sweep(NEVER).await.unwrap_err();
    assert_eq!(now(&world, &run).await.state, RunState::Running);
    world.clock.sleep_ms(MINUTE).await;
    sweeper.sweep(NEVER).await.ok();
    assert_eq!(now(&world, &run).await.state, RunState::Failed);
}

#[tokio::test(start_paused = true)]
async fn counters_that_cannot_be_read_keep_no_run_from_its_deadline() {
    let (world, sweeper, run) = world(RunState::Running).await;
    world.faults.refuse("group 0 of");
    let sweeper = Sweeper { ports: world.ports(&Invocation::new("sweeper")), ..sweeper };
    world.clock.sleep_ms(25 * HOUR).await;
    sweeper.sweep(NEVER).await.unwrap();
    let run = now(&world, &run).await;
    assert_eq!(run.state, RunState::Failed);
    assert!(run.reason.unwrap().contains("how many chunks ended cannot be read"));
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_run_keeps_no_other_from_being_swept() {
    let (world, sweeper, run) = world(RunState::Running).await;
    let due = overdue(&world, 1).await;
    world.ledger.spoil_run(&run.id, "{}");
    world.clock.sleep_ms(HOUR).await;
    let swept = sweeper.sweep(NEVER).await.unwrap_err().to_string();
    assert!(swept.contains("1 runs could not be swept"), "{swept}");
    assert_eq!(failed(&world, &due).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_list_of_bad_records_that_was_not_asked_for_or_was_lost_is_asked_for_again_until_it_is_given_up() {
    let (world, sweeper, run) = world(RunState::Failed).await;
    sweep_each_minute(&world, &sweeper, 16).await;
    assert_eq!(folds(&world), []);
    for _ in 0..2 {
        sweep_each_minute(&world, &sweeper, 17).await;
        assert_eq!(folds(&world), [report(&run)]);
    }
    assert_eq!(now(&world, &run).await.updated_at, run.updated_at, "it still ended when it did");
    sweeper.handle_dead(DeadQueue::Folds, &encode(&report(&run))).await.unwrap();
    assert!(now(&world, &run).await.is_settled());
    sweep_each_minute(&world, &sweeper, 60).await;
    assert_eq!(folds(&world), []);
}

//! What is told of the ends of stages: each once, whoever died before it was noted.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use fanfold_domain::{
    ByteRange, Generation, GroupIndex, Grouping, LineEnd, Plan, Run, RunState, Sums,
    message::{FoldMessage, decode},
    pipeline::Pipeline,
};
use fanfold_lifecycle::{cancel, fail_as_read, follow_root};
use fanfold_ports::{
    Ledger, Ports, Queue,
    contract::sample_run,
    ledger::{Freshness, Saved, StageId},
    memory::{MEMORY_EPOCH, MemoryWorld, memory_ports},
};
use serde_json::Value;

const PIPELINE: &str = "{pipeline: p, source: {format: lines}, stages: [{name: s0, process: copy}, \
     {name: s1, process: copy, depends: n_to_n}, \
     {name: s2, process: copy, depends: {stage: s0, by: all}, aggregate: {fan_in: 2}}], \
     on_error: {tolerate_failed_chunks: 1, max_bad_records: 2}}";

/// A run under way of five chunks, of which stage `s2` makes three.
struct Ends {
    world: MemoryWorld,
    ports: Ports,
    run: Run,
}

impl Ends {
    async fn new() -> Self {
        let mut run = Run { state: RunState::Running, ..sample_run("ends", MEMORY_EPOCH) };
        run.pipeline = Pipeline::parse(PIPELINE).unwrap();
        let grouping = Grouping { chunks: 5, group_chunks: 4 };
        let preamble = ByteRange::new(0, 0);
        run.plan = Some(Plan { grouping, preamble, header: None, line_end: LineEnd::Lf });
        let (world, ports) = memory_ports();
        world.ledger.create_run_as_owner(&run).await.unwrap();
        run.epoch = ports.ledger.owner(&run.output).await.unwrap().unwrap().epoch;
        Self { world, ports, run }
    }

    fn id(&self, stage: &str) -> StageId {
        StageId::of(&self.run, stage)
    }

    /// Marks all groups of a stage in its root, in each of which so many chunks failed.
    async fn fill(&self, stage: &str, failed_chunks: u64) {
        self.fill_with(stage, Sums { records: 1, failed_chunks, ..Sums::default() }).await;
    }

    /// Marks all groups of a stage in its root, each with these sums.
    async fn fill_with(&self, stage: &str, sums: Sums) {
        let groups = self.run.grouping_of(stage).unwrap().groups();
        for group in (0..groups).map(GroupIndex) {
            self.ports.ledger.mark_folded(&self.id(stage), group, sums).await.unwrap();
        }
    }

    async fn follow(&self, stage: &str) {
        let root = self.ports.ledger.root(&self.id(stage)).await.unwrap();
        follow_root(&self.ports, &self.run.id, self.run.generation, stage, &root).await.unwrap();
    }

    async fn now(&self) -> Run {
        self.ports.ledger.run(&self.run.id, Freshness::Consistent).await.unwrap().unwrap()
    }

    /// The seconds that the reports wait that were asked for, in order; nothing else was.
    fn reports(&self) -> Vec<u32> {
        let report = FoldMessage::Report { run: self.run.id.clone(), generation: self.run.generation };
        let sent = self.world.queues.drain(Queue::Folds);
        assert!(sent.iter().all(|sent| decode::<FoldMessage>(&sent.body).unwrap() == report));
        sent.iter().map(|sent| sent.delay_s).collect()
    }

    /// The stages whose ends were announced, in order, with their numbers of chunks.
    fn announced(&self) -> Vec<(String, u64)> {
        let read = |event: fanfold_domain::Event| serde_json::from_str::<Value>(&event.detail).unwrap();
        let told = self.world.events.all().into_iter().map(read);
        let ends = told.filter(|detail| detail["milestone"] == "stage_finished");
        ends.map(|end| (end["stage"].as_str().unwrap().to_owned(), end["chunks"].as_u64().unwrap())).collect()
    }
}

fn told(ends: &[(&str, u64)]) -> Vec<(String, u64)> {
    ends.iter().map(|(stage, chunks)| ((*stage).to_owned(), *chunks)).collect()
}

#[tokio::test]
async fn each_end_is_told_of_with_the_chunks_of_its_stage_and_once() {
    let ends = Ends::new().await;
    for stage in ["s0", "s1", "s2"] {
        ends.fill(stage, 0).await;
        for _ in 0..2 {
            ends.follow(stage).await;
        }
    }
    assert_eq!(ends.announced(), told(&[("s0", 5), ("s1", 5), ("s2", 3)]));
    let run = ends.now().await;
    assert_eq!((run.state, run.unannounced), (RunState::Completing, vec![]));
}

#[tokio::test]
async fn a_run_under_way_is_cancelled_once_and_no_other() {
    let ends = Ends::new().await;
    let cancel =
        async |reason: &str| cancel(&ends.ports, &ends.run.id, ends.run.generation, reason).await.unwrap();
    for reason in ["enough", "again"] {
        let run = cancel(reason).await;
        assert_eq!((run.state, run.reason.as_deref()), (RunState::Cancelled, Some("enough")));
    }
    let told: Vec<_> = ends.world.events.all().into_iter().map(|event| event.detail_type).collect();
    assert_eq!((told, ends.now().await.unannounced), (vec!["Run Cancelled"], vec![]));
    assert_eq!(ends.reports(), vec![0; 0], "a person asks for no list of bad records");

    for (state, generation) in [(RunState::Completing, 0), (RunState::Failed, 0), (RunState::Running, 1)] {
        let ends = Ends::new().await;
        let run = Run { state, generation: Generation(generation), ..ends.now().await };
        ends.ports.ledger.save_run(&run).await.unwrap();
        let now = fanfold_lifecycle::cancel(&ends.ports, &run.id, Generation(0), "enough").await.unwrap();
        assert_eq!((now.state, now.reason), (state, None), "{state} in generation {generation}");
    }
}

/// Nothing waits for all of `s1`, so that the run goes on without whoever died.
#[tokio::test]
async fn an_end_that_nobody_noted_is_told_of_with_the_runs_completion() {
    let ends = Ends::new().await;
    ends.fill("s0", 0).await;
    ends.follow("s0").await;
    ends.fill("s1", 0).await;
    ends.fill("s2", 0).await;
    ends.follow("s2").await;
    assert_eq!(ends.announced(), told(&[("s0", 5), ("s1", 5), ("s2", 3)]));
    ends.follow("s1").await;
    assert_eq!(ends.announced().len(), 3, "who comes late tells nothing twice");
}

/// Who noted it may be announcing it at this moment; if it died, it is the sweeper's.
#[tokio::test]
async fn each_announces_what_it_noted_and_nothing_of_another() {
    let ends = Ends::new().await;
    let mut noted = ends.now().await;
    assert!(noted.note_stage_end("s1", MEMORY_EPOCH));
    ends.world.ledger.save_run(&noted).await.unwrap();
    ends.fill("s0", 0).await;
    ends.follow("s0").await;
    assert_eq!(ends.announced(), told(&[("s0", 5)]));
    ends.fill("s1", 0).await;
    ends.follow("s1").await;
    ends.fill("s2", 0).await;
    ends.follow("s2").await;
    assert_eq!(ends.announced(), told(&[("s0", 5), ("s2", 3)]));
    assert_eq!(ends.now().await.unannounced, noted.unannounced);
}

#[tokio::test]
async fn a_stage_of_which_too_much_failed_is_not_finished_and_nothing_begins_behind_it() {
    let ends = Ends::new().await;
    // One in each of two groups, and one is tolerated.
    ends.fill("s0", 1).await;
    ends.follow("s0").await;
    let run = ends.now().await;
    assert_eq!((run.state, ends.announced()), (RunState::Failed, vec![]));
    assert!(run.reason.unwrap().starts_with("2 of 5 chunks failed"));
    assert_eq!(ends.world.queues.drain(Queue::Intake), vec![]);
}

/// Nobody comes back to a run that has failed: the report is asked for before.
#[tokio::test]
async fn the_report_of_a_run_that_fails_at_a_stages_end_is_on_its_way_before_it_has_failed() {
    let ends = Ends::new().await;
    ends.fill("s0", 1).await;
    ends.follow("s0").await;
    assert_eq!(ends.now().await.state, RunState::Failed);
    assert_eq!(ends.reports(), [60, 0]);
}

/// Each stage has as many bad records as the run may have, so that none fails by itself.
#[tokio::test]
async fn so_is_that_of_a_run_that_fails_by_the_sums_of_all_its_stages() {
    let ends = Ends::new().await;
    for stage in ["s0", "s1", "s2"] {
        let sums = Sums { records: 2, bad_records: 1, ..Sums::default() };
        ends.fill_with(stage, sums).await;
    }
    ends.follow("s2").await;
    assert_eq!(ends.now().await.state, RunState::Failed);
    assert_eq!(ends.reports(), [60, 0]);
}

/// Who decides by what it read of a run, as the sweeper does, must not fail one that got on since.
#[tokio::test]
async fn a_run_that_changed_since_it_was_read_is_not_failed_for_what_was_read() {
    let ends = Ends::new().await;
    let read = ends.now().await;
    let got_on = Run { updated_at: ends.ports.clock.now().plus_ms(1), ..read.clone() };
    ends.ports.ledger.save_run(&got_on).await.unwrap();
    assert_eq!(fail_as_read(&ends.ports, &read, "stuck").await.unwrap(), Saved::Stale);
    assert_eq!((ends.now().await.state, ends.reports()), (RunState::Running, vec![]));
    assert_eq!(fail_as_read(&ends.ports, &ends.now().await, "stuck").await.unwrap(), Saved::Now);
    let run = ends.now().await;
    assert_eq!((run.state, run.reason.as_deref()), (RunState::Failed, Some("stuck")));
    assert_eq!((ends.reports(), run.unannounced), (vec![0], vec![]));
}

//! Stages one behind another: what is sent, and when, whatever the order in which chunks end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::collections::{BTreeMap, BTreeSet};

use fanfold_domain::{
    ByteRange, ChunkIndex, Grouping, LineEnd, Plan, Run, RunState, Sums,
    message::{ChunkEnd, ChunkMessage, Completion, Failure, FoldMessage, Intake, Released, decode, encode},
    pipeline::{Depends, Pipeline, Tolerance},
};
use fanfold_lifecycle::{Besides, Release, RunCache, failed_input, first_window, follow_root, releases};
use fanfold_ports::{
    Ledger, Ports, Queue,
    contract::sample_run,
    ledger::{Freshness, StageId},
    memory::{MEMORY_EPOCH, MemoryWorld, memory_ports},
};
use fanfold_tracker::{Notes, Tracker};
use proptest::{collection::vec, prelude::*};

const SUMS: Sums = Sums { records: 1, bad_records: 0, bytes_in: 2, bytes_out: 2, failed_chunks: 0 };

/// A chunk of a stage, by their places.
type Place = (usize, u32);

/// A stage behind the first: which of those before it it reads, whether index by index, how many parts it reads, and
/// its window.
type Later = (prop::sample::Index, bool, Option<u32>, u32);

fn pipeline(first_window: u32, later: &[Later]) -> Pipeline {
    let mut stages = vec![format!("{{name: s0, process: index, max_concurrency: {first_window}}}")];
    for (place, (at, is_n_to_n, fan_in, window)) in (1..).zip(later) {
        let before = at.index(place);
        let (by, aggregate) = match fan_in {
            Some(fan_in) => ("all", format!(", aggregate: {{fan_in: {fan_in}}}")),
            None => (if *is_n_to_n { "n_to_n" } else { "all" }, String::new()),
        };
        stages.push(format!(
            "{{name: s{place}, process: index, max_concurrency: {window}, depends: {{stage: s{before}, by: {by}}}{aggregate}}}"
        ));
    }
    let stages = stages.join(", ");
    Pipeline::parse(&format!("{{pipeline: p, source: {{format: lines}}, stages: [{stages}]}}")).unwrap()
}

/// A run under way, with what stands in for the splitter, the workers and the merger.
struct Stages {
    world: MemoryWorld,
    ports: Ports,
    /// They share the ledger and nothing else.
    trackers: [Tracker; 2],
    /// Completions that no tracker was given yet.
    untold: Vec<String>,
    run: Run,
    /// Chunks that were sent and have not ended.
    sent: Vec<Place>,
    times_sent: BTreeMap<Place, u32>,
    done: BTreeSet<Place>,
    /// Chunks that failed of themselves.
    has_failed: BTreeSet<Place>,
    failing: BTreeSet<Place>,
}

impl Stages {
    async fn new(pipeline: Pipeline, chunks: u32, group_chunks: u32, failing: BTreeSet<Place>) -> Self {
        let mut run = Run { state: RunState::Running, ..sample_run("stages", MEMORY_EPOCH) };
        run.pipeline = pipeline;
        run.pipeline.on_error.tolerate_failed_chunks = Tolerance::Percent(100);
        let grouping = Grouping { chunks, group_chunks };
        let preamble = ByteRange::new(0, 0);
        run.plan = Some(Plan { grouping, preamble, header: None, line_end: LineEnd::Lf });
        let (world, ports) = memory_ports();
        world.ledger.create_run_as_owner(&run).await.unwrap();
        run.epoch = ports.ledger.owner(&run.output).await.unwrap().unwrap().epoch;
        let trackers = [(); 2].map(|()| Tracker {
            ports: ports.clone(),
            work_bucket: "work".into(),
            runs: RunCache::default(),
            notes: Notes::default(),
        });
        let untold = Vec::new();
        let (sent, times_sent) = (Vec::new(), BTreeMap::new());
        let (done, has_failed) = (BTreeSet::new(), BTreeSet::new());
        let mut stages =
            Self { world, ports, trackers, untold, run, sent, times_sent, done, has_failed, failing };
        stages.begin(0).await;
        stages
    }

    /// As the splitter does.
    async fn begin(&mut self, stage: usize) {
        for chunk in first_window(&*self.ports.ledger, &self.run, stage).await.unwrap() {
            self.send(stage, chunk.0);
        }
    }

    fn send(&mut self, stage: usize, chunk: u32) {
        if let Some(upstream) = self.run.pipeline.stages[stage].upstream {
            let before = self.run.grouping_at(upstream.stage).unwrap().chunks;
            for input in upstream.inputs_of(ChunkIndex(chunk), before) {
                assert!(
                    self.done.contains(&(upstream.stage, input)),
                    "s{stage}:{chunk} began before s{}:{input}",
                    upstream.stage
                );
            }
            if upstream.by == Depends::All {
                let is_unended = |input: &u32| self.sent.contains(&(upstream.stage, *input));
                assert_eq!((0..before).find(is_unended), None, "s{stage}:{chunk} began too early");
            }
        }
        *self.times_sent.entry((stage, chunk)).or_default() += 1;
        self.sent.push((stage, chunk));
    }

    /// As a worker does that created a part: sends what that releases, as far as it sees that nothing else is missing.
    async fn release(&mut self, stage: usize, chunk: u32) -> Vec<Released> {
        let mut sent = Vec::new();
        let name = &self.run.pipeline.stages[stage].name;
        for Release { released, besides } in releases(&self.run, name, ChunkIndex(chunk)) {
            let place = self.run.pipeline.stage_index(&released.stage).unwrap();
            let is_due = match besides {
                Besides::Nothing => true,
                Besides::Part(stage, chunk) => self.done.contains(&(stage, chunk.0)),
                Besides::End(chunk) => {
                    let has_failed = self.has_failed.contains(&(place, chunk.0));
                    has_failed || self.done.contains(&(place, chunk.0))
                }
                Besides::NoFailure => {
                    let stage = &self.run.pipeline.stages[place];
                    let failed = failed_input(&*self.ports.ledger, &self.run, stage, released.chunk).await;
                    failed.unwrap().is_none()
                }
            };
            if is_due {
                self.send(place, released.chunk.0);
                sent.push(released);
            }
        }
        sent
    }

    /// Ends a chunk, has done what its worker sends (if it does), and leaves what is to be told.
    async fn end(&mut self, (stage, chunk): Place, does_worker_send: bool) {
        let fails = self.failing.contains(&(stage, chunk));
        let mut sent = Vec::new();
        if fails {
            self.has_failed.insert((stage, chunk));
        } else {
            self.done.insert((stage, chunk));
            if does_worker_send {
                sent = self.release(stage, chunk).await;
            }
        }
        let StageId { run, stage, generation } =
            StageId::of(&self.run, &self.run.pipeline.stages[stage].name);
        let end = if fails { ChunkEnd::Failed(Failure::of_chunk("it had to")) } else { ChunkEnd::Done(SUMS) };
        let chunk = ChunkIndex(chunk);
        self.untold.push(encode(&Completion { run, stage, generation, chunk, end, sent }));
    }

    /// Has one of the trackers count a batch, perhaps twice, and does what it sends.
    async fn tell(&mut self, tracker: usize, bodies: &[String], twice: bool) {
        for _ in 0..if twice { 2 } else { 1 } {
            assert!(self.trackers[tracker].handle(bodies).await.is_empty());
            self.take_messages().await;
        }
    }

    async fn take_messages(&mut self) {
        loop {
            let (chunks, folds, intake) = (
                self.world.queues.drain(Queue::Chunks),
                self.world.queues.drain(Queue::Folds),
                self.world.queues.drain(Queue::Intake),
            );
            if chunks.is_empty() && folds.is_empty() && intake.is_empty() {
                return;
            }
            for message in chunks {
                let ChunkMessage { stage, chunk, .. } = decode(&message.body).unwrap();
                self.send(self.run.pipeline.stage_index(&stage).unwrap(), chunk.0);
            }
            for message in intake {
                let Intake::Stage { stage, .. } = decode(&message.body).unwrap() else { panic!("a stage") };
                self.begin(stage).await;
            }
            for message in folds {
                self.fold(decode(&message.body).unwrap()).await;
            }
        }
    }

    /// As the merger does.
    async fn fold(&self, message: FoldMessage) {
        let FoldMessage::Fold { stage, generation, group, run } = message else { return };
        let id = StageId { run: run.clone(), stage: stage.clone(), generation };
        let count = self.ports.ledger.group(&id, group).await.unwrap();
        let root = self.ports.ledger.mark_folded(&id, group, count.sums).await.unwrap();
        follow_root(&self.ports, &run, generation, &stage, &root).await.unwrap();
    }

    async fn now(&self) -> Run {
        self.ports.ledger.run(&self.run.id, Freshness::Consistent).await.unwrap().unwrap()
    }

    /// The chunks that fail of themselves or because of what they read.
    fn doomed(&self) -> BTreeSet<Place> {
        let mut doomed = BTreeSet::new();
        for (place, stage) in self.run.pipeline.stages.iter().enumerate() {
            for chunk in 0..self.run.grouping_at(place).unwrap().chunks {
                let inherits = stage.upstream.is_some_and(|upstream| {
                    let before = self.run.grouping_at(upstream.stage).unwrap().chunks;
                    let mut inputs = upstream.inputs_of(ChunkIndex(chunk), before);
                    inputs.any(|input| doomed.contains(&(upstream.stage, input)))
                });
                if inherits || self.failing.contains(&(place, chunk)) {
                    doomed.insert((place, chunk));
                }
            }
        }
        doomed
    }

    async fn check(&self) {
        let doomed = self.doomed();
        let state = self.now().await.state;
        assert_eq!(state, RunState::Completing, "sent {:?}", self.times_sent);
        for (place, stage) in self.run.pipeline.stages.iter().enumerate() {
            let grouping = self.run.grouping_at(place).unwrap();
            let root = self.ports.ledger.root(&StageId::of(&self.run, &stage.name)).await.unwrap();
            let failed = (0..grouping.chunks).filter(|chunk| doomed.contains(&(place, *chunk))).count();
            assert_eq!(root.sums.failed_chunks, failed as u64, "s{place}");
            assert_eq!(root.sums.records, u64::from(grouping.chunks) - failed as u64, "s{place}");
            for chunk in 0..grouping.chunks {
                let times = self.times_sent.get(&(place, chunk)).copied().unwrap_or(0);
                let is_lost = doomed.contains(&(place, chunk)) && !self.failing.contains(&(place, chunk));
                assert!(
                    times == 1 || (times == 0 && doomed.contains(&(place, chunk))),
                    "s{place}:{chunk} was sent {times} times"
                );
                assert!(!(is_lost && times > 0), "s{place}:{chunk} was sent though it had failed");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn each_chunk_is_sent_once_when_what_it_reads_is_there_and_none_is_forgotten(
        first_window in 2u32..9,
        later in vec((any::<prop::sample::Index>(), any::<bool>(), proptest::option::weighted(0.3, 2u32..5), 2u32..9), 0..4),
        chunks in 1u32..30,
        group_bits in 0u32..4,
        failing in vec((0usize..4, 0u32..30), 0..4),
        order in vec((any::<prop::sample::Index>(), any::<bool>(), 0usize..4, 0usize..2, any::<bool>()), 400),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let failing = failing.into_iter().collect();
            let mut stages =
                Stages::new(pipeline(first_window, &later), chunks, 1 << group_bits, failing).await;
            for (at, does_worker_send, told, tracker, twice) in order {
                if !stages.sent.is_empty() {
                    let ended = stages.sent.swap_remove(at.index(stages.sent.len()));
                    stages.end(ended, does_worker_send).await;
                } else if stages.untold.is_empty() {
                    break;
                }
                let mut batch = Vec::new();
                for _ in 0..told.min(stages.untold.len()) {
                    batch.push(stages.untold.swap_remove(at.index(stages.untold.len())));
                }
                stages.tell(tracker, &batch, twice).await;
            }
            assert_eq!(stages.sent, []);
            stages.check().await;
        });
    }
}

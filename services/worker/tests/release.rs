//! What a worker sends itself once it has ended a chunk.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::{collections::BTreeMap, sync::Arc};

use fanfold_domain::{
    ByteRange, Chunk, ChunkIndex, GroupIndex, Grouping, LineEnd, Mark, Plan, Run, RunState, key,
    message::{ChunkEnd, ChunkMessage, Completion, Failure, Released, decode, encode},
    pipeline::Pipeline,
};
use fanfold_engine::chunk::end_or_failure;
use fanfold_lifecycle::RunCache;
use fanfold_ports::{
    Ledger, Queue,
    contract::sample_run,
    ledger::StageId,
    memory::{Faults, MEMORY_EPOCH, MemoryClock, MemoryWeb, MemoryWorld},
};
use fanfold_worker::{Delivered, Worker};

const CHUNKS: u32 = 8;

struct Stack {
    world: MemoryWorld,
    worker: Worker,
    run: Run,
}

/// What a worker sent: the next chunks, and which of them it told of.
type Sent = (Vec<Released>, Vec<Released>);

impl Stack {
    /// A run over ids, one a chunk.
    async fn new(stages: &str) -> Self {
        let world = MemoryWorld::seeded(0, Faults::none());
        let document = format!(
            "{{pipeline: p, source: {{range: {{count: 8}}}}, split: {{records: 1}}, stages: [{stages}]}}"
        );
        let mut run = Run { state: RunState::Running, ..sample_run("released", MEMORY_EPOCH) };
        run.pipeline = Pipeline::parse(&document).unwrap();
        let grouping = Grouping { chunks: CHUNKS, group_chunks: 8 };
        let preamble = ByteRange::new(0, 0);
        run.plan = Some(Plan { grouping, preamble, header: None, line_end: LineEnd::Lf });
        let mut manifest = String::new();
        for index in 0..CHUNKS {
            // The first id is 1.
            let range = ByteRange::new(u64::from(index) + 1, u64::from(index) + 2);
            Chunk { index: ChunkIndex(index), range }.write_line(&mut manifest);
        }
        world.objects.insert("work", key::manifest(&run.id), manifest);
        world.ledger.create_run(&run).await.unwrap();
        let web = Arc::new(MemoryWeb::nobody(MemoryClock::seeded(0)));
        let (work_bucket, inherited) = ("work".into(), BTreeMap::new());
        let (ports, runs) = (world.calm_ports(), RunCache::default());
        let worker = Worker { ports, web, functions: None, work_bucket, inherited, runs };
        Self { world, worker, run }
    }

    async fn work(&self, stage: &str, chunk: u32) -> Sent {
        let message = ChunkMessage::first(&self.run, stage, ChunkIndex(chunk));
        self.worker.handle(Delivered::first(&encode(&message)), None).await.unwrap();
        let next = self.world.queues.drain(Queue::Chunks);
        let next = next.iter().map(|message| decode::<ChunkMessage>(&message.body).unwrap());
        let [told] = &self.world.queues.drain(Queue::Completions)[..] else { panic!("one completion") };
        let told: Completion = decode(&told.body).unwrap();
        assert!(matches!(told.end, ChunkEnd::Done(_)), "{told:?}");
        (next.map(|ChunkMessage { stage, chunk, .. }| Released { stage, chunk }).collect(), told.sent)
    }

    /// A part that another worker left.
    fn leave_part(&self, stage: &str, chunk: u32) {
        let key = self.run.keys(stage).part(ChunkIndex(chunk));
        self.world.objects.insert("work", key, "0\n");
    }

    /// The tombstone of a chunk that was told failed.
    async fn leave_tombstone(&self, stage: &str, chunk: u32) {
        let (objects, failure) = (&*self.worker.ports.objects, Failure::of_chunk("it had to"));
        let end = end_or_failure(objects, &self.run, "work", stage, ChunkIndex(chunk), failure.clone()).await;
        assert_eq!(end.unwrap(), ChunkEnd::Failed(failure));
    }
}

fn sent(chunks: &[(&str, u32)]) -> Sent {
    let released =
        |(stage, chunk): &(&str, u32)| Released { stage: (*stage).to_owned(), chunk: ChunkIndex(*chunk) };
    let chunks: Vec<Released> = chunks.iter().map(released).collect();
    (chunks.clone(), chunks)
}

/// The second with a narrower window than the first.
const TWO_STAGES: &str = "{name: a, process: copy, max_concurrency: 3}, \
                          {name: b, process: copy, max_concurrency: 2, depends: n_to_n}";

#[tokio::test]
async fn the_chunk_a_window_further_on_is_sent_at_once_and_told_of() {
    let stack = Stack::new("{name: s, process: copy, max_concurrency: 5}").await;
    assert_eq!(stack.work("s", 2).await, sent(&[("s", 7)]));
    assert_eq!(stack.work("s", 3).await, sent(&[]), "there are no more");
}

/// Else a chunk that is delivered twice would be done twice, and all that follow it.
#[tokio::test]
async fn who_finds_the_part_there_sends_nothing() {
    let stack = Stack::new("{name: s, process: copy, max_concurrency: 5}").await;
    assert_eq!(stack.work("s", 2).await, sent(&[("s", 7)]));
    assert_eq!(stack.work("s", 2).await, sent(&[]));
}

#[tokio::test]
async fn the_same_index_of_the_next_stage_is_sent_once_its_window_is_open() {
    let stack = Stack::new(TWO_STAGES).await;
    assert_eq!(stack.work("a", 1).await, sent(&[("a", 4), ("b", 1)]));
    assert_eq!(stack.work("a", 2).await, sent(&[("a", 5)]), "chunk 0 of b has not ended");
    stack.leave_part("b", 1);
    assert_eq!(stack.work("a", 3).await, sent(&[("a", 6), ("b", 3)]));
    stack.leave_tombstone("b", 4).await;
    assert_eq!(stack.work("a", 6).await, sent(&[("b", 6)]), "a failed chunk has ended too");
}

#[tokio::test]
async fn a_window_opens_for_what_can_be_read() {
    let stack = Stack::new(TWO_STAGES).await;
    stack.leave_part("a", 0);
    assert_eq!(stack.work("b", 0).await, sent(&[]), "chunk 2 of a has not ended");
    stack.leave_part("a", 1);
    stack.leave_part("a", 3);
    assert_eq!(stack.work("b", 1).await, sent(&[("b", 3)]));
    stack.leave_tombstone("a", 5).await;
    assert_eq!(stack.work("b", 3).await, sent(&[]), "chunk 5 of a failed, and 5 of b with it");
}

#[tokio::test]
async fn of_a_stage_behind_a_whole_one_a_chunk_that_failed_with_what_it_reads_is_not_sent() {
    let stages = "{name: a, process: copy}, {name: b, process: copy, max_concurrency: 2, depends: all}";
    let stack = Stack::new(stages).await;
    for chunk in 0..CHUNKS {
        stack.leave_part("a", chunk);
    }
    let failed = [(ChunkIndex(2), Mark::Failed)];
    stack.world.ledger.mark(&StageId::of(&stack.run, "a"), GroupIndex(0), &failed, &[]).await.unwrap();
    assert_eq!(stack.work("b", 0).await, sent(&[]));
    assert_eq!(stack.work("b", 1).await, sent(&[("b", 3)]));
}

/// So that what the creator sent is counted first.
#[tokio::test]
async fn who_finds_the_part_there_tells_of_it_later() {
    let stack = Stack::new("{name: s, process: copy, max_concurrency: 5}").await;
    for wanted in [0, 10] {
        let message = ChunkMessage::first(&stack.run, "s", ChunkIndex(2));
        stack.worker.handle(Delivered::first(&encode(&message)), None).await.unwrap();
        let told = stack.world.queues.drain(Queue::Completions);
        assert_eq!(told.iter().map(|told| told.delay_s).collect::<Vec<_>>(), [wanted]);
    }
}

/// Whoever comes second finds the tombstone, and the part is never there.
#[tokio::test]
async fn a_chunk_that_was_told_failed_is_never_done() {
    let stack = Stack::new("{name: s, process: copy, max_concurrency: 5}").await;
    stack.leave_tombstone("s", 2).await;
    let message = ChunkMessage::first(&stack.run, "s", ChunkIndex(2));
    stack.worker.handle(Delivered::first(&encode(&message)), None).await.unwrap();
    let [told] = &stack.world.queues.drain(Queue::Completions)[..] else { panic!("one completion") };
    let told: Completion = decode(&told.body).unwrap();
    assert_eq!(told.end, ChunkEnd::Failed(Failure::of_chunk("it had to")));
    assert_eq!((told.sent, stack.world.queues.pending()), (Vec::new(), Vec::new()));
}

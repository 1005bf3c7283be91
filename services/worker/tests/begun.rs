//! The worker and messages that were received before: throttled receives, workers that died, and calls that are refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fanfold_domain::{
    ChunkIndex, ObjectName, PLAN, Run, RunState,
    map::Told,
    message::{ChunkEnd, ChunkMessage, Completion, decode, encode},
    pipeline::Pipeline,
};
use fanfold_engine::chunk::is_tombstone;
use fanfold_lifecycle::RunCache;
use fanfold_ports::{
    Clock, Functions, Ledger, Objects, Queue,
    contract::sample_run,
    functions::Returned,
    memory::{Faults, Invocation, MEMORY_EPOCH, MemoryClock, MemoryFunctions, MemoryWeb, MemoryWorld},
};
use fanfold_worker::{Delivered, Worker};

const MINUTE_MS: u64 = 60_000;
const DOCUMENT: &str =
    "{pipeline: p, source: {items: plan}, plan: {lambda: list}, stages: [{name: s, process: copy}]}";

/// A run whose plan step is a function that takes a minute, and the worker that invokes it.
struct Stack {
    world: MemoryWorld,
    worker: Worker,
    functions: MemoryFunctions,
    run: Run,
}

impl Stack {
    async fn new() -> Self {
        let world = MemoryWorld::seeded(0, Faults::none());
        let mut run = Run { state: RunState::Planning, plan: None, ..sample_run("begun", MEMORY_EPOCH) };
        run.pipeline = Pipeline::parse(DOCUMENT).unwrap();
        world.ledger.create_run(&run).await.unwrap();
        let functions = MemoryFunctions::new(world.clock.clone(), MINUTE_MS, |_, _, _| {
            Ok(Returned::Answer("[1]".into()))
        });
        let port: Arc<dyn Functions> = Arc::new(functions.clone());
        let ports = world.ports(&Invocation::new("worker"));
        let web = Arc::new(MemoryWeb::nobody(MemoryClock::seeded(0)));
        let (work_bucket, inherited, runs) = ("work".into(), BTreeMap::new(), RunCache::default());
        let worker = Worker { ports, web, functions: Some(port), work_bucket, inherited, runs };
        Self { world, worker, functions, run }
    }

    fn message(&self) -> ChunkMessage {
        ChunkMessage::first(&self.run, PLAN, ChunkIndex(0))
    }

    /// Delivers the message for the n-th time, under this id of the queue's; whether it is to be deleted.
    async fn deliver(&self, id: &str, receive_count: u32) -> bool {
        let body = encode(&self.message());
        self.worker.handle(Delivered { id, body: &body, receive_count }, None).await.is_ok()
    }

    /// The same to a worker that is gone half a minute later.
    async fn deliver_to_one_who_dies(&self, id: &str, receive_count: u32) {
        let half = Duration::from_millis(MINUTE_MS / 2);
        tokio::time::timeout(half, self.deliver(id, receive_count)).await.unwrap_err();
    }

    /// What is left of deliveries.
    fn marks(&self) -> Vec<String> {
        let keys = self.world.objects.keys("work").into_iter();
        let mark = |key: String| Some(key.split_once("0000000-")?.1.to_owned());
        keys.filter_map(mark).filter(|mark| mark.contains(".begun.") || mark.contains(".survived.")).collect()
    }

    fn ends(&self) -> Vec<ChunkEnd> {
        let messages = self.world.queues.drain(Queue::Completions);
        messages.iter().map(|message| decode::<Completion>(&message.body).unwrap().end).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_delivery_leaves_no_marker_and_a_redelivered_one_leaves_its_own() {
    let stack = Stack::new().await;
    assert!(stack.deliver("m", 1).await);
    assert_eq!(stack.marks(), [""; 0]);
    assert!(stack.deliver("m", 2).await);
    assert_eq!(stack.marks(), ["m.begun.1"]);
    assert_eq!((stack.ends().len(), stack.functions.events().len()), (2, 1));
}

/// As in an account that may run ten functions at once.
#[tokio::test(start_paused = true)]
async fn receives_that_reached_no_worker_say_nothing_of_the_chunk() {
    let stack = Stack::new().await;
    assert!(stack.deliver("m", 900).await);
    assert!(matches!(stack.ends()[..], [ChunkEnd::Done(_)]));
    assert_eq!(stack.marks(), ["m.begun.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_chunk_on_which_five_marked_workers_died_fails_and_is_not_begun_again() {
    let stack = Stack::new().await;
    // The first leaves no marker. Receives are throttled in between.
    for receive_count in [1, 2, 7, 8, 9, 30] {
        stack.deliver_to_one_who_dies("m", receive_count).await;
    }
    assert!(stack.deliver("m", 31).await);
    let ended = stack.ends();
    let [ChunkEnd::Failed(failure)] = &ended[..] else { panic!("{ended:?}") };
    assert!(failure.reason.starts_with("its worker died 5 times"), "{}", failure.reason);
    assert_eq!(stack.functions.events().len(), 6);
    let part = ObjectName::new("work", stack.run.keys(PLAN).part(ChunkIndex(0)));
    assert!(is_tombstone(&stack.world.objects.head(&part, None).await.unwrap().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_is_sent_again_has_five_deaths_anew() {
    let stack = Stack::new().await;
    for receive_count in 1..=6 {
        stack.deliver_to_one_who_dies("m", receive_count).await;
    }
    assert!(stack.deliver("another", 2).await);
    assert!(matches!(stack.ends()[..], [ChunkEnd::Done(_)]));
}

/// The last of five created the part and died before it told.
#[tokio::test(start_paused = true)]
async fn a_part_that_is_there_is_told_of_whoever_died() {
    let stack = Stack::new().await;
    for receive_count in 1..=6 {
        stack.deliver_to_one_who_dies("m", receive_count).await;
    }
    assert!(stack.deliver("another", 1).await && stack.deliver("m", 7).await);
    assert!(matches!(stack.ends()[..], [ChunkEnd::Done(_), ChunkEnd::Done(_)]));
}

/// Workers that can neither do the chunk nor send it again, while S3 answers and SQS does not.
#[tokio::test(start_paused = true)]
async fn a_worker_that_lives_on_and_leaves_its_message_is_no_death() {
    let stack = Stack::new().await;
    for throttled in [Queue::Chunks, Queue::Completions] {
        stack.world.faults.throttle(throttled.to_string());
    }
    for receive_count in 1..=20 {
        assert!(!stack.deliver("m", receive_count).await);
    }
    let survived = stack.marks().iter().filter(|mark| mark.contains(".survived.")).count();
    assert_eq!((survived, stack.marks().len()), (19, 38));
    stack.world.faults.cease();
    assert!(stack.deliver("m", 21).await);
    assert!(matches!(stack.ends()[..], [ChunkEnd::Done(_)]));
}

/// It is only sent on, by however many workers.
#[tokio::test(start_paused = true)]
async fn a_message_whose_time_has_not_come_leaves_no_marker() {
    let stack = Stack::new().await;
    let later =
        ChunkMessage { not_before: Some(stack.world.clock.now().plus_ms(MINUTE_MS)), ..stack.message() };
    let delivered = Delivered { id: "m", body: &encode(&later), receive_count: 9 };
    stack.worker.handle(delivered, None).await.unwrap();
    assert_eq!((stack.marks().len(), stack.world.queues.drain(Queue::Chunks).len()), (0, 1));
}

/// No dead-letter queue does, before days are over.
#[tokio::test(start_paused = true)]
async fn a_chunk_whose_run_may_not_be_read_is_left_to_the_tracker_with_the_reason() {
    let stack = Stack::new().await;
    stack.world.faults.refuse(stack.run.id.to_string());
    for receive_count in 1..=4 {
        assert!(!stack.deliver("m", receive_count).await);
    }
    assert!(stack.deliver("m", 5).await);
    let told = stack.world.queues.drain(Queue::Completions);
    let [told] = &told[..] else { panic!("{told:?}") };
    let Told::GivenUp(told) = Told::read(&told.body).unwrap() else { panic!("{told:?}") };
    assert_eq!((told.chunk, told.stage.as_str()), (ChunkIndex(0), PLAN));
    assert!(
        told.reason.contains("refused what it needs") && told.reason.contains("AccessDenied"),
        "{}",
        told.reason
    );
}

/// A worker is given the message after receives that reached none, and is refused once.
#[tokio::test(start_paused = true)]
async fn receives_that_reached_no_worker_are_no_refusals() {
    let stack = Stack::new().await;
    stack.world.faults.refuse(stack.run.id.to_string());
    for receive_count in [7, 30, 31] {
        assert!(!stack.deliver("m", receive_count).await, "{receive_count}");
    }
    assert_eq!(stack.world.queues.drain(Queue::Completions), []);
    assert!(stack.deliver("m", 32).await);
    assert_eq!(stack.world.queues.drain(Queue::Completions).len(), 1);
}

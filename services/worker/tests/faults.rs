//! The worker while S3, SQS, DynamoDB or Lambda throttle: a chunk is put off, and is not failed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::{collections::BTreeMap, future, sync::Arc};

use fanfold_domain::{
    ByteRange, Chunk, ChunkIndex, Generation, Grouping, LineEnd, ObjectName, PLAN, Plan, Run, RunState, key,
    map::{Batch, BatchMessage},
    message::{ChunkEnd, ChunkMessage, Completion, decode, encode},
    pipeline::Pipeline,
};
use fanfold_lifecycle::RunCache;
use fanfold_ports::{
    Clock, Fault, Functions, Ledger, PortError, Queue,
    contract::sample_run,
    functions::{InvokeError, Returned},
    memory::{Faults, Invocation, MEMORY_EPOCH, MemoryClock, MemoryFunctions, MemoryWeb, MemoryWorld},
};
use fanfold_worker::{
    Delivered, Worker,
    pod::{Assignment, PodEnd},
};

const MINUTE_MS: u64 = 60_000;
/// Of a pipeline that gives each chunk one try.
const COPY: &str =
    "{pipeline: p, source: {format: lines}, stages: [{name: s, process: copy, retry: {attempts: 1}}]}";

/// A world whose calls may be throttled, with a run of two chunks of a line each and the worker that does them.
struct Stack {
    world: MemoryWorld,
    worker: Worker,
    run: Run,
}

impl Stack {
    async fn new(pipeline: &str) -> Self {
        let world = MemoryWorld::seeded(0, Faults::none());
        let head = world.objects.insert("input", "in/a", "a\nb\n");
        let mut run = Run { state: RunState::Running, ..sample_run("put-off", MEMORY_EPOCH) };
        run.pipeline = Pipeline::parse(pipeline).unwrap();
        run.source.object = ObjectName::new("input", "in/a");
        (run.source.version, run.source.etag, run.source.size_bytes) = (None, head.etag, head.size_bytes);
        let (grouping, preamble) = (Grouping { chunks: 2, group_chunks: 2 }, ByteRange::new(0, 0));
        run.plan = Some(Plan { grouping, preamble, header: None, line_end: LineEnd::Lf });
        let mut manifest = String::new();
        for index in 0..2 {
            let start = u64::from(index) * 2;
            let range = ByteRange::new(start, start + 2);
            Chunk { index: ChunkIndex(index), range }.write_line(&mut manifest);
        }
        world.objects.insert("work", key::manifest(&run.id), manifest);
        world.ledger.create_run(&run).await.unwrap();
        let ports = world.ports(&Invocation::new("worker"));
        let web = Arc::new(MemoryWeb::nobody(MemoryClock::seeded(0)));
        let (work_bucket, inherited, runs) = ("work".into(), BTreeMap::new(), RunCache::default());
        let worker = Worker { ports, web, functions: None, work_bucket, inherited, runs };
        Self { world, worker, run }
    }

    fn first(&self) -> String {
        encode(&ChunkMessage::first(&self.run, &self.run.first_stage().name, ChunkIndex(0)))
    }

    /// Handles a message and what is sent again of it, each when its delay is over, for so many minutes or until
    /// nothing is. Returns all that were sent again.
    async fn handle_for(&self, minutes: u64, first: String) -> Vec<ChunkMessage> {
        let until = self.world.clock.now().plus_ms(minutes * MINUTE_MS);
        let (mut waiting, mut sent) = (vec![first], Vec::new());
        while let Some(body) = waiting.pop() {
            self.worker.handle(Delivered::first(&body), None).await.unwrap();
            if let Some(again) = self.world.queues.drain(Queue::Chunks).pop() {
                sent.push(decode::<ChunkMessage>(&again.body).unwrap());
                self.world.clock.sleep_ms(u64::from(again.delay_s) * 1_000).await;
                if self.world.clock.now() >= until {
                    self.world.faults.cease();
                }
                waiting.push(again.body);
            }
        }
        sent
    }

    fn ends(&self) -> Vec<ChunkEnd> {
        let messages = self.world.queues.drain(Queue::Completions);
        messages.iter().map(|message| decode::<Completion>(&message.body).unwrap().end).collect()
    }
}

/// Whatever is throttled: what the chunk reads, what it writes, or the table that its run is in.
#[tokio::test(start_paused = true)]
async fn an_hour_of_throttling_fails_no_chunk_though_it_has_one_try() {
    let ledger = sample_run("put-off", MEMORY_EPOCH).id.to_string();
    for throttled in ["s3://", "s3://input/", "s3://work/", &ledger] {
        let stack = Stack::new(COPY).await;
        stack.world.faults.throttle(throttled);
        let sent = stack.handle_for(60, stack.first()).await;
        let last = sent.last().unwrap_or_else(|| panic!("{throttled} is throttled"));
        assert!(sent.iter().all(|again| again.failed_tries == 0), "{throttled}: {sent:?}");
        let faults = last.platform_faults.unwrap();
        assert!(
            faults.count as usize == sent.len() && (15..40).contains(&faults.count),
            "{throttled}: {faults:?}"
        );
        let ended = stack.ends();
        assert!(matches!(ended[..], [ChunkEnd::Done(_)]), "{throttled}: {ended:?}");
        let hour_ms = 60 * MINUTE_MS..70 * MINUTE_MS;
        assert!(hour_ms.contains(&stack.world.clock.now().ms_since(MEMORY_EPOCH)), "{throttled}");
    }
}

#[tokio::test(start_paused = true)]
async fn throttling_without_an_end_fails_the_chunk_after_two_hours_and_says_what_was_throttled() {
    let stack = Stack::new(COPY).await;
    stack.world.faults.throttle("s3://input/");
    let sent = stack.handle_for(24 * 60, stack.first()).await;
    let ended = stack.ends();
    let [ChunkEnd::Failed(failure)] = &ended[..] else { panic!("{ended:?}") };
    let count = sent.len() + 1;
    assert!(failure.reason.starts_with(&format!("{count} attempts within 1")), "{}", failure.reason);
    assert!(failure.reason.contains("read of s3://input/in/a: SlowDown"), "{}", failure.reason);
    let minutes = stack.world.clock.now().ms_since(MEMORY_EPOCH) / MINUTE_MS;
    assert!((115..=120).contains(&minutes), "{minutes}");
}

/// A row of faults says nothing of tries before it, and ends with the next.
#[tokio::test(start_paused = true)]
async fn throttling_between_two_tries_leaves_their_count_as_it_was() {
    let failing = COPY
        .replace("process: copy", "command: [/bin/sh, -c, 'exit 3']")
        .replace("attempts: 1", "attempts: 2");
    let stack = Stack::new(&failing).await;
    stack.worker.handle(Delivered::first(&stack.first()), None).await.unwrap();
    let failed = stack.world.queues.drain(Queue::Chunks).remove(0).body;
    stack.world.faults.throttle("s3://");
    let sent = stack.handle_for(10, failed).await;
    assert!(sent.len() > 3 && sent.iter().all(|again| again.failed_tries == 1), "{sent:?}");
    let ended = stack.ends();
    assert!(matches!(&ended[..], [ChunkEnd::Failed(failure)] if failure.reason.ends_with("(after 2 tries)")));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_sent_again_is_delivered_again() {
    let stack = Stack::new(COPY).await;
    for throttled in ["s3://", &Queue::Chunks.to_string()] {
        stack.world.faults.throttle(throttled);
    }
    let error = stack.worker.handle(Delivered::first(&stack.first()), None).await.unwrap_err();
    assert!(error.to_string().contains(&Fault::Transient.to_string()), "{error}");
    stack.world.faults.cease();
    stack.worker.handle(Delivered::first(&stack.first()), None).await.unwrap();
    assert!(matches!(stack.ends()[..], [ChunkEnd::Done(_)]));
}

#[tokio::test(start_paused = true)]
async fn a_function_whose_invocations_are_throttled_is_invoked_until_it_runs() {
    let document = "{pipeline: p, source: {items: plan}, plan: {lambda: list}, stages: [{name: s, process: copy, retry: {attempts: 1}}]}";
    let mut stack = Stack::new(document).await;
    (stack.run.state, stack.run.plan) = (RunState::Planning, None);
    stack.world.ledger.save_run(&stack.run).await.unwrap();
    let functions = MemoryFunctions::new(stack.world.clock.clone(), 0, |name, _, number| {
        if number < 12 {
            let detail = "TooManyRequestsException: Rate Exceeded.";
            return Err(InvokeError::Port(PortError::new(Fault::Transient, "invoke", name, detail)));
        }
        Ok(Returned::Answer("[1]".into()))
    });
    let port: Arc<dyn Functions> = Arc::new(functions.clone());
    stack.worker.functions = Some(port);
    let first = encode(&ChunkMessage::first(&stack.run, PLAN, ChunkIndex(0)));
    let sent = stack.handle_for(24 * 60, first).await;
    assert_eq!((sent.len(), functions.events().len()), (12, 13));
    assert!(sent.iter().all(|again| again.failed_tries == 0), "{sent:?}");
    assert!(matches!(stack.ends()[..], [ChunkEnd::Done(_)]));
}

#[tokio::test(start_paused = true)]
async fn chunks_of_a_batch_that_meet_with_throttling_go_on_by_the_queue_without_a_failed_try() {
    let stack = Stack::new(&COPY.replace("stages:", "fan_out: distributed-map, stages:")).await;
    stack.world.faults.throttle("s3://input/");
    let whole = Batch { first: ChunkIndex(0), count: 2 };
    let batch = encode(&BatchMessage::new(&stack.run, stack.run.first_stage(), whole));
    stack.worker.handle_batch(&batch, None).await.unwrap();
    let sent = stack.world.queues.drain(Queue::Chunks);
    let counts = sent.iter().map(|sent| decode::<ChunkMessage>(&sent.body).unwrap());
    let counts: Vec<_> =
        counts.map(|sent| (sent.failed_tries, sent.platform_faults.unwrap().count)).collect();
    assert_eq!((counts, stack.ends()), (vec![(0, 1), (0, 1)], vec![]));
}

/// Kubernetes would count the pod as a failed try of its index.
#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_throttling_to_pass_and_ends_as_if_there_had_been_none() {
    let stack = Stack::new(&COPY.replace("process:", "run_on: eks, process:")).await;
    stack.world.faults.throttle("s3://");
    let calm_down = async {
        stack.world.clock.sleep_ms(60 * MINUTE_MS).await;
        stack.world.faults.cease();
    };
    let (run, stage, generation) = (stack.run.id.clone(), "s".to_owned(), Generation(0));
    let chunks = (0..2).map(ChunkIndex).collect();
    let assignment = Assignment { run, stage, generation, chunks, failed_tries: 0 };
    let (end, ()) = tokio::join!(stack.worker.run_pod(&assignment, future::pending()), calm_down);
    assert_eq!((end, stack.ends().len()), (PodEnd::Told, 2));
}

/// And not two hours for each of them: they wait for one another.
#[tokio::test(start_paused = true)]
async fn a_pod_tells_the_failure_of_all_its_chunks_after_two_hours_of_throttling() {
    let stack = Stack::new(&COPY.replace("process:", "run_on: eks, process:")).await;
    stack.world.faults.throttle("s3://input/");
    let (run, stage, generation) = (stack.run.id.clone(), "s".to_owned(), Generation(0));
    let chunks = (0..2).map(ChunkIndex).collect();
    let assignment = Assignment { run, stage, generation, chunks, failed_tries: 0 };
    assert_eq!(stack.worker.run_pod(&assignment, future::pending()).await, PodEnd::Failed);
    let ended = stack.ends();
    let is_throttled =
        |end: &ChunkEnd| matches!(end, ChunkEnd::Failed(failure) if failure.reason.contains("SlowDown"));
    assert!(ended.len() == 2 && ended.iter().all(is_throttled), "{ended:?}");
    let minutes = stack.world.clock.now().ms_since(MEMORY_EPOCH) / MINUTE_MS;
    assert!((115..=120).contains(&minutes), "{minutes}");
}

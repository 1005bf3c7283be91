//! The worker as a pod, on memory ports: what it tells, and how it ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::{collections::BTreeMap, future, sync::Arc};

use fanfold_domain::{
    ByteRange, Chunk, ChunkIndex, Generation, Grouping, LineEnd, ObjectName, Plan, Run, RunState, key,
    message::{ChunkEnd, Completion, decode},
    pipeline::Pipeline,
};
use fanfold_lifecycle::RunCache;
use fanfold_ports::{
    Ledger, Queue,
    contract::sample_run,
    memory::{MEMORY_EPOCH, MemoryWeb, MemoryWorld, memory_ports},
};
use fanfold_worker::{
    Worker,
    pod::{Assignment, PodEnd, STOPPING},
};

/// A run of three chunks, each the line `x`, for this program, and the pod that is to do them.
async fn pod(command: &str) -> (MemoryWorld, Worker, Assignment) {
    let (world, ports) = memory_ports();
    let head = world.objects.insert("input", "in/a", "x\nx\nx\n");
    let mut run: Run = sample_run("pod", MEMORY_EPOCH);
    let document = format!(
        "pipeline: p\nsource: {{prefix: in/, format: lines}}\nstages: [{{name: s, run_on: eks, {command}, \
         retry: {{attempts: 2}}}}]\n"
    );
    run.pipeline = Pipeline::parse(&document).unwrap();
    run.state = RunState::Running;
    run.source.object = ObjectName::new("input", "in/a");
    (run.source.version, run.source.etag, run.source.size_bytes) = (None, head.etag, head.size_bytes);
    run.plan = Some(Plan {
        grouping: Grouping { chunks: 3, group_chunks: 4 },
        preamble: ByteRange::new(0, 0),
        header: None,
        line_end: LineEnd::Lf,
    });
    let mut manifest = String::new();
    for index in 0..3 {
        let start = u64::from(index) * 2;
        Chunk { index: ChunkIndex(index), range: ByteRange::new(start, start + 2) }.write_line(&mut manifest);
    }
    world.objects.insert("work", key::manifest(&run.id), manifest);
    world.ledger.create_run(&run).await.unwrap();
    let inherited = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    let web = Arc::new(MemoryWeb::nobody(world.clock.clone()));
    let (work_bucket, runs) = ("work".into(), RunCache::default());
    let worker = Worker { ports, web, functions: None, work_bucket, inherited, runs };
    let chunks = (0..3).map(ChunkIndex).collect();
    let (run, stage, generation) = (run.id, "s".to_owned(), Generation(0));
    (world, worker, Assignment { run, stage, generation, chunks, failed_tries: 0 })
}

/// The chunks that were told, and whether each is done.
fn told(world: &MemoryWorld) -> Vec<(u32, bool)> {
    let messages = world.queues.drain(Queue::Completions);
    let read = |body: &str| decode::<Completion>(body).unwrap();
    let ends = messages.iter().map(|message| read(&message.body));
    ends.map(|end| (end.chunk.0, matches!(end.end, ChunkEnd::Done(_)))).collect()
}

#[tokio::test]
async fn every_chunk_is_told_as_soon_as_it_has_ended() {
    let (world, worker, assignment) = pod("process: copy").await;
    let end = worker.run_pod(&assignment, future::pending()).await;
    assert_eq!((end, end.exit_code()), (PodEnd::Told, 0));
    assert_eq!(told(&world), [(0, true), (1, true), (2, true)]);
    // Another pod of the same index finds the parts.
    assert_eq!(worker.run_pod(&assignment, future::pending()).await, PodEnd::Told);
    assert_eq!(told(&world).len(), 3);
}

#[tokio::test]
async fn a_failed_try_is_told_only_by_the_last_pod() {
    let (world, worker, assignment) = pod("command: [sh, -c, 'exit 3']").await;
    let end = worker.run_pod(&assignment, future::pending()).await;
    assert_eq!((end, end.exit_code()), (PodEnd::TryAgain, 75));
    assert_eq!(told(&world), []);
    let last = Assignment { failed_tries: 1, ..assignment };
    let end = worker.run_pod(&last, future::pending()).await;
    assert_eq!((end, end.exit_code()), (PodEnd::Failed, 65));
    assert_eq!(told(&world), [(0, false), (1, false), (2, false)]);
}

#[tokio::test]
async fn a_pod_that_is_to_stop_finishes_its_chunk_and_begins_no_other() {
    let (world, worker, assignment) = pod("command: [sh, -c, 'sleep 0.2; cat']").await;
    let end = worker.run_pod(&assignment, future::ready(())).await;
    assert_eq!((end, end.exit_code()), (PodEnd::Stopped, 143));
    assert_eq!(told(&world), [(0, true)]);
    let only = Assignment { chunks: vec![ChunkIndex(1)], ..assignment };
    assert_eq!(worker.run_pod(&only, future::ready(())).await, PodEnd::Told);
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_outlasts_the_grace_is_given_up() {
    let (world, worker, assignment) = pod("command: [sleep, '600']").await;
    let began = tokio::time::Instant::now();
    assert_eq!(worker.run_pod(&assignment, future::ready(())).await, PodEnd::Stopped);
    assert!(began.elapsed() >= STOPPING);
    assert_eq!(told(&world), []);
}

//! Two stacks that share a cluster and a namespace: neither touches what the other runs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::sync::Arc;

use fanfold_domain::{
    ByteRange, Grouping, LaunchIndex, LineEnd, Origin, Plan, Run, RunId, RunState, StackId, Timestamp,
    cluster::Cluster,
    launch::{Launching, StageName},
    message::{LaunchMessage, encode},
    pipeline::Pipeline,
};
use fanfold_launcher::{Launcher, spec::Surroundings};
use fanfold_lifecycle::RunCache;
use fanfold_ports::{
    Clock, Fleet, KubePorts, Ledger, Queue,
    contract::sample_run,
    ledger::StageId,
    memory::{MEMORY_EPOCH, MemoryClock, MemoryClusters, MemoryWorld, memory_ports},
};
use fanfold_sweeper::{WatchLeftOff, Watcher};

const PIPELINE: &str = "pipeline: report\nsource: {prefix: in/, format: lines}\n\
     stages: [{name: s, run_on: eks, process: copy, max_concurrency: 2}]\n";
const LAUNCHES: u32 = 2;
const MINUTE: u64 = 60_000;
/// When a look that takes its time runs out of it.
const NEVER: Timestamp = Timestamp(u64::MAX);

/// A deployed stack, as far as it has to do with clusters.
struct Stack {
    world: MemoryWorld,
    launcher: Launcher,
    watcher: Watcher,
    run: Run,
}

impl Stack {
    /// A stack with this run under way on the cluster `shared`.
    async fn with(run: &Run, ledger: &str, clusters: &Arc<MemoryClusters>) -> Self {
        let (world, ports) = memory_ports();
        world.ledger.create_run(run).await.unwrap();
        let cluster = Cluster::parse("{cluster: shared, region: us-east-1, worker_image: 'w:1'}").unwrap();
        world.fleet.put_cluster(&cluster).await.unwrap();
        let kube = KubePorts { fleet: world.fleet.clone(), clusters: clusters.clone() };
        let stack = StackId::of_ledger(ledger);
        let surroundings = Surroundings {
            region: "us-east-1".into(),
            ledger_table: ledger.into(),
            work_bucket: "work".into(),
            completions_queue_url: "http://queue".into(),
            whole_checksum: true,
        };
        let watcher = Watcher {
            ports: ports.clone(),
            kube: kube.clone(),
            stack: stack.clone(),
            work_bucket: "work".into(),
            left_off: WatchLeftOff::default(),
        };
        let launcher = Launcher { ports, kube, stack, surroundings, runs: RunCache::default() };
        Self { world, launcher, watcher, run: run.clone() }
    }

    async fn launch(&self) {
        let launching = Launching::of(8, LAUNCHES).unwrap();
        for launch in (0..LAUNCHES).map(LaunchIndex) {
            let message = LaunchMessage {
                run: self.run.id.clone(),
                stage: "s".into(),
                generation: self.run.generation,
                launch,
                launch_generation: 0,
                chunks: launching.chunks_of(launch),
                waited: 0,
            };
            self.launcher.handle(&encode(&message)).await.unwrap();
        }
    }

    /// The names of its Jobs, by its own table.
    async fn jobs(&self) -> Vec<String> {
        let launches = self.world.fleet.launches(&StageId::last_of(&self.run)).await.unwrap().items;
        assert!(launches.iter().all(|launch| launch.is_created && launch.generation == 0), "{launches:?}");
        launches.iter().map(|launch| launch.job_name(&StageName::of(&self.run, "s"))).collect()
    }

    async fn watch(&self) {
        self.world.clock.sleep_ms(MINUTE).await;
        self.watcher.watch(NEVER).await.unwrap();
    }

    async fn end_run(&self) {
        let ended = Run { state: RunState::Failed, reason: Some("so".into()), ..self.run.clone() };
        self.world.ledger.save_run(&ended).await.unwrap();
    }
}

/// A run of 8 chunks, which any stack gives this id: of the same submission, or of the same tick.
fn run(key: &str) -> Run {
    let mut run = sample_run("submitted", MEMORY_EPOCH);
    run.id = RunId::derive("report", &Origin::Submission { idempotency_key: key });
    run.pipeline = Pipeline::parse(PIPELINE).unwrap();
    run.state = RunState::Running;
    run.plan = Some(Plan {
        grouping: Grouping { chunks: 8, group_chunks: 4 },
        preamble: ByteRange::new(0, 0),
        header: None,
        line_end: LineEnd::Lf,
    });
    run
}

/// Lets a cluster run what it was given, all well.
fn run_pods(clusters: &MemoryClusters) {
    for job in clusters.all_jobs("shared") {
        clusters.change("shared", &job.state.name, |job| (job.state.active, job.state.ready) = (1, 1));
    }
}

async fn neither_touches_the_others(keys: [&str; 2]) {
    let clusters = Arc::new(MemoryClusters::new(MemoryClock::seeded(0)));
    clusters.add("shared");
    let [here, there] = keys.map(run);
    let here = Stack::with(&here, "ledger-here", &clusters).await;
    let there = Stack::with(&there, "ledger-there", &clusters).await;
    here.launch().await;
    there.launch().await;
    run_pods(&clusters);
    let mut all = [here.jobs().await, there.jobs().await].concat();
    all.sort();
    let names = || clusters.all_jobs("shared").into_iter().map(|job| job.state.name).collect::<Vec<_>>();
    assert_eq!(names(), all, "each launch has a Job of its own");
    for _ in 0..30 {
        here.watch().await;
        there.watch().await;
    }
    assert_eq!(names(), all);
    here.end_run().await;
    for _ in 0..3 {
        here.watch().await;
        there.watch().await;
    }
    let mut theirs = there.jobs().await;
    theirs.sort();
    assert_eq!(names(), theirs, "only the ended run's own Jobs are deleted");
    for stack in [&here, &there] {
        assert!(stack.world.queues.drain(Queue::Launches).is_empty(), "nothing was launched anew");
        assert!(stack.world.queues.drain(Queue::Completions).is_empty(), "nothing was failed");
    }
}

#[tokio::test(start_paused = true)]
async fn two_stacks_on_one_cluster_leave_each_others_jobs_alone() {
    neither_touches_the_others(["one", "two"]).await;
}

#[tokio::test(start_paused = true)]
async fn two_stacks_whose_runs_have_one_id_have_jobs_of_their_own() {
    neither_touches_the_others(["same", "same"]).await;
}

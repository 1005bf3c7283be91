//! The launcher on memory ports: which cluster gets what, and what becomes of a launch that none takes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::sync::Arc;

use fanfold_domain::{
    ByteRange, ChunkIndex, Generation, GroupIndex, Grouping, Launch, LaunchIndex, LineEnd, Mark, Outage,
    Plan, Run, RunState, StackId,
    cluster::Cluster,
    launch::{Launching, StageName},
    message::{ChunkEnd, Completion, LaunchMessage, decode, encode},
    pipeline::Pipeline,
};
use fanfold_launcher::{Launcher, spec::Surroundings};
use fanfold_lifecycle::RunCache;
use fanfold_ports::{
    Fleet, KubePorts, Ledger, Queue,
    clusters::{CHUNKS, ClusterFault, STACK},
    contract::sample_run,
    ledger::StageId,
    memory::{MEMORY_EPOCH, MemoryClusters, MemoryJob, MemoryWorld, memory_ports},
};

const PIPELINE: &str = "pipeline: p\nsource: {prefix: in/, format: lines}\n\
     stages: [{name: s, run_on: eks, process: copy, max_concurrency: 8}]\n";

struct Stack {
    world: MemoryWorld,
    clusters: Arc<MemoryClusters>,
    launcher: Launcher,
    run: Run,
}

impl Stack {
    /// A running run of 32 chunks, and these clusters.
    async fn with(clusters: &[(&str, u32)]) -> Self {
        let (world, ports) = memory_ports();
        let mut run = sample_run("launched", MEMORY_EPOCH);
        run.pipeline = Pipeline::parse(PIPELINE).unwrap();
        run.state = RunState::Running;
        run.plan = Some(Plan {
            grouping: Grouping { chunks: 32, group_chunks: 8 },
            preamble: ByteRange::new(0, 0),
            header: None,
            line_end: LineEnd::Lf,
        });
        world.ledger.create_run(&run).await.unwrap();
        let memory = Arc::new(MemoryClusters::new(world.clock.clone()));
        for (name, weight) in clusters {
            memory.add(name);
            world.fleet.put_cluster(&cluster(name, *weight)).await.unwrap();
        }
        let kube = KubePorts { fleet: world.fleet.clone(), clusters: memory.clone() };
        let surroundings = Surroundings {
            region: "us-east-1".into(),
            ledger_table: "ledger".into(),
            work_bucket: "work".into(),
            completions_queue_url: "http://queue".into(),
            whole_checksum: true,
        };
        let launcher = Launcher { ports, kube, stack: stack(), surroundings, runs: RunCache::default() };
        Self { world, clusters: memory, launcher, run }
    }

    fn message(&self, launch: u32) -> LaunchMessage {
        let launching = Launching::of(32, 8).unwrap();
        LaunchMessage {
            run: self.run.id.clone(),
            stage: "s".into(),
            generation: Generation(0),
            launch: LaunchIndex(launch),
            launch_generation: 0,
            chunks: launching.chunks_of(LaunchIndex(launch)),
            waited: 0,
        }
    }

    async fn handle(&self, launch: u32) {
        self.launcher.handle(&encode(&self.message(launch))).await.unwrap();
    }

    async fn launch(&self, launch: u32) -> Launch {
        let stage = StageId::last_of(&self.run);
        self.world.fleet.launch(&stage, LaunchIndex(launch)).await.unwrap().unwrap()
    }

    fn jobs(&self, cluster: &str) -> Vec<MemoryJob> {
        self.clusters.all_jobs(cluster)
    }

    fn sent(&self) -> Vec<LaunchMessage> {
        let messages = self.world.queues.drain(Queue::Launches);
        messages.iter().map(|message| decode(&message.body).unwrap()).collect()
    }
}

fn stack() -> StackId {
    StackId::of_ledger("ledger")
}

fn cluster(name: &str, weight: u32) -> Cluster {
    let text = format!("{{cluster: {name}, region: us-east-1, weight: {weight}, worker_image: 'w:1'}}");
    Cluster::parse(&text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_launch_becomes_one_job_however_often_it_is_delivered() {
    let stack = Stack::with(&[("one", 1)]).await;
    for _ in 0..3 {
        stack.handle(2).await;
    }
    let jobs = stack.jobs("one");
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].state.annotations[CHUNKS], "8-11");
    let launch = stack.launch(2).await;
    assert!(launch.is_created && launch.note.is_none());
    let label = jobs[0].state.labels.get(STACK).map(String::as_str);
    assert_eq!((launch.stack.as_ref(), label), (Some(&self::stack()), Some(self::stack().as_str())));
    assert_eq!(jobs[0].state.name, launch.job_name(&StageName::of(&stack.run, &stack.run.last_stage().name)));
}

/// Those that read a chunk which failed have failed with it before their launch is begun.
#[tokio::test(start_paused = true)]
async fn a_launch_of_a_later_stage_leaves_out_what_failed_before_it_began() {
    let stack = Stack::with(&[("one", 1)]).await;
    let mut run = stack.run.clone();
    run.pipeline =
        Pipeline::parse(&PIPELINE.replace("[{name", "[{name: before, process: copy}, {name")).unwrap();
    stack.world.ledger.save_run(&run).await.unwrap();
    let marks: Vec<_> = [4, 6, 7].map(|chunk| (ChunkIndex(chunk), Mark::Failed)).into();
    stack.world.ledger.mark(&StageId::last_of(&run), GroupIndex(0), &marks, &[]).await.unwrap();
    stack.handle(1).await;
    assert_eq!(stack.jobs("one")[0].state.annotations[CHUNKS], "5");
    let marks: Vec<_> = [8, 9, 10, 11].map(|chunk| (ChunkIndex(chunk), Mark::Failed)).into();
    stack.world.ledger.mark(&StageId::last_of(&run), GroupIndex(1), &marks, &[]).await.unwrap();
    stack.handle(2).await;
    assert_eq!(stack.jobs("one").len(), 1, "nothing is left to be launched");
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_the_note_finds_the_same_job() {
    let stack = Stack::with(&[("one", 1), ("two", 1)]).await;
    stack.handle(0).await;
    let launch = stack.launch(0).await;
    let before = Launch { is_created: false, ..launch.clone() };
    stack.world.fleet.save_launch(&StageId::last_of(&stack.run), &before).await.unwrap();
    stack.handle(0).await;
    assert_eq!(stack.jobs("one").len() + stack.jobs("two").len(), 1);
    assert_eq!(stack.launch(0).await.cluster, launch.cluster);
}

/// Its Job names no stack, and may be there.
#[tokio::test(start_paused = true)]
async fn a_launch_that_an_older_version_gave_to_a_cluster_has_the_job_of_then() {
    let stack = Stack::with(&[("one", 1)]).await;
    let chunks = Launching::of(32, 8).unwrap().chunks_of(LaunchIndex(0));
    let given = Launch { cluster: Some("one".into()), ..Launch::new(LaunchIndex(0), chunks, MEMORY_EPOCH) };
    stack.world.fleet.save_launch(&StageId::last_of(&stack.run), &given).await.unwrap();
    stack.handle(0).await;
    let created = &stack.jobs("one")[0].state;
    assert_eq!(created.name, given.job_name(&StageName::of(&stack.run, "s")));
    assert!(!created.labels.contains_key(STACK));
    // The creation's answer was lost.
    let launch = Launch { is_created: false, ..stack.launch(0).await };
    stack.world.fleet.save_launch(&StageId::last_of(&stack.run), &launch).await.unwrap();
    stack.handle(0).await;
    assert_eq!(stack.jobs("one").len(), 1);
    assert!(stack.launch(0).await.is_created && stack.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_answer_is_left_out_and_its_share_goes_to_the_others() {
    let stack = Stack::with(&[("one", 1), ("two", 1)]).await;
    stack.clusters.fail("one", ClusterFault::Unreachable, 60_000);
    for launch in 0..8 {
        stack.handle(launch).await;
    }
    assert_eq!((stack.jobs("one").len(), stack.jobs("two").len()), (0, 8));
    let outages = stack.world.fleet.outages().await.unwrap();
    assert_eq!(outages["one"].failures, 1, "it was asked once, and then left out");
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_was_another_clusters_has_another_job() {
    let stack = Stack::with(&[("one", 1), ("two", 1)]).await;
    let (first, second) = {
        stack.handle(0).await;
        let launch = stack.launch(0).await;
        let first = launch.cluster.clone().unwrap();
        let again = Launch { is_created: false, ..launch };
        stack.world.fleet.save_launch(&StageId::last_of(&stack.run), &again).await.unwrap();
        stack.clusters.fail(&first, ClusterFault::Unreachable, 60_000);
        stack.handle(0).await;
        (first, stack.launch(0).await.cluster.unwrap())
    };
    assert_ne!(first, second);
    assert_eq!(stack.launch(0).await.generation, 1);
    let names: Vec<_> = [first, second].iter().map(|name| stack.jobs(name)[0].state.name.clone()).collect();
    assert_ne!(names[0], names[1]);
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_no_cluster_takes_waits_and_says_why() {
    let stack = Stack::with(&[("one", 1), ("two", 0)]).await;
    stack.clusters.fail("one", ClusterFault::Refused, 600_000);
    stack.handle(0).await;
    let note = stack.launch(0).await.note.unwrap();
    assert!(note.contains("one: Refused") && note.contains("two: drained"), "{note}");
    let [again] = &stack.sent()[..] else { panic!("it is sent again") };
    assert_eq!((again.waited, again.launch_generation), (1, 0));
    stack.clusters.recover("one");
    stack.world.fleet.note_outage("one", None).await.unwrap();
    stack.launcher.handle(&encode(again)).await.unwrap();
    assert_eq!(stack.jobs("one").len(), 1);
    assert_eq!(stack.launch(0).await.note, None);
}

#[tokio::test(start_paused = true)]
async fn without_any_cluster_it_says_what_to_do() {
    let stack = Stack::with(&[]).await;
    stack.handle(0).await;
    assert!(stack.launch(0).await.note.unwrap().contains("fanfold clusters apply"));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_the_cluster_refuses_for_good_fails_its_chunks() {
    let stack = Stack::with(&[("one", 1)]).await;
    stack.clusters.fail("one", ClusterFault::Invalid, 60_000);
    stack.handle(0).await;
    let ends = stack.world.queues.drain(Queue::Completions);
    let ends: Vec<Completion> = ends.iter().map(|message| decode(&message.body).unwrap()).collect();
    let chunks: Vec<ChunkIndex> = ends.iter().map(|end| end.chunk).collect();
    assert_eq!(chunks, (0..4).map(ChunkIndex).collect::<Vec<_>>());
    assert!(ends.iter().all(|end| matches!(&end.end, ChunkEnd::Failed(why) if why.reason.contains("one"))));
    assert!(stack.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_of_an_ended_run_or_an_older_launch_is_let_be() {
    let stack = Stack::with(&[("one", 1)]).await;
    let stage = StageId::last_of(&stack.run);
    let newer = Launch { generation: 1, ..Launch::new(LaunchIndex(0), "0-3".parse().unwrap(), MEMORY_EPOCH) };
    stack.world.fleet.save_launch(&stage, &newer).await.unwrap();
    stack.handle(0).await;
    let ended = Run { state: RunState::Failed, reason: Some("so".into()), ..stack.run.clone() };
    stack.world.ledger.save_run(&ended).await.unwrap();
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    stack.handle(1).await;
    assert_eq!(stack.jobs("one"), []);
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_is_over_is_forgotten() {
    let stack = Stack::with(&[("one", 1)]).await;
    let outage = Outage { until: MEMORY_EPOCH, ..Outage::after(None, MEMORY_EPOCH, "timed out".into()) };
    stack.world.fleet.note_outage("one", Some(&outage)).await.unwrap();
    stack.handle(0).await;
    assert_eq!(stack.world.fleet.outages().await.unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_cluster_is_given_nothing_and_the_others_go_on() {
    let stack = Stack::with(&[("one", 1), ("two", 1)]).await;
    stack.world.fleet.spoil_cluster("one", "{}");
    for launch in 0..4 {
        stack.handle(launch).await;
    }
    assert_eq!((stack.jobs("one").len(), stack.jobs("two").len()), (0, 4));
}

/// The launcher died between the Job and the note of it, and then a newer version wrote the cluster's item.
#[tokio::test(start_paused = true)]
async fn a_launch_of_a_cluster_that_cannot_be_read_is_given_to_no_other() {
    let stack = Stack::with(&[("one", 1)]).await;
    stack.handle(0).await;
    let id = StageId::last_of(&stack.run);
    let launch = stack.world.fleet.launches(&id).await.unwrap().items.remove(0);
    stack.world.fleet.save_launch(&id, &Launch { is_created: false, ..launch }).await.unwrap();
    stack.clusters.add("two");
    stack.world.fleet.put_cluster(&cluster("two", 1)).await.unwrap();
    stack.world.fleet.spoil_cluster("one", "{}");
    stack.handle(0).await;
    assert_eq!((stack.jobs("one").len(), stack.jobs("two").len()), (1, 0));
    let launch = stack.world.fleet.launches(&id).await.unwrap().items.remove(0);
    assert_eq!((launch.cluster.as_deref(), launch.generation), (Some("one"), 0));
    assert_eq!(stack.world.queues.drain(Queue::Launches).len(), 1);
}

//! The watcher of Jobs on memory ports: what it tells for pods that cannot, and what it launches anew.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::{collections::BTreeMap, sync::Arc};

use fanfold_domain::{
    ByteRange, ChunkIndex, ChunkSet, GroupIndex, Grouping, Launch, LaunchIndex, LineEnd, Mark, ObjectName,
    Outage, Plan, Run, RunId, RunState, StackId, Sums, Timestamp,
    cluster::Cluster,
    launch::StageName,
    message::{ChunkEnd, Completion, LaunchMessage, decode},
    pipeline::Pipeline,
};
use fanfold_engine::chunk::{ATTEMPT, Statistics};
use fanfold_ports::{
    Clock, Clusters, Fleet, KubePorts, Ledger, Objects, Queue,
    clusters::{
        CHUNKS, CHUNKS_PER_POD, ClusterFault, ContainerTrouble, KubeJob, KubeJobEnd, KubePod, LAUNCH,
        LAUNCH_GENERATION, MANAGED_BY, PodPhase, RUN, STACK, STAGE,
    },
    contract::sample_run,
    ledger::{Saved, StageId},
    memory::{Faulty, Invocation, MEMORY_EPOCH, MemoryClusters, MemoryJob, MemoryWorld, memory_ports},
    objects::{Condition, Metadata},
};
use fanfold_sweeper::{WatchLeftOff, Watcher};
use serde_json::json;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
/// When a look that takes its time runs out of it.
const NEVER: Timestamp = Timestamp(u64::MAX);
const PIPELINE: &str = "pipeline: p\nsource: {prefix: in/, format: lines}\n\
     stages: [{name: s, run_on: eks, process: copy, max_concurrency: 2}]\n";

struct Stack {
    world: MemoryWorld,
    clusters: Arc<MemoryClusters>,
    watcher: Watcher,
    run: Run,
}

/// What was told of chunks, by their index: nothing if done, or why they failed.
type Told = BTreeMap<u32, Option<String>>;

impl Stack {
    /// A running run of 8 chunks in 2 groups, and the clusters `one` and `two`.
    async fn new() -> Self {
        let (world, ports) = memory_ports();
        let run = running("watched");
        world.ledger.create_run(&run).await.unwrap();
        let clusters = Arc::new(MemoryClusters::new(world.clock.clone()));
        for name in ["one", "two"] {
            clusters.add(name);
            world.fleet.put_cluster(&cluster(name)).await.unwrap();
        }
        let kube = KubePorts { fleet: world.fleet.clone(), clusters: clusters.clone() };
        let left_off = WatchLeftOff::default();
        let watcher = Watcher { ports, kube, stack: stack(), work_bucket: "work".into(), left_off };
        Self { world, clusters, watcher, run }
    }

    /// One launch of chunks 0 to 7 on the cluster `one`, four chunks a pod.
    async fn with_job() -> (Self, String) {
        let stack = Self::new().await;
        let job = stack.launched(&new_launch(0, "0-7"), "one").await;
        (stack, job)
    }

    /// A launch with its Job on a cluster, a pod of which runs; the Job's name.
    async fn launched(&self, launch: &Launch, cluster: &str) -> String {
        let launch = Launch { cluster: Some(cluster.into()), is_created: true, ..launch.clone() };
        self.save(&launch).await;
        self.create_job(&self.run, &launch, cluster).await
    }

    async fn create_job(&self, run: &Run, launch: &Launch, on: &str) -> String {
        let name = launch.job_name(&StageName::of(run, &run.last_stage().name));
        let mut manifest = json!({
            "metadata": {
                "name": name,
                "labels": {
                    MANAGED_BY.0: MANAGED_BY.1,
                    RUN: run.id,
                    STAGE: run.last_stage().name,
                    LAUNCH: launch.index.to_string(),
                    LAUNCH_GENERATION: launch.generation.to_string(),
                },
                "annotations": { CHUNKS: launch.chunks.to_string(), CHUNKS_PER_POD: "4" },
            },
            "spec": { "template": { "spec": { "containers": [{ "name": "worker" }] } } },
        });
        if let Some(stack) = &launch.stack {
            manifest["metadata"]["labels"][STACK] = json!(stack);
        }
        let job = KubeJob { name: name.clone(), manifest };
        self.clusters.create_job(&cluster(on), &job).await.unwrap();
        self.change(on, &name, |job| (job.state.active, job.state.ready) = (1, 1));
        name
    }

    fn change(&self, cluster: &str, job: &str, change: impl FnOnce(&mut MemoryJob)) {
        self.clusters.change(cluster, job, change).unwrap();
    }

    async fn save(&self, launch: &Launch) {
        let saved = self.world.fleet.save_launch(&StageId::last_of(&self.run), launch).await.unwrap();
        assert_eq!(saved, Saved::Now);
    }

    async fn launch(&self, index: u32) -> Launch {
        let stage = StageId::last_of(&self.run);
        self.world.fleet.launch(&stage, LaunchIndex(index)).await.unwrap().unwrap()
    }

    async fn mark(&self, chunks: &[u32]) {
        for chunk in chunks {
            let mark = (ChunkIndex(*chunk), Mark::Done(Sums::default()));
            self.world
                .ledger
                .mark(&StageId::last_of(&self.run), GroupIndex(chunk / 4), &[mark], &[])
                .await
                .unwrap();
        }
    }

    /// A chunk's part is there, and nobody told of it.
    async fn create_part(&self, chunk: u32) {
        let keys = self.run.keys(&self.run.last_stage().name);
        let statistics = serde_json::to_vec(&Statistics { sums: Sums::default() }).unwrap();
        self.world.objects.insert("work", keys.statistics(ChunkIndex(chunk), "a"), statistics);
        let part = ObjectName::new("work", keys.part(ChunkIndex(chunk)));
        let metadata = Metadata::from([(ATTEMPT.to_owned(), "a".to_owned())]);
        self.world.objects.put(&part, "".into(), Condition::Absent, &metadata).await.unwrap();
    }

    /// Looks once, after so many milliseconds.
    async fn watch_after(&self, ms: u64) {
        self.world.clock.sleep_ms(ms).await;
        self.watcher.watch(NEVER).await.unwrap();
    }

    fn told(&self) -> Told {
        let messages = self.world.queues.drain(Queue::Completions);
        let ends = messages.iter().map(|message| decode::<Completion>(&message.body).unwrap());
        ends.map(|Completion { chunk, end, .. }| match end {
            ChunkEnd::Done(_) => (chunk.0, None),
            ChunkEnd::Failed(failure) => (chunk.0, Some(failure.reason)),
            ChunkEnd::SourceChanged { .. } => panic!("nobody looked at the source"),
        })
        .collect()
    }

    fn sent(&self) -> Vec<LaunchMessage> {
        let messages = self.world.queues.drain(Queue::Launches);
        messages.iter().map(|message| decode(&message.body).unwrap()).collect()
    }
}

fn running(name: &str) -> Run {
    let mut run = sample_run(name, MEMORY_EPOCH);
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

fn stack() -> StackId {
    StackId::of_ledger("ledger")
}

fn cluster(name: &str) -> Cluster {
    Cluster::parse(&format!("{{cluster: {name}, region: us-east-1, worker_image: 'w:1'}}")).unwrap()
}

fn new_launch(index: u32, chunks: &str) -> Launch {
    let launch = Launch::new(LaunchIndex(index), chunks.parse().unwrap(), MEMORY_EPOCH);
    Launch { stack: Some(stack()), ..launch }
}

fn set(chunks: &str) -> ChunkSet {
    chunks.parse().unwrap()
}

fn pod(phase: PodPhase, reason: Option<&str>, trouble: Option<ContainerTrouble>) -> KubePod {
    KubePod {
        name: "j-1-x".into(),
        index: Some(1),
        phase,
        created_at: MEMORY_EPOCH,
        reason: reason.map(str::to_owned),
        troubles: trouble.into_iter().map(|trouble| ("worker".to_owned(), trouble)).collect(),
    }
}

/// A pod that waits for its image.
fn without_image() -> KubePod {
    let (reason, message) = ("ImagePullBackOff".into(), "no such host".into());
    pod(PodPhase::Pending, None, Some(ContainerTrouble::Waiting { reason, message }))
}

fn unschedulable() -> KubePod {
    pod(PodPhase::Pending, Some("Unschedulable: 0/1 nodes are available"), None)
}

/// A Job whose only pod is pending.
fn pending(pod: KubePod) -> impl FnOnce(&mut MemoryJob) {
    |job| {
        (job.state.active, job.state.ready) = (1, 0);
        job.pods = vec![pod];
    }
}

fn running_well(job: &mut MemoryJob) {
    (job.state.active, job.state.ready) = (1, 1);
    job.pods = vec![pod(PodPhase::Running, None, None)];
}

#[tokio::test(start_paused = true)]
async fn a_job_that_runs_is_let_be() {
    let (stack, job) = Stack::with_job().await;
    let before = stack.launch(0).await;
    for _ in 0..30 {
        stack.watch_after(MINUTE).await;
    }
    assert_eq!(stack.launch(0).await, before);
    assert!(stack.clusters.job("one", &job).is_some() && stack.world.queues.pending().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failed_index_fails_exactly_what_nobody_told_of_it_with_its_pods_words() {
    let (stack, job) = Stack::with_job().await;
    stack.mark(&[4]).await;
    stack.create_part(5).await;
    let killed =
        ContainerTrouble::Ended { reason: "OOMKilled".into(), message: String::new(), exit_code: 137 };
    stack.change("one", &job, |job| {
        job.state.failed_indexes = vec![1];
        job.pods = vec![pod(PodPhase::Failed, None, Some(killed))];
        job.logs.insert(("j-1-x".into(), "worker".into()), "starting\nreading chunk 6\n".into());
    });
    stack.watch_after(SECOND).await;
    let told = stack.told();
    assert_eq!(told.keys().copied().collect::<Vec<_>>(), [5, 6, 7]);
    assert_eq!(told[&5], None);
    for chunk in [6, 7] {
        let reason = told[&chunk].as_deref().unwrap();
        for words in
            ["cluster one", "index 1", "pod j-1-x", "OOMKilled", "resources.memory", "reading chunk 6"]
        {
            assert!(reason.contains(words), "{words} in {reason}");
        }
    }
    stack.mark(&[5, 6, 7]).await;
    stack.watch_after(MINUTE).await;
    assert_eq!((stack.told(), stack.sent()), (Told::new(), vec![]), "it is told once it is counted");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_failed_as_a_whole_fails_what_is_left_of_it() {
    let (stack, job) = Stack::with_job().await;
    stack.mark(&[0, 1, 2]).await;
    stack.create_part(3).await;
    stack.change("one", &job, |job| {
        let (reason, message) = ("DeadlineExceeded".into(), "Job was active longer than allowed".into());
        job.state.end = Some(KubeJobEnd::Failed { reason, message });
    });
    stack.watch_after(SECOND).await;
    let told = stack.told();
    assert_eq!(told.keys().copied().collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
    let failed: Vec<&String> = told.values().flatten().collect();
    assert!(told[&3].is_none() && failed.len() == 4);
    assert!(
        failed
            .iter()
            .all(|reason| reason.contains("DeadlineExceeded: Job was active") && reason.contains(&job))
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_a_person_deleted_is_launched_anew_with_what_is_left() {
    let (stack, job) = Stack::with_job().await;
    stack.mark(&[0, 1, 5]).await;
    stack.clusters.take("one", &job).unwrap();
    stack.watch_after(30 * SECOND).await;
    assert_eq!(stack.sent(), [], "a list may lag behind a creation");
    stack.watch_after(MINUTE).await;
    let [message] = &stack.sent()[..] else { panic!("one message") };
    assert_eq!((message.launch, message.launch_generation), (LaunchIndex(0), 1));
    let launch = stack.launch(0).await;
    assert_eq!((launch.generation, launch.chunks), (1, set("2-4,6-7")));
    assert!(launch.cluster.is_none() && !launch.is_created && launch.note.unwrap().contains("is gone"));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_gone_and_was_told_whole_is_not_launched_anew() {
    let (stack, job) = Stack::with_job().await;
    stack.mark(&[0, 1, 2, 3, 4, 5, 6, 7]).await;
    stack.clusters.take("one", &job).unwrap();
    stack.watch_after(10 * MINUTE).await;
    assert_eq!((stack.sent(), stack.launch(0).await.generation), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn a_complete_job_of_which_not_all_was_told_is_launched_anew_after_a_minute() {
    let (stack, job) = Stack::with_job().await;
    stack.mark(&[0, 1, 2, 3]).await;
    // What kept it before says nothing of how long it has been complete.
    stack.change("one", &job, pending(unschedulable()));
    stack.watch_after(5 * MINUTE).await;
    stack.change("one", &job, |job| {
        (job.state.active, job.state.ready) = (0, 0);
        job.state.end = Some(KubeJobEnd::Complete);
    });
    stack.watch_after(MINUTE).await;
    stack.watch_after(30 * SECOND).await;
    assert_eq!(stack.sent(), [], "completions may be on their way");
    stack.watch_after(30 * SECOND).await;
    assert_eq!(stack.sent().len(), 1);
    let launch = stack.launch(0).await;
    assert_eq!((launch.generation, launch.chunks), (1, set("4-7")));
}

#[tokio::test(start_paused = true)]
async fn where_nobody_counts_completions_launches_are_made_anew_ever_more_seldom() {
    let (stack, _) = Stack::with_job().await;
    for minute in 0..6 * 60 {
        // Whatever is launched is complete at once.
        for message in stack.sent() {
            let launch = stack.launch(message.launch.0).await;
            stack.launched(&launch, "one").await;
        }
        for job in stack.clusters.all_jobs("one") {
            stack.change("one", &job.state.name, |job| job.state.end = Some(KubeJobEnd::Complete));
        }
        stack.watch_after(MINUTE).await;
        assert!(minute > 5 || stack.launch(0).await.generation < 4);
    }
    let generation = stack.launch(0).await.generation;
    assert!((5..12).contains(&generation), "{generation} times");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_has_not_answered_for_two_minutes_loses_its_launches_to_others() {
    let (stack, _) = Stack::with_job().await;
    stack.clusters.fail("one", ClusterFault::Unreachable, 60 * MINUTE);
    stack.watch_after(MINUTE).await;
    stack.watch_after(MINUTE).await;
    assert_eq!((stack.sent(), stack.launch(0).await.generation), (vec![], 0), "it has just failed");
    assert_eq!(stack.world.fleet.outages().await.unwrap()["one"].failures, 2);
    stack.watch_after(MINUTE).await;
    assert_eq!(stack.sent().len(), 1);
    let launch = stack.launch(0).await;
    assert_eq!((launch.generation, launch.cluster), (1, None));
    assert!(launch.note.unwrap().contains("cluster one: Unreachable"));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_answers_again_has_its_outage_forgotten() {
    let (stack, _) = Stack::with_job().await;
    stack.clusters.fail("one", ClusterFault::Unreachable, 90 * SECOND);
    stack.watch_after(MINUTE).await;
    assert_eq!(stack.world.fleet.outages().await.unwrap().len(), 1);
    stack.watch_after(MINUTE).await;
    assert_eq!(stack.world.fleet.outages().await.unwrap().len(), 0);
    stack.watch_after(10 * MINUTE).await;
    assert_eq!(stack.launch(0).await.generation, 0);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_takes_nothing_new_keeps_what_it_runs() {
    let (stack, _) = Stack::with_job().await;
    stack.clusters.fail("one", ClusterFault::Full, 60 * MINUTE);
    // The launcher was refused again and again, and leaves it out for some minutes.
    let now = stack.world.clock.now();
    let mut outage = Outage::after(None, now, "Full".into());
    for _ in 0..5 {
        outage = Outage::after(Some(&outage), outage.until, "Full".into());
    }
    stack.world.fleet.note_outage("one", Some(&outage)).await.unwrap();
    stack.watch_after(2 * MINUTE + SECOND).await;
    assert!(outage.leaves_out(stack.world.clock.now()) && outage.gives_up(stack.world.clock.now()));
    assert_eq!((stack.sent(), stack.launch(0).await.generation), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_declared_no_more_loses_its_launches() {
    let stack = Stack::new().await;
    stack.save(&Launch { cluster: Some("three".into()), is_created: true, ..new_launch(0, "0-7") }).await;
    stack.watch_after(SECOND).await;
    assert_eq!(stack.sent().len(), 1);
    assert!(stack.launch(0).await.note.unwrap().contains("three is declared no more"));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_pulled_is_noted_at_once_and_fails_the_launch_after_90_seconds() {
    let (stack, job) = Stack::with_job().await;
    stack.mark(&[0]).await;
    stack.change("one", &job, pending(without_image()));
    stack.watch_after(SECOND).await;
    let note = stack.launch(0).await.note.unwrap();
    assert!(
        note.contains("cluster one: pod j-1-x") && note.contains("ImagePullBackOff: no such host"),
        "{note}"
    );
    stack.watch_after(MINUTE).await;
    assert_eq!(stack.told(), Told::new());
    assert!(stack.clusters.job("one", &job).is_some());
    stack.watch_after(MINUTE).await;
    let told = stack.told();
    assert_eq!(told.keys().copied().collect::<Vec<_>>(), (1..8).collect::<Vec<_>>());
    assert!(
        told.values().all(|reason| reason.as_ref().is_some_and(|reason| reason.contains("no such host")))
    );
    assert!(stack.clusters.job("one", &job).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_image_that_was_pulled_in_the_end_has_failed_nothing() {
    let (stack, job) = Stack::with_job().await;
    // It waited for a node for long; how long it waits for its image is another matter.
    for _ in 0..5 {
        stack.change("one", &job, pending(unschedulable()));
        stack.watch_after(MINUTE).await;
    }
    stack.change("one", &job, pending(without_image()));
    stack.watch_after(MINUTE).await;
    stack.watch_after(MINUTE).await;
    stack.change("one", &job, running_well);
    stack.watch_after(MINUTE).await;
    assert_eq!(stack.told(), Told::new());
    assert!(stack.clusters.job("one", &job).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_no_node_takes_is_noted_and_waited_for() {
    let (stack, job) = Stack::with_job().await;
    stack.change("one", &job, pending(unschedulable()));
    for _ in 0..60 {
        stack.watch_after(MINUTE).await;
    }
    let launch = stack.launch(0).await;
    assert!(launch.note.unwrap().contains("Unschedulable: 0/1 nodes"));
    assert_eq!(launch.kept_since, Some(MEMORY_EPOCH.plus_ms(MINUTE)));
    assert_eq!((stack.told(), stack.sent(), launch.generation), (Told::new(), vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn a_job_of_which_no_pod_was_created_says_where_to_look() {
    let (stack, job) = Stack::with_job().await;
    stack.change("one", &job, |job| (job.state.active, job.state.ready) = (0, 0));
    stack.watch_after(30 * SECOND).await;
    assert_eq!(stack.launch(0).await.note, None);
    stack.watch_after(MINUTE).await;
    assert!(stack.launch(0).await.note.unwrap().contains("quota"));
}

#[tokio::test(start_paused = true)]
async fn a_job_between_two_tries_is_kept_by_nothing() {
    let (stack, job) = Stack::with_job().await;
    let exit = ContainerTrouble::Ended { reason: "Error".into(), message: String::new(), exit_code: 75 };
    stack.change("one", &job, |job| {
        (job.state.active, job.state.ready) = (0, 0);
        job.pods = vec![pod(PodPhase::Failed, None, Some(exit))];
    });
    stack.watch_after(3 * MINUTE).await;
    assert_eq!((stack.launch(0).await.note, stack.told()), (None, Told::new()));
}

#[tokio::test(start_paused = true)]
async fn a_note_vanishes_when_all_is_well() {
    let (stack, job) = Stack::with_job().await;
    stack.change("one", &job, pending(unschedulable()));
    stack.watch_after(MINUTE).await;
    assert!(stack.launch(0).await.note.is_some());
    stack.change("one", &job, running_well);
    stack.watch_after(MINUTE).await;
    let launch = stack.launch(0).await;
    assert_eq!((launch.note, launch.kept_since), (None, None));
}

#[tokio::test(start_paused = true)]
async fn jobs_that_nobody_waits_for_are_deleted_and_no_others() {
    let (stack, wanted) = Stack::with_job().await;
    let newer = Launch { generation: 2, ..new_launch(1, "4-7") };
    let newest = stack.launched(&newer, "two").await;
    let passed = stack.create_job(&stack.run, &Launch { generation: 1, ..newer.clone() }, "one").await;
    // It is not known yet; whoever creates it has noted so already.
    let early = stack.create_job(&stack.run, &Launch { generation: 3, ..newer }, "one").await;
    let mut of_ended = Vec::new();
    for (name, state) in [("failed", RunState::Failed), ("completing", RunState::Completing)] {
        let run = Run { state, reason: Some("so".into()), ..running(name) };
        stack.world.ledger.create_run(&run).await.unwrap();
        of_ended.push(stack.create_job(&run, &new_launch(0, "0-7"), "two").await);
    }
    let nobodys_run = running("never began");
    of_ended.push(stack.create_job(&nobodys_run, &new_launch(0, "0-7"), "two").await);
    let strangers = stack.create_job(&stack.run, &new_launch(5, "0"), "two").await;
    stack.change("two", &strangers, |job| {
        job.state.labels.remove(RUN);
    });
    let ended = stack.create_job(&nobodys_run, &new_launch(7, "0"), "two").await;
    stack.change("two", &ended, |job| job.state.end = Some(KubeJobEnd::Complete));
    stack.watch_after(SECOND).await;
    let names = |cluster| -> Vec<String> {
        stack.clusters.all_jobs(cluster).into_iter().map(|job| job.state.name).collect()
    };
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert!(!names("one").contains(&passed));
    assert_eq!(names("one"), sorted(vec![wanted, early]));
    assert_eq!(names("two"), sorted(vec![newest, of_ended[1].clone(), strangers, ended]));
}

/// Whatever their runs are: another stack's ledger knows them.
#[tokio::test(start_paused = true)]
async fn jobs_of_another_stack_or_of_none_are_never_deleted() {
    let (stack, wanted) = Stack::with_job().await;
    let newer = Launch { generation: 2, ..new_launch(1, "4-7") };
    let newest = stack.launched(&newer, "one").await;
    let ended = Run { state: RunState::Failed, reason: Some("so".into()), ..running("failed") };
    stack.world.ledger.create_run(&ended).await.unwrap();
    let mut all = vec![wanted, newest];
    for owner in [Some(StackId::of_ledger("another")), None] {
        let passed = Launch { generation: 1, stack: owner.clone(), ..newer.clone() };
        all.push(stack.create_job(&stack.run, &passed, "one").await);
        let of_ended = Launch { stack: owner, ..new_launch(0, "0-7") };
        for run in [&ended, &running("never began here")] {
            all.push(stack.create_job(run, &of_ended, "one").await);
        }
    }
    for _ in 0..5 {
        stack.watch_after(MINUTE).await;
    }
    let left: Vec<_> = stack.clusters.all_jobs("one").into_iter().map(|job| job.state.name).collect();
    all.sort();
    assert_eq!(left, all);
}

/// The label by which Jobs are listed is not on it.
#[tokio::test(start_paused = true)]
async fn a_job_that_an_older_version_created_is_watched_to_its_end() {
    let stack = Stack::new().await;
    let older = Launch { stack: None, ..new_launch(0, "0-7") };
    let job = stack.launched(&older, "one").await;
    for _ in 0..5 {
        stack.watch_after(MINUTE).await;
    }
    assert_eq!((stack.sent(), stack.launch(0).await.generation), (vec![], 0), "it is there, and runs");
    stack.change("one", &job, |job| job.state.failed_indexes = vec![1]);
    stack.watch_after(MINUTE).await;
    assert_eq!(stack.told().keys().copied().collect::<Vec<_>>(), [4, 5, 6, 7]);
    stack.mark(&[4, 5, 6, 7]).await;
    stack.clusters.take("one", &job).unwrap();
    stack.watch_after(MINUTE).await;
    assert_eq!(stack.sent().len(), 1);
    let launch = stack.launch(0).await;
    assert_eq!((launch.generation, launch.stack), (1, None), "whoever gives it to a cluster names its stack");
}

#[tokio::test(start_paused = true)]
async fn a_hopeless_job_that_names_no_stack_fails_its_chunks_and_stays() {
    let stack = Stack::new().await;
    let job = stack.launched(&Launch { stack: None, ..new_launch(0, "0-7") }, "one").await;
    stack.change("one", &job, pending(without_image()));
    for _ in 0..3 {
        stack.watch_after(MINUTE).await;
    }
    assert_eq!(stack.told().len(), 8);
    assert!(stack.clusters.job("one", &job).is_some());
}

/// Launches of each stage are counted from 0.
#[tokio::test(start_paused = true)]
async fn a_job_is_told_from_that_of_another_stage() {
    let stack = Stack::new().await;
    let mut run = running("of two stages");
    let two =
        "process: copy, max_concurrency: 2},\n     {name: t, run_on: eks, process: copy, max_concurrency: 2}";
    run.pipeline = Pipeline::parse(&PIPELINE.replace("process: copy, max_concurrency: 2}", two)).unwrap();
    stack.world.ledger.create_run(&run).await.unwrap();
    // The first stage's was launched anew twice, the second's once.
    for (stage, generation) in [("s", 2), ("t", 1)] {
        let known =
            Launch { generation, cluster: Some("one".into()), is_created: true, ..new_launch(0, "0-7") };
        assert_eq!(
            stack.world.fleet.save_launch(&StageId::of(&run, stage), &known).await.unwrap(),
            Saved::Now
        );
    }
    let passed = stack.create_job(&run, &new_launch(0, "0-7"), "two").await;
    let wanted = stack.create_job(&run, &Launch { generation: 1, ..new_launch(0, "0-7") }, "one").await;
    stack.watch_after(SECOND).await;
    let is_there = |cluster, job: &str| stack.clusters.job(cluster, job).is_some();
    assert_eq!((is_there("one", &wanted), is_there("two", &passed)), (true, false));
}

#[tokio::test(start_paused = true)]
async fn a_launch_without_a_cluster_is_sent_again_only_after_15_minutes() {
    let stack = Stack::new().await;
    stack.save(&new_launch(0, "0-7")).await;
    for _ in 0..14 {
        stack.watch_after(MINUTE).await;
        assert_eq!(stack.sent(), []);
    }
    stack.watch_after(MINUTE).await;
    let [message] = &stack.sent()[..] else { panic!("one message") };
    assert_eq!((message.launch_generation, &message.chunks), (0, &set("0-7")));
    stack.watch_after(MINUTE).await;
    assert_eq!(stack.sent(), [], "it is given as much time again");
}

#[tokio::test(start_paused = true)]
async fn the_launches_of_a_run_that_has_ended_are_let_be() {
    let (stack, job) = Stack::with_job().await;
    let id: RunId = stack.run.id.clone();
    let ended = Run { state: RunState::Failed, reason: Some("so".into()), ..stack.run.clone() };
    stack.world.ledger.save_run(&ended).await.unwrap();
    stack.clusters.take("one", &job).unwrap();
    stack.watch_after(20 * MINUTE).await;
    assert!(stack.world.queues.pending().is_empty(), "nothing more is done for {id}");
}

const NEWER: &str = r#"{"of_a_newer_version":true}"#;

/// The second launch is on cluster `two`, and its Job has vanished from there: it is launched anew.
async fn with_a_lost_job(stack: &Stack) {
    let lost = Launch { generation: 0, ..new_launch(1, "4-7") };
    let job = stack.launched(&lost, "two").await;
    stack.clusters.take("two", &job).unwrap();
}

async fn look_and_meet_with_something(stack: &Stack) {
    stack.world.clock.sleep_ms(10 * MINUTE).await;
    stack.watcher.watch(NEVER).await.unwrap_err();
    assert_eq!(stack.launch(1).await.generation, 1, "the other launch was looked at");
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_run_keeps_no_other_from_being_watched_and_no_job_from_being_deleted() {
    let (stack, _) = Stack::with_job().await;
    with_a_lost_job(&stack).await;
    let unreadable = running("of a newer version");
    stack.world.ledger.create_run(&unreadable).await.unwrap();
    let kept = stack.create_job(&unreadable, &new_launch(0, "0-7"), "one").await;
    let nobodys = stack.create_job(&running("never began"), &new_launch(0, "0-7"), "two").await;
    stack.world.ledger.spoil_run(&unreadable.id, NEWER);
    look_and_meet_with_something(&stack).await;
    assert!(stack.clusters.job("two", &nobodys).is_none());
    assert!(stack.clusters.job("one", &kept).is_some(), "whether its run has ended is not known");
}

#[tokio::test(start_paused = true)]
async fn what_an_unreadable_cluster_was_given_is_let_be_and_the_others_are_watched() {
    let (stack, job) = Stack::with_job().await;
    with_a_lost_job(&stack).await;
    stack.world.fleet.spoil_cluster("one", NEWER);
    look_and_meet_with_something(&stack).await;
    let launch = stack.launch(0).await;
    assert_eq!((launch.generation, launch.cluster.as_deref()), (0, Some("one")));
    assert!(stack.clusters.job("one", &job).is_some());
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_launch_keeps_no_other_from_being_watched() {
    let (stack, job) = Stack::with_job().await;
    with_a_lost_job(&stack).await;
    stack.world.fleet.spoil_launch(&StageId::last_of(&stack.run), LaunchIndex(0), NEWER);
    look_and_meet_with_something(&stack).await;
    assert!(stack.clusters.job("one", &job).is_some());
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_cannot_be_noted_keeps_no_other_cluster_from_being_watched() {
    let (stack, _) = Stack::with_job().await;
    with_a_lost_job(&stack).await;
    stack.clusters.fail("one", ClusterFault::Unreachable, 60 * MINUTE);
    stack.world.faults.refuse("one");
    let fleet = Faulty::new(stack.world.fleet.clone(), stack.world.faults.clone(), Invocation::new("w"));
    let kube = KubePorts { fleet: Arc::new(fleet), ..stack.watcher.kube.clone() };
    let watcher = Watcher { kube, ..stack.watcher };
    look_and_meet_with_something(&Stack { watcher, ..stack }).await;
}

#[tokio::test(start_paused = true)]
async fn a_look_that_runs_out_of_time_goes_on_behind_its_last_launch() {
    let stack = Stack::new().await;
    let other = running("another");
    stack.world.ledger.create_run(&other).await.unwrap();
    for index in 0..2 {
        for run in [&stack.run, &other] {
            let lost = new_launch(index, "0-3");
            stack.world.fleet.save_launch(&StageId::last_of(run), &lost).await.unwrap();
        }
    }
    stack.world.clock.sleep_ms(16 * MINUTE).await;
    let mut sent = Vec::new();
    for _ in 0..4 {
        stack.watcher.watch(MEMORY_EPOCH).await.unwrap();
        let [message] = &stack.sent()[..] else { panic!("one launch a look") };
        sent.push((message.run.clone(), message.launch));
    }
    sent.sort();
    sent.dedup();
    assert_eq!(sent.len(), 4, "each was looked at, and none twice");
}

//! From a message of the queue `launches`, or an item of a Distributed Map, to a Job on a cluster.

use std::collections::{BTreeMap, BTreeSet};

use fanfold_domain::{
    Launch, LaunchIndex, Outage, Run, RunId, RunState, StackId, Timestamp,
    cluster::Cluster,
    launch::{Launching, TooManyLaunches},
    message::{self, InvalidMessage, LaunchMessage, encode},
    pipeline::{Eks, RunOn, Stage},
    placement::place,
};
use fanfold_engine::chunk::ends_or_failures;
use fanfold_lifecycle::{LifecycleError, RunCache, unmarked};
use fanfold_ports::{
    ItemList, KubePorts, PortError, Ports, Queue, UnreadableItem,
    clusters::{ClusterError, ClusterFault},
    ledger::{Saved, StageId},
    objects::UploadError,
    queues::Outgoing,
};
use thiserror::Error;

use crate::spec::{Request, Surroundings};

/// The launcher and what it works with.
pub struct Launcher {
    /// The world.
    pub ports: Ports,
    /// The clusters, and what is known of them.
    pub kube: KubePorts,
    /// The stack, which Jobs name.
    pub stack: StackId,
    /// What pods are told.
    pub surroundings: Surroundings,
    /// Runs read lately.
    pub runs: RunCache,
}

/// Why a message is to be delivered again.
#[derive(Debug, Error)]
pub enum LauncherError {
    /// It cannot be read.
    #[error(transparent)]
    Message(#[from] InvalidMessage),
    /// Its run could not be read.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The table or a queue failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A part could not be looked at.
    #[error(transparent)]
    Part(#[from] UploadError),
    /// The run has no plan, though it is launched.
    #[error("run {0} is not planned")]
    Unplanned(RunId),
    /// The run's stage is not one for clusters.
    #[error("run {0} does not run on EKS")]
    NotOnEks(RunId),
    /// The run would have more launches than it may; the splitter launches none of such a run.
    #[error(transparent)]
    TooMany(#[from] TooManyLaunches),
    /// Another invocation has changed the launch: the next delivery sees how.
    #[error("launch {launch} of run {run} is being given to a cluster by another")]
    Overtaken {
        /// Whose launch.
        run: RunId,
        /// Which.
        launch: LaunchIndex,
    },
}

impl LauncherError {
    /// Whether no further try would mend it.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Message(_) | Self::NotOnEks(_) | Self::TooMany(_) => true,
            Self::Port(failed) | Self::Lifecycle(LifecycleError::Port(failed)) => failed.is_permanent(),
            Self::Part(error) => error.is_final(),
            Self::Lifecycle(_) | Self::Unplanned(_) | Self::Overtaken { .. } => false,
        }
    }
}

/// The seconds after which a launch that no cluster takes is tried again, first and at most.
const WAIT_S: (u32, u32) = (5, 60);

/// A launch of a run that is under way.
struct Task<'a> {
    run: &'a Run,
    stage: &'a Stage,
    eks: &'a Eks,
    id: StageId,
    launching: Launching,
    waited: u32,
    /// Whether the launch has waited since the message was sent: another is on its way. Were each that comes twice sent
    /// on, they would double each time.
    is_double: bool,
}

impl Launcher {
    /// Gives the launch of one message to a cluster, given as its text.
    ///
    /// # Errors
    /// The message is to be delivered again.
    pub async fn handle(&self, body: &str) -> Result<(), LauncherError> {
        let message: LaunchMessage = message::decode(body)?;
        let run = self.runs.get(&self.ports, &message.run, &message.stage, message.generation).await?;
        if run.generation != message.generation || !is_worked_on(run.state) {
            return Ok(());
        }
        let on_eks = run.pipeline.stages.iter().find(|stage| stage.name == message.stage);
        let Some((stage, RunOn::Eks(eks))) = on_eks.map(|stage| (stage, &stage.run_on)) else {
            return Err(LauncherError::NotOnEks(run.id));
        };
        let unplanned = || LauncherError::Unplanned(run.id.clone());
        let grouping = run.grouping_of(&stage.name).ok_or_else(unplanned)?;
        let launching = Launching::of(grouping.chunks, stage.max_concurrency)?;
        let (id, waited, now) = (StageId::of(&run, &stage.name), message.waited, self.ports.clock.now());
        let kept = self.kube.fleet.launch(&id, message.launch).await?;
        let is_double = kept.as_ref().is_some_and(|kept| has_waited_since(kept, waited, now));
        let task = Task { run: &run, stage, eks, id, launching, waited, is_double };
        // Of a later stage some may have failed before it began, with what they read.
        let may_have_ended = kept.is_some() || stage.upstream.is_some();
        let mut launch = match kept {
            // A message of a launch that has gone on, or is on its cluster and the sweeper's.
            Some(launch) if launch.generation > message.launch_generation || launch.is_created => {
                return Ok(());
            }
            Some(launch) => launch,
            None => Launch::new(message.launch, message.chunks, now),
        };
        if may_have_ended {
            launch.chunks = unmarked(&*self.ports.ledger, &task.id, grouping, &launch.chunks).await?;
        }
        if launch.chunks.is_empty() {
            return Ok(());
        }
        self.launch(&task, launch).await
    }

    /// Gives a launch to one cluster after the other until one has taken it.
    async fn launch(&self, task: &Task<'_>, mut launch: Launch) -> Result<(), LauncherError> {
        let ItemList { items: clusters, unreadable } = self.kube.fleet.clusters().await?;
        for UnreadableItem { name, reason, .. } in &unreadable {
            tracing::error!(cluster = name, reason, "cluster cannot be read, and is given nothing");
        }
        let mut outages = self.kube.fleet.outages().await?;
        // Its Job may be there, where it can be neither seen nor deleted.
        if unreadable.iter().any(|item| launch.cluster.as_ref() == Some(&item.name)) {
            return self.wait(task, launch, &clusters, &outages).await;
        }
        loop {
            let now = self.ports.clock.now();
            let left_out: BTreeSet<String> = outages
                .iter()
                .filter(|(_, outage)| outage.leaves_out(now))
                .map(|(cluster, _)| cluster.clone())
                .collect();
            let Some(cluster) = choose(task, &launch, &clusters, &left_out) else {
                return self.wait(task, launch, &clusters, &outages).await;
            };
            launch = self.give(task, launch, cluster).await?;
            let pods = pods(task, launch.index, cluster, &clusters, &left_out);
            let request = Request {
                run: task.run,
                stage: task.stage,
                eks: task.eks,
                launch: &launch,
                cluster,
                pods,
                now,
            };
            let job = request.kube_job(&self.surroundings);
            let Err(error) = self.kube.clusters.create_job(cluster, &job).await else {
                tracing::info!(run_id = %task.run.id, launch = launch.index.0, cluster = cluster.name, job = job.name, "launched");
                if outages.contains_key(&cluster.name) {
                    self.kube.fleet.note_outage(&cluster.name, None).await?;
                }
                self.save(task, Launch { is_created: true, note: None, kept_since: None, ..launch }).await?;
                return Ok(());
            };
            tracing::warn!(run_id = %task.run.id, launch = launch.index.0, %error, "cluster did not take a launch");
            if error.fault == ClusterFault::Invalid {
                return self.refuse(task, launch, &error).await;
            }
            let reason = message::truncate(error.detail);
            let outage = Outage::after(outages.get(&cluster.name), self.ports.clock.now(), reason);
            self.kube.fleet.note_outage(&cluster.name, Some(&outage)).await?;
            outages.insert(cluster.name.clone(), outage);
        }
    }

    /// Notes that a launch is a cluster's, before its Job is created there. One that was another's is made anew: its
    /// Job may be there.
    async fn give(
        &self,
        task: &Task<'_>,
        launch: Launch,
        cluster: &Cluster,
    ) -> Result<Launch, LauncherError> {
        let now = self.ports.clock.now();
        let launch = match &launch.cluster {
            Some(given) if *given == cluster.name => return Ok(launch),
            Some(given) => {
                let (chunks, note) = (launch.chunks.clone(), format!("{given} did not take it"));
                launch.anew(chunks, note, now)
            }
            None => launch,
        };
        let (name, stack) = (Some(cluster.name.clone()), Some(self.stack.clone()));
        self.save(task, Launch { cluster: name, stack, placed_at: now, ..launch }).await
    }

    /// Sends the message again for later, and says what it waits for.
    async fn wait(
        &self,
        task: &Task<'_>,
        launch: Launch,
        clusters: &[Cluster],
        outages: &BTreeMap<String, Outage>,
    ) -> Result<(), LauncherError> {
        let note = message::truncate(no_cluster(&task.eks.queue, clusters, outages));
        tracing::warn!(run_id = %task.run.id, launch = launch.index.0, note, "launch waits");
        if task.is_double {
            return Ok(());
        }
        let StageId { run, stage, generation } = task.id.clone();
        // It is on its way until then, and not lost.
        let placed_at = self.ports.clock.now();
        let launch = self.save(task, Launch { note: Some(note), placed_at, ..launch }).await?;
        let again = LaunchMessage {
            run,
            stage,
            generation,
            launch: launch.index,
            launch_generation: launch.generation,
            chunks: launch.chunks,
            waited: task.waited + 1,
        };
        let again = Outgoing { body: encode(&again), delay_s: wait_s(task.waited) };
        Ok(self.ports.queues.send(Queue::Launches, vec![again]).await?)
    }

    /// Fails the chunks of a launch whose Job no cluster would take.
    async fn refuse(
        &self,
        task: &Task<'_>,
        launch: Launch,
        error: &ClusterError,
    ) -> Result<(), LauncherError> {
        let reason = message::truncate(error.to_string());
        let (objects, bucket) = (&*self.ports.objects, &self.surroundings.work_bucket);
        let ends = ends_or_failures(objects, task.run, bucket, &task.id, &launch.chunks, &reason).await?;
        let told = ends.iter().map(|end| Outgoing::now(encode(end))).collect();
        self.ports.queues.send(Queue::Completions, told).await?;
        self.save(task, Launch { is_created: true, note: Some(reason), ..launch }).await?;
        Ok(())
    }

    async fn save(&self, task: &Task<'_>, launch: Launch) -> Result<Launch, LauncherError> {
        match self.kube.fleet.save_launch(&task.id, &launch).await? {
            Saved::Now => Ok(launch.saved()),
            Saved::Stale => Err(LauncherError::Overtaken { run: task.run.id.clone(), launch: launch.index }),
        }
    }
}

/// The cluster to be asked next: the one it was given to, where a Job of it may be, or else the one that is its.
fn choose<'a>(
    task: &Task<'_>,
    launch: &Launch,
    clusters: &'a [Cluster],
    left_out: &BTreeSet<String>,
) -> Option<&'a Cluster> {
    let is_given = |cluster: &&Cluster| {
        launch.cluster.as_ref() == Some(&cluster.name) && !left_out.contains(&cluster.name)
    };
    let given = clusters.iter().find(is_given);
    given.or_else(|| place(&task.run.id, launch.index, &task.eks.queue, clusters, left_out))
}

/// How many pods a launch may have at once on a cluster: its share of the stage's, and of what the cluster may run of
/// one run.
fn pods(
    task: &Task<'_>,
    launch: LaunchIndex,
    cluster: &Cluster,
    clusters: &[Cluster],
    left_out: &BTreeSet<String>,
) -> u32 {
    let goes_there = |launch: &LaunchIndex| {
        place(&task.run.id, *launch, &task.eks.queue, clusters, left_out).is_some_and(|to| to == cluster)
    };
    let launches = (0..task.launching.launches()).map(LaunchIndex).filter(goes_there).count();
    let share = cluster.max_pods / u32::try_from(launches).unwrap_or(u32::MAX).max(1);
    task.launching.pods_of(launch).min(share).max(1)
}

/// How long a launch waits next that has waited so often, in seconds.
fn wait_s(waited: u32) -> u32 {
    let (first, most) = WAIT_S;
    first.saturating_mul(1 << waited.min(8)).min(most)
}

/// Whether a launch began to wait once more since the message was sent of one that had waited so often: then less than
/// half of that message's own delay has passed since. Half of it, since clocks differ.
fn has_waited_since(kept: &Launch, waited: u32, now: Timestamp) -> bool {
    let delay_ms = waited.checked_sub(1).map_or(0, |waited| u64::from(wait_s(waited)) * 1_000);
    now.ms_since(kept.placed_at) < delay_ms / 2
}

/// Why no cluster takes a queue's launches.
fn no_cluster(queue: &str, clusters: &[Cluster], outages: &BTreeMap<String, Outage>) -> String {
    let takes = |cluster: &&Cluster| cluster.queues.iter().any(|taken| taken == queue);
    let why = |cluster: &Cluster| match outages.get(&cluster.name) {
        _ if cluster.weight == 0 => format!("{}: drained (weight 0)", cluster.name),
        Some(outage) => format!("{}: {}", cluster.name, outage.reason),
        None => format!("{}: left out just now", cluster.name),
    };
    let reasons: Vec<String> = clusters.iter().filter(takes).map(why).collect();
    if reasons.is_empty() {
        return format!("no cluster takes the queue {queue:?}: apply one with `fanfold clusters apply`");
    }
    format!("waits for a cluster of the queue {queue:?}: {}", reasons.join("; "))
}

fn is_worked_on(state: RunState) -> bool {
    matches!(state, RunState::Planning | RunState::Running)
}

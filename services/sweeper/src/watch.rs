//! One look at the Jobs of live runs: what failed in them without a word, what vanished, what waits and why.

mod deletion;
mod launches;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use fanfold_domain::{
    Grouping, Launch, LaunchIndex, Outage, Run, RunId, RunState, StackId, Timestamp, cluster::Cluster,
    message, pipeline::RunOn,
};
use fanfold_ports::{
    ItemList, KubePorts, PortError, Ports, UnreadableItem,
    clusters::{ClusterError, KubeJobState},
    ledger::{Freshness, StageId, Unfinished},
};
use futures::{StreamExt, stream};

use self::deletion::DELETIONS_MS;
use crate::SweeperError;

/// Clusters asked, and runs read, at once.
const AT_ONCE: usize = 16;
/// Runs listed at once.
const PAGE: usize = 200;

/// The watcher of Jobs: a part of the sweeper.
pub struct Watcher {
    /// The world.
    pub ports: Ports,
    /// The clusters, and what is known of them.
    pub kube: KubePorts,
    /// The stack, whose Jobs are looked at.
    pub stack: StackId,
    /// The bucket of parts.
    pub work_bucket: String,
    /// Where the last look ran out of time.
    pub left_off: WatchLeftOff,
}

/// What a cluster answers that is asked for its Jobs.
type Answer = Result<Vec<KubeJobState>, ClusterError>;

/// What the clusters answered.
#[derive(Default)]
struct Sight {
    clusters: Vec<Cluster>,
    /// Clusters whose items cannot be read: what they were given is left alone.
    unreadable: BTreeSet<String>,
    outages: BTreeMap<String, Outage>,
    /// The clusters that were asked.
    asked: BTreeSet<String>,
    /// The stack's Jobs of each cluster that answered.
    jobs: BTreeMap<String, Vec<KubeJobState>>,
}

/// The generations of the launches of the runs that were looked at, by stage and index.
#[derive(Default)]
struct Known(BTreeMap<RunId, BTreeMap<(String, LaunchIndex), u32>>);

impl Known {
    fn learn(&mut self, tasks: &[Task]) {
        for task in tasks {
            let generations = self.0.entry(task.run.id.clone()).or_default();
            let stage = &task.stage.stage;
            generations.extend(
                task.launches.iter().map(|launch| ((stage.clone(), launch.index), launch.generation)),
            );
        }
    }
}

/// Where a look ran out of time.
#[derive(Debug, Default)]
struct Place {
    /// Behind this run.
    after: Option<Unfinished>,
    /// So many launches of the next runs were looked at.
    launches: usize,
}

/// Where the last look ran out of time, if it did: the next goes on there. A new container begins with the most urgent
/// run.
#[derive(Debug, Default)]
pub struct WatchLeftOff(Mutex<Place>);

impl WatchLeftOff {
    fn take(&self) -> Place {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, place: Place) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }
}

/// What could not be looked at.
#[derive(Default)]
struct Failed(Option<SweeperError>);

impl Failed {
    fn note(&mut self, what: String, error: SweeperError) {
        tracing::error!(what, %error, "could not be looked at");
        self.0.get_or_insert(error);
    }

    fn outcome(self) -> Result<(), SweeperError> {
        self.0.map_or(Ok(()), Err)
    }
}

/// A run that is under way on clusters.
struct Task {
    run: Run,
    stage: StageId,
    grouping: Grouping,
    launches: Vec<Launch>,
}

impl Watcher {
    /// Looks once at the Jobs of all runs that are under way on clusters. At `until` it begins with no other cluster and
    /// no other launch: those are the next look's. What cannot be read, or fails, keeps nothing else from being looked at.
    ///
    /// # Errors
    /// Something failed for some clusters, runs or launches; the others were looked at.
    pub async fn watch(&self, until: Timestamp) -> Result<(), SweeperError> {
        let ItemList { items: clusters, unreadable } = self.kube.fleet.clusters().await?;
        if clusters.is_empty() && unreadable.is_empty() {
            return Ok(());
        }
        let outages = self.kube.fleet.outages().await?;
        let mut sight = Sight { clusters, outages, ..Sight::default() };
        let mut failed = Failed::default();
        for item in unreadable {
            sight.unreadable.insert(item.name.clone());
            failed.note(format!("cluster {}", item.name), SweeperError::Unreadable(item));
        }
        self.ask(&mut sight, &[], until, &mut failed).await;
        let known = self.look_at_runs(&mut sight, until, &mut failed).await;
        self.delete_nobodys(&known, &sight, until.plus_ms(DELETIONS_MS), &mut failed).await;
        failed.outcome()
    }

    /// Looks at the launches of all runs, a few runs at a time, from where the last look ran out of time. Returns the
    /// launches that it came to know.
    async fn look_at_runs(&self, sight: &mut Sight, until: Timestamp, failed: &mut Failed) -> Known {
        let mut known = Known::default();
        let Place { mut after, mut launches } = self.left_off.take();
        loop {
            let page = match self.ports.ledger.unfinished_runs(after.as_ref(), PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    failed.note("the list of runs".to_owned(), error.into());
                    return known;
                }
            };
            for runs in page.chunks(AT_ONCE) {
                let tasks = self.tasks(runs, failed).await;
                self.ask(sight, &tasks, until, failed).await;
                known.learn(&tasks);
                let all =
                    tasks.iter().flat_map(|task| task.launches.iter().map(move |launch| (task, launch)));
                for (place, (task, launch)) in all.enumerate().skip(std::mem::take(&mut launches)) {
                    if let Err(error) = self.look(task, launch, sight).await {
                        failed.note(format!("launch {} of run {}", launch.index, task.run.id), error);
                    }
                    if self.ports.clock.now() >= until {
                        tracing::warn!(run_id = %task.run.id, "the look ran out of time, and the next goes on behind this launch");
                        self.left_off.note(Place { after, launches: place + 1 });
                        return known;
                    }
                }
                after = runs.last().cloned();
            }
            if page.len() < PAGE {
                return known;
            }
        }
    }

    /// The stages of these runs that are on clusters.
    async fn tasks(&self, runs: &[Unfinished], failed: &mut Failed) -> Vec<Task> {
        let read = |run: &Unfinished| {
            let id = run.id.clone();
            async move { (self.tasks_of(&id).await, id) }
        };
        let read: Vec<_> = stream::iter(runs.iter().map(read)).buffered(AT_ONCE).collect().await;
        let mut all = Vec::new();
        for (tasks, id) in read {
            match tasks {
                Ok((tasks, unreadable)) => {
                    all.extend(tasks);
                    for item in unreadable {
                        let what = format!("launch {} of run {id}", item.name);
                        failed.note(what, SweeperError::Unreadable(item));
                    }
                }
                Err(error) => failed.note(format!("run {id}"), error),
            }
        }
        all
    }

    /// The stages of a run that are on clusters, with their launches, if it is under way; and its launches that cannot be
    /// read.
    async fn tasks_of(&self, id: &RunId) -> Result<(Vec<Task>, Vec<UnreadableItem>), SweeperError> {
        let (mut tasks, mut all_unreadable) = (Vec::new(), Vec::new());
        let run = self.ports.ledger.run(id, Freshness::Consistent).await?;
        let Some(run) = run.filter(|run| matches!(run.state, RunState::Planning | RunState::Running)) else {
            return Ok((tasks, all_unreadable));
        };
        for (place, stage) in run.pipeline.stages.iter().enumerate() {
            let (RunOn::Eks(_), Some(grouping)) = (&stage.run_on, run.grouping_at(place)) else { continue };
            let id = StageId::of(&run, &stage.name);
            let ItemList { items: launches, unreadable } = self.kube.fleet.launches(&id).await?;
            all_unreadable.extend(unreadable);
            tasks.push(Task { run: run.clone(), stage: id, grouping, launches });
        }
        Ok((tasks, all_unreadable))
    }

    /// Asks clusters for their Jobs that were not asked yet, but those that are left out now. One that is about to lose
    /// what it was given is asked first: who takes nothing new is left out too, and may well run what it has.
    async fn ask(&self, sight: &mut Sight, tasks: &[Task], until: Timestamp, failed: &mut Failed) {
        let now = self.ports.clock.now();
        let has_launches = |cluster: &Cluster| {
            let mut launches = tasks.iter().flat_map(|task| &task.launches);
            launches.any(|launch| launch.is_created && launch.cluster.as_ref() == Some(&cluster.name))
        };
        let Sight { clusters, outages, asked, jobs, .. } = sight;
        let due = clusters.iter().filter(|cluster| match outages.get(&cluster.name) {
            _ if asked.contains(&cluster.name) => false,
            Some(outage) if outage.leaves_out(now) => outage.gives_up(now) && has_launches(cluster),
            _ => true,
        });
        let answers: Vec<(&Cluster, Option<Answer>)> = stream::iter(due)
            .map(|cluster| async move {
                let is_late = self.ports.clock.now() >= until;
                (
                    cluster,
                    if is_late { None } else { Some(self.kube.clusters.jobs(cluster, &self.stack).await) },
                )
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (cluster, answer) in answers {
            let Some(answer) = answer else { continue };
            asked.insert(cluster.name.clone());
            let noted = self.note_answer(cluster, answer, outages, jobs).await;
            if let Err(error) = noted {
                failed.note(format!("the outage of cluster {}", cluster.name), error.into());
            }
        }
    }

    async fn note_answer(
        &self,
        cluster: &Cluster,
        answer: Answer,
        outages: &mut BTreeMap<String, Outage>,
        jobs: &mut BTreeMap<String, Vec<KubeJobState>>,
    ) -> Result<(), PortError> {
        match answer {
            Ok(list) => {
                jobs.insert(cluster.name.clone(), list);
                if outages.remove(&cluster.name).is_some() {
                    self.kube.fleet.note_outage(&cluster.name, None).await?;
                }
            }
            Err(error) => {
                tracing::warn!(cluster = cluster.name, %error, "cluster does not tell its Jobs");
                let (before, now) = (outages.get(&cluster.name), self.ports.clock.now());
                let outage = Outage::after(before, now, message::truncate(error.detail));
                outages.insert(cluster.name.clone(), outage.clone());
                self.kube.fleet.note_outage(&cluster.name, Some(&outage)).await?;
            }
        }
        Ok(())
    }
}

//! One look at the Jobs of live runs: what failed in them without a word, what vanished, what waits and why.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use fanfold_domain::{
    ChunkIndex, ChunkSet, Grouping, Launch, LaunchIndex, Outage, Run, RunId, RunState, Timestamp,
    cluster::Cluster,
    launch::StageName,
    message::{self, LaunchMessage, encode},
    pipeline::RunOn,
};
use fanfold_engine::chunk::ends_or_failures;
use fanfold_lifecycle::unmarked;
use fanfold_ports::{
    ItemList, KubePorts, PortError, Ports, Queue, UnreadableItem,
    clusters::{
        CHUNKS, CHUNKS_PER_POD, ClusterError, KubeJobEnd, KubeJobState, KubePod, LAUNCH, LAUNCH_GENERATION,
        RUN, STAGE,
    },
    ledger::{Freshness, Saved, StageId, Unfinished},
    queues::Outgoing,
};
use futures::{StreamExt, stream};

use crate::{SweeperError, trouble};

/// Clusters asked, and runs read, at once.
const AT_ONCE: usize = 16;
/// Runs listed at once.
const PAGE: usize = 200;
/// Jobs of nobody that are deleted in one look.
const MOST_DELETIONS: usize = 50;
/// How long Jobs of nobody are deleted for after the time to look at launches is over.
const DELETIONS_MS: u64 = 10_000;
/// Lines of a failed pod's log that are shown.
const LOG_LINES: u32 = 5;
/// Longer than a launch's message may be on its way.
const LOST_MS: u64 = 15 * 60_000;
/// Longer than a list of Jobs lags behind a creation, and than a completion is on its way.
const SETTLED_MS: u64 = 60_000;
/// How often the wait for completions of a complete Job is doubled, once for each time that its launch was launched
/// anew: to about an hour.
const MOST_DOUBLINGS: u32 = 6;
/// How long what hardly passes is waited for.
const PATIENCE_MS: u64 = 90_000;

/// The watcher of Jobs: a part of the sweeper.
pub struct Watcher {
    /// The world.
    pub ports: Ports,
    /// The clusters, and what is known of them.
    pub kube: KubePorts,
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
    /// The Jobs of each cluster that answered.
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
                (cluster, if is_late { None } else { Some(self.kube.clusters.jobs(cluster).await) })
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

    /// Looks at one launch, and does what it needs.
    async fn look(&self, task: &Task, launch: &Launch, sight: &Sight) -> Result<(), SweeperError> {
        let now = self.ports.clock.now();
        let is_old = |ms| now.ms_since(launch.placed_at) >= ms;
        let Some(name) = launch.cluster.as_ref().filter(|_| launch.is_created) else {
            // Its message is on its way, or was lost.
            return if is_old(LOST_MS) { self.send_again(task, launch).await } else { Ok(()) };
        };
        let Some(cluster) = sight.clusters.iter().find(|cluster| cluster.name == *name) else {
            if sight.unreadable.contains(name) {
                return Ok(());
            }
            return self.launch_anew(task, launch, format!("cluster {name} is declared no more")).await;
        };
        let Some(jobs) = sight.jobs.get(name) else {
            let outage = sight.outages.get(name);
            return match outage.filter(|outage| outage.gives_up(now)) {
                Some(outage) => {
                    self.launch_anew(task, launch, format!("cluster {name}: {}", outage.reason)).await
                }
                None => Ok(()),
            };
        };
        let job_name = launch.job_name(&StageName::of(&task.run, &task.stage.stage));
        match jobs.iter().find(|job| job.name == job_name) {
            Some(job) => self.look_at_job(task, launch, cluster, job).await,
            None if is_old(SETTLED_MS) => {
                self.launch_anew(task, launch, format!("its Job {job_name} is gone from cluster {name}"))
                    .await
            }
            None => Ok(()),
        }
    }

    async fn look_at_job(
        &self,
        task: &Task,
        launch: &Launch,
        cluster: &Cluster,
        job: &KubeJobState,
    ) -> Result<(), SweeperError> {
        let failed: ChunkSet = job.failed_indexes.iter().flat_map(|index| chunks_of(job, *index)).collect();
        let failed = self.unmarked(task, &failed).await?;
        if !failed.is_empty() {
            self.fail_indexes(task, cluster, job, &failed).await?;
        }
        match &job.end {
            None => self.look_at_pending(task, launch, cluster, job).await,
            Some(KubeJobEnd::Failed { reason, message }) => {
                let told: BTreeSet<_> = failed.iter().collect();
                let left = self.unmarked(task, &launch.chunks).await?;
                let left = left.iter().filter(|chunk| !told.contains(chunk)).collect();
                let reason = format!("its Job {} on cluster {}: {reason}: {message}", job.name, cluster.name);
                self.fail_chunks(task, &left, &reason).await
            }
            Some(KubeJobEnd::Complete) => {
                if self.unmarked(task, &launch.chunks).await?.is_empty() {
                    return self.keep_no_more(task, launch).await;
                }
                // Completions may be on their way still; and where nobody counts them, one more Job tells no more.
                let complete = trouble::COMPLETE;
                let note = format!("its Job {} on cluster {} {complete}", job.name, cluster.name);
                let patience_ms = SETTLED_MS << launch.generation.min(MOST_DOUBLINGS);
                if self.keep(task, launch, note.clone()).await? < patience_ms {
                    return Ok(());
                }
                self.launch_anew(task, launch, format!("{note}, and not all of it was told")).await
            }
        }
    }

    /// Tells what keeps pods from running, and ends a launch that will hardly begin.
    async fn look_at_pending(
        &self,
        task: &Task,
        launch: &Launch,
        cluster: &Cluster,
        job: &KubeJobState,
    ) -> Result<(), SweeperError> {
        let has_no_pod = job.active == 0 && self.ports.clock.now().ms_since(job.created_at) >= SETTLED_MS;
        if job.active == job.ready && !has_no_pod {
            return self.keep_no_more(task, launch).await;
        }
        let pods = self.pods(cluster, job).await?;
        let found = trouble::of_pending(&pods);
        let text = match &found {
            Some(found) => found.text.clone(),
            // Pods that failed are there: the next follows when Kubernetes' wait between two tries is over.
            None if has_no_pod && pods.is_empty() => format!(
                "no pod of it was created: a quota of the namespace, or a policy; `kubectl describe job {}` tells",
                job.name
            ),
            None => return self.keep_no_more(task, launch).await,
        };
        let text = message::truncate(format!("cluster {}: {text}", cluster.name));
        let kept_ms = self.keep(task, launch, text.clone()).await?;
        if !found.is_some_and(|found| found.is_hopeless) || kept_ms < PATIENCE_MS {
            return Ok(());
        }
        let left = self.unmarked(task, &launch.chunks).await?;
        self.fail_chunks(task, &left, &text).await?;
        self.delete(cluster, &job.name).await
    }

    /// Fails the chunks of indexes that failed for good, each with what its last pod says.
    async fn fail_indexes(
        &self,
        task: &Task,
        cluster: &Cluster,
        job: &KubeJobState,
        failed: &ChunkSet,
    ) -> Result<(), SweeperError> {
        let pods = self.pods(cluster, job).await?;
        let failed: BTreeSet<_> = failed.iter().collect();
        for index in &job.failed_indexes {
            let chunks = chunks_of(job, *index).into_iter();
            let chunks: ChunkSet = chunks.filter(|chunk| failed.contains(chunk)).collect();
            if chunks.is_empty() {
                continue;
            }
            let pod = trouble::last_of(&pods, *index);
            let log = match pod.and_then(|pod| Some((pod, trouble::container_of(pod)?))) {
                Some((pod, container)) => {
                    let tail = self.kube.clusters.log_tail(cluster, &pod.name, container, LOG_LINES).await;
                    // Without it the rest is still worth telling.
                    tail.unwrap_or_default()
                }
                None => String::new(),
            };
            let reason = format!("cluster {}: {}", cluster.name, trouble::of_failed(*index, pod, &log));
            self.fail_chunks(task, &chunks, &reason).await?;
        }
        Ok(())
    }

    /// Tells the tracker of chunks that nobody told it of: done where the part is there, or else failed.
    async fn fail_chunks(&self, task: &Task, chunks: &ChunkSet, reason: &str) -> Result<(), SweeperError> {
        let reason = message::truncate(reason.to_owned());
        if !chunks.is_empty() {
            tracing::warn!(run_id = %task.run.id, %chunks, reason, "chunks failed without a word");
        }
        let (objects, bucket) = (&*self.ports.objects, &self.work_bucket);
        let ends = ends_or_failures(objects, &task.run, bucket, &task.stage, chunks, &reason).await?;
        let told = ends.iter().map(|end| Outgoing::now(encode(end))).collect();
        Ok(self.ports.queues.send(Queue::Completions, told).await?)
    }

    async fn unmarked(&self, task: &Task, chunks: &ChunkSet) -> Result<ChunkSet, PortError> {
        unmarked(&*self.ports.ledger, &task.stage, task.grouping, chunks).await
    }

    /// Has what is left of a launch given to a cluster anew.
    async fn launch_anew(&self, task: &Task, launch: &Launch, why: String) -> Result<(), SweeperError> {
        let left = self.unmarked(task, &launch.chunks).await?;
        if left.is_empty() {
            return Ok(());
        }
        tracing::warn!(run_id = %task.run.id, launch = launch.index.0, why, "launched anew");
        let anew = launch.clone().anew(left, message::truncate(why), self.ports.clock.now());
        match self.kube.fleet.save_launch(&task.stage, &anew).await? {
            Saved::Now => self.send_message(task, &anew).await,
            // The launcher is at it.
            Saved::Stale => Ok(()),
        }
    }

    /// Sends the message of a launch again, and gives it time.
    async fn send_again(&self, task: &Task, launch: &Launch) -> Result<(), SweeperError> {
        let waiting = Launch { placed_at: self.ports.clock.now(), ..launch.clone() };
        match self.kube.fleet.save_launch(&task.stage, &waiting).await? {
            Saved::Now => self.send_message(task, launch).await,
            Saved::Stale => Ok(()),
        }
    }

    async fn send_message(&self, task: &Task, launch: &Launch) -> Result<(), SweeperError> {
        let StageId { run, stage, generation } = task.stage.clone();
        let message = LaunchMessage {
            run,
            stage,
            generation,
            launch: launch.index,
            launch_generation: launch.generation,
            chunks: launch.chunks.clone(),
            waited: 0,
        };
        Ok(self.ports.queues.send(Queue::Launches, vec![Outgoing::now(encode(&message))]).await?)
    }

    /// Notes what keeps a launch; for how long it has been kept, in milliseconds.
    async fn keep(&self, task: &Task, launch: &Launch, note: String) -> Result<u64, SweeperError> {
        let now = self.ports.clock.now();
        let is_same = launch.note.as_ref().is_some_and(|kept| trouble::is_same_kind(kept, &note));
        let since = launch.kept_since.filter(|_| is_same).unwrap_or(now);
        if launch.note.as_ref() != Some(&note) || launch.kept_since != Some(since) {
            let kept = Launch { note: Some(note), kept_since: Some(since), ..launch.clone() };
            // Stale: it has gone on, and the next look sees how.
            self.kube.fleet.save_launch(&task.stage, &kept).await?;
        }
        Ok(now.ms_since(since))
    }

    async fn keep_no_more(&self, task: &Task, launch: &Launch) -> Result<(), SweeperError> {
        if launch.note.is_some() || launch.kept_since.is_some() {
            let free = Launch { note: None, kept_since: None, ..launch.clone() };
            self.kube.fleet.save_launch(&task.stage, &free).await?;
        }
        Ok(())
    }

    /// Deletes Jobs that nobody waits for: of runs that have ended, and of generations that have passed.
    async fn delete_nobodys(&self, known: &Known, sight: &Sight, until: Timestamp, failed: &mut Failed) {
        let (mut deleted, mut runs) = (0, BTreeMap::new());
        for cluster in &sight.clusters {
            for job in sight.jobs.get(&cluster.name).into_iter().flatten() {
                if deleted == MOST_DELETIONS || self.ports.clock.now() >= until {
                    return;
                }
                let is_live = !job.is_going && job.end.is_none();
                if !is_live {
                    continue;
                }
                match self.delete_if_nobodys(known, &mut runs, cluster, job).await {
                    Ok(is_deleted) => deleted += usize::from(is_deleted),
                    Err(error) => failed.note(format!("Job {} on cluster {}", job.name, cluster.name), error),
                }
            }
        }
    }

    async fn delete_if_nobodys(
        &self,
        known: &Known,
        runs: &mut BTreeMap<RunId, bool>,
        cluster: &Cluster,
        job: &KubeJobState,
    ) -> Result<bool, SweeperError> {
        let is_nobodys = self.is_nobodys(known, runs, job).await?;
        if is_nobodys {
            tracing::info!(cluster = cluster.name, job = job.name, "job deleted that nobody waits for");
            self.delete(cluster, &job.name).await?;
        }
        Ok(is_nobodys)
    }

    /// `runs`: which of those that were not looked at have ended, as far as they were read.
    async fn is_nobodys(
        &self,
        known: &Known,
        runs: &mut BTreeMap<RunId, bool>,
        job: &KubeJobState,
    ) -> Result<bool, PortError> {
        let label = |name: &str| job.labels.get(name).map_or("", String::as_str);
        let number = |name: &str| label(name).parse::<u32>().ok();
        let Ok(run) = label(RUN).parse::<RunId>() else { return Ok(false) };
        let Some(launches) = known.0.get(&run) else {
            // It may have begun after the look at the runs, or the look did not come to it.
            if let Some(has_ended) = runs.get(&run) {
                return Ok(*has_ended);
            }
            let read = self.ports.ledger.run(&run, Freshness::Consistent).await?;
            let has_ended = read.is_none_or(|run| run.state.has_ended());
            runs.insert(run, has_ended);
            return Ok(has_ended);
        };
        let (Some(launch), Some(generation)) = (number(LAUNCH), number(LAUNCH_GENERATION)) else {
            return Ok(false);
        };
        let now = launches.get(&(label(STAGE).to_owned(), LaunchIndex(launch)));
        Ok(now.is_some_and(|now| *now > generation))
    }

    async fn pods(&self, cluster: &Cluster, job: &KubeJobState) -> Result<Vec<KubePod>, SweeperError> {
        Ok(self.kube.clusters.pods(cluster, &job.name).await?)
    }

    async fn delete(&self, cluster: &Cluster, job: &str) -> Result<(), SweeperError> {
        Ok(self.kube.clusters.delete_job(cluster, job).await?)
    }
}

/// The chunks that an index of a Job does, as the Job itself says.
fn chunks_of(job: &KubeJobState, index: u32) -> Vec<ChunkIndex> {
    let chunks = job.annotations.get(CHUNKS).and_then(|text| text.parse::<ChunkSet>().ok());
    let per_pod = job.annotations.get(CHUNKS_PER_POD).and_then(|text| text.parse().ok());
    chunks.zip(per_pod).map_or_else(Vec::new, |(chunks, per_pod)| chunks.page(index, per_pod))
}

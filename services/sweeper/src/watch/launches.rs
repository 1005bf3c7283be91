//! One launch: what became of its Job, and what follows.

use std::collections::BTreeSet;

use fanfold_domain::{
    ChunkIndex, ChunkSet, Launch, StackId,
    cluster::Cluster,
    launch::StageName,
    message::{self, LaunchMessage, encode},
};
use fanfold_engine::chunk::ends_or_failures;
use fanfold_lifecycle::unmarked;
use fanfold_ports::{
    PortError, Queue,
    clusters::{CHUNKS, CHUNKS_PER_POD, KubeJobEnd, KubeJobState, KubePod, STACK},
    ledger::{Saved, StageId},
    queues::Outgoing,
};

use super::{Sight, Task, Watcher};
use crate::{SweeperError, trouble};

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

impl Watcher {
    /// Looks at one launch, and does what it needs.
    pub(super) async fn look(&self, task: &Task, launch: &Launch, sight: &Sight) -> Result<(), SweeperError> {
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
        let job = match jobs.iter().find(|job| job.name == job_name) {
            None if launch.stack.as_ref() != Some(&self.stack) => {
                self.unlisted(launch, cluster, &job_name).await?
            }
            listed => listed.cloned(),
        };
        match job {
            Some(job) => self.look_at_job(task, launch, cluster, &job).await,
            None if is_old(SETTLED_MS) => {
                self.launch_anew(task, launch, format!("its Job {job_name} is gone from cluster {name}"))
                    .await
            }
            None => Ok(()),
        }
    }

    /// The Job of a launch that an older version gave to its cluster: the label by which Jobs are listed is not on it.
    async fn unlisted(
        &self,
        launch: &Launch,
        cluster: &Cluster,
        name: &str,
    ) -> Result<Option<KubeJobState>, SweeperError> {
        let job = self.kube.clusters.job(cluster, name).await?;
        Ok(job.filter(|job| {
            job.labels.get(STACK).map(String::as_str) == launch.stack.as_ref().map(StackId::as_str)
        }))
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
        self.delete(cluster, job).await
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

    async fn pods(&self, cluster: &Cluster, job: &KubeJobState) -> Result<Vec<KubePod>, SweeperError> {
        Ok(self.kube.clusters.pods(cluster, &job.name).await?)
    }
}

/// The chunks that an index of a Job does, as the Job itself says.
fn chunks_of(job: &KubeJobState, index: u32) -> Vec<ChunkIndex> {
    let chunks = job.annotations.get(CHUNKS).and_then(|text| text.parse::<ChunkSet>().ok());
    let per_pod = job.annotations.get(CHUNKS_PER_POD).and_then(|text| text.parse().ok());
    chunks.zip(per_pod).map_or_else(Vec::new, |(chunks, per_pod)| chunks.page(index, per_pod))
}

//! Kubernetes' own loop.

use std::collections::BTreeMap;

use fanfold_ports::{clusters::KubeJobEnd, memory::MemoryJob};
use fanfold_worker::pod::Assignment;

use super::{
    Begun, GRACE_MS, JobKey, Kept, Kube, Life, MINUTE, Pod, SECOND, State,
    shown::{read_job, uid_key},
};
use crate::ports::lock;

impl Kube {
    /// Looks which Jobs are new, and which are gone.
    pub(super) fn look(&mut self, now: u64, is_rough: bool) {
        let names: Vec<String> = self.declared.iter().map(|cluster| cluster.name.clone()).collect();
        let mut there = BTreeMap::new();
        for cluster in names {
            let all = self.cloud.clusters.all_jobs(&cluster).into_iter();
            // Those of others, which are there to be left alone, have nothing to run.
            for job in all.filter(|job| job.manifest["spec"]["completions"].is_u64()) {
                let uid = job.logs.get(&uid_key()).and_then(|uid| uid.parse::<u64>().ok());
                there.insert((cluster.clone(), job.state.name.clone()), (uid, job));
            }
        }
        let gone: Vec<JobKey> = self
            .jobs
            .iter()
            .filter(|(key, job)| there.get(*key).is_none_or(|(uid, _)| *uid != Some(job.uid)))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.tell(format!("Job {} on {} is gone", key.1, key.0));
            self.jobs.remove(&key);
            self.dismiss(&key, now, is_rough);
        }
        for (key, (_, job)) in there {
            if !self.jobs.contains_key(&key) {
                self.adopt(key, &job, now);
            }
        }
    }

    fn adopt(&mut self, key: JobKey, created: &MemoryJob, now: u64) {
        self.numbers += 1;
        let uid = self.numbers;
        let begins_at = now + self.chance.within(1..3 * SECOND);
        let job = read_job(uid, created, begins_at);
        let (cluster, name) = key.clone();
        self.cloud.clusters.change(&cluster, &name, |job| job.logs.insert(uid_key(), uid.to_string()));
        self.tell(format!("Job {name} on {cluster} has {} indexes, for {}", job.indexes.len(), job.chunks));
        self.jobs.insert(key, job);
    }

    /// Tells the pods of a Job to stop; some do not hear it.
    fn dismiss(&mut self, key: &JobKey, now: u64, is_rough: bool) {
        let mut unborn = Vec::new();
        for (id, pod) in self.pods.iter_mut().filter(|(_, pod)| pod.job.as_ref() == Some(key)) {
            pod.job = None;
            if matches!(pod.life, Life::Pending { .. }) {
                unborn.push(*id);
            } else if !(is_rough && self.chance.percent(30)) {
                pod.stop_at_ms = Some(now);
            }
        }
        for id in unborn {
            self.pods.remove(&id);
        }
    }

    pub(super) fn step_pod(&mut self, id: u64, now: u64, is_rough: bool) -> Vec<Begun> {
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        let Some(pod) = self.pods.get_mut(&id) else { return Vec::new() };
        if is_due(pod.kill_at_ms) {
            pod.kill_at_ms = None;
            if let Life::Running { invocation, .. } = &pod.life {
                invocation.crash();
            }
        }
        if is_due(pod.stop_at_ms) {
            pod.stop_at_ms = None;
            pod.kill_at_ms = Some(now + GRACE_MS);
            pod.is_disrupted = true;
            if let Life::Running { stop, .. } = &mut pod.life
                && let Some(stop) = stop.take()
            {
                // One that ended just now hears nothing.
                stop.send(()).ok();
            }
            let name = pod.name.clone();
            self.tell(format!("pod {name} is told to stop"));
            return Vec::new();
        }
        if is_due(pod.lost_at_ms) {
            if let Some(key) = self.lose_pod(id, now) {
                self.publish(&key);
            }
            return Vec::new();
        }
        match pod.life {
            Life::Pending { until_ms, .. } if until_ms <= now => self.births(id, now, is_rough),
            _ => Vec::new(),
        }
    }

    /// A pod that begins, and perhaps another of the same index, whose node was thought to be lost.
    fn births(&mut self, id: u64, now: u64, is_rough: bool) -> Vec<Begun> {
        let is_double = is_rough && self.chance.percent(self.scenario.doubles_percent);
        let is_evicted = is_rough && self.chance.percent(self.scenario.evictions_percent);
        let evicted_at = now + self.chance.one_of(&[0, 20, 200, 10 * SECOND]);
        let Some(pod) = self.pods.get_mut(&id) else { return Vec::new() };
        let begun =
            |pod: u64, of: &Pod| Begun { pod, name: of.name.clone(), assignment: of.assignment.clone() };
        let mut all = vec![begun(id, pod)];
        if is_evicted {
            pod.stop_at_ms = Some(evicted_at);
            lock(&self.record).count("pods evicted");
        }
        if is_double {
            self.numbers += 1;
            let double = Pod {
                name: format!("{}-double", pod.name),
                job: None,
                index: pod.index,
                assignment: pod.assignment.clone(),
                created_at_ms: now,
                life: Life::Pending { until_ms: now, kept: Kept::Starting },
                stop_at_ms: None,
                kill_at_ms: None,
                lost_at_ms: None,
                is_disrupted: false,
            };
            all.push(begun(self.numbers, &double));
            self.pods.insert(self.numbers, double);
            lock(&self.record).count("pods doubled");
        }
        all
    }

    pub(super) fn step_job(&mut self, key: &JobKey, now: u64, is_rough: bool) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        if let Some((_, ended_at)) = &job.end {
            if ended_at + job.kept_ms <= now {
                self.cloud.clusters.take(&key.0, &key.1);
                self.jobs.remove(key);
            }
            return;
        }
        if job.ends_at_ms <= now {
            let message = "Job was active longer than specified deadline".to_owned();
            self.end(
                key,
                KubeJobEnd::Failed { reason: "DeadlineExceeded".to_owned(), message },
                now,
                is_rough,
            );
            return self.publish(key);
        }
        let active = job.indexes.iter().filter(|index| matches!(index.state, State::Active { .. })).count();
        let due = job
            .indexes
            .iter()
            .enumerate()
            .filter(|(_, index)| matches!(index.state, State::Waiting { from_ms } if from_ms <= now));
        let due: Vec<u32> = due
            .map(|(index, _)| u32::try_from(index).expect("small"))
            .take(job.parallelism.saturating_sub(active))
            .collect();
        let has_new = !due.is_empty();
        for index in due {
            self.create_pod(key, index, now, is_rough);
        }
        if has_new {
            self.publish(key);
        }
    }

    fn create_pod(&mut self, key: &JobKey, index: u32, now: u64, is_rough: bool) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        self.numbers += 1;
        let (chance, scenario) = (&self.chance, &self.scenario);
        let kept = if !is_rough || !chance.percent(scenario.pendings_percent) {
            Kept::Starting
        } else if chance.percent(30) && !job.had_image_trouble {
            job.had_image_trouble = true;
            Kept::ImagePull
        } else {
            Kept::Unschedulable
        };
        let pending_ms = match kept {
            Kept::Starting => chance.within(1..scenario.start_ms),
            Kept::Unschedulable => chance.within(30 * SECOND..8 * MINUTE),
            Kept::ImagePull => chance.within(10 * SECOND..80 * SECOND),
        };
        let of_index = &mut job.indexes[index as usize];
        of_index.state = State::Active { pod: self.numbers };
        let chunks = job.chunks.page(index, job.per_pod);
        let pod = Pod {
            name: format!("{}-{index}-{}", key.1, self.numbers),
            job: Some(key.clone()),
            index,
            assignment: Assignment { chunks, failed_tries: of_index.failures, ..job.template.clone() },
            created_at_ms: now,
            life: Life::Pending { until_ms: now + pending_ms, kept },
            stop_at_ms: None,
            kill_at_ms: None,
            lost_at_ms: None,
            is_disrupted: false,
        };
        self.pods.insert(self.numbers, pod);
    }

    pub(super) fn end_if_due(&mut self, key: &JobKey, now: u64, is_rough: bool) {
        let Some(job) = self.jobs.get(key).filter(|job| job.end.is_none()) else { return };
        let failed = job.indexes.iter().filter(|index| index.state == State::Failed).count();
        let succeeded = job.indexes.iter().filter(|index| index.state == State::Succeeded).count();
        let as_failed = |reason: &str, message: &str| KubeJobEnd::Failed {
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        if failed > job.max_failed {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            self.end(key, as_failed("MaxFailedIndexesExceeded", message), now, is_rough);
        } else if failed + succeeded == job.indexes.len() {
            let end = if failed == 0 {
                KubeJobEnd::Complete
            } else {
                as_failed("FailedIndexes", "Job has failed indexes")
            };
            self.end(key, end, now, is_rough);
        }
    }

    fn end(&mut self, key: &JobKey, end: KubeJobEnd, now: u64, is_rough: bool) {
        self.tell(format!("Job {} on {} ended: {end:?}", key.1, key.0));
        let Some(job) = self.jobs.get_mut(key) else { return };
        if matches!(end, KubeJobEnd::Failed { .. }) {
            let mut record = lock(&self.record);
            record.count("jobs failed");
            record.failed_by_job(&job.template.run, job.chunks.iter().collect());
        }
        job.end = Some((end, now));
        self.dismiss(key, now, is_rough);
    }
}

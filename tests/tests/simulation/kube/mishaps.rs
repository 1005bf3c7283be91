//! What people and the world do to clusters.

use std::sync::atomic::Ordering;

use fanfold_ports::clusters::ClusterFault;

use super::{JobKey, Kube, Life, Pod, State};
use crate::ports::lock;

impl Kube {
    /// Somebody deletes a Job, if there is one.
    pub(crate) fn delete_some_job(&mut self) {
        let live: Vec<JobKey> =
            self.jobs.iter().filter(|(_, job)| job.end.is_none()).map(|(key, _)| key.clone()).collect();
        if live.is_empty() {
            return;
        }
        let (cluster, name) = &live[self.chance.index(live.len())];
        self.tell(format!("somebody deletes Job {name} on {cluster}"));
        lock(&self.record).count("jobs deleted by hand");
        self.cloud.clusters.take(cluster, name);
        self.cloud.is_changed.store(true, Ordering::Relaxed);
    }

    /// A cluster does not answer for a while, or takes nothing new; its pods may be lost meanwhile.
    pub(crate) fn fail(&mut self, cluster: usize, fault: ClusterFault, ms: u64, loses_pods: bool, now: u64) {
        let Some(name) = self.declared.get(cluster).map(|cluster| cluster.name.clone()) else { return };
        self.tell(format!("cluster {name} is {fault:?} for {ms} ms, loses pods: {loses_pods}"));
        self.cloud.clusters.fail(&name, fault, ms);
        if loses_pods {
            self.lose_pods(&name, now + ms);
        }
    }

    /// A cluster is gone for good.
    pub(crate) fn remove(&mut self, cluster: usize, now: u64) {
        let Some(name) = self.declared.get(cluster).map(|cluster| cluster.name.clone()) else { return };
        self.tell(format!("cluster {name} is gone for good"));
        self.cloud.clusters.remove(&name);
        self.lose_pods(&name, now);
        self.cloud.is_changed.store(true, Ordering::Relaxed);
    }

    /// The pods of a cluster are nobody's any more: most are dead, and others go on.
    fn lose_pods(&mut self, cluster: &str, again_from_ms: u64) {
        let of_cluster = |pod: &Pod| pod.job.as_ref().is_some_and(|(of, _)| of == cluster);
        let lost: Vec<u64> = self.pods.iter().filter(|(_, pod)| of_cluster(pod)).map(|(id, _)| *id).collect();
        for id in lost {
            let goes_on = self.chance.percent(30);
            let Some(key) = self.lose_pod(id, again_from_ms) else { continue };
            if !goes_on
                && let Some(Life::Running { invocation, .. }) = self.pods.get(&id).map(|pod| &pod.life)
            {
                invocation.crash();
            }
            self.publish(&key);
        }
    }

    /// A pod's Job forgets it, and does its index again; whose it was.
    pub(super) fn lose_pod(&mut self, id: u64, again_from_ms: u64) -> Option<JobKey> {
        let pod = self.pods.get_mut(&id)?;
        let key = pod.job.take()?;
        pod.lost_at_ms = None;
        let (name, index) = (pod.name.clone(), pod.index as usize);
        if matches!(pod.life, Life::Pending { .. }) {
            self.pods.remove(&id);
        }
        self.tell(format!("pod {name} is lost"));
        lock(&self.record).count("pods lost");
        let job = self.jobs.get_mut(&key)?;
        job.indexes[index].state = State::Waiting { from_ms: again_from_ms };
        Some(key)
    }
}

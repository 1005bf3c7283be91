//! Jobs that are deleted: of runs that have ended, and of generations that have passed.

use std::collections::BTreeMap;

use fanfold_domain::{LaunchIndex, RunId, Timestamp, cluster::Cluster};
use fanfold_ports::{
    PortError,
    clusters::{KubeJobState, LAUNCH, LAUNCH_GENERATION, RUN, STACK, STAGE},
    ledger::Freshness,
};

use super::{Failed, Known, Sight, Watcher};
use crate::SweeperError;

/// Jobs of nobody that are deleted in one look.
const MOST_DELETIONS: usize = 50;
/// How long Jobs of nobody are deleted for after the time to look at launches is over.
pub(super) const DELETIONS_MS: u64 = 10_000;

impl Watcher {
    /// Deletes Jobs that nobody waits for: of runs that have ended, and of generations that have passed.
    pub(super) async fn delete_nobodys(
        &self,
        known: &Known,
        sight: &Sight,
        until: Timestamp,
        failed: &mut Failed,
    ) {
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
            self.delete(cluster, job).await?;
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

    /// Deletes a Job of the stack. One that names no stack may be another's that shares the namespace: it ends by its
    /// own deadline, which is its run's.
    pub(super) async fn delete(&self, cluster: &Cluster, job: &KubeJobState) -> Result<(), SweeperError> {
        if job.labels.get(STACK).is_none_or(|stack| stack != self.stack.as_str()) {
            return Ok(());
        }
        Ok(self.kube.clusters.delete_job(cluster, &job.name).await?)
    }
}

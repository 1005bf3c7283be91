//! The schedule of sweeps, and what holds after one, and of launches at every step.

use std::collections::BTreeMap;

use fanfold_domain::{
    RunId,
    message::{LaunchMessage, decode},
};
use fanfold_ports::{Fleet as _, Queue, clusters::RUN, memory::MEMORY_EPOCH};

use super::{Driver, Origin, SWEEP_EVERY_MS};
use crate::{kube::is_ours, ports::lock, services::Job};

/// Messages of one launch that may be there at once, by duplicates of all kinds: each that failed or crashed is hidden for
/// minutes, while what it sent goes on. Were they to multiply, they would soon be hundreds.
const MOST_OF_ONE_LAUNCH: usize = 12;

impl Driver {
    pub(super) fn sweep(&mut self) {
        if self.now_ms() < self.next_sweep_ms {
            return;
        }
        self.next_sweep_ms = self.now_ms() + SWEEP_EVERY_MS;
        if self.scenario.has_sweeper && (self.has_unfinished_runs() || self.kube.is_busy()) {
            self.sweeps += 1;
            self.invoke_plainly(Origin::Sweep { begun_ms: self.now_ms() }, Job::Sweep);
        }
    }

    /// A sweep that met with nothing leaves no Job going of a run that had ended.
    pub(super) async fn check_swept(&self, begun_ms: u64) -> Result<(), String> {
        let outages = self.world.fleet.outages().await.map_err(|error| error.to_string())?;
        let ended_before = |run: &RunId| {
            let ended = lock(&self.record).ended_at_ms.get(run).copied();
            ended.is_some_and(|at| at < begun_ms)
        };
        for cluster in self.kube.declared.iter().filter(|cluster| !outages.contains_key(&cluster.name)) {
            for job in self.kube.cloud.clusters.all_jobs(&cluster.name) {
                let state = job.state;
                let is_old = state.created_at.ms_since(MEMORY_EPOCH) + 1_000 < begun_ms;
                let run = state.labels.get(RUN).and_then(|run| run.parse().ok());
                // Jobs of versions that did not label them with their stack are never deleted.
                let is_ours = is_ours(&state.labels);
                if is_ours && is_old && state.end.is_none() && run.is_some_and(|run| ended_before(&run)) {
                    return Err(format!("Job {} goes on after a sweep, and its run has ended", state.name));
                }
            }
        }
        Ok(())
    }

    /// A launch's messages do not multiply.
    pub(super) fn check_launches(&self) -> Result<(), String> {
        let mut counts: BTreeMap<(RunId, String, u32), usize> = BTreeMap::new();
        let pending = self.world.queues.pending();
        for message in pending.iter().filter(|message| message.queue == Queue::Launches) {
            let LaunchMessage { run, stage, launch, .. } =
                decode(&message.body).map_err(|error| error.to_string())?;
            let count = counts.entry((run, stage, launch.0)).or_default();
            *count += 1;
            if *count > MOST_OF_ONE_LAUNCH {
                return Err(format!("launch {launch} has {count} messages at once"));
            }
        }
        Ok(())
    }
}

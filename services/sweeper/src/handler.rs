//! One sweep over the runs that have not ended.

use std::sync::{Arc, Mutex, PoisonError};

use fanfold_domain::{
    GroupCount, GroupIndex, Plan, Run, RunId, RunState, Timestamp,
    message::{FoldMessage, Intake, InvalidMessage, encode},
};
use fanfold_lifecycle::{LifecycleError, fail, finish_if_full, give_up, read};
use fanfold_ports::{
    Maps, PortError, Ports, Queue,
    clusters::ClusterError,
    ledger::{StageId, Unfinished},
    objects::UploadError,
    queues::Outgoing,
};
use futures::{StreamExt, TryStreamExt, future::join_all, stream};
use thiserror::Error;

use crate::stuck::{Repair, repair};

/// Runs listed at once.
const PAGE: usize = 200;
/// Runs swept at once.
const RUNS_AT_ONCE: usize = 16;
/// Ledger reads under way at once, for one run.
const READS_AT_ONCE: usize = 16;
/// Longer than it takes to end a run.
const REPORT_DELAY_S: u32 = 60;

/// The sweeper and what it works with.
pub struct Sweeper {
    /// The world.
    pub ports: Ports,
    /// Executions of the Distributed Map.
    pub maps: Arc<dyn Maps>,
    /// The bucket of groups.
    pub work_bucket: String,
    /// Where the last sweep ran out of time.
    pub left_off: LeftOff,
}

/// The run at which a sweep ran out of time, if it did: the next goes on behind it, so that none is always left out.
/// A new container begins with the most urgent.
#[derive(Debug, Default)]
pub struct LeftOff(Mutex<Option<Unfinished>>);

impl LeftOff {
    fn take(&self) -> Option<Unfinished> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, run: Unfinished) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(run);
    }
}

/// What a sweep or a dead message met with.
#[derive(Debug, Error)]
pub enum SweeperError {
    /// A run could not be read or changed.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The ledger, a queue or an object could not be reached.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A cluster could not be asked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A part could not be looked at.
    #[error(transparent)]
    Part(#[from] UploadError),
    /// A dead message cannot be read.
    #[error(transparent)]
    Message(#[from] InvalidMessage),
    /// Some runs could not be swept; the first of them, and why.
    #[error("{count} runs could not be swept, the first {first}: {source}")]
    Some {
        /// How many.
        count: usize,
        /// One of them.
        first: RunId,
        /// What it met with.
        source: Box<SweeperError>,
    },
}

impl Sweeper {
    /// Looks at every run that has not ended, the most urgent first, and has done what it needs. At `until` it begins
    /// with no other: those are the next sweep's.
    ///
    /// # Errors
    /// Something failed for some runs; the others were swept.
    pub async fn sweep(&self, until: Timestamp) -> Result<(), SweeperError> {
        let mut failed = Vec::new();
        let mut after = self.left_off.take();
        loop {
            let page = self.ports.ledger.unfinished_runs(after.as_ref(), PAGE).await?;
            for runs in page.chunks(RUNS_AT_ONCE) {
                failed.extend(self.sweep_runs(runs).await);
                after = runs.last().cloned();
                if let Some(last) = after.clone().filter(|_| self.ports.clock.now() >= until) {
                    tracing::warn!(run_id = %last.id, "the sweep ran out of time, and the next goes on behind this run");
                    self.left_off.note(last);
                    return outcome(failed);
                }
            }
            if page.len() < PAGE {
                return outcome(failed);
            }
        }
    }

    /// Sweeps these runs at once; those that could not be swept, and why.
    async fn sweep_runs(&self, runs: &[Unfinished]) -> Vec<(RunId, SweeperError)> {
        let sweep = async |run: &Unfinished| {
            let swept = self.sweep_run(&run.id).await;
            swept.err().map(|error| (run.id.clone(), error))
        };
        let failed: Vec<_> = join_all(runs.iter().map(sweep)).await.into_iter().flatten().collect();
        for (id, error) in &failed {
            tracing::error!(run_id = %id, %error, "run could not be swept");
        }
        failed
    }

    async fn sweep_run(&self, id: &RunId) -> Result<(), SweeperError> {
        let run = read(&*self.ports.ledger, id).await?;
        let Some(repair) = repair(&run, self.ports.clock.now()) else { return Ok(()) };
        tracing::info!(run_id = %id, state = %run.state, ?repair, "run needs repair");
        match repair {
            Repair::EndByDeadline => return self.end_by_deadline(&run).await,
            Repair::EndPlanning => {
                let reason = "it could not be planned within an hour: the splitter's log tells why";
                fail(&self.ports, id, run.generation, reason).await?;
                return Ok(());
            }
            Repair::Plan => self.send(Queue::Intake, encode(&Intake::Resume { run: id.clone() })).await?,
            Repair::Fold => {
                self.fold_again(&run).await?;
                self.settle_map(&run).await?;
            }
            Repair::Assemble => {
                let message = FoldMessage::Assemble { run: id.clone(), generation: run.generation };
                self.send(Queue::Folds, encode(&message)).await?;
            }
        }
        self.note_repair(&run).await
    }

    /// Gives what was repaired time to take effect: otherwise each sweep would send everything once more, and
    /// a queue that is slow would be made slower.
    async fn note_repair(&self, run: &Run) -> Result<(), SweeperError> {
        let noted = Run { updated_at: self.ports.clock.now(), ..run.clone() };
        // Stale: it is getting on.
        self.ports.ledger.save_run(&noted).await?;
        Ok(())
    }

    async fn end_by_deadline(&self, run: &Run) -> Result<(), SweeperError> {
        let progress = self.progress(run).await?;
        let reason = format!("not done at its deadline: still {} then{progress}", run.state);
        if run.state == RunState::Completing {
            return Ok(give_up(&self.ports, &run.id, RunState::Failed, &reason).await?);
        }
        // No sweep comes back to a run that has ended: should this one die before the report is sent, one is on
        // its way already.
        let report = FoldMessage::Report { run: run.id.clone(), generation: run.generation };
        let report = Outgoing { body: encode(&report), delay_s: REPORT_DELAY_S };
        self.ports.queues.send(Queue::Folds, vec![report]).await?;
        fail(&self.ports, &run.id, run.generation, &reason).await?;
        Ok(())
    }

    async fn progress(&self, run: &Run) -> Result<String, SweeperError> {
        let Some(plan) = &run.plan else { return Ok(String::new()) };
        let counts = self.counts(&StageId::of(run), groups(plan).collect()).await?;
        let ended: usize = counts.iter().map(|(_, count)| count.ended()).sum();
        Ok(format!(", {ended} of {} chunks ended", plan.grouping.chunks))
    }

    /// Sends full groups that are not folded, and finishes the run if all are.
    async fn fold_again(&self, run: &Run) -> Result<(), SweeperError> {
        let (Some(plan), stage) = (&run.plan, StageId::of(run)) else { return Ok(()) };
        let root = self.ports.ledger.root(&stage).await?;
        if root.is_full(plan.grouping) {
            return Ok(finish_if_full(&self.ports, &run.id, run.generation, &root).await?);
        }
        let unfolded = groups(plan).filter(|group| !root.folded.contains(group)).collect();
        for (group, count) in self.counts(&stage, unfolded).await? {
            if count.ended() == plan.grouping.size_of(group) {
                let StageId { run, stage, generation } = stage.clone();
                self.send(Queue::Folds, encode(&FoldMessage::Fold { run, stage, generation, group })).await?;
            }
        }
        Ok(())
    }

    /// The counters of these groups, in order.
    pub(crate) async fn counts(
        &self,
        stage: &StageId,
        groups: Vec<GroupIndex>,
    ) -> Result<Vec<(GroupIndex, GroupCount)>, PortError> {
        let read = async |group| Ok((group, self.ports.ledger.group(stage, group).await?));
        stream::iter(groups).map(read).buffered(READS_AT_ONCE).try_collect().await
    }

    pub(crate) async fn send(&self, queue: Queue, body: String) -> Result<(), SweeperError> {
        Ok(self.ports.queues.send(queue, vec![Outgoing::now(body)]).await?)
    }
}

fn outcome(failed: Vec<(RunId, SweeperError)>) -> Result<(), SweeperError> {
    let count = failed.len();
    failed
        .into_iter()
        .next()
        .map_or(Ok(()), |(first, error)| Err(SweeperError::Some { count, first, source: Box::new(error) }))
}

pub(crate) fn groups(plan: &Plan) -> impl Iterator<Item = GroupIndex> {
    (0..plan.grouping.groups()).map(GroupIndex)
}

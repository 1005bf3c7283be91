//! One sweep over the runs that have not ended.

use fanfold_domain::{
    GroupIndex, Plan, Run, RunId, RunState,
    message::{FoldMessage, Intake, InvalidMessage, encode},
};
use fanfold_lifecycle::{LifecycleError, fail, finish_if_full, give_up, read};
use fanfold_ports::{
    PortError, Ports, Queue, clusters::ClusterError, ledger::StageId, objects::UploadError, queues::Outgoing,
};
use thiserror::Error;

use crate::stuck::{Repair, repair};

/// The most runs looked at in one sweep; the next takes the others.
const MOST_RUNS: usize = 200;
/// Longer than it takes to end a run.
const REPORT_DELAY_S: u32 = 60;

/// The sweeper and what it works with.
pub struct Sweeper {
    /// The world.
    pub ports: Ports,
    /// The bucket of groups.
    pub work_bucket: String,
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
    /// Looks at every run that has not ended, and has done what it needs.
    ///
    /// # Errors
    /// Something failed for some runs; the others were swept.
    pub async fn sweep(&self) -> Result<(), SweeperError> {
        let mut failed = Vec::new();
        for id in self.ports.ledger.unfinished_runs(MOST_RUNS).await? {
            if let Err(error) = self.sweep_run(&id).await {
                tracing::error!(run_id = %id, %error, "run could not be swept");
                failed.push((id, error));
            }
        }
        let count = failed.len();
        failed.into_iter().next().map_or(Ok(()), |(first, error)| {
            Err(SweeperError::Some { count, first, source: Box::new(error) })
        })
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
            Repair::Fold => self.fold_again(&run).await?,
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
        let (mut ended, stage) = (0, StageId::of(run));
        for group in groups(plan) {
            ended += self.ports.ledger.group(&stage, group).await?.ended();
        }
        Ok(format!(", {ended} of {} chunks ended", plan.grouping.chunks))
    }

    /// Sends full groups that are not folded, and finishes the run if all are.
    async fn fold_again(&self, run: &Run) -> Result<(), SweeperError> {
        let (Some(plan), stage) = (&run.plan, StageId::of(run)) else { return Ok(()) };
        let root = self.ports.ledger.root(&stage).await?;
        if root.is_full(plan.grouping) {
            return Ok(finish_if_full(&self.ports, &run.id, run.generation, &root).await?);
        }
        for group in groups(plan).filter(|group| !root.folded.contains(group)) {
            let count = self.ports.ledger.group(&stage, group).await?;
            if count.ended() == plan.grouping.size_of(group) {
                let StageId { run, stage, generation } = stage.clone();
                self.send(Queue::Folds, encode(&FoldMessage::Fold { run, stage, generation, group })).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn send(&self, queue: Queue, body: String) -> Result<(), SweeperError> {
        Ok(self.ports.queues.send(queue, vec![Outgoing::now(body)]).await?)
    }
}

fn groups(plan: &Plan) -> impl Iterator<Item = GroupIndex> {
    (0..plan.grouping.groups()).map(GroupIndex)
}

//! Messages that were delivered too often.

use std::fmt;

use fanfold_domain::{
    Cleaning, Generation, GroupIndex, ObjectName, Report, Run, RunId, RunState,
    map::Told,
    message::{self, FoldMessage},
};
use fanfold_lifecycle::{LifecycleError, change, fail, give_up, read};
use fanfold_ports::{Queue, ledger::StageId, queues::Outgoing};

use crate::{Sweeper, SweeperError};

/// The dead-letter queues that the sweeper reads. That of `chunks` is the tracker's, and that of `intake` is nobody's:
/// what says that there is to be a run stays there for a person to look at and send back, as its alarm asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeadQueue {
    /// Of `completions`: moved back, since what they say is true and must be counted.
    Completions,
    /// Of `folds`: the merger failed at every try.
    Folds,
    /// Of the event rule: events that did not reach `intake`.
    Events,
}

impl fmt::Display for DeadQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completions => "completions",
            Self::Folds => "folds",
            Self::Events => "events",
        })
    }
}

/// Seconds before a completion that died is counted again.
const COMPLETION_DELAY_S: u32 = 60;

impl Sweeper {
    /// Does what a dead message calls for, given as its text.
    ///
    /// # Errors
    /// It is to be delivered again.
    pub async fn handle_dead(&self, queue: DeadQueue, body: &str) -> Result<(), SweeperError> {
        // The queue is emptied at once: this line is what template.yaml's alarms count.
        tracing::warn!(%queue, "dead letter");
        match queue {
            DeadQueue::Events => self.send(Queue::Intake, body.to_owned()).await,
            DeadQueue::Completions => self.completion_died(body).await,
            DeadQueue::Folds => self.fold_died(message::decode(body)?).await,
        }
    }

    async fn completion_died(&self, body: &str) -> Result<(), SweeperError> {
        let told = Told::read(body)?;
        let run = match read(&*self.ports.ledger, told.run()).await {
            Ok(run) => run,
            Err(LifecycleError::Unknown(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // In a run that failed or was cancelled it still counts, so that a redrive does not repeat it.
        let counts = !run.state.has_ended() || matches!(run.state, RunState::Failed | RunState::Cancelled);
        if !counts || self.ports.clock.now() >= run.deadline_at {
            return Ok(());
        }
        let back = Outgoing { body: body.to_owned(), delay_s: COMPLETION_DELAY_S };
        Ok(self.ports.queues.send(Queue::Completions, vec![back]).await?)
    }

    async fn fold_died(&self, message: FoldMessage) -> Result<(), SweeperError> {
        match message {
            FoldMessage::Fold { run, stage, generation, group } => {
                let now = read(&*self.ports.ledger, &run).await?;
                if now.generation != generation {
                    return Ok(());
                }
                if !self.is_folded(&now, &stage, group).await? {
                    let reason = format!("group {group} of stage {stage} could not be folded: {MERGER_LOG}");
                    fail(&self.ports, &run, generation, &reason).await?;
                }
                Ok(())
            }
            FoldMessage::Assemble { run, generation } => self.assembly_died(&run, generation).await,
            FoldMessage::Cleanup { run, generation } => self.cleaning_died(&run, generation).await,
            FoldMessage::Report { run, generation } => self.report_died(&run, generation).await,
        }
    }

    /// Whether a group was folded, marked in the root or not.
    async fn is_folded(&self, run: &Run, stage: &str, group: GroupIndex) -> Result<bool, SweeperError> {
        if stage != run.last_stage().name {
            let root = self.ports.ledger.root(&StageId::of(run, stage)).await?;
            return Ok(root.folded.contains(&group));
        }
        let object = ObjectName::new(&self.work_bucket, run.keys(stage).group(group));
        Ok(match self.ports.objects.head(&object, None).await {
            // A merger that may not look either folds nothing.
            Err(refused) if refused.is_permanent() => false,
            head => head?.is_some(),
        })
    }

    /// What is left expires by the work bucket's rules: that is better than to be asked for again for ever.
    async fn cleaning_died(&self, id: &RunId, generation: Generation) -> Result<(), SweeperError> {
        let now = self.ports.clock.now();
        let given_up = |run: &Run| Run { cleaning: Cleaning::GivenUp(now), ..run.clone() };
        change(&*self.ports.ledger, id, |run| {
            let is_due = run.is_to_be_cleaned() && run.generation == generation;
            Ok(is_due.then(|| given_up(run)))
        })
        .await?;
        tracing::error!(run_id = %id, "the run could not be cleaned: {MERGER_LOG}");
        Ok(())
    }

    /// The run has its reason already; it is not to be asked for its list for ever.
    async fn report_died(&self, id: &RunId, generation: Generation) -> Result<(), SweeperError> {
        tracing::error!(run_id = %id, "the bad records of a failed run could not be listed: {MERGER_LOG}");
        change(&*self.ports.ledger, id, |run| {
            let is_due = run.is_report_due() && run.generation == generation;
            Ok(is_due.then(|| Run { report: Report::GivenUp, ..run.clone() }))
        })
        .await?;
        Ok(())
    }

    async fn assembly_died(&self, id: &RunId, generation: Generation) -> Result<(), SweeperError> {
        let run = read(&*self.ports.ledger, id).await?;
        if run.generation != generation {
            return Ok(());
        }
        let reason = format!("the output could not be assembled: {MERGER_LOG}");
        Ok(give_up(&self.ports, id, RunState::Failed, &reason).await?)
    }
}

const MERGER_LOG: &str = "the merger failed at every delivery, and its log tells why";

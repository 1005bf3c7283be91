//! One sweep over the runs about which something is left to be done.

use std::sync::{Arc, Mutex, PoisonError};

use fanfold_domain::{
    Cleaning, GroupCount, GroupIndex, Grouping, Report, Run, RunId, RunState, Timestamp,
    message::{FoldMessage, Intake, InvalidMessage, encode},
    pipeline::Depends,
};
use fanfold_lifecycle::{
    LifecycleError, announce, fail_as_read, fail_for_good, finish_if_full, follow_root, give_up, read,
};
use fanfold_ports::{
    Maps, PortError, Ports, Queue, UnreadableItem,
    clusters::ClusterError,
    ledger::{Saved, StageId, Unfinished},
    objects::UploadError,
    queues::Outgoing,
};
use futures::{StreamExt, TryStreamExt, future::join_all, stream};
use thiserror::Error;

use crate::stuck::{Repair, is_announcement_lost, is_announcement_stale, repair};

/// Runs listed at once.
const PAGE: usize = 200;
/// Runs swept at once.
const RUNS_AT_ONCE: usize = 16;
/// Ledger reads under way at once, for one run.
const READS_AT_ONCE: usize = 16;

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
    /// An item of the table cannot be read.
    #[error("{} cannot be read: {}", .0.name, .0.reason)]
    Unreadable(UnreadableItem),
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
    /// Looks at every run that is not settled, the most urgent first, and has done what it needs. At `until` it begins
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

    /// Announces what was not, and does what the run needs. A bus that refuses what is to be announced fails the sweep of
    /// this run, but keeps it neither from its repair nor from its deadline.
    async fn sweep_run(&self, id: &RunId) -> Result<(), SweeperError> {
        let mut run = read(&*self.ports.ledger, id).await?;
        let mut announced = Ok(());
        if is_announcement_lost(&run, self.ports.clock.now()) {
            announced = self.announce_late(&run).await;
            if let Err(error) = &announced {
                tracing::error!(run_id = %id, %error, "not announced");
            }
            run = read(&*self.ports.ledger, id).await?;
        }
        self.repair(run).await?;
        announced
    }

    async fn repair(&self, run: Run) -> Result<(), SweeperError> {
        let id = &run.id.clone();
        let Some(repair) = repair(&run, self.ports.clock.now()) else { return Ok(()) };
        tracing::info!(run_id = %id, state = %run.state, ?repair, "run needs repair");
        match repair {
            Repair::CleanUp => return self.clean_up(run).await,
            Repair::Report => {
                let message = FoldMessage::Report { run: id.clone(), generation: run.generation };
                let asked = Run { report: Report::Asked(self.ports.clock.now()), ..run };
                return self.ask(&asked, message).await;
            }
            Repair::EndByDeadline => return self.end_by_deadline(&run).await,
            Repair::EndPlanning(count) => {
                let why = run.trouble_of(None).unwrap_or("the splitter's log tells why");
                let reason = format!("it could not be planned in {count} further tries: {why}");
                // Stale: a splitter gets on with it at this moment.
                fail_as_read(&self.ports, &run, &reason).await?;
                return Ok(());
            }
            Repair::Plan => self.send(Queue::Intake, encode(&Intake::Resume { run: id.clone() })).await?,
            Repair::Fold => {
                self.fold_again(&run).await?;
                self.settle_maps(&run).await?;
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
        let noted = Run { repaired_at: Some(self.ports.clock.now()), ..run.clone() };
        // Stale: it is getting on.
        self.ports.ledger.save_run(&noted).await?;
        Ok(())
    }

    /// Announces what whoever drew the arrow did not.
    async fn announce_late(&self, run: &Run) -> Result<(), SweeperError> {
        match announce(&self.ports, run).await {
            Err(error) if is_announcement_stale(run, self.ports.clock.now()) => {
                tracing::error!(run_id = %run.id, state = %run.state, %error, "never announced");
                // Stale: the next sweep looks again.
                self.ports.ledger.save_run(&Run { unannounced: Vec::new(), ..run.clone() }).await?;
                Ok(())
            }
            announced => Ok(announced?),
        }
    }

    /// Has a run cleaned. That it was asked for stands in its item before anything goes: from then on it cannot be
    /// redriven.
    async fn clean_up(&self, run: Run) -> Result<(), SweeperError> {
        let message = FoldMessage::Cleanup { run: run.id.clone(), generation: run.generation };
        let asked = Run { cleaning: Cleaning::Asked(self.ports.clock.now()), ..run };
        self.ask(&asked, message).await
    }

    /// Sends the merger a message, once it stands in the run's item that it was asked.
    async fn ask(&self, asked: &Run, message: FoldMessage) -> Result<(), SweeperError> {
        match self.ports.ledger.save_run(asked).await? {
            Saved::Now => self.send(Queue::Folds, encode(&message)).await,
            // The next sweep looks again.
            Saved::Stale => Ok(()),
        }
    }

    async fn end_by_deadline(&self, run: &Run) -> Result<(), SweeperError> {
        let progress = match self.progress(run).await {
            // Counters that cannot be read keep no run from its end.
            Err(SweeperError::Port(unread)) if unread.is_permanent() => {
                format!("; how many chunks ended cannot be read: {unread}")
            }
            progress => progress?,
        };
        let troubles = troubles(run);
        let reason = format!("not done at its deadline: still {} then{progress}{troubles}", run.state);
        if run.state == RunState::Completing {
            return Ok(give_up(&self.ports, &run.id, RunState::Failed, &reason).await?);
        }
        // No sweep comes back to a run that has ended.
        Ok(fail_for_good(&self.ports, &run.id, run.generation, &reason).await?)
    }

    async fn progress(&self, run: &Run) -> Result<String, SweeperError> {
        let mut progress = String::new();
        for (place, stage) in run.pipeline.stages.iter().enumerate() {
            let Some(grouping) = run.grouping_at(place) else { continue };
            let counts = self.counts(&StageId::of(run, &stage.name), groups(grouping).collect()).await?;
            let ended: usize = counts.iter().map(|(_, count)| count.ended()).sum();
            let of = if place == 0 { String::new() } else { format!(" of stage {}", stage.name) };
            progress += &format!(", {ended} of {} chunks{of} ended", grouping.chunks);
        }
        Ok(progress)
    }

    /// Has done again what follows from full groups, and from full roots.
    async fn fold_again(&self, run: &Run) -> Result<(), SweeperError> {
        for (place, stage) in run.pipeline.stages.iter().enumerate() {
            let (Some(grouping), id) = (run.grouping_at(place), StageId::of(run, &stage.name)) else {
                continue;
            };
            let root = self.ports.ledger.root(&id).await?;
            if root.is_full(grouping) {
                if has_waiting(run, place) {
                    follow_root(&self.ports, &run.id, run.generation, &stage.name, &root).await?;
                }
                continue;
            }
            let unfolded = groups(grouping).filter(|group| !root.folded.contains(group)).collect();
            for (group, count) in self.counts(&id, unfolded).await? {
                if count.ended() == grouping.size_of(group) {
                    let StageId { run, stage, generation } = id.clone();
                    self.send(Queue::Folds, encode(&FoldMessage::Fold { run, stage, generation, group }))
                        .await?;
                }
            }
        }
        Ok(finish_if_full(&self.ports, &run.id, run.generation).await?)
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

/// What kept the run from being planned, or stages from being begun, that still are not.
fn troubles(run: &Run) -> String {
    let mut text = String::new();
    if run.state == RunState::Planning
        && let Some(error) = run.trouble_of(None)
    {
        text += &format!("; when it was last tried to be planned: {error}");
    }
    for stage in run.pipeline.stages.iter().filter(|stage| !run.has_begun(&stage.name)) {
        if let Some(error) = run.trouble_of(Some(&stage.name)) {
            text += &format!("; stage {} could not be begun: {error}", stage.name);
        }
    }
    text
}

/// Whether a stage that waits for all of the one at this place was not begun.
fn has_waiting(run: &Run, place: usize) -> bool {
    let mut readers = run.pipeline.readers_of(place).filter(|(_, upstream)| upstream.by == Depends::All);
    readers.any(|(reader, _)| !run.has_begun(&run.pipeline.stages[reader].name))
}

fn outcome(failed: Vec<(RunId, SweeperError)>) -> Result<(), SweeperError> {
    let count = failed.len();
    failed
        .into_iter()
        .next()
        .map_or(Ok(()), |(first, error)| Err(SweeperError::Some { count, first, source: Box::new(error) }))
}

pub(crate) fn groups(grouping: Grouping) -> impl Iterator<Item = GroupIndex> {
    (0..grouping.groups()).map(GroupIndex)
}

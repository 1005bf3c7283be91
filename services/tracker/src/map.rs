//! What a Distributed Map tells: a child that failed, and its end.
//!
//! Only who was tried and is alone to blame has failed. All else that a Map left undone goes on by queues, where each
//! chunk is tried, and counted, by itself: a batch whose worker died holds chunks that nobody began with, and a Map that
//! ended says nothing of those that it had not come to.

use std::{collections::BTreeSet, future::ready};

use fanfold_domain::{
    ChunkIndex, GroupIndex, Grouping, LaunchIndex, Run, RunState, Settling,
    launch::{Launching, StageName},
    map::{ChildFailure, Item, MapEnd, MapMessage, is_to_blame},
    message::{ChunkMessage, LaunchMessage, encode},
    pipeline::RunOn,
};
use fanfold_lifecycle::{change, read, unmarked};
use fanfold_ports::{PortError, Queue, ledger::StageId, queues::Outgoing};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{Tracker, TrackerError, handler::grouping_of};

/// Groups read at once.
const AT_ONCE: usize = 16;
/// How often it is looked whether chunks that go on by the queue have ended, in seconds.
const LOOK_EVERY_S: u32 = 20;
const LOOK_EVERY_MS: u64 = LOOK_EVERY_S as u64 * 1_000;

/// The chunks of a stage that have not ended, as far as they matter to who sends them.
#[derive(Debug, Default)]
struct Left {
    /// How many there are.
    count: u32,
    /// How many of them were sent.
    under_way: u32,
    /// The first of the others, at most as many as may be under way.
    next: Vec<ChunkIndex>,
}

impl Tracker {
    /// Does what follows from what a Map tells.
    ///
    /// # Errors
    /// The message is to be delivered again.
    pub(crate) async fn handle_map(&self, told: MapMessage) -> Result<(), TrackerError> {
        match told {
            MapMessage::ChildFailed(failed) => self.child_failed(failed).await,
            MapMessage::MapEnded(end) => self.map_ended(end).await,
        }
    }

    async fn child_failed(&self, failed: ChildFailure) -> Result<(), TrackerError> {
        let (stage, reason, chunks) = (stage_of(&failed.item), failed.reason(), failed.item.chunks());
        let Some(run) = self.worked_on(&stage).await? else { return Ok(()) };
        tracing::warn!(run_id = %run.id, stage = stage.stage, %chunks, reason, "child of a map failed");
        if is_to_blame(&failed.error) && is_one(&failed.item) {
            return self.fail_unmarked(&run, &stage, &chunks, &reason).await;
        }
        let left = unmarked(&*self.ports.ledger, &stage, grouping_of(&run, &stage.stage)?, &chunks).await?;
        match failed.item {
            Item::Batch(batch) => {
                let messages = left.iter().map(|chunk| Outgoing::now(encode(&batch.chunk(chunk))));
                Ok(self.ports.queues.send(Queue::Chunks, messages.collect()).await?)
            }
            Item::Launch(_) if left.is_empty() => Ok(()),
            Item::Launch(launch) => {
                Ok(self.ports.queues.send(Queue::Launches, vec![Outgoing::now(encode(&launch))]).await?)
            }
        }
    }

    /// Has what a Map left undone go on by queues: of chunks as many at once as the stage may have, by looking again and
    /// again; of launches all, for the launcher leaves out those that are on their cluster.
    async fn map_ended(&self, end: MapEnd) -> Result<(), TrackerError> {
        let MapEnd { run, stage, generation } = end.clone();
        let stage = StageId { run, stage, generation };
        if self.worked_on(&stage).await?.is_none() {
            return Ok(());
        }
        // How far it is stands in the run, which must be as it is now.
        let run = read(&*self.ports.ledger, &stage.run).await?;
        let settling = settling_of(&run, &stage).cloned();
        let now = self.ports.clock.now();
        if settling.as_ref().is_some_and(|settling| now.ms_since(settling.looked_at) < LOOK_EVERY_MS / 2) {
            // A double: were each sent on, they would double each time.
            return Ok(());
        }
        let settings = run.stage(&stage.stage).ok_or_else(|| TrackerError::Unplanned(run.id.clone()))?;
        let (grouping, window) = (grouping_of(&run, &stage.stage)?, settings.max_concurrency);
        let sent = settling.map(|settling| settling.sent);
        let left = self.left(&stage, grouping, sent, window).await?;
        if left.count == 0 {
            return Ok(());
        }
        tracing::warn!(run_id = %run.id, stage = stage.stage, left = left.count, under_way = left.under_way, "map has ended without some chunks");
        if let RunOn::Eks(_) = settings.run_on {
            return self.launch_left(&stage, grouping, window).await;
        }
        let free = window.saturating_sub(left.under_way) as usize;
        let next: Vec<ChunkIndex> = left.next.into_iter().take(free).collect();
        let sent = next.last().copied().or(sent).unwrap_or_default();
        let messages = next.into_iter().map(|chunk| Outgoing::now(encode(&message_of(&stage, chunk))));
        self.ports.queues.send(Queue::Chunks, messages.collect()).await?;
        self.look_again(&run, end, sent).await
    }

    /// Notes how far a stage is, and has it looked at again; not if another has noted it since.
    async fn look_again(&self, run: &Run, end: MapEnd, sent: ChunkIndex) -> Result<(), TrackerError> {
        let stage = StageId { run: run.id.clone(), stage: end.stage.clone(), generation: end.generation };
        let (before, looked_at) = (settling_of(run, &stage), self.ports.clock.now());
        let settling = Settling { stage: end.stage.clone(), generation: end.generation, sent, looked_at };
        let mut is_noted = false;
        change(&*self.ports.ledger, &run.id, |run| {
            let is_due = matches!(run.state, RunState::Planning | RunState::Running);
            is_noted = is_due && settling_of(run, &stage) == before;
            let mut noted = run.clone();
            noted.settling_stages.retain(|other| !is_of(other, &stage));
            noted.settling_stages.push(settling.clone());
            Ok(Some(noted).filter(|_| is_noted))
        })
        .await?;
        if !is_noted {
            return Ok(());
        }
        let again = encode(&MapMessage::MapEnded(end));
        let again = Outgoing { body: again, delay_s: LOOK_EVERY_S };
        Ok(self.ports.queues.send(Queue::Completions, vec![again]).await?)
    }

    /// Sends every launch that has a chunk which has not ended.
    async fn launch_left(
        &self,
        stage: &StageId,
        grouping: Grouping,
        max_concurrency: u32,
    ) -> Result<(), TrackerError> {
        let launching = Launching::of(grouping.chunks, max_concurrency)?;
        let is_left = |mut left: BTreeSet<LaunchIndex>, unended: Vec<ChunkIndex>| {
            left.extend(unended.into_iter().map(|chunk| LaunchIndex(chunk.0 / launching.launch_chunks)));
            left
        };
        let launches = self.over_unended(stage, grouping, BTreeSet::new(), is_left).await?;
        let name = StageName { run: &stage.run, stage: &stage.stage, generation: stage.generation };
        let message = |launch| Outgoing::now(encode(&LaunchMessage::first(&name, launching, launch)));
        Ok(self.ports.queues.send(Queue::Launches, launches.into_iter().map(message).collect()).await?)
    }

    /// The run, if its chunks are still worked on in this generation.
    async fn worked_on(&self, stage: &StageId) -> Result<Option<Run>, TrackerError> {
        let run = self.runs.get(&self.ports, &stage.run, &stage.stage, stage.generation).await?;
        let is_worked_on = matches!(run.state, RunState::Planning | RunState::Running);
        Ok(Some(run).filter(|run| is_worked_on && run.generation == stage.generation))
    }

    async fn left(
        &self,
        stage: &StageId,
        grouping: Grouping,
        sent: Option<ChunkIndex>,
        window: u32,
    ) -> Result<Left, PortError> {
        let counted = |mut left: Left, unended: Vec<ChunkIndex>| {
            for chunk in unended {
                left.count += 1;
                if sent.is_some_and(|sent| chunk <= sent) {
                    left.under_way += 1;
                } else if left.next.len() < window as usize {
                    left.next.push(chunk);
                }
            }
            left
        };
        self.over_unended(stage, grouping, Left::default(), counted).await
    }

    /// Folds the chunks of a stage that have not ended, in order and a group at a time: only a few are held at once.
    async fn over_unended<T>(
        &self,
        stage: &StageId,
        grouping: Grouping,
        begin: T,
        mut fold: impl FnMut(T, Vec<ChunkIndex>) -> T,
    ) -> Result<T, PortError> {
        stream::iter((0..grouping.groups()).map(GroupIndex))
            .map(|group| async move {
                let count = self.ports.ledger.group(stage, group).await?;
                let chunks = grouping.chunks_of(group).map(ChunkIndex);
                Ok::<_, PortError>(chunks.filter(|chunk| !count.has(*chunk)).collect::<Vec<_>>())
            })
            .buffered(AT_ONCE)
            .try_fold(begin, |folded, unended| ready(Ok(fold(folded, unended))))
            .await
    }
}

/// How far what the Map of a stage left undone goes on.
fn settling_of<'a>(run: &'a Run, stage: &StageId) -> Option<&'a Settling> {
    run.settling_stages.iter().find(|settling| is_of(settling, stage))
}

fn is_of(settling: &Settling, stage: &StageId) -> bool {
    settling.stage == stage.stage && settling.generation == stage.generation
}

/// Whether an item is one thing to be done, so that its failure is nobody else's.
fn is_one(item: &Item) -> bool {
    match item {
        Item::Batch(batch) => batch.count == 1,
        Item::Launch(_) => true,
    }
}

fn stage_of(item: &Item) -> StageId {
    let (run, stage, generation) = match item {
        Item::Batch(batch) => (&batch.run, &batch.stage, batch.generation),
        Item::Launch(launch) => (&launch.run, &launch.stage, launch.generation),
    };
    StageId { run: run.clone(), stage: stage.clone(), generation }
}

fn message_of(stage: &StageId, chunk: ChunkIndex) -> ChunkMessage {
    let StageId { run, stage, generation } = stage.clone();
    ChunkMessage { run, stage, generation, chunk, failed_tries: 0, not_before: None, platform_faults: None }
}

//! What follows from one stage for another: which chunks may be sent, and what a stage entails that has ended.
//!
//! A chunk of a later stage may be sent once what it reads is there *and* its window is open: the chunk one window
//! before it has ended. Whoever brings about the one looks for the other after it marked, so that at least one of two
//! at once sees both; both may, and then the chunk is sent twice, and done once.
//!
//! Workers look after they created their parts, ahead of all marks ([`crate::releases`]); what they sent is noted with
//! the marks, and not sent again.

use std::collections::BTreeMap;

use fanfold_domain::{
    ChunkIndex, Generation, GroupCount, GroupIndex, Grouping, RootCount, Run, RunId, RunState, Sums,
    message::{Intake, encode},
    pipeline::{Depends, Stage, Upstream},
};
use fanfold_ports::{Ledger, PortError, Ports, Queue, ledger::StageId, queues::Outgoing};

use crate::{
    LifecycleError,
    announce::try_to_announce_end,
    change,
    completing::{finish, send_assembly},
    ending::fail_for_good,
    read,
    release::window,
};

/// The counters of a stage's groups, each read once, consistently.
struct Counts<'a> {
    ledger: &'a dyn Ledger,
    stage: StageId,
    grouping: Grouping,
    read: BTreeMap<GroupIndex, GroupCount>,
}

impl<'a> Counts<'a> {
    fn new(ledger: &'a dyn Ledger, run: &Run, stage: usize, grouping: Grouping) -> Self {
        let stage = StageId::of(run, &run.pipeline.stages[stage].name);
        Self { ledger, stage, grouping, read: BTreeMap::new() }
    }

    async fn of(&mut self, chunk: ChunkIndex) -> Result<&GroupCount, PortError> {
        let group = self.grouping.group_of(chunk);
        if !self.read.contains_key(&group) {
            let count = self.ledger.group(&self.stage, group).await?;
            self.read.insert(group, count);
        }
        Ok(&self.read[&group])
    }

    /// Those of `chunks` that have not ended.
    async fn unended(&mut self, chunks: Vec<ChunkIndex>) -> Result<Vec<ChunkIndex>, PortError> {
        let mut unended = Vec::new();
        for chunk in chunks {
            if !self.of(chunk).await?.has(chunk) {
                unended.push(chunk);
            }
        }
        Ok(unended)
    }

    /// The first of the chunks that a chunk of a later stage reads which has failed.
    async fn first_failed(
        &mut self,
        upstream: Upstream,
        chunk: ChunkIndex,
    ) -> Result<Option<ChunkIndex>, PortError> {
        for input in upstream.inputs_of(chunk, self.grouping.chunks).map(ChunkIndex) {
            if self.of(input).await?.failed.contains(&input) {
                return Ok(Some(input));
            }
        }
        Ok(None)
    }
}

/// Those of `candidates`, chunks of the stage at this place, that may be sent now: what they read is there, their
/// window is open, they have not ended, and no worker sent them. Of the first stage's nobody asks but at the end of the
/// chunk one window before.
///
/// # Errors
/// Counters could not be read.
pub async fn sendable(
    ledger: &dyn Ledger,
    run: &Run,
    stage: usize,
    mut candidates: Vec<ChunkIndex>,
) -> Result<Vec<ChunkIndex>, PortError> {
    let Some(grouping) = run.grouping_at(stage) else { return Ok(Vec::new()) };
    candidates.retain(|chunk| chunk.0 < grouping.chunks);
    candidates.sort_unstable();
    candidates.dedup();
    if candidates.is_empty() {
        return Ok(candidates);
    }
    let mut own = Counts::new(ledger, run, stage, grouping);
    let Some(upstream) = run.pipeline.stages[stage].upstream else { return own.unended(candidates).await };
    let Some(before) = run.grouping_at(upstream.stage) else { return Ok(Vec::new()) };
    let mut inputs = Counts::new(ledger, run, upstream.stage, before);
    let mut has_failures = false;
    if upstream.by == Depends::All {
        let root = ledger.root(&inputs.stage).await?;
        if !root.is_full(before) {
            return Ok(Vec::new());
        }
        has_failures = root.sums.failed_chunks > 0;
    }
    let window = window(run, stage);
    let mut sendable = Vec::new();
    for chunk in candidates {
        let is_due = match chunk.0.checked_sub(window).map(ChunkIndex) {
            Some(opener) => {
                let count = own.of(opener).await?;
                count.has(opener) && !count.sent_next.contains(&opener)
            }
            None => true,
        };
        if !is_due || own.of(chunk).await?.has(chunk) {
            continue;
        }
        let is_ready = match upstream.by {
            Depends::NToN => {
                let count = inputs.of(chunk).await?;
                let is_sent = count.sent_readers.get(&stage).is_some_and(|sent| sent.contains(&chunk));
                count.done.contains(&chunk) && !is_sent
            }
            // All has ended; what failed may not have been passed on yet.
            Depends::All => !has_failures || inputs.first_failed(upstream, chunk).await?.is_none(),
        };
        if is_ready {
            sendable.push(chunk);
        }
    }
    Ok(sendable)
}

/// The first of the chunks that a chunk of `stage` reads which has failed, with its stage: a chunk may be sent before
/// that is passed on to it, and who starts a Map names all chunks.
///
/// # Errors
/// Counters could not be read.
pub async fn failed_input<'a>(
    ledger: &dyn Ledger,
    run: &'a Run,
    stage: &Stage,
    chunk: ChunkIndex,
) -> Result<Option<(&'a str, ChunkIndex)>, PortError> {
    let Some(upstream) = stage.upstream else { return Ok(None) };
    let Some(grouping) = run.grouping_at(upstream.stage) else { return Ok(None) };
    let mut inputs = Counts::new(ledger, run, upstream.stage, grouping);
    if upstream.by == Depends::All {
        let root = ledger.root(&inputs.stage).await?;
        if root.is_full(grouping) && root.sums.failed_chunks == 0 {
            return Ok(None);
        }
    }
    let failed = inputs.first_failed(upstream, chunk).await?;
    Ok(failed.map(|input| (run.pipeline.stages[upstream.stage].name.as_str(), input)))
}

/// The chunks with which the stage at this place begins, once all of the stage before has ended: those of its first
/// window, and those whose window was opened by chunks that had failed before the stage began.
///
/// # Errors
/// Counters could not be read.
pub async fn first_window(
    ledger: &dyn Ledger,
    run: &Run,
    stage: usize,
) -> Result<Vec<ChunkIndex>, PortError> {
    let Some(grouping) = run.grouping_at(stage) else { return Ok(Vec::new()) };
    let window = window(run, stage);
    let mut first: Vec<ChunkIndex> = (0..window.min(grouping.chunks)).map(ChunkIndex).collect();
    let Some(upstream) = run.pipeline.stages[stage].upstream else { return Ok(first) };
    let before = StageId::of(run, &run.pipeline.stages[upstream.stage].name);
    if ledger.root(&before).await?.sums.failed_chunks > 0 {
        let id = StageId::of(run, &run.pipeline.stages[stage].name);
        for group in 0..grouping.groups() {
            let failed = ledger.group(&id, GroupIndex(group)).await?.failed;
            first.extend(failed.into_iter().filter_map(|chunk| chunk.0.checked_add(window)).map(ChunkIndex));
        }
    }
    sendable(ledger, run, stage, first).await
}

/// What follows from a stage's root, once all its groups are marked in it: the stages that wait for all of it begin,
/// and with the last stage's end the run is to be completed. Does nothing while groups are missing; done again it does
/// no harm.
///
/// # Errors
/// A read or write failed.
pub async fn follow_root(
    ports: &Ports,
    id: &RunId,
    generation: Generation,
    stage: &str,
    root: &RootCount,
) -> Result<(), LifecycleError> {
    let run = read(&*ports.ledger, id).await?;
    let Some(place) = run.pipeline.stage_index(stage) else { return Ok(()) };
    let is_full = run.grouping_at(place).is_some_and(|grouping| root.is_full(grouping));
    if !is_full || run.generation != generation || run.state.has_ended() {
        return Ok(());
    }
    if let Some(reason) = run.verdict(stage, &root.sums) {
        return fail_for_good(ports, id, generation, &reason).await;
    }
    // Before any stage begins that waits for this one, so that its end is not told of after theirs.
    let noted = if stage == run.last_stage().name { None } else { note_end(ports, &run, stage).await? };
    let waiting = run.pipeline.readers_of(place).filter(|(_, upstream)| upstream.by == Depends::All);
    let begin = |(stage, _)| Outgoing::now(encode(&Intake::Stage { run: id.clone(), generation, stage }));
    let begun: Vec<Outgoing> = waiting.map(begin).collect();
    if !begun.is_empty() {
        ports.queues.send(Queue::Intake, begun).await?;
    }
    if let Some(noted) = noted {
        try_to_announce_end(ports, &noted, stage).await;
    }
    finish_if_full(ports, id, generation).await
}

/// Notes that it is to be announced that a stage finished. `None` if another noted it, who announces it, or the sweeper.
/// What is not noted here, because the run ends first, the arrow to `completing` notes.
async fn note_end(ports: &Ports, run: &Run, stage: &str) -> Result<Option<Run>, LifecycleError> {
    let (now, generation) = (ports.clock.now(), run.generation);
    let mut is_ours = false;
    let noted = change(&*ports.ledger, &run.id, |run| {
        let mut noted = run.clone();
        let is_due = !run.state.has_ended() && run.generation == generation;
        is_ours = is_due && noted.note_stage_end(stage, now);
        Ok(is_ours.then_some(noted))
    })
    .await?;
    Ok(Some(noted).filter(|_| is_ours))
}

/// Once all groups of all stages are marked: fails the run if its sums are out of bounds, else makes it `completing`
/// and sends the assembly. Does nothing while groups are missing, and nothing in `planning`: the splitter asks
/// again when all chunks are sent.
///
/// # Errors
/// A read or write failed.
pub async fn finish_if_full(ports: &Ports, id: &RunId, generation: Generation) -> Result<(), LifecycleError> {
    let run = &read(&*ports.ledger, id).await?;
    if run.generation != generation || !matches!(run.state, RunState::Running | RunState::Completing) {
        return Ok(());
    }
    let mut sums: Vec<Sums> = Vec::new();
    // The last first: it is the last to be full.
    for (place, stage) in run.pipeline.stages.iter().enumerate().rev() {
        let root = ports.ledger.root(&StageId::of(run, &stage.name)).await?;
        if !run.grouping_at(place).is_some_and(|grouping| root.is_full(grouping)) {
            return Ok(());
        }
        sums.push(root.sums);
    }
    sums.reverse();
    match run.state {
        RunState::Running => finish(ports, run, &sums).await,
        _ => send_assembly(ports, run).await,
    }
}

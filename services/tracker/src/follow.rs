//! What follows from ended chunks: the chunks that may be sent now, the failures that others inherit, the groups that
//! are full.

use std::collections::BTreeMap;

use fanfold_domain::{
    ChunkIndex, GroupCount, GroupIndex, Grouping, LaunchIndex, PLAN, Run, RunState, SCAN, Sums,
    launch::{Launching, StageName},
    message::{ChunkEnd, ChunkMessage, Completion, Failure, FoldMessage, Intake, LaunchMessage, encode},
    pipeline::{Depends, RunOn},
};
use fanfold_lifecycle::{Release, fail, follow_root, releases, sendable};
use fanfold_ports::{PortError, Queue, ledger::StageId, queues::Outgoing};

use crate::{
    Tracker, TrackerError,
    count::Sent,
    handler::{Received, grouping_of},
};

impl Tracker {
    /// Does what follows from the end of these chunks, but for what workers sent. Returns whether that is done for good:
    /// in a run that has ended nothing follows, and a redrive has a list of its own.
    pub(crate) async fn follow(
        &self,
        run: &Run,
        stage: &StageId,
        group: GroupIndex,
        count: &GroupCount,
        ended: &[ChunkIndex],
        sent: &Sent,
    ) -> Result<bool, TrackerError> {
        if let Some(reason) = verdict(run, &stage.stage, &count.sums) {
            let why = self.blame(stage, count).await?.map_or_else(String::new, |why| format!("{why}; "));
            fail(&self.ports, &run.id, run.generation, &format!("{why}{reason}")).await?;
            return Ok(false);
        }
        if !matches!(run.state, RunState::Planning | RunState::Running) {
            return Ok(false);
        }
        // Before failures are passed on, which open windows: what is sent for those is not sent twice.
        self.send_released(run, stage, count, ended, sent).await?;
        if let Some(place) = run.pipeline.stage_index(&stage.stage) {
            self.pass_on(run, place, count, ended).await?;
        }
        if count.ended() == grouping_of(run, &stage.stage)?.size_of(group) {
            self.follow_group(run, stage, group, count).await?;
        }
        Ok(true)
    }

    /// Fails what reads the parts of chunks that failed, and nothing else: each failed chunk fails its own line.
    async fn pass_on(
        &self,
        run: &Run,
        place: usize,
        count: &GroupCount,
        ended: &[ChunkIndex],
    ) -> Result<(), TrackerError> {
        let failed: Vec<ChunkIndex> =
            ended.iter().copied().filter(|chunk| count.failed.contains(chunk)).collect();
        if failed.is_empty() {
            return Ok(());
        }
        let name = &run.pipeline.stages[place].name;
        for (reader, upstream) in run.pipeline.readers_of(place) {
            let stage = StageId::of(run, &run.pipeline.stages[reader].name);
            let grouping = grouping_of(run, &stage.stage)?;
            let mut groups: BTreeMap<GroupIndex, Vec<Received>> = BTreeMap::new();
            for input in &failed {
                let chunk = upstream.reader_of(*input);
                let StageId { run, stage, generation } = stage.clone();
                let end = ChunkEnd::Failed(Failure::inherited(name, *input));
                let completion = Completion { run, stage, generation, chunk, end, sent: Vec::new() };
                groups.entry(grouping.group_of(chunk)).or_default().push((0, completion));
            }
            for (group, completions) in groups {
                Box::pin(self.count_group(run, &stage, group, completions)).await?;
            }
        }
        Ok(())
    }

    /// Sends the chunks that the end of these releases and no worker sent: of a failed one, only the chunk whose window it
    /// opens.
    async fn send_released(
        &self,
        run: &Run,
        stage: &StageId,
        count: &GroupCount,
        ended: &[ChunkIndex],
        sent: &Sent,
    ) -> Result<(), TrackerError> {
        let mut released: BTreeMap<String, Vec<ChunkIndex>> = BTreeMap::new();
        for chunk in ended {
            for Release { released: next, .. } in releases(run, &stage.stage, *chunk) {
                let follows = next.stage == stage.stage || count.done.contains(chunk);
                if follows && !sent.contains(&(*chunk, next.clone())) {
                    released.entry(next.stage).or_default().push(next.chunk);
                }
            }
        }
        let mut messages = Vec::new();
        for (name, candidates) in released {
            let chunks = match run.pipeline.stage_index(&name) {
                Some(place) => sendable(&*self.ports.ledger, run, place, candidates).await?,
                None => candidates,
            };
            let message = |chunk| Outgoing::now(encode(&ChunkMessage::first(run, &name, chunk)));
            messages.extend(chunks.into_iter().map(message));
        }
        if !messages.is_empty() {
            self.ports.queues.send(Queue::Chunks, messages).await?;
        }
        Ok(())
    }

    /// Does what follows from a full group. One of the last stage is folded; so is one of another stage that has bad
    /// records, which are listed in order; any other is marked in the root.
    async fn follow_group(
        &self,
        run: &Run,
        stage: &StageId,
        group: GroupIndex,
        count: &GroupCount,
    ) -> Result<(), TrackerError> {
        if let Some(place) = run.pipeline.stage_index(&stage.stage) {
            self.launch_readers(run, place, group).await?;
        }
        let StageId { run: id, stage: name, generation } = stage.clone();
        let is_internal = matches!(name.as_str(), SCAN | PLAN);
        if !is_internal && (name == run.last_stage().name || count.sums.bad_records > 0) {
            let fold = FoldMessage::Fold { run: id, stage: name, generation, group };
            return Ok(self.ports.queues.send(Queue::Folds, vec![Outgoing::now(encode(&fold))]).await?);
        }
        let root = self.ports.ledger.mark_folded(stage, group, count.sums).await?;
        if !is_internal {
            return Ok(follow_root(&self.ports, &id, generation, &name, &root).await?);
        }
        if root.is_full(grouping_of(run, &name)?) {
            // The splitter goes on with what was found.
            let resume = vec![Outgoing::now(encode(&Intake::Resume { run: id }))];
            self.ports.queues.send(Queue::Intake, resume).await?;
        }
        Ok(())
    }

    /// Sends the launches of stages on EKS that read this group index by index: those of which all that they read has
    /// ended.
    async fn launch_readers(&self, run: &Run, place: usize, group: GroupIndex) -> Result<(), TrackerError> {
        for (reader, upstream) in run.pipeline.readers_of(place) {
            let stage = &run.pipeline.stages[reader];
            if upstream.by != Depends::NToN || stage.run_on == RunOn::Lambda {
                continue;
            }
            let before = StageId::of(run, &run.pipeline.stages[place].name);
            let grouping = grouping_of(run, &before.stage)?;
            let launching = match Launching::of(grouping.chunks, stage.max_concurrency) {
                Ok(launching) => launching,
                Err(too_many) => {
                    fail(&self.ports, &run.id, run.generation, &too_many.to_string()).await?;
                    return Ok(());
                }
            };
            let ended = grouping.chunks_of(group);
            let mut messages = Vec::new();
            for launch in launches_over(launching, &ended) {
                let message = LaunchMessage::first(&StageName::of(run, &stage.name), launching, launch);
                if self.all_ended(&before, grouping, &message.chunks).await? {
                    messages.push(Outgoing::now(encode(&message)));
                }
            }
            if !messages.is_empty() {
                self.ports.queues.send(Queue::Launches, messages).await?;
            }
        }
        Ok(())
    }

    async fn all_ended(
        &self,
        stage: &StageId,
        grouping: Grouping,
        chunks: &fanfold_domain::ChunkSet,
    ) -> Result<bool, PortError> {
        let left = fanfold_lifecycle::unmarked(&*self.ports.ledger, stage, grouping, chunks).await?;
        Ok(left.is_empty())
    }
}

/// The launches that hold any of these chunks.
fn launches_over(launching: Launching, chunks: &std::ops::Range<u32>) -> impl Iterator<Item = LaunchIndex> {
    let size = launching.launch_chunks;
    (chunks.start / size..chunks.end.div_ceil(size)).map(LaunchIndex)
}

/// Why sums like these of a group end the run, if they do. No chunk of an internal stage may fail: nothing would know
/// what there is to be done.
fn verdict(run: &Run, stage: &str, sums: &Sums) -> Option<String> {
    match stage {
        SCAN => (sums.failed_chunks > 0).then(|| "the source could not be scanned".to_owned()),
        PLAN => (sums.failed_chunks > 0).then(|| "the plan step gave no list".to_owned()),
        _ => run.verdict(stage, sums),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_touches_the_launches_that_hold_its_chunks() {
        let launching = Launching::of(100, 10).unwrap();
        let size = launching.launch_chunks;
        let over: Vec<u32> = launches_over(launching, &(size - 1..size + 1)).map(|launch| launch.0).collect();
        assert_eq!(over, [0, 1]);
    }
}

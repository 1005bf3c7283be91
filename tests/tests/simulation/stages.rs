//! What holds at every step of stages behind the first. What their chunks read is computed here once more, from the
//! pipeline alone.

use std::ops::Range;

use fanfold_domain::{
    ChunkIndex, Mark, Run,
    pipeline::{Depends, FanOut, RunOn, Upstream},
};
use fanfold_ports::ledger::StageId;

use crate::record::{Record, short};

/// The parts of the stage before that a chunk reads, of as many as there are.
pub(crate) fn inputs(upstream: Upstream, chunk: u32, parts: u32) -> Range<u32> {
    let first = (chunk * upstream.fan_in).min(parts);
    first..(first + upstream.fan_in).min(parts)
}

/// How many chunks the stage at this place has, from those of the first.
pub(crate) fn chunks(run: &Run, place: usize) -> u32 {
    match run.pipeline.stages[place].upstream {
        None => run.plan.as_ref().map_or(0, |plan| plan.grouping.chunks),
        Some(upstream) => chunks(run, upstream.stage).div_ceil(upstream.fan_in),
    }
}

/// The stage of a run at this place.
pub(crate) fn stage_at(run: &Run, place: usize) -> StageId {
    StageId::of(run, &run.pipeline.stages[place].name)
}

/// Whether the chunks of a stage are sent a window at a time.
pub(crate) fn has_window(run: &Run, place: usize) -> bool {
    run.pipeline.fan_out == FanOut::Sqs && run.pipeline.stages[place].run_on == RunOn::Lambda
}

impl Record {
    pub(crate) fn mark_at(&self, run: &Run, place: usize, chunk: u32) -> Option<Mark> {
        self.marks.get(&(stage_at(run, place), ChunkIndex(chunk))).copied()
    }

    fn is_done(&self, run: &Run, place: usize, chunk: u32) -> bool {
        matches!(self.mark_at(run, place, chunk), Some(Mark::Done(_)))
    }

    /// Whether a part that is read is there for who looks: where a stage does not wait for all others, the part itself
    /// tells.
    fn is_there(&self, run: &Run, upstream: Upstream, input: u32) -> bool {
        let name = &run.pipeline.stages[upstream.stage].name;
        let tells = upstream.by == Depends::NToN && self.has_part(run, name, ChunkIndex(input));
        tells || self.is_done(run, upstream.stage, input)
    }

    fn was_handed(&self, run: &Run, place: usize, chunk: u32) -> bool {
        self.handed.contains(&(stage_at(run, place), ChunkIndex(chunk)))
    }

    fn has_ended_all(&self, run: &Run, place: usize) -> bool {
        (0..chunks(run, place)).all(|chunk| self.mark_at(run, place, chunk).is_some())
    }

    /// No chunk is sent before what it reads is there; who sends many at once may send some that are to fail with what
    /// they read.
    pub(crate) fn check_inputs(&mut self, stage: &StageId, sent: &[ChunkIndex], is_each_looked_at: bool) {
        let Some(run) = self.runs.get(&stage.run).cloned() else { return };
        let Some(place) = run.pipeline.stage_index(&stage.stage) else { return };
        let Some(upstream) = run.pipeline.stages[place].upstream else { return };
        let what = format!("of {}'s {}", short(&run.id), stage.stage);
        for chunk in sent {
            let early = inputs(upstream, chunk.0, chunks(&run, upstream.stage)).find(|input| {
                if is_each_looked_at {
                    !self.is_there(&run, upstream, *input)
                } else {
                    self.mark_at(&run, upstream.stage, *input).is_none()
                }
            });
            if let Some(input) = early {
                self.accuse(format!(
                    "chunk {chunk} {what} was sent and {input}, which it reads, was not done"
                ));
            }
        }
        if upstream.by == Depends::All && !self.has_ended_all(&run, upstream.stage) {
            self.accuse(format!("chunks {sent:?} {what} were sent before all that they wait for had ended"));
        }
    }

    /// What follows from the end of a chunk was done before it is noted so, or is another's to do, who has not come as
    /// far.
    pub(crate) fn check_followed(&mut self, run: &Run, place: usize, chunk: u32) {
        let stage = stage_at(run, place);
        if place > 0 && has_window(run, place) {
            self.check_next(run, place, chunk);
        }
        for (reader, upstream) in run.pipeline.readers_of(place) {
            let read_by = chunk / upstream.fan_in;
            if self.is_done(run, place, chunk) {
                if upstream.by == Depends::NToN && has_window(run, reader) {
                    let window = run.pipeline.stages[reader].max_concurrency;
                    let opener = read_by.checked_sub(window);
                    let is_open = opener.is_none_or(|opener| self.was_handed(run, reader, opener));
                    self.check_sent(run, reader, read_by, is_open);
                }
            } else if self.mark_at(run, reader, read_by) != Some(Mark::Failed) {
                let id = short(&run.id).to_owned();
                self.accuse(format!(
                    "chunk {chunk} of {id}'s {} failed, and {read_by}, which reads it, did not",
                    stage.stage
                ));
            }
        }
    }

    /// The end of a chunk of a later stage opens the window of another, which is sent if what it reads is there.
    fn check_next(&mut self, run: &Run, place: usize, chunk: u32) {
        let stage = &run.pipeline.stages[place];
        let next = chunk.saturating_add(stage.max_concurrency);
        let Some(upstream) = stage.upstream.filter(|_| next < chunks(run, place)) else { return };
        let is_ready = match upstream.by {
            // It has begun with its first window only once all before it had ended.
            Depends::All => self.is_done(run, place, chunk),
            Depends::NToN => {
                self.is_done(run, upstream.stage, next) && self.was_handed(run, upstream.stage, next)
            }
        };
        self.check_sent(run, place, next, is_ready);
    }

    fn check_sent(&mut self, run: &Run, place: usize, chunk: u32, is_due: bool) {
        let stage = stage_at(run, place);
        let is_over = self.mark_at(run, place, chunk).is_some();
        if is_due && !is_over && !self.was_sent(&stage, ChunkIndex(chunk)) {
            let id = short(&run.id).to_owned();
            self.accuse(format!("chunk {chunk} of {id}'s {} is forgotten", stage.stage));
        }
    }
}

//! A run: what it is of, what it was pinned to, and the states it may be in.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    Announcement, ByteRange, ChunkIndex, Cleaning, Epoch, Generation, Grouping, ObjectName, PLAN, Report,
    RunId, SCAN, Scan, Sequencer, SourcePin, Sums, TickTime, Tries, Trouble,
    key::StageKeys,
    pipeline::{Pipeline, Stage},
};

/// A moment: milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The moment `ms` milliseconds later.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; 0 if it is not earlier.
    pub fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Its chunks are being found and sent; a duplicate event does it all again.
    Planning,
    /// The first window was sent; chunks are worked on.
    Running,
    /// All groups are folded and the sums are within bounds; the output is being assembled.
    Completing,
    /// The output is published, whole.
    Succeeded,
    /// The output is published without the chunks that failed and were tolerated.
    SucceededPartial,
    /// It ended without an output; the run says why.
    Failed,
    /// A person ended it.
    Cancelled,
    /// A newer run took over its output, or its source was replaced.
    Superseded,
}

impl RunState {
    /// Whether nothing more happens in this state.
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Planning | Self::Running | Self::Completing)
    }

    /// Whether the state machine has an arrow from here to `next`.
    ///
    /// `Completing` ends otherwise than in success only by merger and sweeper, once every recorded upload
    /// was aborted and the output was seen not to be this run's: this function allows the arrow, they keep
    /// the rest.
    pub fn may_become(self, next: Self) -> bool {
        use RunState::{
            Cancelled, Completing, Failed, Planning, Running, Succeeded, SucceededPartial, Superseded,
        };
        match self {
            Planning => matches!(next, Running | Failed | Cancelled | Superseded),
            Running => matches!(next, Completing | Failed | Cancelled | Superseded),
            Completing => matches!(next, Succeeded | SucceededPartial | Failed | Superseded),
            Succeeded | SucceededPartial | Failed | Cancelled | Superseded => false,
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Planning => "planning",
            Self::Running => "running",
            Self::Completing => "completing",
            Self::Succeeded => "succeeded",
            Self::SucceededPartial => "succeeded_partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
        })
    }
}

/// How a line of the source ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineEnd {
    /// A line feed.
    #[default]
    Lf,
    /// A carriage return and a line feed.
    CrLf,
}

impl LineEnd {
    /// Its bytes.
    pub fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
        }
    }
}

/// What planning found out about the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Chunks and groups.
    pub grouping: Grouping,
    /// The source's bytes before its first record: byte order mark and header, from 0. Chunks tile the rest.
    pub preamble: ByteRange,
    /// The header without byte order mark and line end, where the source has one.
    pub header: Option<ByteRange>,
    /// How the source's lines end, as its first line shows; [`LineEnd::Lf`] if it shows nothing.
    pub line_end: LineEnd,
}

impl Plan {
    /// What is known before there is a plan, for the plan step: nothing.
    pub fn unplanned() -> Self {
        let grouping = Grouping { chunks: 1, group_chunks: 1 };
        Self { grouping, preamble: ByteRange::new(0, 0), header: None, line_end: LineEnd::Lf }
    }
}

/// One execution of a pipeline on one source: the run's item in the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its identity, from its origin.
    pub id: RunId,
    /// Raised by every change of this item; a change names the revision that it saw.
    pub revision: u64,
    /// The pipeline as it was when the run began.
    pub pipeline: Pipeline,
    /// The version of that pipeline in the table; 0 for the stack's default.
    pub pipeline_version: u32,
    /// The source, pinned.
    pub source: SourcePin,
    /// The event's sequencer, where an event began the run.
    pub sequencer: Option<Sequencer>,
    /// Where the output will appear.
    pub output: ObjectName,
    /// Where the bad records will appear.
    pub errors: ObjectName,
    /// Where it stands.
    pub state: RunState,
    /// How often it was redriven.
    pub generation: Generation,
    /// The epoch at which it took ownership of the output; 0 before.
    pub epoch: Epoch,
    /// How its source is scanned by workers, where planning found it too large to be scanned at once.
    #[serde(default)]
    pub scan: Option<Scan>,
    /// The list that the run reads in place of its source, once it was made: of the objects under a prefix, or what the
    /// plan step wrote.
    #[serde(default)]
    pub list: Option<SourcePin>,
    /// What planning found, once it has.
    pub plan: Option<Plan>,
    /// The run that owned the output before this one, if any did.
    #[serde(default)]
    pub former: Option<RunId>,
    /// Ids of the multipart uploads of the output that assemblies of this run have begun.
    pub uploads: Vec<String>,
    /// Ids of the multipart uploads of the list of bad records that this run has begun.
    #[serde(default)]
    pub list_uploads: Vec<String>,
    /// Whether it was made sure, after its end and for a later owner, that it can write nothing any more: all its
    /// uploads were aborted, and it may begin none.
    #[serde(default)]
    pub is_fenced: bool,
    /// How far what Maps left undone goes on by the queue of chunks, of each stage of which it does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settling_stages: Vec<Settling>,
    /// Final sums, from `completing` on.
    pub sums: Option<Sums>,
    /// Why it ended as it did, where it did not succeed.
    pub reason: Option<String>,
    /// The tick that began it, where its pipeline's schedule did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<TickTime>,
    /// Stages whose end was noted, in order: each is announced once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finished_stages: Vec<String>,
    /// Stages behind the first that wait for all of another and were begun: whoever is asked to begin one again does
    /// nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub begun_stages: Vec<String>,
    /// Milestones that it passed and that are not known to be announced, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unannounced: Vec<Announcement>,
    /// The tries at planning it since it last got on, but the one with which it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planning_tries: Option<Tries>,
    /// What last kept it from being planned, or a stage from being begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<Trouble>,
    /// When the sweeper last sent again what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repaired_at: Option<Timestamp>,
    /// How far the list of its bad records is, if it failed.
    #[serde(default)]
    pub report: Report,
    /// How far the removal of its work objects is.
    #[serde(default)]
    pub cleaning: Cleaning,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last got on.
    pub updated_at: Timestamp,
    /// When it fails if it has not ended.
    pub deadline_at: Timestamp,
}

/// The chunks that the Map of a stage left undone, on their way by the queue of chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settling {
    /// Of which stage.
    pub stage: String,
    /// Of which generation.
    pub generation: Generation,
    /// Up to this one all that had not ended were sent.
    pub sent: ChunkIndex,
    /// When it was last looked how many of them have ended.
    pub looked_at: Timestamp,
}

/// A change of state that the state machine does not have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("run {run} is {from} and cannot become {to}")]
pub struct ForbiddenTransition {
    /// Which run.
    pub run: RunId,
    /// Its state.
    pub from: RunState,
    /// The state that was asked for.
    pub to: RunState,
}

impl Run {
    /// A run in `planning` of which nothing is known yet but what it is of and where its results go, of the stack's own
    /// pipeline, begun by nothing in particular.
    pub fn new(
        id: RunId,
        pipeline: Pipeline,
        source: SourcePin,
        output: ObjectName,
        errors: ObjectName,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            revision: 0,
            pipeline_version: 0,
            source,
            sequencer: None,
            output,
            errors,
            state: RunState::Planning,
            generation: Generation(0),
            epoch: Epoch(0),
            scan: None,
            list: None,
            plan: None,
            former: None,
            uploads: Vec::new(),
            list_uploads: Vec::new(),
            is_fenced: false,
            settling_stages: Vec::new(),
            sums: None,
            reason: None,
            scheduled_at: None,
            finished_stages: Vec::new(),
            begun_stages: Vec::new(),
            unannounced: Vec::new(),
            planning_tries: None,
            troubles: Vec::new(),
            repaired_at: None,
            report: Report::Due,
            cleaning: Cleaning::NotBegun,
            created_at: now,
            updated_at: now,
            deadline_at: now.plus_ms(pipeline.deadline_ms),
            pipeline,
        }
    }

    /// The run in another state, with what is to be announced of that, to be saved on the condition that it has not
    /// changed meanwhile.
    ///
    /// # Errors
    /// The state machine has no such arrow.
    pub fn advanced(&self, to: RunState, now: Timestamp) -> Result<Self, ForbiddenTransition> {
        if !self.state.may_become(to) {
            return Err(ForbiddenTransition { run: self.id.clone(), from: self.state, to });
        }
        let mut run = Self { state: to, updated_at: now, ..self.clone() };
        if to == RunState::Completing {
            // All of them have ended by then, and whoever was to note one may have died before it did.
            for stage in &self.pipeline.stages {
                run.note_stage_end(&stage.name, now);
            }
        }
        run.unannounced.extend(Announcement::of(self, to, now));
        Ok(run)
    }

    /// Notes that a stage ended, which is to be announced. Returns whether that was not noted before.
    pub fn note_stage_end(&mut self, stage: &str, now: Timestamp) -> bool {
        if self.finished_stages.iter().any(|noted| noted == stage) {
            return false;
        }
        self.finished_stages.push(stage.to_owned());
        self.unannounced.push(Announcement::of_stage(self, stage, now));
        true
    }

    /// Whether a stage that waits for all of another was begun.
    pub fn has_begun(&self, stage: &str) -> bool {
        self.begun_stages.iter().any(|begun| begun == stage)
    }

    /// What the first stage reads: the source, or the list that stands for it.
    pub fn input(&self) -> &SourcePin {
        self.list.as_ref().unwrap_or(&self.source)
    }

    /// The stage that reads the source.
    ///
    /// # Panics
    /// Never for a pipeline that was parsed: it has at least one stage.
    pub fn first_stage(&self) -> &Stage {
        self.pipeline.stages.first().expect("a parsed pipeline has a stage")
    }

    /// The stage whose parts become the output.
    ///
    /// # Panics
    /// Never for a pipeline that was parsed: it has at least one stage.
    pub fn last_stage(&self) -> &Stage {
        self.pipeline.stages.last().expect("a parsed pipeline has a stage")
    }

    /// A stage by its name. The scan is done under the first one's settings, and the plan step under its own.
    pub fn stage(&self, name: &str) -> Option<Cow<'_, Stage>> {
        match name {
            SCAN => Some(Cow::Borrowed(self.first_stage())),
            PLAN => self.pipeline.plan.as_ref().map(|step| Cow::Owned(step.stage())),
            _ => self.pipeline.stages.iter().find(|stage| stage.name == name).map(Cow::Borrowed),
        }
    }

    /// How many chunks and groups a stage has, the internal ones included; none before it is known, and of a name
    /// that no stage has.
    pub fn grouping_of(&self, stage: &str) -> Option<Grouping> {
        match stage {
            SCAN => self.scan.as_ref().map(|scan| scan.grouping),
            PLAN => self.pipeline.plan.as_ref().map(|_| Grouping { chunks: 1, group_chunks: 1 }),
            _ => self.grouping_at(self.pipeline.stage_index(stage)?),
        }
    }

    /// How many chunks and groups the stage has at this place in the list; none before it is known.
    pub fn grouping_at(&self, stage: usize) -> Option<Grouping> {
        let Some(upstream) = self.pipeline.stages.get(stage)?.upstream else {
            return self.plan.as_ref().map(|plan| plan.grouping);
        };
        Some(self.grouping_at(upstream.stage)?.aggregated(upstream.fan_in))
    }

    /// The key of what the scan of a chunk found.
    pub fn scan_key(&self, chunk: ChunkIndex) -> String {
        StageKeys::new(&self.id, SCAN, self.generation).part(chunk)
    }

    /// The keys of the objects of a stage in the run's present generation.
    pub fn keys(&self, stage: &str) -> StageKeys {
        StageKeys::new(&self.id, stage, self.generation)
    }

    /// Why sums like these of one stage end the run as failed, if they do. Sums only grow, so this may be asked of
    /// the sums of some groups as well as of all.
    pub fn verdict(&self, stage: &str, sums: &Sums) -> Option<String> {
        let on_error = &self.pipeline.on_error;
        if sums.bad_records > on_error.max_bad_records {
            return Some(format!(
                "{} bad records of {}, and on_error.max_bad_records is {}; they are listed in {}",
                sums.bad_records, sums.records, on_error.max_bad_records, self.errors
            ));
        }
        let chunks = self.grouping_of(stage).map_or(0, |grouping| u64::from(grouping.chunks));
        (!on_error.tolerate_failed_chunks.permits(sums.failed_chunks, chunks)).then(|| {
            format!(
                "{} of {chunks} chunks failed, more than on_error.tolerate_failed_chunks allows",
                sums.failed_chunks
            )
        })
    }

    /// The sums of the run from the final ones of its stages, in the pipeline's order: what the first read, what the
    /// last wrote, the bad records of all. A chunk that failed fails what reads it, so that the most of any stage
    /// are all that failed.
    pub fn total(stages: &[Sums]) -> Sums {
        let (first, last) = (stages.first().copied(), stages.last().copied());
        let first = first.unwrap_or_default();
        Sums {
            records: first.records,
            bytes_in: first.bytes_in,
            bytes_out: last.unwrap_or_default().bytes_out,
            bad_records: stages.iter().map(|sums| sums.bad_records).sum(),
            failed_chunks: stages.iter().map(|sums| sums.failed_chunks).max().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [RunState; 8] = [
        RunState::Planning,
        RunState::Running,
        RunState::Completing,
        RunState::Succeeded,
        RunState::SucceededPartial,
        RunState::Failed,
        RunState::Cancelled,
        RunState::Superseded,
    ];

    #[test]
    fn an_ended_run_stays_as_it_ended() {
        for from in ALL.into_iter().filter(|state| state.has_ended()) {
            assert!(ALL.iter().all(|to| !from.may_become(*to)), "{from}");
        }
    }

    #[test]
    fn every_live_state_can_end_and_none_skips_the_assembly() {
        for from in ALL.into_iter().filter(|state| !state.has_ended()) {
            assert!(from.may_become(RunState::Failed), "{from}");
            assert_eq!(from.may_become(RunState::Succeeded), from == RunState::Completing);
        }
    }
}

//! A run: what it is of, what it was pinned to, and the states it may be in.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    ByteRange, ChunkIndex, Epoch, Generation, Grouping, ObjectName, RunId, SCAN, Scan, Sequencer, SourcePin,
    Sums, key::StageKeys, pipeline::Pipeline,
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
    /// How far what a Map left undone goes on by the queue of chunks, once it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settling: Option<Settling>,
    /// Final sums, from `completing` on.
    pub sums: Option<Sums>,
    /// Why it ended as it did, where it did not succeed.
    pub reason: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When this item last changed.
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
    /// The run in another state, to be saved on the condition that it has not changed meanwhile.
    ///
    /// # Errors
    /// The state machine has no such arrow.
    pub fn advanced(&self, to: RunState, now: Timestamp) -> Result<Self, ForbiddenTransition> {
        if !self.state.may_become(to) {
            return Err(ForbiddenTransition { run: self.id.clone(), from: self.state, to });
        }
        Ok(Self { state: to, updated_at: now, ..self.clone() })
    }

    /// The one stage of the run.
    ///
    /// # Panics
    /// Never for a pipeline that was parsed: it has exactly one stage.
    pub fn stage(&self) -> &crate::pipeline::Stage {
        self.pipeline.stages.first().expect("a parsed pipeline has a stage")
    }

    /// How many chunks and groups a stage has, the internal stage [`SCAN`] included; none before it is known.
    pub fn grouping_of(&self, stage: &str) -> Option<Grouping> {
        if stage == SCAN {
            self.scan.as_ref().map(|scan| scan.grouping)
        } else {
            self.plan.as_ref().map(|plan| plan.grouping)
        }
    }

    /// The key of what the scan of a chunk found.
    pub fn scan_key(&self, chunk: ChunkIndex) -> String {
        StageKeys::new(&self.id, SCAN, self.generation).part(chunk)
    }

    /// The keys of the run's objects in its present generation.
    pub fn keys(&self) -> StageKeys {
        StageKeys::new(&self.id, &self.stage().name, self.generation)
    }

    /// Why sums like these end the run as failed, if they do. Sums only grow, so this may be asked of the
    /// sums of some groups as well as of all.
    pub fn verdict(&self, sums: &Sums) -> Option<String> {
        let on_error = &self.pipeline.on_error;
        if sums.bad_records > on_error.max_bad_records {
            return Some(format!(
                "{} bad records of {}, and on_error.max_bad_records is {}; they are listed in {}",
                sums.bad_records, sums.records, on_error.max_bad_records, self.errors
            ));
        }
        let chunks = self.plan.as_ref().map_or(0, |plan| u64::from(plan.grouping.chunks));
        (!on_error.tolerate_failed_chunks.permits(sums.failed_chunks, chunks)).then(|| {
            format!(
                "{} of {chunks} chunks failed, more than on_error.tolerate_failed_chunks allows",
                sums.failed_chunks
            )
        })
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

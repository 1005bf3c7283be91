//! What is announced of a run: the events that the stack's bus has, one a milestone.
//!
//! An arrow of the state machine puts its announcement into the run's item in the same write ([`crate::Run::advanced`]);
//! it is taken out once the event is on the bus. So an event may be put twice, and never not at all; its id says which
//! are the same.

use serde::{Deserialize, Serialize};

use crate::{Generation, ObjectName, Run, RunState, SourcePin, Timestamp, message::VERSION};

/// The source of all events of ours.
pub const SOURCE: &str = "fanfold";

/// What a run passes on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Milestone {
    /// Its chunks are known and its first ones sent.
    Started,
    /// All chunks of a stage have ended, and no more of them failed than is tolerated.
    StageFinished,
    /// It ended, and the output is published, whole.
    Succeeded,
    /// It ended, and the output is published without the chunks that failed and were tolerated.
    SucceededPartial,
    /// It ended without an output.
    Failed,
    /// A person ended it.
    Cancelled,
    /// A newer run took over its output, or its source was replaced.
    Superseded,
}

impl Milestone {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Started,
        Self::StageFinished,
        Self::Succeeded,
        Self::SucceededPartial,
        Self::Failed,
        Self::Cancelled,
        Self::Superseded,
    ];

    /// Its word in pipeline documents and in events.
    pub fn word(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::StageFinished => "stage_finished",
            Self::Succeeded => "succeeded",
            Self::SucceededPartial => "succeeded_partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
        }
    }

    /// The type of its events. Both kinds of success have one, since both have an output: `state` tells them apart.
    pub fn detail_type(self) -> &'static str {
        match self {
            Self::Started => "Run Started",
            Self::StageFinished => "Stage Finished",
            Self::Succeeded | Self::SucceededPartial => "Run Succeeded",
            Self::Failed => "Run Failed",
            Self::Cancelled => "Run Cancelled",
            Self::Superseded => "Run Superseded",
        }
    }

    /// What a run passes that comes into this state; the ends of its stages are noted each for itself.
    pub fn of(state: RunState) -> Option<Self> {
        match state {
            RunState::Planning | RunState::Completing => None,
            RunState::Running => Some(Self::Started),
            RunState::Succeeded => Some(Self::Succeeded),
            RunState::SucceededPartial => Some(Self::SucceededPartial),
            RunState::Failed => Some(Self::Failed),
            RunState::Cancelled => Some(Self::Cancelled),
            RunState::Superseded => Some(Self::Superseded),
        }
    }
}

/// A milestone that a run passed and that is still to be announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// What it passed.
    pub milestone: Milestone,
    /// Which stage finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The state that it came into.
    pub state: RunState,
    /// In which generation.
    pub generation: Generation,
    /// When.
    pub passed_at: Timestamp,
}

/// An event for the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its type.
    pub detail_type: &'static str,
    /// What it says, as JSON.
    pub detail: String,
    /// When what it tells of was.
    pub happened_at: Timestamp,
}

/// What an event says; a sample of each type stands in events/.
#[derive(Serialize)]
struct Detail<'a> {
    v: u32,
    /// The same for the same milestone, however often it is announced.
    id: String,
    milestone: &'static str,
    run: &'a str,
    generation: Generation,
    state: RunState,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'a str>,
    pipeline: &'a str,
    pipeline_version: u32,
    source: &'a SourcePin,
    output: &'a ObjectName,
    errors: &'a ObjectName,
    /// Of the stage that finished, or else of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks: Option<u32>,
    /// Final sums; only of a run that came as far as having them.
    #[serde(skip_serializing_if = "Option::is_none")]
    sums: Option<crate::Sums>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    passed_at: Timestamp,
    /// Whether the notification topic is told: what its rule asks for.
    notify: bool,
}

impl Announcement {
    /// The announcement of a run that comes into a state now.
    pub(crate) fn of(run: &Run, state: RunState, now: Timestamp) -> Option<Self> {
        let milestone = Milestone::of(state)?;
        Some(Self { milestone, stage: None, state, generation: run.generation, passed_at: now })
    }

    /// The announcement that a stage of a run finished.
    pub(crate) fn of_stage(run: &Run, stage: &str, now: Timestamp) -> Self {
        let milestone = Milestone::StageFinished;
        let stage = Some(stage.to_owned());
        Self { milestone, stage, state: run.state, generation: run.generation, passed_at: now }
    }

    /// Names the milestone of this run and generation, so that a double can be told.
    pub fn id(&self, run: &Run) -> String {
        let stage = self.stage.as_ref().map_or_else(String::new, |stage| format!("/{stage}"));
        format!("{}/{}/{}{stage}", run.id, self.generation, self.milestone.word())
    }

    /// The event that announces it.
    ///
    /// # Panics
    /// Never: an event has only JSON's types.
    pub fn event(&self, run: &Run) -> Event {
        let has_ended = self.state.has_ended();
        let stage = self.stage.as_ref().unwrap_or(&run.first_stage().name);
        let detail = Detail {
            v: VERSION,
            id: self.id(run),
            milestone: self.milestone.word(),
            run: run.id.as_str(),
            generation: self.generation,
            state: self.state,
            stage: self.stage.as_deref(),
            pipeline: &run.pipeline.name,
            pipeline_version: run.pipeline_version,
            source: &run.source,
            output: &run.output,
            errors: &run.errors,
            chunks: run.grouping_of(stage).map(|grouping| grouping.chunks),
            sums: run.sums.filter(|_| has_ended),
            reason: run.reason.as_deref().filter(|_| has_ended),
            passed_at: self.passed_at,
            notify: run.pipeline.notify.on.contains(&self.milestone),
        };
        Event {
            detail_type: self.milestone.detail_type(),
            detail: serde_json::to_string(&detail).expect("an event has only JSON's types"),
            happened_at: self.passed_at,
        }
    }
}

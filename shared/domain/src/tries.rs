//! Tries at planning a run, and what kept it from getting on.

use serde::{Deserialize, Serialize};

use crate::{Run, Timestamp, message::truncate};

/// Tries at planning a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    /// How many, of those that began at least [`TRIES_APART_MS`] after the one that was counted before: an outage of
    /// seconds may see several deliveries of one message.
    pub count: u32,
    /// When the last of them began.
    pub counted_at: Timestamp,
}

/// How long after a counted try at planning a further one counts. Longer than a splitter may take.
pub const TRIES_APART_MS: u64 = 10 * 60_000;

/// What kept a run from being planned, or a stage from being begun, though a further try may succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// The stage that was to begin; none where the run was to be planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// What the try met with.
    pub error: String,
}

impl Run {
    /// The run with a try at planning counted that begins now. `None` if the one counted before began a short time ago.
    /// Counting begins anew once the run got on: only tries without any progress add up.
    pub fn counting_try(&self, now: Timestamp) -> Option<Self> {
        let before = self.planning_tries.filter(|tries| tries.counted_at > self.updated_at);
        let last = before.map_or(self.updated_at, |tries| tries.counted_at);
        let count = before.map_or(0, |tries| tries.count) + 1;
        let is_apart = now.ms_since(last) >= TRIES_APART_MS;
        is_apart.then(|| Self { planning_tries: Some(Tries { count, counted_at: now }), ..self.clone() })
    }

    /// The run with what a try at planning it, or at beginning a stage of it, met with. `None` if that stands there.
    pub fn noting_trouble(&self, stage: Option<&str>, error: &str) -> Option<Self> {
        let trouble = Trouble { stage: stage.map(str::to_owned), error: truncate(error.to_owned()) };
        if self.troubles.contains(&trouble) {
            return None;
        }
        let mut run = self.clone();
        run.troubles.retain(|other| other.stage != trouble.stage);
        run.troubles.push(trouble);
        Some(run)
    }

    /// What last kept the run from being planned, or a stage from being begun.
    pub fn trouble_of(&self, stage: Option<&str>) -> Option<&str> {
        let trouble = self.troubles.iter().find(|trouble| trouble.stage.as_deref() == stage);
        trouble.map(|trouble| trouble.error.as_str())
    }

    /// When it last got on, was tried, or was sent again what it waits for.
    pub fn stirred_at(&self) -> Timestamp {
        let tried_at = self.planning_tries.map(|tries| tries.counted_at);
        self.updated_at.max(self.repaired_at.unwrap_or_default()).max(tried_at.unwrap_or_default())
    }
}

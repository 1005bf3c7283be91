//! What a plan step is asked.

use fanfold_domain::{Run, RunId, TickTime, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;

/// What a plan step is asked: a line on the stdin of a command, the event of a function.
#[derive(Serialize)]
pub(crate) struct PlanRequest<'a> {
    run: &'a RunId,
    pipeline: &'a str,
    created_at_ms: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduled_at: Option<&'a TickTime>,
    /// Of a function, which has no environment to be told in.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    /// What the function gave as `next`, where it is to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a RawValue>,
}

impl<'a> PlanRequest<'a> {
    /// What is asked first.
    pub(crate) fn of(run: &'a Run) -> Self {
        Self {
            run: &run.id,
            pipeline: &run.pipeline.name,
            created_at_ms: run.created_at,
            scheduled_at: run.scheduled_at.as_ref(),
            attempt: None,
            next: None,
        }
    }

    /// The same of a function, in one attempt: of its next page, where it gave what to ask for it with.
    pub(crate) fn of_page(run: &'a Run, attempt: u32, next: Option<&'a RawValue>) -> Self {
        Self { attempt: Some(attempt), next, ..Self::of(run) }
    }

    /// The request as one line, without its end.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a request has only JSON's types")
    }
}

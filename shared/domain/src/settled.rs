//! What is left to be done about a run that has ended: the list of its bad records, and the removal of its work objects.

use serde::{Deserialize, Serialize};

use crate::{Run, RunState, Timestamp};

/// How far the list of bad records of a failed run is. The merger that is asked first writes it, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// It is not known to be written. The service that failed the run asked for it, or died before that.
    #[default]
    Due,
    /// The sweeper asked for it, last at this time.
    Asked(Timestamp),
    /// It is written, as far as there is any to be.
    Done,
    /// It failed at every try.
    GivenUp,
}

/// How far the removal of an ended run's work objects is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cleaning {
    /// Nothing was removed: as far as they have not expired, all are there.
    #[default]
    NotBegun,
    /// It was asked for, last at this time. From now on the run cannot be redriven.
    Asked(Timestamp),
    /// Nothing of it is left.
    Done(Timestamp),
    /// It failed at every try; what is left expires by the work bucket's rules.
    GivenUp(Timestamp),
}

impl Run {
    /// Whether its pipeline wants its work objects removed, and they were not yet.
    pub fn is_to_be_cleaned(&self) -> bool {
        let is_over = matches!(self.cleaning, Cleaning::Done(_) | Cleaning::GivenUp(_));
        self.state.has_ended() && !is_over && self.pipeline.cleanup.applies_to(self.state)
    }

    /// Whether it failed with chunks, and the list of their bad records is not known to be written.
    pub fn is_report_due(&self) -> bool {
        let is_over = matches!(self.report, Report::Done | Report::GivenUp);
        self.state == RunState::Failed && self.plan.is_some() && !is_over
    }

    /// Whether nothing is left to be done about it: it ended, that was announced, its bad records are listed if it failed,
    /// and it is cleaned if it is to be.
    pub fn is_settled(&self) -> bool {
        let is_left = self.is_to_be_cleaned() || self.is_report_due();
        self.state.has_ended() && self.unannounced.is_empty() && !is_left
    }
}

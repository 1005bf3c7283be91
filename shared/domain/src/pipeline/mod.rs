//! The pipeline document: what a user declares, parsed and checked as a whole.
//!
//! [`Pipeline::parse`] reads YAML or JSON and either gives typed values with every default filled in, or refuses
//! the document with *every* mistake: its path, what was found, what is allowed. A field that is unknown, or known
//! but not built yet, is a mistake; nothing is ignored. `null` is no value: a field is left out instead. Of a
//! second stage only its presence is reported.
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
//! `merge.errors_key` likewise.
//!
//! Architecture invariant: nothing here knows where a document came from or what time it is; equal texts give
//! equal pipelines.

mod eks;
mod merge;
mod on_error;
mod process;
mod select;
mod source;
mod split;
mod stage;
mod template;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value as Json, json};

use crate::{
    RunId,
    document::{
        InvalidDocument, Mistakes,
        decode::{DOCUMENT, Fields, Node, Schema, quantity, text_that},
        quantity::{DAY, DURATION, MINUTE},
        value::{self, Value},
    },
};

pub use eks::{Eks, RunOn, Toleration};
pub use merge::{Merge, MergeHeader};
pub use on_error::{OnError, SourceChanged, Tolerance};
pub use process::{Credentials, Process};
pub use select::select;
pub use source::{Encoding, Format, Source};
pub use split::{FanOut, Split};
pub use stage::{Retry, Stage};
pub use template::{KeyTemplate, KeyTooLong, MAX_KEY_BYTES, MAX_LITERAL_BYTES, NotATemplate};

/// Longest document, as written and as stored, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;

const SCHEMA: Schema = Schema {
    built: &["pipeline", "source", "split", "fan_out", "deadline", "stages", "merge", "on_error"],
    not_yet: &["budget", "plan", "schedule", "notify", "cleanup"],
};
const WELL_FORMED: &str = "one well-formed document of YAML or JSON, without anchors, aliases and tags";
const NAME: &str = "1 to 63 of a-z, 0-9, `-`, the first not `-`";

/// SQS keeps a message for at most 14 days; a day of them is left for a redrive.
const DEADLINE_MS: RangeInclusive<u64> = MINUTE..=13 * DAY;

/// What a user declares: which objects start runs, and what a run does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// 1 to 63 of a-z, 0-9 and `-`, the first not `-`. The document's field `pipeline`.
    pub name: String,
    /// What is read.
    pub source: Source,
    /// How it becomes chunks.
    pub split: Split,
    /// How chunks reach workers.
    pub fan_out: FanOut,
    /// How long a run may last, in milliseconds: 1 minute to 13 days.
    pub deadline_ms: u64,
    /// The processing steps: exactly one for now.
    pub stages: Vec<Stage>,
    /// Where the output goes.
    pub merge: Merge,
    /// What is tolerated.
    pub on_error: OnError,
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
        Self::from_document(&value)
    }

    /// Parses a document that was read already, such as a part of a request.
    pub fn from_value(document: &Json) -> Result<Self, InvalidDocument> {
        let value = Value::deserialize(document)
            .map_err(|error| InvalidDocument::whole(error.to_string(), "a JSON object"))?;
        Self::from_document(&value)
    }

    /// The canonical document: the same schema with every default explicit. It is at most
    /// [`MAX_DOCUMENT_BYTES`] long as compact JSON, and parsing it gives the same pipeline.
    pub fn to_document(&self) -> Json {
        json!({
            "pipeline": self.name,
            "source": self.source.to_document(),
            "split": self.split.to_document(),
            "fan_out": self.fan_out.to_document(),
            "deadline": DURATION.format(self.deadline_ms),
            "stages": self.stages.iter().map(Stage::to_document).collect::<Vec<_>>(),
            "merge": self.merge.to_document(),
            "on_error": self.on_error.to_document(),
        })
    }

    /// The key of the output of a run of this source.
    pub fn output_key(&self, key: &str, run: &RunId) -> Result<String, KeyTooLong> {
        self.merge.key.fill(key, &run.to_string())
    }

    /// The key of the bad records of a run of this source.
    pub fn errors_key(&self, key: &str, run: &RunId) -> Result<String, KeyTooLong> {
        self.merge.errors_key.fill(key, &run.to_string())
    }

    fn from_document(document: &Value) -> Result<Self, InvalidDocument> {
        let mut mistakes = Mistakes::default();
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
        let name = fields.required("pipeline", NAME, mistakes, |node, m| text_that(node, m, NAME, is_name));
        let allowed = "a mapping with format";
        let source =
            mistakes.flawless(|m| fields.required("source", allowed, m, |node, m| Source::decode(node, m)));
        let split = fields.optional("split", Split::DEFAULT, mistakes, Split::decode);
        let fan_out = fields.optional("fan_out", FanOut::Sqs, mistakes, FanOut::decode);
        let deadline_ms =
            fields.optional("deadline", DAY, mistakes, |node, m| quantity(node, m, &DURATION, &DEADLINE_MS));
        let stages = mistakes.flawless(|m| {
            fields.required("stages", "a list of one stage", m, |node, m| {
                Stage::decode_all(node, m, source.as_ref())
            })
        });
        fan_out.check_stages(stages.as_deref().unwrap_or_default(), mistakes);
        let stage = stages.as_ref().and_then(|stages| stages.first());
        let merge = Merge::decode(&fields.section("merge"), mistakes, source.as_ref(), stage);
        let on_error = fields.optional("on_error", OnError::DEFAULT, mistakes, OnError::decode);
        Some(Self {
            name: name?,
            source: source?,
            split,
            fan_out,
            deadline_ms,
            stages: stages?,
            merge: merge?,
            on_error,
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
    /// As [`Pipeline::from_value`]: what is read is checked like any other document.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_document(&value).map_err(D::Error::custom)
    }
}

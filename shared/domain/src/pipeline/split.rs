//! How a source becomes chunks, and how chunks reach workers.

use std::ops::RangeInclusive;

use serde_json::{Value as Json, json};

use super::source::{Format, Source};
use crate::document::Mistakes;
use crate::document::decode::{Fields, Node, Schema, quantity, whole, word};
use crate::document::quantity::{GIB, KIB, MIB, SIZE};
use crate::document::value::Value;
use crate::map::MAX_BATCH_CHUNKS;

use super::eks::RunOn;
use super::rate::Order;
use super::stage::Stage;
use super::upstream::Depends;

const SCHEMA: Schema = Schema { built: &["size", "records"], not_yet: &[] };
/// The word for a Distributed Map.
const MAP: &str = "distributed-map";
const FAN_OUT_SCHEMA: Schema = Schema { built: &[MAP], not_yet: &[] };
const MAP_SCHEMA: Schema = Schema { built: &["batch"], not_yet: &[] };

const SIZE_BYTES: RangeInclusive<u64> = KIB..=5 * GIB;
const RECORDS: RangeInclusive<u64> = 1..=1_000_000_000;
const BATCH: RangeInclusive<u32> = 1..=MAX_BATCH_CHUNKS;

/// Where a source is cut into chunks; always between records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// About this many bytes a chunk, up to the end of the record there.
    SizeBytes(u64),
    /// At most this many records a chunk.
    Records(u64),
    /// At most this many objects a chunk, and about this many bytes of theirs; at least one object.
    Batch {
        /// Objects.
        records: u64,
        /// Bytes of those objects.
        size_bytes: u64,
    },
}

/// How chunks reach workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FanOut {
    /// A message a chunk.
    Sqs,
    /// A Distributed Map of Step Functions, over batches of chunks.
    Map {
        /// How many chunks a batch has; none means as many as leave no lane without work.
        batch: Option<u32>,
    },
}

impl Split {
    /// What a document without `split` says: 64 MiB of an object; 100 objects or items; 1,000 ids.
    pub(super) fn default_of(source: Option<&Source>) -> Self {
        match source.map(|source| source.format) {
            Some(Format::Objects | Format::Items) => Self::Records(100),
            Some(Format::Ids(_)) => Self::Records(1_000),
            _ => Self::SizeBytes(64 * MIB),
        }
    }

    pub(super) fn decode(node: &Node<'_>, mistakes: &mut Mistakes, source: Option<&Source>) -> Option<Self> {
        let format = source.map(|source| source.format);
        let fields = Fields::open(node, &SCHEMA, mistakes)?;
        let size = fields.get("size").map(|node| quantity(&node, mistakes, &SIZE, &SIZE_BYTES));
        let records = fields.get("records").map(|node| whole(&node, mistakes, &RECORDS));
        let found = match (size, records) {
            (Some(Some(size_bytes)), Some(Some(records))) if format == Some(Format::Objects) => {
                return Some(Self::Batch { records, size_bytes });
            }
            (Some(_), None) if matches!(format, Some(Format::Ids(_))) => {
                mistakes.add(fields.path_of("size"), "a size", "records: ids have no size");
                return None;
            }
            (Some(size), None) => return size.map(Self::SizeBytes),
            (None, Some(records)) => return records.map(Self::Records),
            (Some(_), Some(_)) => "both size and records",
            (None, None) => "neither size nor records",
        };
        mistakes.add(&node.path, found, "exactly one of size, records");
        None
    }

    pub(super) fn to_document(self) -> Json {
        match self {
            Self::SizeBytes(size) => json!({ "size": SIZE.format(size) }),
            Self::Records(records) => json!({ "records": records }),
            Self::Batch { records, size_bytes } => {
                json!({ "records": records, "size": SIZE.format(size_bytes) })
            }
        }
    }
}

impl FanOut {
    /// Decodes a word, or a mapping of the word to its options.
    pub(super) fn decode(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            return word(node, mistakes, &[("sqs", Self::Sqs), (MAP, Self::Map { batch: None })], &[]);
        }
        let fields = Fields::open(node, &FAN_OUT_SCHEMA, mistakes)?;
        fields.required(MAP, "a mapping of batch", mistakes, |node, m| {
            let options = Fields::open(node, &MAP_SCHEMA, m)?;
            let batch = options.optional("batch", None, m, |node, m| whole(node, m, &BATCH).map(Some));
            Some(Self::Map { batch })
        })
    }

    /// Batches are of workers that are functions: elsewhere chunks are divided into launches.
    pub(super) fn check_stages(self, stages: &[Stage], mistakes: &mut Mistakes) {
        if let Self::Map { batch: Some(batch) } = self
            && stages.iter().all(|stage| matches!(stage.run_on, RunOn::Eks(_)))
        {
            let allowed = "nothing: only a stage with `run_on: lambda` has batches";
            mistakes.add(format!("fan_out.{MAP}.batch"), format!("the number {batch}"), allowed);
        }
        if self == Self::Sqs {
            return;
        }
        for (place, stage) in stages.iter().enumerate() {
            let path = format!("stages[{place}]");
            if stage.upstream.is_some_and(|upstream| upstream.by == Depends::NToN) {
                let found = "n_to_n into a Map, which begins with all of a stage at once";
                mistakes.add(format!("{path}.depends"), found, "all, or `fan_out: sqs`");
            }
            if stage.order == Order::Sequential {
                let found = "sequential in a Map, which keeps no order";
                mistakes.add(format!("{path}.order"), found, "parallel, or `fan_out: sqs`");
            }
        }
    }

    pub(super) fn to_document(self) -> Json {
        match self {
            Self::Sqs => json!("sqs"),
            Self::Map { batch: None } => json!(MAP),
            Self::Map { batch: Some(batch) } => json!({ MAP: { "batch": batch } }),
        }
    }
}

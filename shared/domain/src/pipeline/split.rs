//! How a source becomes chunks, and how chunks reach workers.

use std::ops::RangeInclusive;

use serde_json::{Value as Json, json};

use super::source::{Format, Source};
use crate::document::Mistakes;
use crate::document::decode::{Fields, Node, Schema, quantity, whole, word};
use crate::document::quantity::{GIB, KIB, MIB, SIZE};

const SCHEMA: Schema = Schema { built: &["size", "records"], not_yet: &[] };

const SIZE_BYTES: RangeInclusive<u64> = KIB..=5 * GIB;
const RECORDS: RangeInclusive<u64> = 1..=1_000_000_000;

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
    pub(super) fn decode(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        word(node, mistakes, &[("sqs", Self::Sqs)], &["distributed-map"])
    }

    pub(super) fn to_document(self) -> Json {
        match self {
            Self::Sqs => json!("sqs"),
        }
    }
}

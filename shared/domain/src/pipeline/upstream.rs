//! What a stage that is not the first reads: the parts of a stage before it.

use std::ops::RangeInclusive;

use serde_json::{Map, Value as Json, json};

use super::stage::Stage;
use crate::{
    ChunkIndex,
    document::{
        Mistakes,
        decode::{Fields, Node, Schema, text, whole, word},
        value::Value,
    },
};

const DEPENDS: Schema = Schema { built: &["stage", "by"], not_yet: &[] };
const AGGREGATE: Schema = Schema { built: &["fan_in"], not_yet: &[] };
const BY: &[(&str, Depends)] = &[("all", Depends::All), ("n_to_n", Depends::NToN)];
const FAN_IN: RangeInclusive<u32> = 2..=10_000;

/// What a stage reads that is not the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upstream {
    /// The stage whose parts are read: its place in the list, before this one's.
    pub stage: usize,
    /// When a chunk may be begun.
    pub by: Depends,
    /// How many parts a chunk reads, in order; 1 unless the stage aggregates.
    pub fan_in: u32,
}

/// When a chunk of a stage may be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depends {
    /// Once all chunks of the stage before have ended.
    All,
    /// As soon as the chunk of the same index of the stage before is done.
    NToN,
}

impl Upstream {
    /// How many chunks a stage has that reads `chunks` parts.
    pub fn chunks(self, chunks: u32) -> u32 {
        chunks.div_ceil(self.fan_in)
    }

    /// Which of `chunks` parts a chunk reads, half-open; none for a chunk that the stage does not have.
    pub fn inputs_of(self, chunk: ChunkIndex, chunks: u32) -> std::ops::Range<u32> {
        let start = chunk.0.saturating_mul(self.fan_in).min(chunks);
        start..start.saturating_add(self.fan_in).min(chunks)
    }

    /// The chunk that reads part `input`.
    pub fn reader_of(self, input: ChunkIndex) -> ChunkIndex {
        ChunkIndex(input.0 / self.fan_in)
    }

    /// Decodes `depends` and `aggregate` of a stage behind `before`, which may be none.
    pub(super) fn decode(fields: &Fields<'_>, before: &[Stage], mistakes: &mut Mistakes) -> Option<Self> {
        let Some(last) = before.len().checked_sub(1) else {
            let allowed = "nothing: the first stage reads the source";
            fields.refuse_all(&["depends", "aggregate"], allowed, mistakes);
            return None;
        };
        let fan_in = fields.optional("aggregate", 1, mistakes, |node, m| {
            let fields = Fields::open(node, &AGGREGATE, m)?;
            fields.required("fan_in", "a whole number from 2 to 10000", m, |node, m| whole(node, m, &FAN_IN))
        });
        let (stage, by) = fields
            .optional("depends", (last, Depends::All), mistakes, |node, m| depends(node, before, last, m));
        if by == Depends::NToN && fan_in > 1 {
            let found = "n_to_n on a stage that aggregates, and so has another size than the stage before";
            mistakes.add(fields.path_of("depends"), found, "all");
        }
        Some(Self { stage, by, fan_in })
    }

    /// Writes the fields that [`Upstream::decode`] reads. `name` is that of the stage whose parts are read.
    pub(super) fn write(self, name: &str, stage: &mut Map<String, Json>) {
        let by = BY.iter().find(|(_, by)| *by == self.by).map_or("all", |(word, _)| word);
        stage.insert("depends".into(), json!({ "stage": name, "by": by }));
        if self.fan_in > 1 {
            stage.insert("aggregate".into(), json!({ "fan_in": self.fan_in }));
        }
    }
}

/// A word of its own is of the stage before; a mapping names another.
fn depends(
    node: &Node<'_>,
    before: &[Stage],
    last: usize,
    mistakes: &mut Mistakes,
) -> Option<(usize, Depends)> {
    if !matches!(node.value, Value::Map(_)) {
        return Some((last, word(node, mistakes, BY, &[])?));
    }
    let fields = Fields::open(node, &DEPENDS, mistakes)?;
    let by = fields.optional("by", Depends::All, mistakes, |node, m| word(node, m, BY, &[]));
    let stage = fields.optional("stage", last, mistakes, |node, m| {
        let names: Vec<&str> = before.iter().map(|stage| stage.name.as_str()).collect();
        let allowed =
            format!("a stage that comes before in the list, so that there is no cycle: {}", names.join(", "));
        let name = text(node, m, &allowed)?;
        names.iter().position(|known| *known == name).or_else(|| node.refuse(m, allowed))
    });
    Some((stage, by))
}

//! A source that is no object: a range of ids.

use std::ops::RangeInclusive;

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::{
    ByteRange, RunId,
    document::{
        Mistakes,
        decode::{Fields, Node, Schema, whole},
    },
};

const SCHEMA: Schema = Schema { built: &["from", "to", "count", "random"], not_yet: &[] };
const RANDOM: Schema = Schema { built: &["least", "most"], not_yet: &[] };
const ALLOWED: &str = "exactly one of `to` (perhaps with `from`), count, random";

/// Ids are at most this: they are counted in JSON's numbers.
const MOST: u64 = 1 << 53;
const ID: RangeInclusive<u64> = 0..=MOST;
const COUNT: RangeInclusive<u64> = 1..=MOST;

/// Which ids a run has, each a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdRange {
    /// From `from` to `to`, both included.
    Between {
        /// The first id.
        from: u64,
        /// The last id; not before the first.
        to: u64,
    },
    /// From 1 to a number that each run draws for itself.
    Random {
        /// The least number of ids, at least 1.
        least: u64,
        /// The most.
        most: u64,
    },
}

impl IdRange {
    /// The ids of `run`, half-open. Equal runs have equal ids.
    pub fn of(self, run: &RunId) -> ByteRange {
        match self {
            Self::Between { from, to } => ByteRange::new(from, to + 1),
            Self::Random { least, most } => {
                let hash = Sha256::digest(run.as_str());
                let drawn = u64::from_be_bytes(hash[..8].try_into().expect("a hash has more bytes"));
                ByteRange::new(1, least + drawn % (most - least + 1) + 1)
            }
        }
    }

    pub(super) fn decode(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let fields = Fields::open(node, &SCHEMA, mistakes)?;
        let from = fields.optional("from", 1, mistakes, |node, m| whole(node, m, &ID));
        let to = fields.get("to").map(|node| whole(&node, mistakes, &ID));
        let count = fields.get("count").map(|node| whole(&node, mistakes, &COUNT));
        let random = fields.get("random").map(|node| Self::decode_random(&node, mistakes));
        match (to, count, random) {
            (Some(to), None, None) => {
                let to = to?;
                if to < from {
                    mistakes.add(
                        fields.path_of("to"),
                        format!("the number {to}"),
                        format!("at least `from`, {from}"),
                    );
                }
                Some(Self::Between { from, to })
            }
            (None, Some(count), None) if fields.get("from").is_none() => {
                Some(Self::Between { from: 1, to: count? })
            }
            (None, None, Some(random)) if fields.get("from").is_none() => random,
            _ => node.refuse(mistakes, ALLOWED),
        }
    }

    fn decode_random(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let fields = Fields::open(node, &RANDOM, mistakes)?;
        let allowed = format!("a whole number from 1 to {MOST}");
        let least = fields.required("least", &allowed, mistakes, |node, m| whole(node, m, &COUNT));
        let most = fields.required("most", &allowed, mistakes, |node, m| whole(node, m, &COUNT));
        let (least, most) = (least?, most?);
        if most < least {
            mistakes.add(
                fields.path_of("most"),
                format!("the number {most}"),
                format!("at least `least`, {least}"),
            );
        }
        Some(Self::Random { least, most })
    }

    pub(super) fn to_document(self) -> Json {
        match self {
            Self::Between { from, to } => json!({ "from": from, "to": to }),
            Self::Random { least, most } => json!({ "random": { "least": least, "most": most } }),
        }
    }
}

/// Bytes of the ids of a range, each written in decimal digits as a line of its own.
pub fn lines_bytes(ids: ByteRange) -> u64 {
    let mut bytes = 0;
    let (mut digits, mut power) = (1, 10_u64);
    let mut start = ids.start;
    while start < ids.end {
        let end = ids.end.min(power);
        if start < end {
            bytes += (end - start) * (digits + 1);
            start = end;
        }
        digits += 1;
        power = power.saturating_mul(10);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Origin;

    proptest! {
        #[test]
        fn the_lines_of_ids_are_as_long_as_they_are_written(start in 0u64..200_000, len in 0u64..2_000) {
            let written: usize = (start..start + len).map(|id| id.to_string().len() + 1).sum();
            prop_assert_eq!(lines_bytes(ByteRange::new(start, start + len)), written as u64);
        }

        #[test]
        fn a_run_draws_within_bounds_and_always_the_same(key in "[a-z]{1,9}", least in 1u64..9_000, more in 0u64..9_000) {
            let run = RunId::derive("p", &Origin::Submission { idempotency_key: &key });
            let range = IdRange::Random { least, most: least + more };
            let ids = range.of(&run);
            prop_assert_eq!(ids.start, 1);
            prop_assert!((least..=least + more).contains(&ids.len()));
            prop_assert_eq!(range.of(&run), ids);
        }
    }
}

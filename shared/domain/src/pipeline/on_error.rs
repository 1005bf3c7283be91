//! What a run does about bad records, failed chunks and a replaced source.

use std::ops::RangeInclusive;

use serde_json::{Value as Json, json};

use crate::document::Mistakes;
use crate::document::decode::{Fields, Node, Schema, whole, word};
use crate::document::value::Value;

const SCHEMA: Schema =
    Schema { built: &["max_bad_records", "tolerate_failed_chunks", "source_changed"], not_yet: &[] };

const BAD_RECORDS: RangeInclusive<u64> = 0..=1_000_000_000_000;
/// As many as a stage may have chunks.
const FAILED_CHUNKS: RangeInclusive<u64> = 0..=1_000_000;

/// What a run does about bad records, failed chunks and a replaced source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnError {
    /// How many bad records the run may have and still succeed; 0 by default: any fails it.
    pub max_bad_records: u64,
    /// How many chunks may fail and the run still succeed in part.
    pub tolerate_failed_chunks: Tolerance,
    /// How a run ends whose source was replaced while it was read.
    pub source_changed: SourceChanged,
}

/// How many of a run's chunks may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tolerance {
    /// At most this many.
    Count(u64),
    /// At most this share of them, in whole percent, 0 to 100.
    Percent(u32),
}

/// How a run ends whose source was replaced while it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceChanged {
    /// As superseded by the run of the newer object.
    Supersede,
    /// As failed.
    Fail,
}

impl Tolerance {
    /// Whether a run of `chunks` chunks may have this many failed ones.
    pub fn permits(self, failed: u64, chunks: u64) -> bool {
        match self {
            Self::Count(count) => failed <= count,
            Self::Percent(percent) => u128::from(failed) * 100 <= u128::from(chunks) * u128::from(percent),
        }
    }

    /// The most failed chunks that a run of `chunks` chunks may have.
    pub fn most_of(self, chunks: u32) -> u32 {
        match self {
            Self::Count(count) => u32::try_from(count).unwrap_or(u32::MAX).min(chunks),
            Self::Percent(percent) => {
                let most = u64::from(chunks) * u64::from(percent) / 100;
                u32::try_from(most).unwrap_or(u32::MAX)
            }
        }
    }

    fn decode(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let allowed = "a whole number from 0 to 1000000, or from 0% to 100%";
        match node.value {
            Value::Integer(count) => match u64::try_from(*count) {
                Ok(count) if FAILED_CHUNKS.contains(&count) => Some(Self::Count(count)),
                _ => node.refuse(mistakes, allowed),
            },
            Value::Text(text) => match text.strip_suffix('%').and_then(percent) {
                Some(percent) => Some(Self::Percent(percent)),
                None => node.refuse(mistakes, allowed),
            },
            _ => node.refuse(mistakes, allowed),
        }
    }
}

/// A percentage of at most three digits; `parse` alone would take a sign.
fn percent(digits: &str) -> Option<u32> {
    let plain = digits.len() <= 3 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|percent| plain && *percent <= 100)
}

impl OnError {
    /// What a document without `on_error` says: nothing is tolerated.
    pub(super) const DEFAULT: Self = Self {
        max_bad_records: 0,
        tolerate_failed_chunks: Tolerance::Count(0),
        source_changed: SourceChanged::Supersede,
    };

    pub(super) fn decode(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let fields = Fields::open(node, &SCHEMA, mistakes)?;
        let max_bad_records =
            fields.optional("max_bad_records", 0, mistakes, |node, m| whole(node, m, &BAD_RECORDS));
        let tolerate_failed_chunks =
            fields.optional("tolerate_failed_chunks", Tolerance::Count(0), mistakes, Tolerance::decode);
        let endings = [("supersede", SourceChanged::Supersede), ("fail", SourceChanged::Fail)];
        let source_changed =
            fields.optional("source_changed", SourceChanged::Supersede, mistakes, |node, m| {
                word(node, m, &endings, &[])
            });
        Some(Self { max_bad_records, tolerate_failed_chunks, source_changed })
    }

    pub(super) fn to_document(self) -> Json {
        let tolerance = match self.tolerate_failed_chunks {
            Tolerance::Count(count) => json!(count),
            Tolerance::Percent(percent) => json!(format!("{percent}%")),
        };
        let ending = match self.source_changed {
            SourceChanged::Supersede => "supersede",
            SourceChanged::Fail => "fail",
        };
        json!({
            "max_bad_records": self.max_bad_records,
            "tolerate_failed_chunks": tolerance,
            "source_changed": ending,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tolerance_permits_up_to_its_count_or_share() {
        assert!(Tolerance::Count(0).permits(0, 0));
        assert!(!Tolerance::Count(2).permits(3, 1_000));
        assert!(Tolerance::Percent(5).permits(5, 100));
        assert!(!Tolerance::Percent(5).permits(5, 99));
        assert!(Tolerance::Percent(100).permits(u64::MAX, u64::MAX));
        assert!(Tolerance::Percent(0).permits(0, 7));
    }
}

//! From what a pipeline says of its source to what the records crate reads.

use fanfold_domain::pipeline::{Format, Source};
use fanfold_records::Dialect;

/// How the records of such a source are told apart.
pub fn of(source: &Source) -> Dialect {
    match source.format {
        Format::Csv { delimiter, quote, .. } => Dialect::Csv { delimiter, quote },
        Format::Lines => Dialect::Lines,
        Format::Jsonl => Dialect::Jsonl,
        Format::Fixed { length_bytes } => Dialect::Fixed { length: length_bytes },
    }
}

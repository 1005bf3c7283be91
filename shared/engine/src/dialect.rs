//! From what a pipeline says of its source to what the records crate reads.

use fanfold_domain::pipeline::{Format, Source};
use fanfold_records::Dialect;

/// How the records of such a source are told apart.
pub fn of(source: &Source) -> Dialect {
    match source.format {
        Format::Csv { delimiter, quote, .. } => Dialect::Csv { delimiter, quote },
        Format::Lines | Format::Ids(_) => Dialect::Lines,
        Format::Jsonl | Format::Objects | Format::Items => Dialect::Jsonl,
        Format::Fixed { length_bytes } => Dialect::Fixed { length: length_bytes },
    }
}

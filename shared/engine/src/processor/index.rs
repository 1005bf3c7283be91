//! `index`: one line a record, `offset,length,fields`, which makes boundaries visible.

use std::io::Write;

use fanfold_records::{Dialect, count_fields};

use super::{Processor, Reason, Record};

/// Offset from the source's first byte, length in bytes without the line end, number of fields (1 but for
/// csv). The header is not listed.
pub(super) struct Index {
    dialect: Dialect,
}

impl Index {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect }
    }
}

impl Processor for Index {
    fn record(&mut self, record: Record<'_>, out: &mut Vec<u8>) -> Result<(), Reason> {
        let fields = match self.dialect {
            Dialect::Csv { delimiter, quote } => count_fields(record.body, delimiter, quote),
            Dialect::Lines | Dialect::Jsonl | Dialect::Fixed { .. } => 1,
        };
        writeln!(out, "{},{},{fields}", record.offset, record.body.len())
            .expect("writing to a Vec cannot fail");
        Ok(())
    }
}

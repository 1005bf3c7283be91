//! `copy`: the output is the input, byte for byte.

use super::{Processor, Reason, Record};

pub(super) struct Copy;

impl Processor for Copy {
    fn record(&mut self, record: Record<'_>, out: &mut Vec<u8>) -> Result<(), Reason> {
        out.extend_from_slice(record.raw);
        Ok(())
    }

    fn between(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(raw);
    }
}

//! A pass over a chunk that writes nothing: the second one, where a command, at its end, said which records were
//! bad, and the only one, where the chunk is copied as it is.

use std::{iter::Peekable, vec::IntoIter};

use crate::processor::{LateVerdict, Processor, Reason, Record};

/// Stands in for the processor: it knows which of the records it is given are bad, and writes nothing.
pub(super) struct Verdicts {
    verdicts: Peekable<IntoIter<LateVerdict>>,
    given: u64,
}

impl Verdicts {
    /// `verdicts` are in order, one a record.
    pub(super) fn new(verdicts: Vec<LateVerdict>) -> Self {
        Self { verdicts: verdicts.into_iter().peekable(), given: 0 }
    }
}

impl Processor for Verdicts {
    fn record(&mut self, _record: Record<'_>, _out: &mut Vec<u8>) -> Result<(), Reason> {
        self.given += 1;
        let given = self.given;
        match self.verdicts.next_if(|verdict| verdict.record == given) {
            Some(verdict) => Err(verdict.reason.into()),
            None => Ok(()),
        }
    }
}

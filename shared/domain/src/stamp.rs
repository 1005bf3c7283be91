//! What an output says of itself: which run wrote it. It fences older writers off, and keeps an output from
//! being taken for a source.

use std::collections::BTreeMap;

use crate::{Epoch, Generation, Run, RunId};

const RUN: &str = "fanfold-run";
const GENERATION: &str = "fanfold-generation";
const EPOCH: &str = "fanfold-epoch";

/// The writer of an output or of a list of bad records, as its metadata names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The run.
    pub run: RunId,
    /// Its generation.
    pub generation: Generation,
    /// The epoch of its ownership of the output.
    pub epoch: Epoch,
}

/// What an object under an output's name means to a run that is about to write there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// This run wrote it, in this generation: done.
    Ours,
    /// A run that took the output later wrote it: this run is superseded.
    Newer,
    /// It may be replaced: an older run's, a foreign writer's, or nothing.
    Replaceable,
}

impl Stamp {
    /// The stamp of what `run` writes.
    pub fn of(run: &Run) -> Self {
        Self { run: run.id.clone(), generation: run.generation, epoch: run.epoch }
    }

    /// Writes the stamp as metadata.
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        [
            (RUN, self.run.to_string()),
            (GENERATION, self.generation.to_string()),
            (EPOCH, self.epoch.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Reads a stamp from metadata; `None` if it has none that is whole.
    pub fn read(metadata: &BTreeMap<String, String>) -> Option<Self> {
        Some(Self {
            run: metadata.get(RUN)?.parse().ok()?,
            generation: Generation(metadata.get(GENERATION)?.parse().ok()?),
            epoch: Epoch(metadata.get(EPOCH)?.parse().ok()?),
        })
    }

    /// What an object with `there` as its metadata means to the writer with this stamp.
    pub fn judge(&self, there: Option<&BTreeMap<String, String>>) -> Standing {
        match there.and_then(Self::read) {
            Some(other) if other.run == self.run && other.generation == self.generation => Standing::Ours,
            Some(other) if other.epoch > self.epoch => Standing::Newer,
            _ => Standing::Replaceable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Origin;

    fn stamp(run: &str, epoch: u64) -> Stamp {
        let run = RunId::derive("p", &Origin::Submission { idempotency_key: run });
        Stamp { run, generation: Generation(0), epoch: Epoch(epoch) }
    }

    #[test]
    fn a_later_owner_is_never_overwritten() {
        let own = stamp("a", 3);
        assert_eq!(Stamp::read(&own.to_metadata()), Some(own.clone()));
        assert_eq!(own.judge(Some(&own.to_metadata())), Standing::Ours);
        assert_eq!(own.judge(Some(&stamp("b", 4).to_metadata())), Standing::Newer);
        assert_eq!(own.judge(Some(&stamp("b", 2).to_metadata())), Standing::Replaceable);
        assert_eq!(own.judge(Some(&BTreeMap::new())), Standing::Replaceable);
        assert_eq!(own.judge(None), Standing::Replaceable);
        let redriven = Stamp { generation: Generation(1), ..own.clone() };
        assert_eq!(redriven.judge(Some(&own.to_metadata())), Standing::Replaceable);
    }
}

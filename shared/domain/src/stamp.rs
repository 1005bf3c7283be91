//! What an output says of itself: which run wrote it, and where. It fences older writers off, keeps the lists of two
//! outputs apart, and keeps an output, but no copy of one, from being taken for a source.

use std::collections::BTreeMap;

use crate::{Epoch, Generation, ObjectName, Run, RunId};

const RUN: &str = "fanfold-run";
const GENERATION: &str = "fanfold-generation";
const EPOCH: &str = "fanfold-epoch";
const OBJECT: &str = "fanfold-object";
const OUTPUT: &str = "fanfold-output";

/// The writer of an output or of a list of bad records, as its metadata names it.
///
/// Names are digests ([`ObjectName::digest`]): S3 takes 2 KiB of metadata, in ASCII, and a key may be 1 KiB of
/// anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The run.
    pub run: RunId,
    /// Its generation.
    pub generation: Generation,
    /// The epoch of its ownership of the output.
    pub epoch: Epoch,
    /// The name that it was written under: a copy has another, and the same metadata.
    pub object: String,
    /// The run's output: the name itself, or that which a list belongs to. Epochs are those of one output.
    pub output: String,
}

/// What an object under an output's name means to a run that is about to write there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// This run wrote it, in this generation: done.
    Ours,
    /// A run that took the output later wrote it: this run is superseded.
    Newer,
    /// That run wrote it, and it belongs to another output: two pipelines write under one name.
    OfAnother(RunId),
    /// It may be replaced: an older run's, a foreign writer's, or nothing.
    Replaceable,
}

impl Stamp {
    /// The stamp of what `run` writes under `object`: its output, or its list of bad records.
    pub fn of(run: &Run, object: &ObjectName) -> Self {
        Self {
            run: run.id.clone(),
            generation: run.generation,
            epoch: run.epoch,
            object: object.digest(),
            output: run.output.digest(),
        }
    }

    /// Writes the stamp as metadata.
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        [
            (RUN, self.run.to_string()),
            (GENERATION, self.generation.to_string()),
            (EPOCH, self.epoch.to_string()),
            (OBJECT, self.object.clone()),
            (OUTPUT, self.output.clone()),
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
            object: metadata.get(OBJECT)?.clone(),
            output: metadata.get(OUTPUT)?.clone(),
        })
    }

    /// What an object with `there` as its metadata means to the writer with this stamp, under whose name it stands.
    pub fn judge(&self, there: Option<&BTreeMap<String, String>>) -> Standing {
        match there.and_then(Self::read) {
            // A copy of what was written elsewhere: a foreign writer's.
            Some(other) if other.object != self.object => Standing::Replaceable,
            Some(other) if other.output != self.output => Standing::OfAnother(other.run),
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
        let digest = ObjectName::new("out", "a_Output").digest();
        Stamp { run, generation: Generation(0), epoch: Epoch(epoch), object: digest.clone(), output: digest }
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
    }

    #[test]
    fn the_epochs_of_two_outputs_are_not_compared() {
        let own = stamp("a", 3);
        for epoch in [1, 9] {
            let other = Stamp { output: ObjectName::new("out", "b_Output").digest(), ..stamp("b", epoch) };
            assert_eq!(own.judge(Some(&other.to_metadata())), Standing::OfAnother(other.run));
        }
    }

    #[test]
    fn a_copy_of_another_object_is_a_foreign_writers() {
        let own = stamp("a", 3);
        let elsewhere = ObjectName::new("out", "elsewhere").digest();
        for run in ["a", "b"] {
            let copy = Stamp { object: elsewhere.clone(), ..stamp(run, 9) };
            assert_eq!(own.judge(Some(&copy.to_metadata())), Standing::Replaceable);
        }
    }
}

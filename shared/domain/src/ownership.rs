//! Who may write an output key, and who may take it.

use serde::{Deserialize, Serialize};

use crate::{Epoch, ObjectName, Run, RunId, Sequencer};

/// Sources whose newest event an ownership remembers. Those that can share one output's key have the same key in
/// several buckets, or pipelines whose templates meet; more than a few is a mistake, and an item must stay small.
const MOST_SOURCES: usize = 16;

/// Who may write an output key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// The run that took it last.
    pub run: RunId,
    /// How many times it was taken.
    pub epoch: Epoch,
    /// The run that it was taken from, if another owned it.
    pub former: Option<RunId>,
    /// The newest event of each source whose runs ever took it; the one whose event took it last is first.
    ///
    /// What began the runs in between does not matter: a submission has no place among the events, and must not
    /// open the door to one that was turned away before it.
    #[serde(default)]
    pub newest: Vec<Newest>,
}

/// The newest event of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Newest {
    /// The source.
    pub source: ObjectName,
    /// The highest sequencer of its events.
    pub sequencer: Sequencer,
}

/// What becomes of an output that a run wants to own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taking {
    /// The run owns it already: nothing changes.
    Owned(Ownership),
    /// It is to be owned like this from now on.
    Take(Ownership),
    /// The run owned it, and this owner took it from the run: the run is superseded. It never takes the output back.
    Lost(Ownership),
    /// A run of a newer event of the same source took it before: the run is superseded without having owned it. The
    /// owner may be a third run by now.
    Outdated(Ownership),
}

impl Ownership {
    /// Decides whether `run` becomes the owner of its output, which `old` owns.
    ///
    /// Runs take an output in the order of their creation, each at most once: a run with an epoch had its turn. Only
    /// events of one source have another order, that of their sequencers; any other newcomer takes over.
    pub fn taking(old: Option<&Self>, run: &Run) -> Taking {
        if let Some(old) = old {
            if old.run == run.id {
                // Earlier versions wrote the ownership first and the run second, and may have died in between.
                let is_known = old.epoch == run.epoch;
                return if is_known { Taking::Owned(old.clone()) } else { Taking::Take(old.clone()) };
            }
            if run.epoch > Epoch(0) {
                return Taking::Lost(old.clone());
            }
            if old.is_newer_than(&run.source.object, run.sequencer.as_ref()) {
                return Taking::Outdated(old.clone());
            }
        }
        let mut newest = old.map_or_else(Vec::new, |old| old.newest.clone());
        if let Some(sequencer) = &run.sequencer {
            let source = run.source.object.clone();
            newest.retain(|newest| newest.source != source);
            newest.insert(0, Newest { source, sequencer: sequencer.clone() });
            newest.truncate(MOST_SOURCES);
        }
        Taking::Take(Self {
            run: run.id.clone(),
            epoch: Epoch(old.map_or(0, |old| old.epoch.0) + 1),
            former: old.map(|old| old.run.clone()),
            newest,
        })
    }

    /// The run as it is saved in the transaction that makes it the owner.
    #[must_use]
    pub fn noted_in(&self, run: &Run) -> Run {
        Run { epoch: self.epoch, former: self.former.clone(), ..run.clone() }
    }

    fn is_newer_than(&self, source: &ObjectName, sequencer: Option<&Sequencer>) -> bool {
        let newest = self.newest.iter().find(|newest| newest.source == *source);
        newest.zip(sequencer).is_some_and(|(newest, sequencer)| newest.sequencer > *sequencer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ETag, Origin, SourcePin, Timestamp, pipeline::Pipeline};

    /// A run that owns nothing: its name, its source, and a sequencer if an event began it.
    fn run(name: &str, (key, sequencer): (&str, Option<&str>)) -> Run {
        let id = RunId::derive("p", &Origin::Submission { idempotency_key: name });
        let document = "{pipeline: p, source: {format: lines}, stages: [{name: s, process: copy}]}";
        let pipeline = Pipeline::parse(document).expect("it is a pipeline");
        let object = ObjectName::new("in", key);
        let source = SourcePin { object, version: None, etag: ETag::new("e"), size_bytes: 1 };
        let [output, errors] = ["out", "errors"].map(|key| ObjectName::new("out", key));
        let run = Run::new(id, pipeline, source, output, errors, Timestamp(0));
        Run { sequencer: sequencer.map(Sequencer::new), ..run }
    }

    /// The ownership after these takers, each of a source, with a sequencer if an event began it.
    fn taken(takers: &[(&str, Option<&str>)]) -> Ownership {
        let mut owner = None;
        for (i, taker) in takers.iter().enumerate() {
            match offer(owner.as_ref(), i, *taker) {
                Taking::Take(taken) => owner = Some(taken),
                other => panic!("{taker:?}: {other:?}"),
            }
        }
        owner.expect("somebody took it")
    }

    fn offer(old: Option<&Ownership>, i: usize, taker: (&str, Option<&str>)) -> Taking {
        Ownership::taking(old, &run(&i.to_string(), taker))
    }

    #[test]
    fn epochs_begin_at_one_and_rise() {
        let first = taken(&[("a", Some("05"))]);
        assert_eq!((first.epoch, &first.former), (Epoch(1), &None));
        let owner = first.noted_in(&run("0", ("a", Some("05"))));
        assert_eq!(Ownership::taking(Some(&first), &owner), Taking::Owned(first.clone()));
        let next = taken(&[("a", Some("05")), ("a", Some("06"))]);
        let [zero, one] = ["0", "1"].map(|name| run(name, ("a", None)).id);
        assert_eq!((next.epoch, next.run, next.former), (Epoch(2), one, Some(zero)));
    }

    #[test]
    fn a_run_that_lost_its_output_never_takes_it_back() {
        let first = taken(&[("a", None)]);
        let loser = first.noted_in(&run("0", ("a", None)));
        let second = taken(&[("a", None), ("a", None)]);
        assert_eq!(Ownership::taking(Some(&second), &loser), Taking::Lost(second.clone()));
        let newest = Run { sequencer: Some(Sequencer::new("09")), ..loser };
        assert_eq!(Ownership::taking(Some(&second), &newest), Taking::Lost(second));
    }

    /// As versions left it that wrote ownership and run one after the other.
    #[test]
    fn an_owner_that_does_not_know_its_epoch_is_told_it() {
        let owner = taken(&[("a", None), ("b", Some("05"))]);
        let unaware = run("1", ("b", Some("05")));
        assert_eq!(Ownership::taking(Some(&owner), &unaware), Taking::Take(owner.clone()));
        let told = owner.noted_in(&unaware);
        assert_eq!((told.epoch, &told.former), (owner.epoch, &owner.former));
    }

    #[test]
    fn only_an_older_event_of_the_same_key_is_turned_away() {
        let owner = taken(&[("a", Some("05"))]);
        assert_eq!(offer(Some(&owner), 9, ("a", Some("04"))), Taking::Outdated(owner.clone()));
        for taker in [("a", Some("05")), ("a", Some("06")), ("a", None), ("b", Some("04")), ("b", None)] {
            assert!(matches!(offer(Some(&owner), 9, taker), Taking::Take(_)), "{taker:?}");
        }
    }

    #[test]
    fn an_older_event_is_turned_away_whoever_took_the_output_in_between() {
        let between: [&[(&str, Option<&str>)]; 4] = [
            &[("a", None)],
            &[("b", None)],
            &[("b", Some("01"))],
            &[("a", None), ("b", Some("09")), ("a", None)],
        ];
        for between in between {
            let owner = taken(&[&[("a", Some("05"))], between].concat());
            assert_eq!(
                offer(Some(&owner), 9, ("a", Some("04"))),
                Taking::Outdated(owner.clone()),
                "{between:?}"
            );
            assert!(matches!(offer(Some(&owner), 9, ("a", Some("06"))), Taking::Take(_)), "{between:?}");
        }
    }

    #[test]
    fn an_ownership_stays_small() {
        let keys: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        let takers: Vec<_> = keys.iter().map(|key| (key.as_str(), Some("05"))).collect();
        let owner = taken(&takers);
        assert_eq!(owner.newest.len(), MOST_SOURCES);
        assert_eq!(owner.newest[0].source, ObjectName::new("in", "99"));
    }
}

//! Who may write an output key, and who may take it.

use serde::{Deserialize, Serialize};

use crate::{Epoch, ObjectName, RunId, Sequencer};

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

/// What becomes of an output that a run wants to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taking {
    /// The run owns it already: nothing changes.
    Owned(Ownership),
    /// A run of a newer event of the same source took it, lately or before others did: the run is superseded at
    /// birth.
    Newer(Ownership),
    /// It is to be owned like this from now on.
    Take(Ownership),
}

impl Ownership {
    /// Decides over the taking of an output that `old` owns, by a run of `source`, begun by an event with
    /// `sequencer` or by a submission, which has none.
    ///
    /// Only events of one source have an order; any other newcomer takes over.
    pub fn taking(
        old: Option<&Self>,
        run: &RunId,
        source: &ObjectName,
        sequencer: Option<&Sequencer>,
    ) -> Taking {
        let mut newest = old.map_or_else(Vec::new, |old| old.newest.clone());
        match old {
            Some(old) if old.run == *run => return Taking::Owned(old.clone()),
            Some(old) if old.is_newer_than(source, sequencer) => return Taking::Newer(old.clone()),
            _ => {}
        }
        if let Some(sequencer) = sequencer {
            newest.retain(|newest| newest.source != *source);
            newest.insert(0, Newest { source: source.clone(), sequencer: sequencer.clone() });
            newest.truncate(MOST_SOURCES);
        }
        Taking::Take(Self {
            run: run.clone(),
            epoch: Epoch(old.map_or(0, |old| old.epoch.0) + 1),
            former: old.map(|old| old.run.clone()),
            newest,
        })
    }

    fn is_newer_than(&self, source: &ObjectName, sequencer: Option<&Sequencer>) -> bool {
        let newest = self.newest.iter().find(|newest| newest.source == *source);
        newest.zip(sequencer).is_some_and(|(newest, sequencer)| newest.sequencer > *sequencer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Origin;

    fn run(key: &str) -> RunId {
        RunId::derive("p", &Origin::Submission { idempotency_key: key })
    }

    fn source(key: &str) -> ObjectName {
        ObjectName::new("in", key)
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

    fn offer(old: Option<&Ownership>, i: usize, (key, sequencer): (&str, Option<&str>)) -> Taking {
        let sequencer = sequencer.map(Sequencer::new);
        Ownership::taking(old, &run(&i.to_string()), &source(key), sequencer.as_ref())
    }

    #[test]
    fn epochs_begin_at_one_and_rise() {
        let first = taken(&[("a", Some("05"))]);
        assert_eq!((first.epoch, &first.former), (Epoch(1), &None));
        assert_eq!(
            Ownership::taking(Some(&first), &run("0"), &source("a"), None),
            Taking::Owned(first.clone())
        );
        let next = taken(&[("a", Some("05")), ("a", Some("06"))]);
        assert_eq!((next.epoch, next.run, next.former), (Epoch(2), run("1"), Some(run("0"))));
    }

    #[test]
    fn only_an_older_event_of_the_same_key_is_turned_away() {
        let owner = taken(&[("a", Some("05"))]);
        assert_eq!(offer(Some(&owner), 9, ("a", Some("04"))), Taking::Newer(owner.clone()));
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
                Taking::Newer(owner.clone()),
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
        assert_eq!(owner.newest[0].source, source("99"));
    }
}

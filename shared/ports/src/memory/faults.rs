//! Which calls fail, and how: a plan that a seed replays.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use super::{Invocation, Random};

/// How often something goes wrong: chances in 10,000 calls, all together at most 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// A transient error; nothing happened.
    pub transient: u16,
    /// An indeterminate error; nothing happened. Of a read, a transient one.
    pub lost_request: u16,
    /// An indeterminate error after the effect. Of a read, a transient one.
    pub lost_answer: u16,
    /// The invocation crashes before the effect.
    pub crash_before: u16,
    /// The invocation crashes after the effect.
    pub crash_after: u16,
    /// A conditional write is answered with a conflict (409).
    pub conflict: u16,
    /// A read's stream breaks off with a transient error.
    pub broken_stream: u16,
}

impl Rates {
    /// Nothing goes wrong, though calls take turns and streams come in random pieces.
    pub const NONE: Self = Self {
        transient: 0,
        lost_request: 0,
        lost_answer: 0,
        crash_before: 0,
        crash_after: 0,
        conflict: 0,
        broken_stream: 0,
    };

    /// Everything goes wrong now and then: about one call in thirty.
    pub const ROUGH: Self = Self {
        transient: 100,
        lost_request: 50,
        lost_answer: 50,
        crash_before: 50,
        crash_after: 50,
        conflict: 20,
        broken_stream: 20,
    };

    /// What a roll of 0..10,000 means.
    fn outcome(&self, roll: u64) -> Outcome {
        let mut past = 0;
        let chances = [
            (self.transient, Outcome::Transient),
            (self.lost_request, Outcome::LostRequest),
            (self.lost_answer, Outcome::LostAnswer),
            (self.crash_before, Outcome::CrashBefore),
            (self.crash_after, Outcome::CrashAfter),
            (self.conflict, Outcome::Conflict),
            (self.broken_stream, Outcome::BrokenStream),
        ];
        for (chance, outcome) in chances {
            past += u64::from(chance);
            if roll < past {
                return outcome;
            }
        }
        Outcome::Proceed
    }
}

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing special.
    Proceed,
    /// A transient error; nothing happened.
    Transient,
    /// An indeterminate error; nothing happened.
    LostRequest,
    /// An indeterminate error; it happened.
    LostAnswer,
    /// The invocation crashed; nothing happened.
    CrashBefore,
    /// The invocation crashed; it happened.
    CrashAfter,
    /// A conditional write met another one; of any other call, nothing special.
    Conflict,
    /// A read's stream breaks off; of any other call, nothing special.
    BrokenStream,
    /// A permanent error; nothing happened.
    Refused,
}

/// A fault that was dealt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dealt {
    /// The call's number, from 0, over all invocations.
    pub call: u64,
    /// The invocation that made the call.
    pub invocation: String,
    /// The port's operation.
    pub operation: &'static str,
    /// What it was about.
    pub subject: String,
    /// What happened to it.
    pub outcome: Outcome,
}

impl fmt::Display for Dealt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, invocation, operation, subject, outcome } = self;
        write!(f, "call {call}: {outcome:?} at {operation} of {subject} in {invocation}")
    }
}

/// The plan of faults that all ports of a world consult. Clones are the same plan.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    random: Random,
    /// Whether calls take turns and streams come in random pieces.
    shuffles: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    plan: Plan,
    refused: Vec<String>,
    throttled: Vec<String>,
    calls: u64,
    dealt: Vec<Dealt>,
}

#[derive(Debug, Clone, Copy)]
enum Plan {
    Never,
    Rates(Rates),
    CrashAt(u64),
}

impl Faults {
    /// No call fails, and none gives way to another invocation.
    pub fn none() -> Self {
        Self::planned(Plan::Never, 0, false)
    }

    /// Calls fail at random; each gives way to other invocations, 0 to 3 times before and after its effect.
    pub fn seeded(seed: u64, rates: Rates) -> Self {
        Self::planned(Plan::Rates(rates), seed, true)
    }

    /// Exactly one fault: the invocation that reaches `point` crashes there.
    ///
    /// The n-th call over all invocations, from 0, has the points 2n before its effect and 2n + 1 after it.
    /// A driver counts the points of a scenario without faults ([`Faults::points`]), then plays it once for
    /// each: so every place between two effects is tried.
    pub fn crash_at(point: u64) -> Self {
        Self::planned(Plan::CrashAt(point), 0, false)
    }

    fn planned(plan: Plan, seed: u64, shuffles: bool) -> Self {
        let state = Mutex::new(State {
            plan,
            refused: Vec::new(),
            throttled: Vec::new(),
            calls: 0,
            dealt: Vec::new(),
        });
        Self(Arc::new(Shared { random: Random::seeded(seed), shuffles, state }))
    }

    /// From now on no call fails: what is left must come to an end by itself.
    pub fn cease(&self) {
        let mut state = self.state();
        state.plan = Plan::Never;
        state.throttled.clear();
    }

    /// From now on every call about what begins with `prefix`, as `s3://output/`, is refused for good: a bucket that
    /// does not exist, or a permission that was never given. [`Faults::cease`] does not change that.
    pub fn refuse(&self, prefix: impl Into<String>) {
        self.state().refused.push(prefix.into());
    }

    /// From now on every call about what begins with `prefix` is answered `SlowDown`, until [`Faults::cease`]: a service
    /// that is away, or a prefix of S3 that has more requests than it can take.
    pub fn throttle(&self, prefix: impl Into<String>) {
        self.state().throttled.push(prefix.into());
    }

    /// How many points were passed: two for each call.
    pub fn points(&self) -> u64 {
        2 * self.state().calls
    }

    /// The faults dealt so far, in order; print them with the seed when a simulation fails.
    pub fn dealt(&self) -> Vec<Dealt> {
        self.state().dealt.clone()
    }

    /// Decides over a call, and notes it if it is a fault.
    pub(super) fn deal(&self, invocation: &Invocation, operation: &'static str, subject: &str) -> Outcome {
        let mut state = self.state();
        let call = state.calls;
        state.calls += 1;
        let outcome = match state.plan {
            _ if state.refused.iter().any(|prefix| subject.starts_with(prefix)) => Outcome::Refused,
            _ if state.throttled.iter().any(|prefix| subject.starts_with(prefix)) => Outcome::Transient,
            Plan::Rates(rates) => rates.outcome(self.0.random.below(10_000)),
            Plan::CrashAt(point) if point == 2 * call => Outcome::CrashBefore,
            Plan::CrashAt(point) if point == 2 * call + 1 => Outcome::CrashAfter,
            Plan::CrashAt(_) | Plan::Never => Outcome::Proceed,
        };
        if outcome != Outcome::Proceed {
            let (invocation, subject) = (invocation.to_string(), subject.to_owned());
            state.dealt.push(Dealt { call, invocation, operation, subject, outcome });
        }
        outcome
    }

    /// Gives way to other invocations, 0 to 3 times.
    pub(super) async fn give_way(&self) {
        if self.0.shuffles {
            for _ in 0..self.0.random.below(4) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// The size of a stream's next piece, out of `available` bytes: seldom a few, often up to all of them.
    pub(super) fn piece_bytes(&self, available: usize) -> usize {
        if !self.0.shuffles {
            return available;
        }
        let most = if self.0.random.below(8) == 0 { available.min(16) } else { available };
        1 + self.0.random.index(most)
    }

    /// How many messages of `len` were accepted before sending them failed.
    pub(super) fn accepted(&self, len: usize) -> usize {
        if self.0.shuffles { self.0.random.index(len + 1) } else { 0 }
    }

    /// The plan's own chance, for what else a fault must decide.
    pub(super) fn random(&self) -> &Random {
        &self.0.random
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nothing panics while it holds the lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_come_at_their_rates() {
        let rates = Rates { transient: 1_000, crash_after: 500, ..Rates::NONE };
        let outcomes: Vec<_> = (0..10_000).map(|roll| rates.outcome(roll)).collect();
        let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
        assert_eq!(
            [Outcome::Transient, Outcome::CrashAfter, Outcome::Proceed].map(count),
            [1_000, 500, 8_500]
        );
    }

    #[test]
    fn a_seed_deals_the_same_faults_again() {
        let play = |seed| {
            let (faults, invocation) = (Faults::seeded(seed, Rates::ROUGH), Invocation::new("i"));
            let faulty = (0..1_000).filter(|_| faults.deal(&invocation, "put", "x") != Outcome::Proceed);
            assert_eq!(faulty.count(), faults.dealt().len());
            faults.dealt()
        };
        assert_eq!(play(3), play(3));
        assert_ne!(play(3), play(4));
        assert!((10..100).contains(&play(3).len()));
    }

    #[test]
    fn no_fault_is_dealt_once_they_have_ceased() {
        let faults = Faults::seeded(1, Rates { transient: 10_000, ..Rates::NONE });
        let invocation = Invocation::new("i");
        assert_eq!(faults.deal(&invocation, "put", "x"), Outcome::Transient);
        faults.cease();
        assert_eq!(faults.deal(&invocation, "put", "x"), Outcome::Proceed);
        assert_eq!((faults.points(), faults.dealt().len()), (4, 1));
    }
}

//! Which calls fail, and how: a plan that a seed replays.

mod calls;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{Invocation, Random};

pub use calls::{Call, Released, Service};

/// How long an invocation is held that nothing else releases: longer than anything that goes on without it.
const LONGEST_HOLD: Duration = Duration::from_hours(3);

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
    /// The invocation pauses before the effect, while others go on.
    Held,
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
    begun: Instant,
    /// Rung when an invocation that is held may go on.
    bell: Notify,
}

#[derive(Debug)]
struct State {
    plan: Plan,
    refused: Vec<String>,
    throttled: Vec<String>,
    calls: u64,
    dealt: Vec<Dealt>,
    made: Vec<Call>,
    /// The invocation that is held, and how many effects of others it still waits for.
    held: Option<(String, u64)>,
    released: Option<Released>,
    /// Since when a service is down.
    down_since: Option<Instant>,
    /// Calls of it since then.
    down_calls: u64,
}

#[derive(Debug, Clone, Copy)]
enum Plan {
    Never,
    Rates(Rates),
    CrashAt(u64),
    Noted,
    HoldAt { call: u64, effects: u64 },
    FailAt { call: u64, accepted: usize },
    Down { service: Service, call: u64, outage: Duration, every: u64 },
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

    /// No call fails, and all are noted ([`Faults::made`]): by their numbers, which are the same in each play of the
    /// same, plans direct what is to happen.
    pub fn noted() -> Self {
        Self::planned(Plan::Noted, 0, false)
    }

    /// The invocation that makes this call pauses before its effect, until others have had so many effects or nothing
    /// else happens any more ([`Faults::released`]). So a writer is late by all that can come in between.
    pub fn hold_at(call: u64, effects: u64) -> Self {
        Self::planned(Plan::HoldAt { call, effects }, 0, false)
    }

    /// This call alone fails, with a transient error; of a batch so many were accepted before.
    pub fn fail_at(call: u64, accepted: usize) -> Self {
        Self::planned(Plan::FailAt { call, accepted }, 0, false)
    }

    /// From this call on a service answers nothing but transient errors, for so long.
    pub fn down_from(service: Service, call: u64, outage: Duration) -> Self {
        Self::planned(Plan::Down { service, call, outage, every: 1 }, 0, false)
    }

    /// From this call on a service throttles, for so long: every second call of it is answered with a transient error.
    pub fn throttled_from(service: Service, call: u64, outage: Duration) -> Self {
        Self::planned(Plan::Down { service, call, outage, every: 2 }, 0, false)
    }

    fn planned(plan: Plan, seed: u64, shuffles: bool) -> Self {
        let state = Mutex::new(State {
            plan,
            refused: Vec::new(),
            throttled: Vec::new(),
            calls: 0,
            dealt: Vec::new(),
            made: Vec::new(),
            held: None,
            released: None,
            down_since: None,
            down_calls: 0,
        });
        let random = Random::seeded(seed);
        Self(Arc::new(Shared { random, shuffles, state, begun: Instant::now(), bell: Notify::new() }))
    }

    /// The calls that were made, where they are noted.
    pub fn made(&self) -> Vec<Call> {
        self.state().made.clone()
    }

    /// Whether a service was down.
    pub fn was_down(&self) -> bool {
        self.state().down_since.is_some()
    }

    /// What released the invocation that was held; none if none was.
    pub fn released(&self) -> Option<Released> {
        self.state().released
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
            Plan::HoldAt { call: at, effects } if at == call => {
                state.held = Some((invocation.to_string(), effects));
                Outcome::Held
            }
            Plan::FailAt { call: at, .. } if at == call => Outcome::Transient,
            Plan::Down { service, call: from, outage, every }
                if call >= from && Service::of(operation) == Some(service) =>
            {
                let since = *state.down_since.get_or_insert_with(Instant::now);
                state.down_calls += 1;
                let fails = since.elapsed() < outage && state.down_calls.is_multiple_of(every);
                if fails { Outcome::Transient } else { Outcome::Proceed }
            }
            _ => Outcome::Proceed,
        };
        if matches!(state.plan, Plan::Noted) {
            let invocation = invocation.to_string();
            let at = self.0.begun.elapsed();
            state.made.push(Call { number: call, invocation, operation, is_write: false, at });
        }
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

    /// Waits until others had as many effects as the plan says, or until nothing else happens.
    pub(super) async fn hold(&self) {
        let is_over = || self.state().held.as_ref().is_none_or(|(_, effects)| *effects == 0);
        let by_effects = async {
            while !is_over() {
                self.0.bell.notified().await;
            }
        };
        let released = match tokio::time::timeout(LONGEST_HOLD, by_effects).await {
            Ok(()) => Released::ByEffects,
            Err(_) => Released::ByTime,
        };
        let mut state = self.state();
        (state.held, state.released) = (None, Some(released));
    }

    /// Notes that an invocation's call has had its effect: one that is held may wait for that.
    pub(super) fn note_effect(&self, invocation: &Invocation) {
        let mut state = self.state();
        let name = invocation.to_string();
        if let Some(call) = state.made.iter_mut().rev().find(|call| call.invocation == name) {
            call.is_write = true;
        }
        if let Some((held, effects)) = &mut state.held
            && *held != name
        {
            *effects = effects.saturating_sub(1);
            self.0.bell.notify_one();
        }
    }

    /// How many messages of `len` were accepted before sending them failed.
    pub(super) fn accepted(&self, len: usize) -> usize {
        if let Plan::FailAt { accepted, .. } = self.state().plan {
            return accepted.min(len);
        }
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

    #[tokio::test(start_paused = true)]
    async fn who_is_held_waits_for_the_effects_of_others_or_for_nothing_more() {
        for (effects, released) in [(2, Released::ByEffects), (3, Released::ByTime)] {
            let faults = Faults::hold_at(1, effects);
            let [held, other] = ["held", "other"].map(Invocation::new);
            assert_eq!(faults.deal(&held, "put", "x"), Outcome::Proceed);
            assert_eq!(faults.deal(&held, "put", "x"), Outcome::Held);
            let others = async {
                faults.note_effect(&held);
                faults.note_effect(&other);
                tokio::task::yield_now().await;
                faults.note_effect(&other);
            };
            tokio::join!(faults.hold(), others);
            assert_eq!(faults.released(), Some(released));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_is_down_fails_alone_and_for_its_time() {
        let faults = Faults::down_from(Service::S3, 1, Duration::from_mins(1));
        let invocation = Invocation::new("i");
        let mut deal = |operation: &'static str| faults.deal(&invocation, operation, "x");
        let dealt = ["put", "put", "send", "save_run"].map(&mut deal);
        assert_eq!(dealt, [Outcome::Proceed, Outcome::Transient, Outcome::Proceed, Outcome::Proceed]);
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!(deal("put"), Outcome::Proceed);
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

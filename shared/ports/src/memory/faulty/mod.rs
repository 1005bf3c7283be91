//! Ports that fail by plan, in front of ports that do not.

mod clusters;
mod events;
mod fleet;
mod ledger;
mod maps;
mod objects;
mod pacer;
mod queues;
mod tables;
#[cfg(test)]
mod tests;
mod web;

use std::{fmt::Display, future::Future, sync::Arc};

use super::{Faults, Invocation, faults::Outcome};
use crate::{Fault, PortError};

/// A port as one invocation sees it: each call consults the plan of faults, then asks the port behind.
///
/// After a crash no call of this invocation returns or has an effect, not even from a task that it spawned.
#[derive(Debug)]
pub struct Faulty<T: ?Sized> {
    inner: Arc<T>,
    faults: Faults,
    invocation: Invocation,
}

/// Whether a call has an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

impl<T: ?Sized> Faulty<T> {
    /// The port `inner` as `invocation` sees it.
    pub fn new(inner: Arc<T>, faults: Faults, invocation: Invocation) -> Self {
        Self { inner, faults, invocation }
    }

    /// A call without an effect.
    async fn read<R, E: From<PortError>>(
        &self,
        operation: &'static str,
        subject: impl Display,
        call: impl Future<Output = Result<R, E>>,
    ) -> Result<R, E> {
        let outcome = self.deal(operation, &subject).await;
        self.perform(Kind::Read, operation, subject, outcome, call).await
    }

    /// A call with an effect.
    async fn write<R, E: From<PortError>>(
        &self,
        operation: &'static str,
        subject: impl Display,
        call: impl Future<Output = Result<R, E>>,
    ) -> Result<R, E> {
        let outcome = self.deal(operation, &subject).await;
        self.perform(Kind::Write, operation, subject, outcome, call).await
    }

    /// Waits for its turn, then decides over a call.
    async fn deal(&self, operation: &'static str, subject: &impl Display) -> Outcome {
        self.give_way().await;
        self.faults.deal(&self.invocation, operation, &subject.to_string())
    }

    /// Plays the outcome of a call.
    async fn perform<R, E: From<PortError>>(
        &self,
        kind: Kind,
        operation: &'static str,
        subject: impl Display,
        outcome: Outcome,
        call: impl Future<Output = Result<R, E>>,
    ) -> Result<R, E> {
        let lost = if kind == Kind::Read { Fault::Transient } else { Fault::Indeterminate };
        let failed = |fault, detail| E::from(PortError::new(fault, operation, &subject, detail));
        match outcome {
            Outcome::CrashBefore => return self.crash().await,
            Outcome::Transient => return Err(failed(Fault::Transient, "SlowDown: the plan of faults")),
            Outcome::Refused => return Err(failed(Fault::Permanent, "AccessDenied: the plan of faults")),
            Outcome::LostRequest => return Err(failed(lost, "timed out: the plan of faults")),
            Outcome::Held => self.faults.hold().await,
            _ => {}
        }
        let answer = call.await;
        if kind == Kind::Write && answer.is_ok() {
            self.faults.note_effect(&self.invocation);
        }
        if outcome == Outcome::CrashAfter {
            return self.crash().await;
        }
        self.give_way().await;
        if outcome == Outcome::LostAnswer {
            return Err(failed(lost, "timed out: the plan of faults"));
        }
        answer
    }

    /// Gives way to other invocations, and never goes on if this one has crashed.
    async fn give_way(&self) {
        self.faults.give_way().await;
        if self.invocation.has_crashed() {
            std::future::pending::<()>().await;
        }
    }

    /// Tells the driver, then waits to be dropped.
    async fn crash<R>(&self) -> R {
        self.invocation.crash();
        std::future::pending().await
    }
}

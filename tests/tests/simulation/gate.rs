//! What one invocation has to bear besides the plan of faults: latency, a long pause in the middle of a call,
//! a chunk that kills it, a source that looks different to it.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fanfold_domain::{ObjectName, RunId};
use fanfold_ports::{memory::Invocation, objects::ByteStream};
use futures::StreamExt;

use crate::{chance::Chance, ports::lock, skew::Machine, third_party::Errand};

/// More calls than any invocation makes that comes to an end: one that makes more goes round in circles.
const MOST_CALLS: u32 = 100_000;

/// A pause of one invocation: in its n-th call, before or after the effect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pause {
    pub(crate) at_call: u32,
    pub(crate) before: bool,
    pub(crate) ms: u64,
}

/// How long calls take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Latency {
    None,
    /// Of some, a few milliseconds.
    Some,
    /// Of each, so many milliseconds.
    Each(u64),
}

/// What one invocation has to bear.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) invocation: Invocation,
    /// Its clock.
    pub(crate) machine: Arc<Machine>,
    /// When it began, in milliseconds from the start.
    pub(crate) begun_ms: u64,
    pub(crate) chance: Arc<Chance>,
    pub(crate) calls: AtomicU32,
    /// Whose chunks it does, if it does any.
    pub(crate) errand: Option<Errand>,
    pub(crate) latency: Latency,
    pub(crate) pause: Option<Pause>,
    /// Dies of the chunk at this call, counted from the first one that reads what the chunk is made of.
    pub(crate) dies_at_call: Option<u32>,
    pub(crate) first_read: OnceLock<u32>,
    pub(crate) source_is_unreadable: bool,
    /// Sees other bytes than the others do, by this key.
    pub(crate) oddity: Option<u64>,
    /// The output whose owner it last asked for, if it has not looked at the output's name since, and the answer.
    pub(crate) owner: Mutex<Option<(ObjectName, RunId)>>,
}

impl Gate {
    /// Waits before a call's effect; returns the call's number.
    pub(crate) async fn enter(&self) -> u32 {
        let call = self.depart().await;
        self.rest(call, true).await;
        call
    }

    /// The same for a request to a third party, which leaves before its sender can hang: that one hung with the request
    /// still to be sent, no rate would know.
    pub(crate) async fn depart(&self) -> u32 {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        assert!(call < MOST_CALLS, "{} has made {MOST_CALLS} calls and goes on", self.invocation);
        self.machine.asks(call);
        self.die_if_due(call).await;
        let ms = match self.latency {
            Latency::Some if self.chance.percent(25) => self.chance.within(1..40),
            Latency::None | Latency::Some => 0,
            Latency::Each(ms) => ms,
        };
        if ms > 0 {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        call
    }

    /// The call reads what a chunk is made of, which is what its worker may die of: not of the chunk's name.
    pub(crate) async fn reads_chunk(&self, call: u32) {
        self.first_read.get_or_init(|| call);
        self.die_if_due(call).await;
    }

    async fn die_if_due(&self, call: u32) {
        if let (Some(at), Some(first)) = (self.dies_at_call, self.first_read.get())
            && call >= first + at
        {
            self.invocation.crash();
            std::future::pending::<()>().await;
        }
    }

    /// Waits after a request's effect, for what it did not wait for before it too.
    pub(crate) async fn arrive(&self, call: u32) {
        self.rest(call, true).await;
        self.rest(call, false).await;
    }

    /// Waits after a call's effect.
    pub(crate) async fn leave(&self, call: u32) {
        let second = self.machine.second();
        self.rest(call, false).await;
        self.machine.answered(call, second);
    }

    /// Notes who owns an output, as it was told.
    pub(crate) fn note_owner(&self, output: &ObjectName, run: &RunId) {
        *lock(&self.owner) = Some((output.clone(), run.clone()));
    }

    /// Forgets whose an output was that it looks at again.
    pub(crate) fn forget_owner(&self, object: &ObjectName) {
        lock(&self.owner).take_if(|(output, _)| output == object);
    }

    /// Whether it was told that a run owns an output, and has not looked at the output since.
    pub(crate) fn has_asked(&self, output: &ObjectName, run: &RunId) -> bool {
        lock(&self.owner).as_ref().is_some_and(|(asked, owner)| asked == output && owner == run)
    }

    async fn rest(&self, call: u32, before: bool) {
        if let Some(pause) = self.pause.filter(|pause| pause.at_call == call && pause.before == before) {
            tokio::time::sleep(Duration::from_millis(pause.ms)).await;
        }
    }

    /// A source's bytes from `start` on, as this invocation sees them: letters are other letters here and
    /// there, which moves no boundary.
    pub(crate) fn seen(&self, stream: ByteStream, start: u64) -> ByteStream {
        let Some(key) = self.oddity else { return stream };
        let mut at = start;
        stream
            .map(move |piece| {
                piece.map(|bytes| {
                    let seen: Vec<u8> =
                        bytes.iter().zip(at..).map(|(byte, at)| odd(*byte, at, key)).collect();
                    at += bytes.len() as u64;
                    Bytes::from(seen)
                })
            })
            .boxed()
    }
}

fn odd(byte: u8, at: u64, key: u64) -> u8 {
    let is_other = (at ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61 == 0;
    if byte.is_ascii_lowercase() && is_other { b'a' + (byte - b'a' + 1) % 26 } else { byte }
}

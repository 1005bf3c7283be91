//! Queues in memory: they take messages, and leave the delivery to whoever drives the test.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use fanfold_domain::Timestamp;

use super::MemoryClock;
use crate::{
    Clock, Fault, PortError, Queue, Queues,
    queues::{MAX_DELAY_S, Outgoing},
};

/// The longest message that SQS takes, in bytes (1 MiB since August 2025).
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// A message that was sent and not yet taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedMessage {
    /// Unique among the messages of this twin, in the order of sending, from 0.
    pub id: u64,
    /// Where it was sent to.
    pub queue: Queue,
    /// Its text.
    pub body: String,
    /// The delay that it was sent with, in seconds.
    pub delay_s: u32,
    /// When it may be received.
    pub visible_at: Timestamp,
}

/// Queues of messages that were sent, in order.
///
/// Nothing is delivered by itself. A driver looks at what is pending and takes what it likes, in any order;
/// it duplicates a message by delivering it twice, and delays or redelivers one by restoring it with another
/// `visible_at`.
#[derive(Debug)]
pub struct MemoryQueues {
    clock: MemoryClock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sent: u64,
    pending: BTreeMap<u64, QueuedMessage>,
}

impl MemoryQueues {
    /// Empty queues.
    pub fn new(clock: MemoryClock) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// All messages that were not taken, in the order of sending, whether they may be received yet or not.
    pub fn pending(&self) -> Vec<QueuedMessage> {
        self.state().pending.values().cloned().collect()
    }

    /// Takes one message away, whether it may be received yet or not; nothing if it was taken before.
    pub fn take(&self, id: u64) -> Option<QueuedMessage> {
        self.state().pending.remove(&id)
    }

    /// Puts a message back in its place, to be received from its `visible_at` on.
    pub fn restore(&self, message: QueuedMessage) {
        self.state().pending.insert(message.id, message);
    }

    /// Takes all messages of a queue that may be received now.
    pub fn receive_all(&self, queue: Queue) -> Vec<QueuedMessage> {
        let now = self.clock.now();
        self.take_where(|message| message.queue == queue && message.visible_at <= now)
    }

    /// Takes all messages of a queue, whether they may be received yet or not.
    pub fn drain(&self, queue: Queue) -> Vec<QueuedMessage> {
        self.take_where(|message| message.queue == queue)
    }

    fn take_where(&self, mut wanted: impl FnMut(&QueuedMessage) -> bool) -> Vec<QueuedMessage> {
        self.state()
            .pending
            .extract_if(.., |_, message| wanted(message))
            .map(|(_, message)| message)
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

#[async_trait]
impl Queues for MemoryQueues {
    async fn send(&self, queue: Queue, messages: Vec<Outgoing>) -> Result<(), PortError> {
        messages.iter().try_for_each(|message| check(queue, message))?;
        let now = self.clock.now();
        let mut state = self.state();
        for Outgoing { body, delay_s } in messages {
            let id = state.sent;
            let visible_at = now.plus_ms(u64::from(delay_s) * 1_000);
            state.sent += 1;
            state.pending.insert(id, QueuedMessage { id, queue, body, delay_s, visible_at });
        }
        Ok(())
    }
}

/// SQS's rules for a message.
fn check(queue: Queue, message: &Outgoing) -> Result<(), PortError> {
    let refused = |detail: String| Err(PortError::new(Fault::Permanent, "send", queue, detail));
    let bytes = message.body.len();
    if message.delay_s > MAX_DELAY_S {
        return refused(format!("InvalidParameterValue: a delay of {} s", message.delay_s));
    }
    if !(1..=MAX_MESSAGE_BYTES).contains(&bytes) {
        return refused(format!("InvalidParameterValue: a message of {bytes} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(messages: &[QueuedMessage]) -> Vec<&str> {
        messages.iter().map(|message| message.body.as_str()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_driver_delivers_in_its_own_order_and_again() {
        let queues = MemoryQueues::new(MemoryClock::seeded(0));
        let sent = ["a", "b"].map(|body| Outgoing::now(body.into()));
        queues.send(Queue::Chunks, sent.into()).await.unwrap();
        let later = Outgoing { body: "c".into(), delay_s: 9 };
        queues.send(Queue::Chunks, vec![later]).await.unwrap();

        assert_eq!(bodies(&queues.pending()), ["a", "b", "c"]);
        let second = queues.take(1).unwrap();
        assert_eq!(queues.take(1), None);
        assert_eq!(bodies(&queues.receive_all(Queue::Chunks)), ["a"]);
        queues.restore(second);
        assert_eq!(bodies(&queues.drain(Queue::Chunks)), ["b", "c"]);
        assert_eq!(queues.drain(Queue::Folds), []);
    }

    #[tokio::test]
    async fn a_message_longer_than_sqs_takes_is_refused_with_all_that_came_along() {
        let queues = MemoryQueues::new(MemoryClock::seeded(0));
        let messages = vec![Outgoing::now("x".into()), Outgoing::now("x".repeat(MAX_MESSAGE_BYTES + 1))];
        assert_eq!(queues.send(Queue::Chunks, messages).await.unwrap_err().fault, Fault::Permanent);
        assert_eq!(queues.pending(), []);
    }
}

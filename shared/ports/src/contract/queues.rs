//! What all queues keep to: at least once, in any order, not before the delay.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;

use super::eventually;
use crate::{
    Fault, Queue, Queues,
    queues::{MAX_DELAY_S, Outgoing},
};

/// The consumer's end of queues, which is no port: Lambda polls on AWS.
#[async_trait]
pub trait Receiver: Send + Sync {
    /// Receives and deletes messages that may be received now, waiting at most a second for one; perhaps not
    /// all of them.
    async fn receive(&self, queue: Queue) -> Vec<String>;
}

/// Queues under test.
#[derive(Clone)]
pub struct QueuesUnderTest {
    /// The sender's end.
    pub queues: Arc<dyn Queues>,
    /// The consumer's end. No other test receives from these queues.
    pub receiver: Arc<dyn Receiver>,
}

impl QueuesUnderTest {
    async fn send(&self, queue: Queue, messages: Vec<Outgoing>) {
        self.queues.send(queue, messages).await.expect("the messages were accepted");
    }

    /// Receives until all of these have come, and nothing else does.
    async fn must_receive(&self, queue: Queue, wanted: impl IntoIterator<Item = String>) {
        let wanted: BTreeSet<_> = wanted.into_iter().collect();
        let received = Mutex::new(BTreeSet::new());
        eventually("all messages were received", async || {
            let messages = self.receiver.receive(queue).await;
            let mut received = received.lock().expect("nothing panics while it holds the lock");
            received.extend(messages);
            received.len() >= wanted.len()
        })
        .await;
        let received = received.into_inner().expect("nothing panics while it holds the lock");
        assert!(received == wanted, "other messages than were sent to {queue}");
    }
}

/// More than one batch of SQS (10 messages).
pub async fn every_message_is_received(t: &QueuesUnderTest) {
    let bodies: Vec<_> = (0..25).map(|i| format!("message {i}")).collect();
    t.send(Queue::Chunks, bodies.iter().cloned().map(Outgoing::now).collect()).await;
    t.must_receive(Queue::Chunks, bodies).await;
}

/// More than one batch of SQS (1 MiB).
pub async fn large_messages_are_received(t: &QueuesUnderTest) {
    let bodies: Vec<_> = (0..10).map(|i| format!("{i}{}", "x".repeat(200_000))).collect();
    t.send(Queue::Completions, bodies.iter().cloned().map(Outgoing::now).collect()).await;
    t.must_receive(Queue::Completions, bodies).await;
}

/// JSON in all its looks.
pub async fn a_body_arrives_as_it_was_sent(t: &QueuesUnderTest) {
    let body = "{\"reason\":\"“é” & <日本> \\n\\u0000 'x' %25 +\",\n\t\"v\":1}".to_owned();
    t.send(Queue::Folds, vec![Outgoing::now(body.clone())]).await;
    t.must_receive(Queue::Folds, [body]).await;
}

/// Nothing to send is nothing to do.
pub async fn sending_nothing_is_no_error(t: &QueuesUnderTest) {
    t.send(Queue::Folds, Vec::new()).await;
    assert_eq!(t.receiver.receive(Queue::Folds).await, Vec::<String>::new());
}

/// Each service has its own.
pub async fn a_message_comes_from_the_queue_it_was_sent_to(t: &QueuesUnderTest) {
    for queue in Queue::ALL {
        t.send(queue, vec![Outgoing::now(format!("to {queue}"))]).await;
    }
    for queue in Queue::ALL {
        t.must_receive(queue, [format!("to {queue}")]).await;
    }
}

/// Each message of a batch has its own delay.
pub async fn a_message_is_not_received_before_its_delay(t: &QueuesUnderTest) {
    let sent_at = tokio::time::Instant::now();
    let later = Outgoing { body: "later".to_owned(), delay_s: 3 };
    t.send(Queue::Chunks, vec![later, Outgoing::now("now".to_owned())]).await;
    t.must_receive(Queue::Chunks, ["now".to_owned()]).await;
    t.must_receive(Queue::Chunks, ["later".to_owned()]).await;
    assert!(sent_at.elapsed() >= Duration::from_secs(3), "it came after {:?}", sent_at.elapsed());
}

/// A retry that waits longer is not a queue's.
pub async fn a_delay_over_15_minutes_is_refused(t: &QueuesUnderTest) {
    let message = |delay_s| vec![Outgoing { body: "x".to_owned(), delay_s }];
    let sent = t.queues.send(Queue::Chunks, message(MAX_DELAY_S + 1)).await;
    assert_eq!(sent.expect_err("so long a delay is refused").fault, Fault::Permanent);
    t.send(Queue::Chunks, message(MAX_DELAY_S)).await;
}

/// Tests queues: the argument names an `async fn() -> QueuesUnderTest`.
#[macro_export]
macro_rules! queues_contract {
    ($instance:path) => {
        $crate::contract_tests!(
            queues,
            $instance,
            [
                every_message_is_received,
                large_messages_are_received,
                a_body_arrives_as_it_was_sent,
                sending_nothing_is_no_error,
                a_message_comes_from_the_queue_it_was_sent_to,
                a_message_is_not_received_before_its_delay,
                a_delay_over_15_minutes_is_refused,
            ]
        );
    };
}

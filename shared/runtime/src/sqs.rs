//! Batches of SQS: which messages of a batch failed is said exactly, so that the others are not delivered again.
//!
//! A mapping must have `ReportBatchItemFailures`. An id that is not of the batch, or an empty one, makes AWS
//! deliver the whole batch again, and the local stack delete it: ids come from the event, never from a handler.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};

use aws_lambda_events::sqs::SqsMessage;
pub use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use futures::{StreamExt, stream};
use thiserror::Error as ThisError;
use tracing::{error, warn};

use crate::Error;
use crate::failure::causes;

/// A message as it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// SQS's id of the message, the same in each delivery of it.
    pub id: String,
    /// Its text.
    pub body: String,
    /// The queue that it came from, where the event says it: how a dead letter is told from a message.
    pub source_arn: Option<String>,
    /// How often it was delivered, this time included; about.
    pub receive_count: u32,
}

/// Why a batch could not be handled message by message.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum InvalidBatch {
    /// The event is none that SQS sends.
    #[error("message {index} of the event has no id")]
    NoId {
        /// Which one, from 0.
        index: usize,
    },
    /// The handler says that a message failed which the batch does not have.
    #[error("message {index} is said to have failed, and the batch has {count}")]
    NoSuchMessage {
        /// Which one, from 0.
        index: usize,
        /// How many there are.
        count: usize,
    },
}

/// Handles each message on its own, `concurrency` of them at once. Those that fail are logged, and delivered
/// again.
///
/// # Errors
/// The event is not one of SQS's; nothing was handled.
pub async fn run_batch<F, E>(
    event: SqsEvent,
    concurrency: usize,
    handle: impl Fn(Delivery) -> F,
) -> Result<SqsBatchResponse, InvalidBatch>
where
    F: Future<Output = Result<(), E>>,
    E: Into<Error>,
{
    let batch = deliveries(event)?;
    let ids: Vec<Label> = batch.iter().map(Label::from).collect();
    let handled: Vec<(usize, Result<(), E>)> = stream::iter(batch.into_iter().enumerate())
        .map(|(index, delivery)| {
            let handled = handle(delivery);
            async move { (index, handled.await) }
        })
        .buffer_unordered(concurrency.max(1))
        .collect()
        .await;
    let failed = handled.into_iter().filter_map(|(index, result)| Some((index, result.err()?)));
    respond(&ids, failed)
}

/// Handles the messages together. The handler says which failed, by their places from 0; those are logged, and
/// delivered again.
///
/// # Errors
/// The event is not one of SQS's, or the handler named a message that is not there: the whole batch is
/// delivered again.
pub async fn run_whole_batch<F, E>(
    event: SqsEvent,
    handle: impl FnOnce(Vec<Delivery>) -> F,
) -> Result<SqsBatchResponse, InvalidBatch>
where
    F: Future<Output = Vec<(usize, E)>>,
    E: Into<Error>,
{
    let batch = deliveries(event)?;
    let ids: Vec<Label> = batch.iter().map(Label::from).collect();
    respond(&ids, handle(batch).await)
}

/// How messages that failed come back: after a delay that grows with each delivery, instead of the queue's whole
/// visibility timeout, which is as long as the function may take.
#[derive(Debug)]
pub struct Receipts {
    longest_s: u32,
    messages: Vec<Receipt>,
}

/// What is needed to say when a message comes back.
#[derive(Debug)]
struct Receipt {
    id: String,
    handle: String,
    queue_arn: String,
    receive_count: u32,
}

/// The delay of a message that failed for the first time, in seconds.
const FIRST_DELAY_S: u32 = 5;
/// How much longer each further delay is.
const GROWTH: u32 = 4;
/// Delays that are set at once.
const DELAYS_AT_ONCE: usize = 10;

impl Receipts {
    /// Those of an event. No delay is longer than `longest_s` seconds, which should be less than the queue's visibility
    /// timeout.
    pub fn of(event: &SqsEvent, longest_s: u32) -> Self {
        let receipt = |message: &SqsMessage| {
            Some(Receipt {
                id: message.message_id.clone()?,
                handle: message.receipt_handle.clone()?,
                queue_arn: message.event_source_arn.clone()?,
                receive_count: receive_count(message),
            })
        };
        Self { longest_s, messages: event.records.iter().filter_map(receipt).collect() }
    }

    /// Sets when the messages come back that `response` names, by `change`, which is given a queue's ARN, a message's
    /// receipt handle and seconds. Called before the response is returned: Lambda deletes the other messages, and leaves
    /// the failed ones to their visibility timeout. One that cannot be changed comes back when that is over.
    pub async fn delay<F, E>(self, response: &SqsBatchResponse, change: impl Fn(String, String, u32) -> F)
    where
        F: Future<Output = Result<(), E>>,
        E: Display,
    {
        let failed: BTreeSet<&str> =
            response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect();
        let messages = self.messages.into_iter().filter(|message| failed.contains(message.id.as_str()));
        stream::iter(messages)
            .for_each_concurrent(DELAYS_AT_ONCE, |Receipt { id, handle, queue_arn, receive_count }| {
                let changed = change(queue_arn, handle, delay_s(receive_count, &id, self.longest_s));
                async move {
                    if let Err(error) = changed.await {
                        warn!(message_id = id, %error, "a message that failed comes back late");
                    }
                }
            })
            .await;
    }
}

/// Handles each message on its own, one after another, as [`run_batch`] does. Those that fail come back after a growing
/// delay of at most `longest_s` seconds ([`Receipts`]), by `change`.
///
/// # Errors
/// The event is not one of SQS's; nothing was handled.
pub async fn run_batch_delaying<F, E, D, W>(
    event: SqsEvent,
    longest_s: u32,
    handle: impl Fn(Delivery) -> F,
    change: impl Fn(String, String, u32) -> D,
) -> Result<SqsBatchResponse, InvalidBatch>
where
    F: Future<Output = Result<(), E>>,
    E: Into<Error>,
    D: Future<Output = Result<(), W>>,
    W: Display,
{
    let receipts = Receipts::of(&event, longest_s);
    let response = run_batch(event, 1, handle).await?;
    receipts.delay(&response, change).await;
    Ok(response)
}

/// The delay of a message that was delivered so often: growing, bounded, and of each message another within a quarter
/// around it, since messages that failed together would otherwise come back together.
fn delay_s(receive_count: u32, id: &str, longest_s: u32) -> u32 {
    let nominal =
        FIRST_DELAY_S.saturating_mul(GROWTH.saturating_pow(receive_count.saturating_sub(1))).min(longest_s);
    let mut hash = DefaultHasher::new();
    (id, receive_count).hash(&mut hash);
    let spread = u64::from(nominal / 2) + 1;
    let offset = u32::try_from(hash.finish() % spread).unwrap_or(0);
    (nominal - nominal / 4 + offset).min(longest_s)
}

/// What is logged of a message, and answered.
struct Label {
    id: String,
    receive_count: u32,
}

impl From<&Delivery> for Label {
    fn from(delivery: &Delivery) -> Self {
        Self { id: delivery.id.clone(), receive_count: delivery.receive_count }
    }
}

fn deliveries(event: SqsEvent) -> Result<Vec<Delivery>, InvalidBatch> {
    event.records.into_iter().enumerate().map(|(index, message)| delivery(index, message)).collect()
}

fn delivery(index: usize, message: SqsMessage) -> Result<Delivery, InvalidBatch> {
    let receive_count = receive_count(&message);
    let id = message.message_id.filter(|id| !id.is_empty()).ok_or(InvalidBatch::NoId { index })?;
    Ok(Delivery {
        id,
        receive_count,
        body: message.body.unwrap_or_default(),
        source_arn: message.event_source_arn,
    })
}

fn receive_count(message: &SqsMessage) -> u32 {
    message.attributes.get("ApproximateReceiveCount").and_then(|n| n.parse().ok()).unwrap_or(1)
}

fn respond<E: Into<Error>>(
    batch: &[Label],
    failed: impl IntoIterator<Item = (usize, E)>,
) -> Result<SqsBatchResponse, InvalidBatch> {
    let mut indexes = BTreeSet::new();
    for (index, failure) in failed {
        let count = batch.len();
        let Label { id, receive_count } =
            batch.get(index).ok_or(InvalidBatch::NoSuchMessage { index, count })?;
        let failure: Error = failure.into();
        error!(message_id = id, receive_count, error = causes(failure.as_ref()), "a message failed");
        indexes.insert(index);
    }
    let mut response = SqsBatchResponse::default();
    for index in indexes {
        response.add_failure(&batch[index].id);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn event(count: usize) -> SqsEvent {
        let record = |index| {
            json!({
                "messageId": format!("id-{index}"),
                "receiptHandle": "handle",
                "body": format!("body {index}"),
                "attributes": { "ApproximateReceiveCount": "3", "SentTimestamp": "1767225600000" },
                "messageAttributes": {},
                "md5OfBody": "0",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:chunks",
                "awsRegion": "us-east-1",
            })
        };
        let records: Vec<_> = (0..count).map(record).collect();
        serde_json::from_value(json!({ "Records": records })).unwrap()
    }

    fn ids(response: &SqsBatchResponse) -> Vec<&str> {
        response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect()
    }

    #[tokio::test]
    async fn one_of_ten_fails_and_only_it_is_named() {
        let handle = |delivery: Delivery| async move {
            assert_eq!(delivery.receive_count, 3);
            assert!(delivery.source_arn.unwrap().ends_with(":chunks"));
            if delivery.body == "body 7" { Err("no") } else { Ok(()) }
        };
        let response = run_batch(event(10), 4, handle).await.unwrap();
        assert_eq!(ids(&response), ["id-7"]);
        let text = serde_json::to_value(&response).unwrap();
        assert_eq!(text, json!({ "batchItemFailures": [{ "itemIdentifier": "id-7" }] }));
    }

    #[tokio::test]
    async fn no_more_are_handled_at_once_than_allowed() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let handle = async |_: Delivery| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, Error>(())
        };
        let response = run_batch(event(9), 3, handle).await.unwrap();
        assert_eq!((ids(&response).len(), most.into_inner()), (0, 3));
    }

    #[tokio::test]
    async fn a_whole_batch_names_each_failure_once_and_in_order() {
        let response = run_whole_batch(event(3), |batch| async move {
            assert_eq!(batch.len(), 3);
            vec![(2, "late"), (0, "no"), (2, "again")]
        });
        assert_eq!(ids(&response.await.unwrap()), ["id-0", "id-2"]);
    }

    #[tokio::test]
    async fn those_that_failed_come_back_after_a_delay_and_one_that_cannot_be_changed_harms_nothing() {
        let (event, changed) = (event(4), std::sync::Mutex::new(Vec::new()));
        let receipts = Receipts::of(&event, 100);
        let handle = |delivery: Delivery| async move {
            if ["body 1", "body 3"].contains(&delivery.body.as_str()) { Err("no") } else { Ok(()) }
        };
        let response = run_batch(event, 4, handle).await.unwrap();
        let change = |queue: String, handle: String, delay_s: u32| {
            changed.lock().unwrap().push((queue, handle, delay_s));
            async move { Err("AccessDenied") }
        };
        receipts.delay(&response, change).await;
        assert_eq!(ids(&response), ["id-1", "id-3"]);
        let changed = changed.into_inner().unwrap();
        assert_eq!(changed.len(), 2);
        // It was delivered three times.
        assert!(changed.iter().all(|(queue, handle, delay_s)| {
            queue.ends_with(":chunks") && handle == "handle" && (60..=100).contains(delay_s)
        }));
    }

    #[test]
    fn delays_grow_are_bounded_and_differ_from_message_to_message() {
        for (count, least, most) in
            [(0, 4, 7), (1, 4, 7), (2, 15, 26), (3, 60, 101), (4, 240, 401), (99, 600, 800)]
        {
            let delays: BTreeSet<u32> = (0..50).map(|id| delay_s(count, &format!("id-{id}"), 800)).collect();
            assert!(delays.iter().all(|delay| (least..=most).contains(delay)), "{count}: {delays:?}");
            assert!(delays.len() > 1, "{count}");
        }
        assert!((0..50).all(|id| delay_s(9, &id.to_string(), 60) <= 60));
        assert_eq!(delay_s(3, "a", 800), delay_s(3, "a", 800));
    }

    #[tokio::test]
    async fn an_id_that_is_not_of_the_batch_is_never_answered() {
        let response = run_whole_batch(event(2), |_| async { vec![(2, "no")] }).await;
        assert_eq!(response.unwrap_err(), InvalidBatch::NoSuchMessage { index: 2, count: 2 });
        let mut event = event(2);
        event.records[1].message_id = None;
        let response = run_batch(event, 1, |_| async { Err("no") }).await;
        assert_eq!(response.unwrap_err(), InvalidBatch::NoId { index: 1 });
    }
}

//! Batches of SQS: which messages of a batch failed is said exactly, so that the others are not delivered again.
//!
//! A mapping must have `ReportBatchItemFailures`. An id that is not of the batch, or an empty one, makes AWS
//! deliver the whole batch again, and the local stack delete it: ids come from the event, never from a handler.

use std::collections::BTreeSet;
use std::future::Future;

use aws_lambda_events::sqs::SqsMessage;
pub use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use futures::{StreamExt, stream};
use thiserror::Error as ThisError;
use tracing::error;

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
    let id = message.message_id.filter(|id| !id.is_empty()).ok_or(InvalidBatch::NoId { index })?;
    let receive_count = message.attributes.get("ApproximateReceiveCount").and_then(|n| n.parse().ok());
    Ok(Delivery {
        id,
        body: message.body.unwrap_or_default(),
        source_arn: message.event_source_arn,
        receive_count: receive_count.unwrap_or(1),
    })
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
    async fn an_id_that_is_not_of_the_batch_is_never_answered() {
        let response = run_whole_batch(event(2), |_| async { vec![(2, "no")] }).await;
        assert_eq!(response.unwrap_err(), InvalidBatch::NoSuchMessage { index: 2, count: 2 });
        let mut event = event(2);
        event.records[1].message_id = None;
        let response = run_batch(event, 1, |_| async { Err("no") }).await;
        assert_eq!(response.unwrap_err(), InvalidBatch::NoId { index: 1 });
    }
}

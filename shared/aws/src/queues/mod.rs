//! Queues on SQS.

mod batch;
mod visibility;

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{BatchResultErrorEntry, SendMessageBatchRequestEntry};
use fanfold_ports::queues::{Outgoing, Queue};
use fanfold_ports::{Fault, PortError, Queues};
use futures::stream::{self, StreamExt, TryStreamExt};

pub use visibility::SqsVisibility;

use crate::error::write_error;
use batch::batches;

/// Where the queues are. A function is given only those that it sends to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueUrls {
    /// Of [`Queue::Intake`].
    pub intake: Option<String>,
    /// Of [`Queue::Chunks`].
    pub chunks: Option<String>,
    /// Of [`Queue::Launches`].
    pub launches: Option<String>,
    /// Of [`Queue::Completions`].
    pub completions: Option<String>,
    /// Of [`Queue::Folds`].
    pub folds: Option<String>,
}

impl QueueUrls {
    fn of(&self, queue: Queue) -> Result<&str, PortError> {
        let url = match queue {
            Queue::Intake => &self.intake,
            Queue::Chunks => &self.chunks,
            Queue::Launches => &self.launches,
            Queue::Completions => &self.completions,
            Queue::Folds => &self.folds,
        };
        url.as_deref().ok_or_else(|| {
            let detail =
                format!("this function was not given its URL (the setting `{queue}` of the queue URLs)");
            PortError::new(Fault::Permanent, "send", queue, detail)
        })
    }
}

/// How many batches are under way at once.
const CONCURRENT_BATCHES: usize = 8;
/// How often a batch is sent whose messages SQS accepts in part only.
const TRIES: u32 = 4;
/// The wait before the second try; each later one is twice as long.
const FIRST_WAIT_MS: u64 = 100;

/// The queues port on SQS.
#[derive(Debug, Clone)]
pub struct SqsQueues {
    client: Client,
    urls: QueueUrls,
}

impl SqsQueues {
    pub(crate) fn new(client: Client, urls: QueueUrls) -> Self {
        Self { client, urls }
    }

    /// Sends a batch, again and again what SQS did not accept of it.
    async fn send_batch(&self, queue: Queue, url: &str, mut batch: Vec<Outgoing>) -> Result<(), PortError> {
        let mut tried = 1;
        loop {
            let failed = self.try_batch(queue, url, &batch).await?;
            let Some(first) = failed.first() else {
                return Ok(());
            };
            if tried == TRIES || failed.iter().any(BatchResultErrorEntry::sender_fault) {
                return Err(not_accepted(queue, failed.len(), first));
            }
            let indexes: Vec<usize> = failed.iter().filter_map(|entry| entry.id.parse().ok()).collect();
            batch = indexes.iter().filter_map(|index| batch.get(*index).cloned()).collect();
            tokio::time::sleep(Duration::from_millis(wait_ms(tried, rand::random()))).await;
            tried += 1;
        }
    }

    /// Sends a batch once; what was not accepted.
    async fn try_batch(
        &self,
        queue: Queue,
        url: &str,
        batch: &[Outgoing],
    ) -> Result<Vec<BatchResultErrorEntry>, PortError> {
        let answer = self
            .client
            .send_message_batch()
            .queue_url(url)
            .set_entries(Some(batch.iter().enumerate().map(entry).collect()))
            .send()
            .await
            .map_err(|error| write_error("send", queue, error))?;
        Ok(answer.failed)
    }
}

#[async_trait]
impl Queues for SqsQueues {
    async fn send(&self, queue: Queue, messages: Vec<Outgoing>) -> Result<(), PortError> {
        let url = self.urls.of(queue)?;
        let batches =
            batches(messages).map_err(|detail| PortError::new(Fault::Permanent, "send", queue, detail))?;
        stream::iter(batches.into_iter().map(|batch| self.send_batch(queue, url, batch)))
            .buffer_unordered(CONCURRENT_BATCHES)
            .try_collect()
            .await
    }
}

/// A message as SQS takes it; its id is its place in the batch.
fn entry((index, message): (usize, &Outgoing)) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder()
        .id(index.to_string())
        .message_body(&message.body)
        .delay_seconds(message.delay_s.cast_signed())
        .build()
        .expect("id and body are set")
}

fn not_accepted(queue: Queue, count: usize, first: &BatchResultErrorEntry) -> PortError {
    let fault = if first.sender_fault { Fault::Permanent } else { Fault::Transient };
    let message = first.message().unwrap_or("no message");
    let detail = format!("{count} messages were not accepted, the first one with {}: {message}", first.code);
    PortError::new(fault, "send", queue, detail)
}

/// The wait after the try with this number, from 1: half of it fixed, half of it chance.
fn wait_ms(tried: u32, random: u64) -> u64 {
    let longest = FIRST_WAIT_MS << tried;
    longest / 2 + random % (longest / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_without_a_url_is_named() {
        let urls = QueueUrls { folds: Some("http://q".into()), ..QueueUrls::default() };
        assert_eq!(urls.of(Queue::Folds).unwrap(), "http://q");
        let error = urls.of(Queue::Chunks).unwrap_err();
        assert_eq!(error.fault, Fault::Permanent);
        assert!(error.to_string().contains("`chunks`"), "{error}");
    }

    #[test]
    fn waits_grow_and_differ() {
        assert_eq!(wait_ms(1, 0), 100);
        assert_eq!(wait_ms(1, 99), 199);
        assert!(wait_ms(3, u64::MAX) < 800 && wait_ms(3, 0) == 400);
    }

    #[test]
    fn a_message_that_sqs_refuses_is_not_tried_again() {
        let entry = |sender_fault| {
            BatchResultErrorEntry::builder().id("3").code("X").sender_fault(sender_fault).build().unwrap()
        };
        assert_eq!(not_accepted(Queue::Chunks, 1, &entry(true)).fault, Fault::Permanent);
        assert_eq!(not_accepted(Queue::Chunks, 1, &entry(false)).fault, Fault::Transient);
    }
}

//! Queues to test with, and their consumer; each test has its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use fanfold_aws::QueueUrls;
use fanfold_ports::Queue;
use fanfold_ports::contract::{QueuesUnderTest, Receiver};

use crate::stack::{Stack, unique};

pub(crate) async fn under_test(stack: &Stack) -> QueuesUnderTest {
    let client = Client::new(&stack.sdk);
    let mut urls = BTreeMap::new();
    for queue in Queue::ALL {
        let name = format!("{queue}-{}", unique());
        let made = client.create_queue().queue_name(name).send().await.expect("the queue is made");
        urls.insert(queue, made.queue_url.expect("a queue has a URL"));
    }
    let url = |queue| urls.get(&queue).cloned();
    let given = QueueUrls {
        intake: url(Queue::Intake),
        chunks: url(Queue::Chunks),
        launches: url(Queue::Launches),
        completions: url(Queue::Completions),
        folds: url(Queue::Folds),
    };
    let queues = Arc::new(stack.aws.queues(given));
    QueuesUnderTest { queues, receiver: Arc::new(Consumer { client, urls }) }
}

struct Consumer {
    client: Client,
    urls: BTreeMap<Queue, String>,
}

#[async_trait]
impl Receiver for Consumer {
    async fn receive(&self, queue: Queue) -> Vec<String> {
        let url = &self.urls[&queue];
        let receive = self.client.receive_message().queue_url(url).max_number_of_messages(10);
        let received = receive.wait_time_seconds(1).send().await.expect("the queue answers");
        let mut bodies = Vec::new();
        for message in received.messages.unwrap_or_default() {
            let handle = message.receipt_handle.expect("a message has a receipt");
            let delete = self.client.delete_message().queue_url(url).receipt_handle(handle);
            delete.send().await.expect("the message is deleted");
            bodies.push(message.body.expect("a message has a body"));
        }
        bodies
    }
}

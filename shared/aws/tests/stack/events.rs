//! A bus to test with, and a rule that sends all of it to a queue; each test has its own.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_eventbridge::types::Target;
use aws_sdk_sqs::types::QueueAttributeName;
use fanfold_ports::contract::{EventsUnderTest, Watcher};
use serde_json::{Value, json};

use crate::stack::{Stack, unique};

pub(crate) async fn under_test(stack: &Stack) -> EventsUnderTest {
    let (events, sqs) = (aws_sdk_eventbridge::Client::new(&stack.sdk), aws_sdk_sqs::Client::new(&stack.sdk));
    let name = format!("contract-{}", unique());
    events.create_event_bus().name(&name).send().await.expect("the bus is made");
    let pattern = json!({ "source": ["fanfold"] }).to_string();
    let rule = events.put_rule().name(&name).event_bus_name(&name).event_pattern(pattern);
    let rule_arn = rule.send().await.expect("the rule is made").rule_arn.expect("a rule has an ARN");

    let made = sqs.create_queue().queue_name(&name).send().await.expect("the queue is made");
    let url = made.queue_url.expect("a queue has a URL");
    let arn = QueueAttributeName::QueueArn;
    let asked = sqs.get_queue_attributes().queue_url(&url).attribute_names(arn.clone()).send().await;
    let attributes = asked.expect("the queue answers").attributes.expect("a queue has attributes");
    let queue_arn = attributes[&arn].clone();
    let policy = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": { "Service": "events.amazonaws.com" }, "Action": "sqs:SendMessage",
        "Resource": queue_arn, "Condition": { "ArnEquals": { "aws:SourceArn": rule_arn } },
    }] });
    let allow = sqs.set_queue_attributes().queue_url(&url);
    let allow = allow.attributes(QueueAttributeName::Policy, policy.to_string());
    allow.send().await.expect("the rule may send to the queue");
    let target = Target::builder().id("queue").arn(queue_arn).build().expect("id and ARN are set");
    let put = events.put_targets().rule(&name).event_bus_name(&name).targets(target).send().await;
    put.expect("the target is put");
    let events = Arc::new(stack.aws.events(Some(name)));
    // `MiniStack` gives each event the time of its arrival.
    EventsUnderTest { events, watcher: Arc::new(Consumer { sqs, url }), keeps_time: false }
}

struct Consumer {
    sqs: aws_sdk_sqs::Client,
    url: String,
}

#[async_trait]
impl Watcher for Consumer {
    async fn receive(&self) -> Vec<Value> {
        let receive = self.sqs.receive_message().queue_url(&self.url).max_number_of_messages(10);
        let received = receive.wait_time_seconds(1).send().await.expect("the queue answers");
        let mut events = Vec::new();
        for message in received.messages.unwrap_or_default() {
            let handle = message.receipt_handle.expect("a message has a receipt");
            let delete = self.sqs.delete_message().queue_url(&self.url).receipt_handle(handle);
            delete.send().await.expect("the message is deleted");
            let body = message.body.expect("a message has a body");
            events.push(serde_json::from_str(&body).expect("an event is JSON"));
        }
        events
    }
}

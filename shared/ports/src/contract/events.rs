//! What every bus keeps to: at least once, each event as it was put.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use fanfold_domain::{Event, Timestamp, announcement::SOURCE};
use serde_json::{Value, json};

use super::eventually;
use crate::{Events, Fault, events::MAX_DETAIL_BYTES};

/// A consumer's end of a bus, which is no port: a rule and its target on AWS.
#[async_trait]
pub trait Watcher: Send + Sync {
    /// Receives events, each whole as EventBridge delivers it, waiting at most a second for one; perhaps not all.
    async fn receive(&self) -> Vec<Value>;
}

/// A bus under test.
#[derive(Clone)]
pub struct EventsUnderTest {
    /// The sender's end.
    pub events: Arc<dyn Events>,
    /// A consumer's end, which no other test receives from.
    pub watcher: Arc<dyn Watcher>,
    /// Whether an event has the time that it was put with, and not that of its arrival: on EventBridge, but not on
    /// every stand-in.
    pub keeps_time: bool,
}

/// When the samples happened: 2025-11-21 06:00 UTC.
const HAPPENED_AT: Timestamp = Timestamp(1_763_704_800_000);

fn event(id: usize, text: &str) -> Event {
    Event {
        detail_type: "Run Succeeded",
        detail: json!({ "v": 1, "id": id, "text": text }).to_string(),
        happened_at: HAPPENED_AT,
    }
}

impl EventsUnderTest {
    /// Receives until `count` events have come; their details by id, and that all else of each is right.
    async fn must_receive(&self, count: usize) -> BTreeMap<u64, Value> {
        let received = Mutex::new(BTreeMap::new());
        eventually("all events were received", async || {
            let events = self.watcher.receive().await;
            let mut received = received.lock().expect("nothing panics while it holds the lock");
            for event in events {
                assert_eq!(event["source"], SOURCE);
                assert_eq!(event["detail-type"], "Run Succeeded");
                if self.keeps_time {
                    assert_eq!(event["time"], "2025-11-21T06:00:00Z");
                }
                received
                    .insert(event["detail"]["id"].as_u64().expect("it has an id"), event["detail"].clone());
            }
            received.len() >= count
        })
        .await;
        received.into_inner().expect("nothing panics while it holds the lock")
    }
}

/// More than one batch of EventBridge (10 events).
pub async fn every_event_arrives(t: &EventsUnderTest) {
    let events: Vec<Event> = (0..25).map(|id| event(id, "x")).collect();
    t.events.put(&events).await.expect("the events were accepted");
    assert_eq!(t.must_receive(25).await.len(), 25);
}

/// JSON in all its looks.
pub async fn a_detail_arrives_as_it_was_put(t: &EventsUnderTest) {
    let text = "“é” & <日本> \n\u{0} 'x' %25 + ${} {{}}";
    t.events.put(&[event(1, text)]).await.expect("the event was accepted");
    assert_eq!(t.must_receive(1).await[&1]["text"], text);
}

/// Larger than any one batch may be.
pub async fn large_events_arrive(t: &EventsUnderTest) {
    let text = "x".repeat(100_000);
    let events: Vec<Event> = (0..6).map(|id| event(id, &text)).collect();
    t.events.put(&events).await.expect("the events were accepted");
    assert_eq!(t.must_receive(6).await.len(), 6);
}

/// Nothing to tell is nothing to do.
pub async fn putting_nothing_is_no_error(t: &EventsUnderTest) {
    t.events.put(&[]).await.expect("nothing was accepted");
    assert_eq!(t.watcher.receive().await, Vec::<Value>::new());
}

/// No repetition would mend it.
pub async fn an_event_that_is_too_long_or_no_json_is_refused(t: &EventsUnderTest) {
    for detail in ["x".to_owned(), json!({ "text": "x".repeat(MAX_DETAIL_BYTES) }).to_string()] {
        let put = t.events.put(&[Event { detail, ..event(1, "") }]).await;
        assert_eq!(put.expect_err("it is refused").fault, Fault::Permanent);
    }
}

/// Tests a bus: the argument names an `async fn() -> EventsUnderTest`.
#[macro_export]
macro_rules! events_contract {
    ($instance:path) => {
        $crate::contract_tests!(
            events,
            $instance,
            [
                every_event_arrives,
                a_detail_arrives_as_it_was_put,
                large_events_arrive,
                putting_nothing_is_no_error,
                an_event_that_is_too_long_or_no_json_is_refused,
            ]
        );
    };
}

//! Events on a bus of EventBridge.

mod batch;

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, PutEventsResultEntry};
use fanfold_domain::{Event, announcement::SOURCE};
use fanfold_ports::{Events, Fault, PortError};

use crate::error::write_error;
use batch::batches;

/// How often events are put of which EventBridge accepts a part only.
const TRIES: u32 = 3;
/// The wait before the second try; each later one is twice as long.
const FIRST_WAIT_MS: u64 = 100;

/// The events port on EventBridge.
#[derive(Debug, Clone)]
pub struct EventBus {
    client: Client,
    bus: Option<String>,
}

impl EventBus {
    pub(crate) fn new(client: Client, bus: Option<String>) -> Self {
        Self { client, bus }
    }

    /// Puts a batch, again and again what EventBridge did not accept of it.
    async fn put_batch(&self, bus: &str, mut batch: Vec<PutEventsRequestEntry>) -> Result<(), PortError> {
        let mut tried = 1;
        loop {
            let put = self.client.put_events().set_entries(Some(batch.clone())).send().await;
            let answer = put.map_err(|error| write_error("put", bus, error))?;
            // Answers come in the order of the entries.
            let failed = |entry: &PutEventsResultEntry| entry.error_code.is_some();
            let Some(first) = answer.entries().iter().find(|entry| failed(entry)) else { return Ok(()) };
            if tried == TRIES || is_refusal(first) {
                return Err(not_accepted(bus, answer.failed_entry_count(), first));
            }
            let again = batch.into_iter().zip(answer.entries()).filter(|(_, entry)| failed(entry));
            batch = again.map(|(event, _)| event).collect();
            tokio::time::sleep(Duration::from_millis(FIRST_WAIT_MS << tried)).await;
            tried += 1;
        }
    }
}

#[async_trait]
impl Events for EventBus {
    async fn put(&self, events: &[Event]) -> Result<(), PortError> {
        let refused = |detail: String| PortError::new(Fault::Permanent, "put", "events", detail);
        let bus = self.bus.as_deref();
        let bus = bus.ok_or_else(|| refused("this function was not given the name of a bus".to_owned()))?;
        for batch in batches(events).map_err(refused)? {
            self.put_batch(bus, batch.iter().map(|event| entry(bus, event)).collect()).await?;
        }
        Ok(())
    }
}

fn entry(bus: &str, event: &Event) -> PutEventsRequestEntry {
    PutEventsRequestEntry::builder()
        .event_bus_name(bus)
        .source(SOURCE)
        .detail_type(event.detail_type)
        .detail(&event.detail)
        .time(DateTime::from_millis(event.happened_at.0.cast_signed()))
        .build()
}

/// Whether EventBridge says of an event that it will never take it.
fn is_refusal(entry: &PutEventsResultEntry) -> bool {
    let passes = ["ThrottlingException", "InternalFailure", "InternalException"];
    entry.error_code().is_some_and(|code| !passes.contains(&code))
}

fn not_accepted(bus: &str, count: i32, first: &PutEventsResultEntry) -> PortError {
    let fault = if is_refusal(first) { Fault::Permanent } else { Fault::Transient };
    let (code, message) =
        (first.error_code().unwrap_or("no code"), first.error_message().unwrap_or("no message"));
    let detail = format!("{count} events were not accepted, the first one with {code}: {message}");
    PortError::new(fault, "put", bus, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_eventbridge_refuses_is_not_tried_again() {
        let entry = |code: &str| PutEventsResultEntry::builder().error_code(code).build();
        assert_eq!(not_accepted("bus", 1, &entry("MalformedDetail")).fault, Fault::Permanent);
        assert_eq!(not_accepted("bus", 1, &entry("ThrottlingException")).fault, Fault::Transient);
        assert!(!is_refusal(&PutEventsResultEntry::builder().event_id("1").build()));
    }
}

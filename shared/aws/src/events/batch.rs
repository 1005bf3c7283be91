//! How events make batches.

use fanfold_domain::Event;
use fanfold_ports::events::MAX_DETAIL_BYTES;
use serde_json::{Map, Value};

/// Events in a batch, at most (EventBridge).
const MAX_EVENTS: usize = 10;
/// Bytes of a batch, at most: the limit of 256 KiB that every region and every stand-in has. What is counted of an event
/// beside its detail is less than [`BESIDE`].
const MAX_BYTES: usize = 256 << 10;
const BESIDE: usize = 512;

/// Divides events, in their order, into as few batches as that order allows.
///
/// # Errors
/// An event that is too long, or no JSON object; what is wrong with it.
pub(super) fn batches(events: &[Event]) -> Result<Vec<&[Event]>, String> {
    events.iter().try_for_each(check)?;
    let mut batches = Vec::new();
    let mut rest = events;
    while !rest.is_empty() {
        let ends = rest.iter().scan(0, |bytes, event| {
            *bytes += event.detail.len() + BESIDE;
            Some(*bytes)
        });
        let count = ends.take(MAX_EVENTS).take_while(|bytes| *bytes <= MAX_BYTES).count().max(1);
        let (batch, left) = rest.split_at(count);
        batches.push(batch);
        rest = left;
    }
    Ok(batches)
}

fn check(event: &Event) -> Result<(), String> {
    let bytes = event.detail.len();
    if bytes > MAX_DETAIL_BYTES {
        return Err(format!("an event of {bytes} bytes, and at most {MAX_DETAIL_BYTES} can be put"));
    }
    match serde_json::from_str::<Map<String, Value>>(&event.detail) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("the detail of an event is no JSON object: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfold_domain::Timestamp;

    fn sizes(bytes: &[usize]) -> Result<Vec<usize>, String> {
        let event = |bytes: &usize| Event {
            detail_type: "Run Started",
            detail: format!("{{\"x\":\"{}\"}}", "x".repeat(bytes - 8)),
            happened_at: Timestamp(0),
        };
        let events: Vec<Event> = bytes.iter().map(event).collect();
        Ok(batches(&events)?.iter().map(|batch| batch.len()).collect())
    }

    #[test]
    fn ten_events_are_a_batch() {
        assert_eq!(sizes(&[10; 25]).unwrap(), [10, 10, 5]);
        assert_eq!(sizes(&[]).unwrap(), [0; 0]);
    }

    #[test]
    fn a_batch_holds_256_kib() {
        let half = MAX_BYTES / 2 - BESIDE;
        assert_eq!(sizes(&[half, half, 10]).unwrap(), [2, 1]);
        assert_eq!(sizes(&[10, MAX_DETAIL_BYTES, 10]).unwrap(), [1, 1, 1]);
        assert!(sizes(&[10, MAX_DETAIL_BYTES + 1]).unwrap_err().contains("261121"));
    }

    #[test]
    fn what_is_no_object_is_refused_before_any_is_put() {
        let event =
            |detail: &str| Event { detail_type: "x", detail: detail.into(), happened_at: Timestamp(0) };
        assert!(batches(&[event("{}"), event("[]")]).is_err());
    }
}

//! Events in memory: kept in order, for a driver to look at.

use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use fanfold_domain::Event;

use crate::{Events, Fault, PortError, events::MAX_DETAIL_BYTES};

/// Events that were put, in order.
#[derive(Debug, Default)]
pub struct MemoryEvents(Mutex<Vec<Event>>);

impl MemoryEvents {
    /// All events, in the order in which they were put, doubles included.
    pub fn all(&self) -> Vec<Event> {
        self.events().clone()
    }

    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.0.lock().expect("nothing panics while it holds the lock")
    }
}

#[async_trait]
impl Events for MemoryEvents {
    async fn put(&self, events: &[Event]) -> Result<(), PortError> {
        events.iter().try_for_each(check)?;
        self.events().extend_from_slice(events);
        Ok(())
    }
}

/// EventBridge's rules for an event.
fn check(event: &Event) -> Result<(), PortError> {
    let refused = |detail: String| Err(PortError::new(Fault::Permanent, "put", event.detail_type, detail));
    let bytes = event.detail.len();
    if bytes > MAX_DETAIL_BYTES {
        return refused(format!("a detail of {bytes} bytes, and at most {MAX_DETAIL_BYTES} can be put"));
    }
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&event.detail) {
        Ok(_) => Ok(()),
        Err(error) => refused(format!("MalformedDetail: {error}")),
    }
}

//! Functions in memory: what they return is the test's to say, how long it takes is virtual time.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use fanfold_domain::FunctionName;

use super::MemoryClock;
use crate::{
    Clock, Fault, PortError,
    functions::{Functions, InvokeError, MAX_PAYLOAD_BYTES, Returned},
};

type Script = dyn Fn(&FunctionName, &Bytes, usize) -> Result<Returned, InvokeError> + Send + Sync;

/// Functions in memory, which remember what they were given. Clones are the same ones.
#[derive(Clone)]
pub struct MemoryFunctions {
    clock: MemoryClock,
    script: Arc<Script>,
    takes_ms: u64,
    events: Arc<Mutex<Vec<Bytes>>>,
}

impl fmt::Debug for MemoryFunctions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFunctions").field("invoked", &self.state().len()).finish_non_exhaustive()
    }
}

impl MemoryFunctions {
    /// Functions that return what `script` says of a name, an event and the number of the invocation, from 0; each
    /// takes `takes_ms`.
    pub fn new(
        clock: MemoryClock,
        takes_ms: u64,
        script: impl Fn(&FunctionName, &Bytes, usize) -> Result<Returned, InvokeError> + Send + Sync + 'static,
    ) -> Self {
        Self { clock, script: Arc::new(script), takes_ms, events: Arc::default() }
    }

    /// The events of all invocations that arrived, in order.
    pub fn events(&self) -> Vec<Bytes> {
        self.state().clone()
    }

    fn state(&self) -> MutexGuard<'_, Vec<Bytes>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Functions for MemoryFunctions {
    async fn invoke(&self, function: &FunctionName, event: Bytes) -> Result<Returned, InvokeError> {
        if event.len() > MAX_PAYLOAD_BYTES {
            let detail = "RequestTooLargeException: the event is too large";
            return Err(PortError::new(Fault::Permanent, "invoke", function, detail).into());
        }
        let number = {
            let mut events = self.state();
            events.push(event.clone());
            events.len() - 1
        };
        self.clock.sleep_ms(self.takes_ms).await;
        match (self.script)(function, &event, number)? {
            Returned::Answer(answer) if answer.len() > MAX_PAYLOAD_BYTES => {
                let failure = "Function.ResponseSizeTooLarge: the answer is too large";
                Ok(Returned::Failure(failure.to_owned()))
            }
            returned => Ok(returned),
        }
    }
}

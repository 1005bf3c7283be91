//! One invocation of a function: what a crash ends.

use std::fmt;

use tokio::sync::watch;

/// One invocation of a handler, which a driver ends when it crashes. Clones are the same invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    name: String,
    has_crashed: watch::Sender<bool>,
}

impl Invocation {
    /// An invocation that the log of faults will call `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), has_crashed: watch::Sender::new(false) }
    }

    /// Waits until the invocation has crashed; for ever if it never does.
    ///
    /// A driver waits for this and the handler at once, for this one first, and drops the handler's future.
    ///
    /// # Panics
    /// Never: the sender is held by the invocation.
    pub async fn crashed(&self) {
        let mut crash = self.has_crashed.subscribe();
        crash.wait_for(|has_crashed| *has_crashed).await.expect("the sender is held by this invocation");
    }

    /// Whether the invocation has crashed.
    pub fn has_crashed(&self) -> bool {
        *self.has_crashed.borrow()
    }

    /// Crashes the invocation from outside, as a function's timeout does: no call of its ports that begins
    /// later has an effect, or returns.
    pub fn crash(&self) {
        self.has_crashed.send_replace(true);
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

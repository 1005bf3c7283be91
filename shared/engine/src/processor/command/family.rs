//! A command and its children: begun in a process group of their own, ended together.

use std::{io, process::ExitStatus, time::Duration};

use nix::{
    sys::{
        signal::{Signal, killpg},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use tokio::process::Child;

/// How often, and how many times, killed children are looked after.
const LOOKS: u32 = 100;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// A child process that leads a process group.
pub(super) struct Family {
    child: Child,
    group: Pid,
    ended: bool,
}

impl Family {
    /// Takes a child that was begun with `process_group(0)`.
    pub(super) fn new(child: Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok()).expect("a child just begun has an id");
        Self { child, group: Pid::from_raw(id), ended: false }
    }

    /// Waits for the child itself.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Whether the child itself has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Ends the child and its children, but for those that left its group.
    pub(super) async fn kill(&mut self) {
        self.signal();
        if let Err(error) = self.child.wait().await {
            tracing::warn!(%error, "a command was killed, but not waited for");
        }
        // Grandchildren become children of the first process of a pod, which is the worker.
        for _ in 0..LOOKS {
            match waitpid(Pid::from_raw(-self.group.as_raw()), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => tokio::time::sleep(BETWEEN_LOOKS).await,
                Ok(_reaped) => {}
                Err(_no_child_left) => break,
            }
        }
    }

    fn signal(&mut self) {
        self.ended = true;
        // A group that has gone already is as good as one that was killed.
        killpg(self.group, Signal::SIGKILL).ok();
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        if !self.ended {
            // Dropped before its end: the chunk was given up, so nobody reads what its children would write.
            self.signal();
        }
    }
}

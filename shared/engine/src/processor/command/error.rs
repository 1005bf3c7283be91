//! Why a command failed, in words that a person can act on.

use std::{io, os::unix::process::ExitStatusExt, process::ExitStatus};

use thiserror::Error;

/// Why a command failed. `program` is the first word of the command.
#[derive(Debug, Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("{program:?} cannot be started: {source}")]
    Start {
        /// Which program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ended otherwise than with status 0.
    #[error("{program:?} {how}{}", said(.stderr))]
    Ended {
        /// Which program.
        program: String,
        /// `exited with 3`, or by which signal.
        how: String,
        /// The last lines it wrote to stderr.
        stderr: String,
    },
    /// It did not end in time, and was killed with its children.
    #[error("{program:?} was killed after {timeout_ms} ms, the stage's timeout{}", said(.stderr))]
    TimedOut {
        /// Which program.
        program: String,
        /// The limit in milliseconds.
        timeout_ms: u64,
        /// The last lines it wrote to stderr.
        stderr: String,
    },
    /// It ended in time, but something that it had begun kept its output open.
    #[error(
        "{program:?} ended, but a process that it began held its stdout or descriptor 3 open until the stage's timeout, {timeout_ms} ms{}",
        said(.stderr)
    )]
    HeldOpen {
        /// Which program.
        program: String,
        /// The limit in milliseconds.
        timeout_ms: u64,
        /// The last lines it wrote to stderr.
        stderr: String,
    },
    /// It wrote something to descriptor 3 that names no bad record.
    #[error(
        "{program:?} wrote {line:?} to descriptor 3, and a line there must be JSON {{\"record\": n, \"reason\": \"...\"}} of a record that it was given"
    )]
    Report {
        /// Which program.
        program: String,
        /// The line, cut.
        line: String,
    },
    /// It reported more bad records than are kept in memory.
    #[error("{program:?} reported more than {limit_bytes} bytes of bad records for one chunk")]
    TooManyReports {
        /// Which program.
        program: String,
        /// The limit in bytes.
        limit_bytes: usize,
    },
    /// A pipe to it failed.
    #[error("the pipes to {program:?} failed: {source}")]
    Pipe {
        /// Which program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
}

impl CommandError {
    /// Whether another try may end differently: any program may have had a bad moment, but one that is not
    /// there, or may not be run, will not be there the next time either.
    pub fn may_pass(&self) -> bool {
        use io::ErrorKind::{ArgumentListTooLong, InvalidInput, NotFound, PermissionDenied};
        match self {
            Self::Start { source, .. } => {
                !matches!(source.kind(), NotFound | PermissionDenied | InvalidInput | ArgumentListTooLong)
            }
            _ => true,
        }
    }
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!("; it said: {stderr}") }
}

/// How a program ended that did not end well.
pub(super) fn describe(status: ExitStatus) -> String {
    const OUT_OF_MEMORY: &str = "SIGKILL: out of memory, if nobody else sent it";
    match (status.code(), status.signal()) {
        (Some(137), _) => format!("exited with 137 (a program in it was killed by {OUT_OF_MEMORY})"),
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(9)) => format!("was killed by signal 9 ({OUT_OF_MEMORY})"),
        (None, signal) => format!("was killed by signal {}", signal.unwrap_or_default()),
    }
}

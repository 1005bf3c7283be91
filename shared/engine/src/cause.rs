//! Why an attempt gave no part though another may, and so what it is charged to.
//!
//! `retry.attempts` is the user's, for what the user's program and third parties do. A throttled call of S3 says nothing
//! of the chunk: were it charged to the same account, ten seconds of throttling would fail chunks for good.

use fanfold_ports::{PortError, functions::InvokeError, objects::ReadError, objects::UploadError};

use crate::{
    chunk::ChunkError,
    plan::PlanError,
    processor::{CommandError, HttpError, LambdaError, ProcessError},
};

/// Why an attempt gave no part though another may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// S3, DynamoDB, SQS or Lambda throttled a call, failed, or did not answer. It does not count as a try.
    Platform,
    /// A call was refused, or what it was about is gone. It counts as a try: a permission may take effect late, but
    /// waiting for hours mends nothing.
    Refused,
    /// The user's program or function failed.
    Program,
    /// A third party did not answer as it should.
    ThirdParty,
    /// The attempt did not end in the time that it had.
    OutOfTime,
}

impl Cause {
    /// Whether an attempt that ended so is one of the stage's `retry.attempts`.
    pub fn counts_as_try(self) -> bool {
        self != Self::Platform
    }

    /// That of a call of AWS.
    pub fn of_port(error: &PortError) -> Self {
        if error.is_permanent() { Self::Refused } else { Self::Platform }
    }

    /// That of a read.
    pub fn of_read(error: &ReadError) -> Self {
        match error {
            ReadError::Port(error) => Self::of_port(error),
            ReadError::Missing(_) | ReadError::Changed(_) => Self::Refused,
        }
    }

    /// That of a write.
    pub fn of_upload(error: &UploadError) -> Self {
        match error {
            UploadError::Port(error) => Self::of_port(error),
            UploadError::Read(error) => Self::of_read(error),
            // Aborted beside the attempt; the next one begins an upload of its own.
            UploadError::Gone(_) | UploadError::OtherParts(_) => Self::Platform,
        }
    }

    fn of_process(error: &ProcessError) -> Self {
        match error {
            ProcessError::Command(CommandError::TimedOut { .. } | CommandError::HeldOpen { .. }) => {
                Self::OutOfTime
            }
            ProcessError::Header(_) | ProcessError::Command(_) => Self::Program,
            ProcessError::Http(error) => Self::of_http(error),
            ProcessError::Lambda(error) => Self::of_lambda(error),
            ProcessError::Port(error) => Self::of_port(error),
        }
    }

    fn of_http(error: &HttpError) -> Self {
        match error {
            // The turn is reserved in a table of ours.
            HttpError::Turn(error) => Self::of_port(error),
            HttpError::OutOfTime { .. } => Self::OutOfTime,
            _ => Self::ThirdParty,
        }
    }

    fn of_lambda(error: &LambdaError) -> Self {
        match error {
            LambdaError::Invoke { source: InvokeError::Port(error) } => match Self::of_port(error) {
                // The function may have run, and would run again at each of many attempts: a connection that breaks
                // whenever it runs for long looks like this.
                Self::Platform if !error.is_transient() => Self::Program,
                cause => cause,
            },
            LambdaError::Invoke { .. } | LambdaError::NoFunctions => Self::Refused,
            LambdaError::OutOfTime { .. } => Self::OutOfTime,
            _ => Self::Program,
        }
    }
}

impl From<&ChunkError> for Cause {
    fn from(error: &ChunkError) -> Self {
        match error {
            ChunkError::Process(error) => Self::of_process(error),
            ChunkError::Port(error) => Self::of_upload(error),
            ChunkError::SourceChanged(error) => Self::of_read(error),
            ChunkError::Permanent(_) => Self::Program,
        }
    }
}

impl From<&PlanError> for Cause {
    fn from(error: &PlanError) -> Self {
        match error {
            PlanError::Port(error) => Self::of_port(error),
            PlanError::Upload(error) => Self::of_upload(error),
            _ => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use fanfold_domain::ObjectName;
    use fanfold_ports::Fault;

    use super::*;

    fn failed(fault: Fault) -> PortError {
        PortError::new(fault, "read", "s3://b/k", "SlowDown: reduce your request rate")
    }

    fn causes(error: impl Fn(PortError) -> ChunkError) -> [Cause; 3] {
        [Fault::Transient, Fault::Indeterminate, Fault::Permanent]
            .map(|fault| Cause::from(&error(failed(fault))))
    }

    #[test]
    fn a_call_of_aws_that_may_succeed_later_is_no_try() {
        let expected = [Cause::Platform, Cause::Platform, Cause::Refused];
        assert_eq!(causes(ChunkError::from), expected);
        assert_eq!(causes(|error| ChunkError::Port(ReadError::Port(error).into())), expected);
        assert_eq!(causes(|error| ChunkError::Process(ProcessError::Port(error))), expected);
        assert_eq!(causes(|error| ChunkError::Process(HttpError::Turn(error).into())), expected);
        assert!(!Cause::Platform.counts_as_try() && Cause::Refused.counts_as_try());
    }

    #[test]
    fn a_throttled_invocation_is_no_try_and_one_that_may_have_run_is() {
        let invoke =
            |error| ChunkError::Process(LambdaError::Invoke { source: InvokeError::Port(error) }.into());
        assert_eq!(causes(invoke), [Cause::Platform, Cause::Program, Cause::Refused]);
    }

    #[test]
    fn what_programs_and_third_parties_do_counts() {
        let program = || "./p".to_owned();
        let of = |error: ProcessError| Cause::from(&ChunkError::Process(error));
        let (how, stderr) = ("exited with 3".to_owned(), String::new());
        let ended = CommandError::Ended { program: program(), how, stderr: stderr.clone() };
        assert_eq!(of(ended.into()), Cause::Program);
        let no_fork = CommandError::Start { program: program(), source: io::ErrorKind::WouldBlock.into() };
        assert_eq!(of(no_fork.into()), Cause::Program);
        let late = CommandError::TimedOut { program: program(), timeout_ms: 1, stderr };
        assert_eq!(of(late.into()), Cause::OutOfTime);
        let gave_up =
            HttpError::GaveUp { offset: 0, tries: 3, why: "was answered 503".to_owned(), wait_ms: 0 };
        assert_eq!(of(gave_up.into()), Cause::ThirdParty);
        assert_eq!(of(HttpError::OutOfTime { answered: 1, timeout_ms: 1 }.into()), Cause::OutOfTime);
    }

    #[test]
    fn what_is_gone_is_not_waited_for() {
        let gone = UploadError::Read(ReadError::Missing(ObjectName::new("b", "k")));
        assert_eq!(Cause::from(&ChunkError::Port(gone)), Cause::Refused);
        assert_eq!(Cause::from(&PlanError::Port(failed(Fault::Transient))), Cause::Platform);
        assert_eq!(Cause::from(&PlanError::Nothing("no object".to_owned())), Cause::Refused);
    }
}

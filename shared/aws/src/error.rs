//! From the SDK's errors to the port's: one classification for all three services.

use std::error::Error;
use std::fmt::Display;
use std::io;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use fanfold_ports::{Fault, PortError};

/// Whether a call changes anything: a change whose answer is lost may have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    Write,
}

/// How far a failed call came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached<'a> {
    /// It could not be made at all.
    Nowhere,
    /// No connection was made.
    NoConnection,
    /// It may have arrived; its answer did not.
    Unknown,
    /// The service answered with an error.
    Service { status: u16, code: Option<&'a str> },
}

/// Codes with which a service says 'not now': nothing was done.
const NOT_NOW: &[&str] = &[
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException",
    "OperationAborted",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "ReplicatedWriteConflictException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ResourceConflictException",
    "ServiceUnavailable",
    "SlowDown",
    "SnapStartNotReadyException",
    "Throttling",
    "ThrottledException",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// Codes of a failure within the service; S3 may send one with the status 200, when it has begun to answer.
const FAILED_WITHIN: &[&str] = &["InternalError", "InternalFailure", "InternalServerError"];

fn fault(effect: Effect, reached: Reached<'_>) -> Fault {
    let unknown = match effect {
        Effect::Read => Fault::Transient,
        Effect::Write => Fault::Indeterminate,
    };
    match reached {
        Reached::Nowhere => Fault::Permanent,
        Reached::NoConnection => Fault::Transient,
        Reached::Unknown => unknown,
        Reached::Service { status, code } => match (status, code) {
            (_, Some(code)) if NOT_NOW.contains(&code) => Fault::Transient,
            (_, Some(code)) if FAILED_WITHIN.contains(&code) => unknown,
            (408 | 429 | 503, _) => Fault::Transient,
            (500.., _) => unknown,
            _ => Fault::Permanent,
        },
    }
}

/// The error of a call that changes nothing.
pub(crate) fn read_error<E>(
    operation: &'static str,
    subject: impl Display,
    error: SdkError<E, HttpResponse>,
) -> PortError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    port_error(Effect::Read, operation, subject, error)
}

/// The error of a call that changes something.
pub(crate) fn write_error<E>(
    operation: &'static str,
    subject: impl Display,
    error: SdkError<E, HttpResponse>,
) -> PortError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    port_error(Effect::Write, operation, subject, error)
}

fn port_error<E>(
    effect: Effect,
    operation: &'static str,
    subject: impl Display,
    error: SdkError<E, HttpResponse>,
) -> PortError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let reached = reached(&error);
    let fault = fault(effect, reached);
    let detail = match reached {
        Reached::Service { status, .. } => match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => format!("{code} (status {status})"),
            (None, _) => format!("status {status}"),
        },
        _ => causes(&error),
    };
    PortError { source: Some(without_response(error)), ..PortError::new(fault, operation, subject, detail) }
}

/// The error to keep: of an answer what the service said, not the answer with its headers and body, which
/// belong in no log.
fn without_response<E>(error: SdkError<E, HttpResponse>) -> Box<dyn Error + Send + Sync>
where
    E: Error + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(answer) => Box::new(answer.into_err()),
        error => Box::new(error),
    }
}

fn reached<E: Error + ProvideErrorMetadata + 'static>(error: &SdkError<E, HttpResponse>) -> Reached<'_> {
    match error {
        SdkError::ConstructionFailure(_) => Reached::Nowhere,
        SdkError::DispatchFailure(failure) if failure.is_user() => Reached::Nowhere,
        SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
            Some(error) if was_refused(error) => Reached::NoConnection,
            _ => Reached::Unknown,
        },
        SdkError::ServiceError(answer) => {
            Reached::Service { status: answer.raw().status().as_u16(), code: answer.err().code() }
        }
        _ => Reached::Unknown,
    }
}

/// Whether nobody was there to take the request. Other failures to connect cannot be told from a connection
/// that broke, and count as unknown.
fn was_refused(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
    })
}

/// An error and its causes in one line.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The status that the service answered with, if it answered.
pub(crate) fn status_of<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;
    use thiserror::Error;

    #[derive(Debug, Error)]
    #[error("dispatch failure")]
    struct ConnectorError(#[source] io::Error);

    fn answered(effect: Effect, status: u16, code: &str) -> Fault {
        fault(effect, Reached::Service { status, code: Some(code) })
    }

    #[test]
    fn a_throttled_call_is_transient_whatever_it_was() {
        for (status, code) in [
            (503, "SlowDown"),
            (408, "EFSMountTimeoutException"),
            (200, "SlowDown"),
            (400, "ThrottlingException"),
            (400, "ProvisionedThroughputExceededException"),
            (400, "TransactionConflictException"),
        ] {
            assert_eq!(answered(Effect::Write, status, code), Fault::Transient, "{code}");
            assert_eq!(answered(Effect::Read, status, code), Fault::Transient, "{code}");
        }
    }

    #[test]
    fn a_write_without_an_answer_may_have_happened() {
        assert_eq!(fault(Effect::Write, Reached::Unknown), Fault::Indeterminate);
        assert_eq!(fault(Effect::Read, Reached::Unknown), Fault::Transient);
        assert_eq!(answered(Effect::Write, 500, "InternalServerError"), Fault::Indeterminate);
        assert_eq!(answered(Effect::Write, 200, "InternalError"), Fault::Indeterminate);
        assert_eq!(answered(Effect::Read, 500, "InternalError"), Fault::Transient);
    }

    #[test]
    fn a_call_that_was_never_sent_did_not_happen() {
        assert_eq!(fault(Effect::Write, Reached::NoConnection), Fault::Transient);
        assert_eq!(fault(Effect::Write, Reached::Nowhere), Fault::Permanent);
    }

    #[test]
    fn a_refusal_is_permanent() {
        assert_eq!(answered(Effect::Write, 403, "AccessDenied"), Fault::Permanent);
        assert_eq!(answered(Effect::Read, 400, "ValidationException"), Fault::Permanent);
        assert_eq!(fault(Effect::Read, Reached::Service { status: 404, code: None }), Fault::Permanent);
    }

    #[test]
    fn a_refused_connection_is_found_behind_other_errors() {
        assert!(was_refused(&ConnectorError(io::ErrorKind::ConnectionRefused.into())));
        assert!(!was_refused(&ConnectorError(io::ErrorKind::ConnectionReset.into())));
    }
}

//! Why a call failed, and what that means to the port: one classification for AWS and for Kubernetes.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_eks::error::{ProvideErrorMetadata, SdkError};
use bytes::Bytes;
use fanfold_domain::cluster::Cluster;
use fanfold_ports::clusters::{ClusterError, ClusterFault};
use http::StatusCode;
use serde::Deserialize;
use thiserror::Error as ThisError;

/// A call that failed, at any of its steps.
#[derive(Debug, ThisError)]
pub(crate) enum Failure {
    /// A step before the request: whom to ask, and as whom.
    #[error("{step}: {detail}")]
    Before {
        step: &'static str,
        fault: ClusterFault,
        detail: String,
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// No answer, or none in time.
    #[error("no answer within {seconds} s")]
    TimedOut { seconds: u64 },
    /// No connection, or one that broke.
    #[error("{}", broken(.0))]
    Broken(#[source] kube::Error),
    /// Kubernetes answered with an error.
    #[error("{0}")]
    Answered(Answer),
    /// Kubernetes answered with success, and something that is not what was asked for.
    #[error("its answer cannot be read: {0}")]
    Unreadable(#[source] serde_json::Error),
    /// What is there stands in the way.
    #[error("{detail}")]
    InTheWay { fault: ClusterFault, detail: String },
}

/// An answer that is an error: Kubernetes' `Status`, or whatever a proxy in front of it says.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error("{} ({status})", self.text())]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// As much of Kubernetes' own `Status` as says anything here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    reason: String,
    message: String,
}

/// How much of an answer that is no `Status` is kept, in characters.
const MOST_TEXT: usize = 300;
/// The reason of a 409 to a creation whose name is taken.
const ALREADY_EXISTS: &str = "AlreadyExists";
/// What the quota controller says of what it does not admit.
const OVER_QUOTA: &str = "exceeded quota";
/// Codes with which AWS says 'not now', whatever the status.
const NOT_NOW: &[&str] =
    &["RequestLimitExceeded", "RequestTimeout", "RequestTimeoutException", "TooManyRequestsException"];

impl Answer {
    pub(crate) fn read(status: StatusCode, body: &Bytes) -> Self {
        let text = || String::from_utf8_lossy(body).trim().chars().take(MOST_TEXT).collect();
        let read =
            serde_json::from_slice(body).unwrap_or_else(|_| Status { message: text(), ..Status::default() });
        Self { status: status.as_u16(), reason: read.reason, message: read.message }
    }

    fn is_taken(&self) -> bool {
        self.status == 409 && self.reason == ALREADY_EXISTS
    }

    fn text(&self) -> &str {
        let texts = [self.message.as_str(), &self.reason, "an error without a message"];
        texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default()
    }

    fn fault(&self) -> ClusterFault {
        match self.status {
            403 if self.message.contains(OVER_QUOTA) => ClusterFault::Full,
            401 | 403 | 404 => ClusterFault::Refused,
            // The quota controller answers 409, reason Conflict, if another creation was counted at that moment.
            409 if !self.is_taken() => ClusterFault::Unreachable,
            // 408: the server's own timeout. 410: a list's next page was asked for too late.
            408 | 410 | 429 | 500.. => ClusterFault::Unreachable,
            _ => ClusterFault::Invalid,
        }
    }
}

impl Failure {
    /// What it means to the port.
    pub(crate) fn fault(&self) -> ClusterFault {
        match self {
            Self::Before { fault, .. } | Self::InTheWay { fault, .. } => *fault,
            Self::TimedOut { .. } | Self::Broken(_) | Self::Unreadable(_) => ClusterFault::Unreachable,
            Self::Answered(answer) => answer.fault(),
        }
    }

    /// The port's error.
    pub(crate) fn at(self, cluster: &Cluster, operation: &'static str) -> ClusterError {
        let error = ClusterError::new(self.fault(), &cluster.name, operation, &self);
        ClusterError { source: Some(Box::new(self)), ..error }
    }

    /// Whether a creation found its name taken.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self, Self::Answered(answer) if answer.is_taken())
    }

    /// The status of Kubernetes' answer, if it answered.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Answered(answer) => Some(answer.status),
            _ => None,
        }
    }

    /// A step that cannot be taken, for a reason of ours.
    pub(crate) fn before(step: &'static str, fault: ClusterFault, detail: impl ToString) -> Self {
        Self::Before { step, fault, detail: detail.to_string(), source: None }
    }

    /// No credentials to ask with.
    pub(crate) fn of_credentials(error: CredentialsError) -> Self {
        let fault = match error {
            CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_) => {
                ClusterFault::Refused
            }
            _ => ClusterFault::Unreachable,
        };
        let detail = causes(&error);
        Self::Before { step: "credentials", fault, detail, source: Some(Box::new(error)) }
    }

    /// A call of AWS that failed.
    pub(crate) fn of_aws<E>(step: &'static str, error: SdkError<E>) -> Self
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let (fault, detail) = match &error {
            SdkError::ServiceError(answer) => {
                let (status, code) = (answer.raw().status().as_u16(), error.code().unwrap_or_default());
                let text = error.message().unwrap_or("an error without a message");
                (aws_fault(status, code), format!("{code}: {text} ({status})"))
            }
            SdkError::ConstructionFailure(_) => (ClusterFault::Refused, causes(&error)),
            SdkError::DispatchFailure(failure) if failure.is_user() => {
                (ClusterFault::Refused, causes(&error))
            }
            _ => (ClusterFault::Unreachable, causes(&error)),
        };
        let source: Box<dyn Error + Send + Sync> = match error {
            // Not the answer with its headers and body, which belong in no log.
            SdkError::ServiceError(answer) => Box::new(answer.into_err()),
            error => Box::new(error),
        };
        Self::Before { step, fault, detail, source: Some(source) }
    }
}

fn aws_fault(status: u16, code: &str) -> ClusterFault {
    let is_later = code.contains("Throttl") || NOT_NOW.contains(&code);
    if is_later || status == 429 || status >= 500 { ClusterFault::Unreachable } else { ClusterFault::Refused }
}

/// What became of a connection, without kube's name for it.
fn broken(error: &kube::Error) -> String {
    match error {
        kube::Error::Service(beneath) => causes(beneath.as_ref()),
        _ => causes(error),
    }
}

/// An error and its causes in one line, each that says something new.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    for cause in std::iter::successors(Some(error), |&error| error.source()) {
        let text = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if !line.contains(&text) {
            line = if line.is_empty() { text } else { format!("{line}: {text}") };
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, reason: &str, message: &str) -> ClusterFault {
        let body = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure",
            "reason": reason, "message": message, "code": status,
        });
        let status = StatusCode::from_u16(status).unwrap();
        let answer = Answer::read(status, &Bytes::from(body.to_string()));
        assert_eq!((answer.reason.as_str(), answer.message.as_str()), (reason, message));
        Failure::Answered(answer).fault()
    }

    #[test]
    fn an_answer_says_what_it_means() {
        let quota = "jobs.batch \"x\" is forbidden: exceeded quota: jobs, requested: count/jobs.batch=1, \
                     used: count/jobs.batch=5, limited: count/jobs.batch=5";
        let no_right = "jobs.batch is forbidden: User \"x\" cannot create resource \"jobs\" in API group \"batch\" \
                        in the namespace \"fanfold\"";
        for (status, reason, message, wanted) in [
            (401, "Unauthorized", "Unauthorized", ClusterFault::Refused),
            (403, "Forbidden", no_right, ClusterFault::Refused),
            (403, "Forbidden", quota, ClusterFault::Full),
            (404, "NotFound", "namespaces \"fanfold\" not found", ClusterFault::Refused),
            (400, "BadRequest", "the object is no Job", ClusterFault::Invalid),
            (409, ALREADY_EXISTS, "jobs.batch \"x\" already exists", ClusterFault::Invalid),
            (409, "Conflict", "Operation cannot be fulfilled on resourcequotas", ClusterFault::Unreachable),
            (410, "Expired", "The provided continue parameter is too old", ClusterFault::Unreachable),
            (413, "RequestEntityTooLarge", "limit is 3145728", ClusterFault::Invalid),
            (422, "Invalid", "Job.batch \"x\" is invalid: spec.template", ClusterFault::Invalid),
            (429, "TooManyRequests", "the server has received too many requests", ClusterFault::Unreachable),
            (500, "InternalError", "etcdserver: request timed out", ClusterFault::Unreachable),
            (503, "ServiceUnavailable", "apiserver not ready", ClusterFault::Unreachable),
            (504, "Timeout", "Timeout: request did not complete", ClusterFault::Unreachable),
        ] {
            assert_eq!(answered(status, reason, message), wanted, "{status} {message}");
        }
    }

    #[test]
    fn an_answer_that_is_no_status_is_quoted() {
        let answer = Answer::read(StatusCode::BAD_GATEWAY, &Bytes::from("<h1>Bad Gateway</h1>\n"));
        assert_eq!(answer.to_string(), "<h1>Bad Gateway</h1> (502)");
        assert_eq!(Failure::Answered(answer).fault(), ClusterFault::Unreachable);
        let silent = Answer::read(StatusCode::FORBIDDEN, &Bytes::new());
        assert_eq!(silent.to_string(), "an error without a message (403)");
    }

    #[test]
    fn no_answer_may_have_had_an_effect() {
        assert_eq!(Failure::TimedOut { seconds: 10 }.fault(), ClusterFault::Unreachable);
        let broken = Failure::Broken(kube::Error::Service("connection\n refused".into()));
        assert_eq!(
            (broken.fault(), broken.to_string().as_str()),
            (ClusterFault::Unreachable, "connection refused")
        );
    }

    #[test]
    fn aws_refuses_or_is_not_there() {
        for (status, code, wanted) in [
            (404, "ResourceNotFoundException", ClusterFault::Refused),
            (403, "AccessDeniedException", ClusterFault::Refused),
            (403, "AccessDenied", ClusterFault::Refused),
            (403, "ExpiredToken", ClusterFault::Refused),
            (400, "InvalidParameterException", ClusterFault::Refused),
            (400, "ThrottlingException", ClusterFault::Unreachable),
            (429, "TooManyRequestsException", ClusterFault::Unreachable),
            (500, "ServerException", ClusterFault::Unreachable),
            (503, "ServiceUnavailableException", ClusterFault::Unreachable),
        ] {
            assert_eq!(aws_fault(status, code), wanted, "{status} {code}");
        }
    }

    #[test]
    fn credentials_that_nobody_gave_are_a_refusal_and_those_that_came_late_are_not() {
        let refused = Failure::of_credentials(CredentialsError::not_loaded("none anywhere"));
        assert_eq!(refused.fault(), ClusterFault::Refused);
        assert!(refused.to_string().contains("none anywhere"), "{refused}");
        let late = CredentialsError::provider_timed_out(std::time::Duration::from_secs(5));
        assert_eq!(Failure::of_credentials(late).fault(), ClusterFault::Unreachable);
    }
}

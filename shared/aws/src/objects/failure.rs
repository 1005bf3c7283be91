//! What S3's refusals mean, by status and code.
//!
//! The code counts before the status: a copy and a completion may answer 200 and an error in the body, and
//! the answer to a HEAD has no body, so no code.

use std::error::Error;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use fanfold_domain::ObjectName;
use fanfold_ports::objects::{Condition, ReadError, Written};
use fanfold_ports::{Fault, PortError};

use crate::error::{read_error, status_of};

/// Status and code of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal<'a> {
    status: Option<u16>,
    code: Option<&'a str>,
}

impl<'a> Refusal<'a> {
    pub(super) fn of<E: ProvideErrorMetadata>(error: &'a SdkError<E, HttpResponse>) -> Self {
        Self { status: status_of(error), code: error.code() }
    }

    /// Whether there is no such object or version. A version that is a delete marker answers 405.
    pub(super) fn is_missing(self) -> bool {
        match self.code {
            Some("NoSuchKey" | "NoSuchVersion" | "NotFound") => true,
            Some("NoSuchBucket" | "NoSuchUpload") => false,
            _ => matches!(self.status, Some(404 | 405)),
        }
    }

    /// Whether there is no such multipart upload.
    pub(super) fn is_upload_gone(self) -> bool {
        self.code == Some("NoSuchUpload")
    }

    /// Whether a completion named a part that the upload does not have, or has in another version.
    pub(super) fn has_other_parts(self) -> bool {
        self.code == Some("InvalidPart")
    }

    /// Whether there is no such bucket: then none of its uploads is left either, not even for a new one of its name.
    pub(super) fn is_bucket_gone(self) -> bool {
        self.code == Some("NoSuchBucket")
    }

    /// Whether a condition did not hold.
    pub(super) fn is_condition(self) -> bool {
        self.code == Some("PreconditionFailed") || self.status == Some(412)
    }

    /// How a conditional write ended, if this is such an end and no failure.
    pub(super) fn written(self, condition: &Condition) -> Option<Written> {
        match condition {
            Condition::Always => None,
            _ if self.is_condition() => Some(Written::Refused),
            _ if self.code == Some("ConditionalRequestConflict") => Some(Written::Conflict),
            Condition::Matches(_) if self.is_missing() => Some(Written::Refused),
            _ => None,
        }
    }
}

/// The error of a HEAD or GET.
pub(super) fn look_error<E>(
    operation: &'static str,
    object: &ObjectName,
    error: SdkError<E, HttpResponse>,
) -> PortError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let forbidden = status_of(&error) == Some(403);
    let mut error = read_error(operation, object, error);
    if forbidden {
        error.detail.push_str(" (S3 answers so too for a missing object if s3:ListBucket is not granted)");
    }
    error
}

/// The error of reading a pinned object, or of copying from it.
pub(super) fn pinned_error<E>(
    operation: &'static str,
    object: &ObjectName,
    error: SdkError<E, HttpResponse>,
) -> ReadError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let refusal = Refusal::of(&error);
    if refusal.is_condition() {
        ReadError::Changed(object.clone())
    } else if refusal.is_missing() {
        ReadError::Missing(object.clone())
    } else {
        ReadError::Port(look_error(operation, object, error))
    }
}

/// An answer without a field that S3 always sends.
pub(super) fn incomplete(operation: &'static str, object: &ObjectName, field: &str) -> PortError {
    PortError::new(Fault::Permanent, operation, object, format!("the answer has no {field}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfold_domain::ETag;

    fn refusal(status: u16, code: &'static str) -> Refusal<'static> {
        Refusal { status: Some(status), code: (!code.is_empty()).then_some(code) }
    }

    #[test]
    fn a_condition_that_does_not_hold_is_an_answer() {
        let matches = Condition::Matches(ETag::new("e"));
        for condition in [&Condition::Absent, &matches] {
            assert_eq!(refusal(412, "PreconditionFailed").written(condition), Some(Written::Refused));
            assert_eq!(refusal(200, "PreconditionFailed").written(condition), Some(Written::Refused));
            assert_eq!(
                refusal(409, "ConditionalRequestConflict").written(condition),
                Some(Written::Conflict)
            );
            assert_eq!(refusal(404, "NoSuchBucket").written(condition), None);
            assert_eq!(refusal(404, "NoSuchUpload").written(condition), None);
            assert_eq!(refusal(403, "AccessDenied").written(condition), None);
        }
        assert_eq!(refusal(412, "PreconditionFailed").written(&Condition::Always), None);
    }

    #[test]
    fn a_match_against_nothing_is_refused() {
        let matches = Condition::Matches(ETag::new("e"));
        assert_eq!(refusal(404, "NoSuchKey").written(&matches), Some(Written::Refused));
        assert_eq!(refusal(404, "NoSuchKey").written(&Condition::Absent), None);
    }

    #[test]
    fn a_head_has_no_code() {
        assert!(refusal(404, "").is_missing());
        assert!(refusal(412, "").is_condition());
        assert!(!refusal(403, "").is_missing());
        assert!(!refusal(404, "NoSuchUpload").is_missing());
        assert!(refusal(404, "NoSuchBucket").is_bucket_gone());
    }
}

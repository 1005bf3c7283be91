//! The functions port on AWS Lambda.

use async_trait::async_trait;
use aws_sdk_lambda::{
    Client, error::ProvideErrorMetadata, operation::invoke::InvokeError as SdkInvokeError, primitives::Blob,
    types::InvocationType,
};
use bytes::Bytes;
use fanfold_domain::FunctionName;
use fanfold_ports::{
    Fault, Functions, PortError,
    functions::{InvokeError, Returned},
};
use serde::Deserialize;

use crate::error::write_error;

/// What Lambda says to who may not.
const DENIED: &str = "AccessDeniedException";

/// The functions port on Lambda.
#[derive(Debug, Clone)]
pub struct LambdaFunctions {
    client: Client,
    region: Option<String>,
}

/// What Lambda tells of a function that failed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    error_type: Option<String>,
    error_message: Option<String>,
}

impl LambdaFunctions {
    pub(crate) fn new(client: Client, region: Option<String>) -> Self {
        Self { client, region }
    }
}

#[async_trait]
impl Functions for LambdaFunctions {
    async fn invoke(&self, function: &FunctionName, event: Bytes) -> Result<Returned, InvokeError> {
        check_region(function, self.region.as_deref())?;
        let invoke = self.client.invoke().function_name(function.as_str());
        let invoke = invoke.invocation_type(InvocationType::RequestResponse).payload(Blob::new(event));
        let returned = match invoke.send().await {
            Ok(returned) => returned,
            Err(error) => {
                let (function, told) = (function.clone(), error.as_service_error());
                let detail = told.and_then(ProvideErrorMetadata::message).unwrap_or_default().to_owned();
                return Err(match told {
                    Some(SdkInvokeError::ResourceNotFoundException(_)) => {
                        InvokeError::Missing { function, detail }
                    }
                    Some(told) if told.code() == Some(DENIED) => InvokeError::Denied { function, detail },
                    _ => write_error("invoke", function, error).into(),
                });
            }
        };
        let payload = returned.payload.map(Blob::into_inner).unwrap_or_default();
        Ok(match returned.function_error {
            Some(_) => Returned::Failure(failure(&payload)),
            None => Returned::Answer(payload.into()),
        })
    }
}

/// Lambda looks for a function of another region in its own, and says that there is none.
fn check_region(function: &FunctionName, ours: Option<&str>) -> Result<(), PortError> {
    match (function.region(), ours) {
        (Some(theirs), Some(ours)) if theirs != ours => {
            let detail = format!("it is in {theirs}, and the stack in {ours}");
            Err(PortError::new(Fault::Permanent, "invoke", function, detail))
        }
        _ => Ok(()),
    }
}

/// Why a function failed, in one line: not where in its code, which is in its own log.
fn failure(payload: &[u8]) -> String {
    match serde_json::from_slice(payload) {
        Ok(Failure { error_type: Some(kind), error_message: Some(message) }) => format!("{kind}: {message}"),
        Ok(Failure { error_type: Some(told), .. } | Failure { error_message: Some(told), .. }) => told,
        _ => String::from_utf8_lossy(payload).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_by_its_kind_and_message() {
        for (payload, told) in [
            (
                r#"{"errorMessage": "no list", "errorType": "ValueError", "stackTrace": ["..."]}"#,
                "ValueError: no list",
            ),
            (r#"{"errorMessage": "Task timed out after 3.00 seconds"}"#, "Task timed out after 3.00 seconds"),
            (r#"{"errorType": "Runtime.ExitError"}"#, "Runtime.ExitError"),
            ("gone", "gone"),
        ] {
            assert_eq!(failure(payload.as_bytes()), told);
        }
    }

    #[test]
    fn a_function_of_another_region_is_not_asked() {
        let arn: FunctionName = "arn:aws:lambda:eu-west-1:123456789012:function:list".parse().unwrap();
        let error = check_region(&arn, Some("us-east-1")).unwrap_err();
        assert!(error.is_permanent() && error.detail.contains("it is in eu-west-1"), "{error}");
        assert!(check_region(&arn, Some("eu-west-1")).is_ok());
        assert!(check_region(&"list".parse().unwrap(), Some("us-east-1")).is_ok());
    }
}

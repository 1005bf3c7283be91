//! Trying again when an item was being written by a transaction at that moment.
//!
//! The SDK does not count such a conflict among the errors that it retries, and it is gone a moment later.

use aws_sdk_dynamodb::config::interceptors::InterceptorContext;
use aws_sdk_dynamodb::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::CancellationReason;

/// Lets the SDK's standard retries count conflicts among transactions as transient.
#[derive(Debug)]
pub(crate) struct RetryConflicts;

impl ClassifyRetry for RetryConflicts {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error =
            context.output_or_error().and_then(Result::err).and_then(|error| error.as_operation_error());
        let conflict = error.is_some_and(|error| {
            error.downcast_ref::<PutItemError>().is_some_and(|error| is_conflict(error.code()))
                || error.downcast_ref::<UpdateItemError>().is_some_and(|error| is_conflict(error.code()))
                || error.downcast_ref::<TransactWriteItemsError>().is_some_and(was_cancelled_by_conflict)
        });
        if conflict { RetryAction::transient_error() } else { RetryAction::NoActionIndicated }
    }

    fn name(&self) -> &'static str {
        "DynamoDB transaction conflict"
    }
}

fn is_conflict(code: Option<&str>) -> bool {
    code == Some("TransactionConflictException")
}

fn was_cancelled_by_conflict(error: &TransactWriteItemsError) -> bool {
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else {
        return false;
    };
    let codes = cancelled.cancellation_reasons().iter().filter_map(CancellationReason::code);
    let reasons: Vec<_> = codes.filter(|code| *code != "None").collect();
    !reasons.is_empty() && reasons.iter().all(|code| *code == "TransactionConflict")
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::types::error::TransactionCanceledException;

    fn cancelled(codes: &[&str]) -> TransactWriteItemsError {
        let reasons = codes.iter().map(|code| CancellationReason::builder().code(*code).build()).collect();
        let error = TransactionCanceledException::builder().set_cancellation_reasons(Some(reasons)).build();
        TransactWriteItemsError::TransactionCanceledException(error)
    }

    #[test]
    fn only_a_conflict_is_tried_again() {
        assert!(was_cancelled_by_conflict(&cancelled(&["None", "TransactionConflict"])));
        assert!(!was_cancelled_by_conflict(&cancelled(&["ConditionalCheckFailed", "TransactionConflict"])));
        assert!(!was_cancelled_by_conflict(&cancelled(&["None", "ValidationError"])));
        assert!(!was_cancelled_by_conflict(&cancelled(&[])));
    }
}

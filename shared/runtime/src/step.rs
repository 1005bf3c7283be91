//! Invocations by Step Functions, beside those by SQS: one item of a Map, and errors by names that a state machine knows.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use fanfold_domain::map::{PERMANENT, TRANSIENT};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error as ThisError;

use crate::Error;

/// What invokes a function that both a queue and a Map have work for.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Trigger {
    /// Messages of a queue.
    Messages(SqsEvent),
    /// An item of a Map: a message of ours as it stands.
    Item(Value),
}

/// What it answers.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Which messages are to be delivered again.
    Messages(SqsBatchResponse),
    /// Nothing: what a child returns counts towards what its Map may return.
    Item {},
}

/// An error of an invocation by a name that a state machine's `Retry` and `Catch` know.
#[derive(Debug, ThisError)]
#[error("{source}")]
pub struct Named {
    name: &'static str,
    source: Error,
}

impl Named {
    /// The error of an item: one that another try may mend, or not.
    pub fn of_item(is_permanent: bool, source: impl Into<Error>) -> Self {
        Self { name: if is_permanent { PERMANENT } else { TRANSIENT }, source: source.into() }
    }
}

/// The name of an invocation's error.
pub(crate) fn name_of(error: &Error) -> &'static str {
    error.downcast_ref::<Named>().map_or("Failed", |named| named.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_item_is_told_from_messages() {
        let messages = json!({ "Records": [] });
        assert!(matches!(serde_json::from_value(messages).unwrap(), Trigger::Messages(_)));
        let item = json!({ "v": 1, "first": 0 });
        assert!(
            matches!(serde_json::from_value(item.clone()).unwrap(), Trigger::Item(found) if found == item)
        );
        assert_eq!(serde_json::to_value(Answer::Item {}).unwrap(), json!({}));
        let answer = Answer::Messages(SqsBatchResponse::default());
        assert_eq!(serde_json::to_value(answer).unwrap(), json!({ "batchItemFailures": [] }));
    }

    #[test]
    fn an_items_error_has_a_name_and_says_what_happened() {
        let error: Error = Named::of_item(false, "timed out").into();
        assert_eq!((name_of(&error), error.to_string().as_str()), (TRANSIENT, "timed out"));
        assert_eq!(name_of(&Named::of_item(true, "not a message").into()), PERMANENT);
        assert_eq!(name_of(&"anything else".into()), "Failed");
    }
}

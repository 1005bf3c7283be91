//! Calls that several kinds of items have in common: get, update, query.

use std::fmt::Display;

use aws_sdk_dynamodb::operation::put_item::{PutItemError, builders::PutItemFluentBuilder};
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use fanfold_ports::PortError;

use super::DynamoLedger;
use super::expression::Update;
use super::item::{Item, read_text, text};
use crate::error::{read_error, write_error};

/// How a conditional update ended, with the item as it stands.
pub(super) enum Updated {
    Now(Item),
    /// The condition did not hold; the item where the service gave it.
    Refused(Option<Item>),
}

/// How a conditional put ended.
pub(super) enum Put {
    Now,
    /// The condition did not hold; the item that is there where the service gave it.
    Refused(Option<Item>),
}

impl DynamoLedger {
    /// Reads an item.
    pub(super) async fn get(
        &self,
        operation: &'static str,
        key: Item,
        consistent: bool,
    ) -> Result<Option<Item>, PortError> {
        let subject = subject_of(&key);
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key))
            .consistent_read(consistent)
            .send()
            .await
            .map_err(|error| read_error(operation, subject, error))?;
        Ok(answer.item)
    }

    /// Updates an item, and gives it as it stands after.
    pub(super) async fn update(
        &self,
        operation: &'static str,
        key: Item,
        update: Update,
    ) -> Result<Updated, PortError> {
        let subject = subject_of(&key);
        let (expression, condition) = (update.expression(), update.condition());
        let (names, values) = update.into_placeholders();
        let answer = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key))
            .update_expression(expression)
            .set_condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(answer) => Ok(Updated::Now(answer.attributes.unwrap_or_default())),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Updated::Refused(failed.item.clone()))
                }
                _ => Err(write_error(operation, subject, error)),
            },
        }
    }

    /// Puts an item; whether the condition held.
    pub(super) async fn put(
        &self,
        operation: &'static str,
        subject: impl Display,
        put: PutItemFluentBuilder,
    ) -> Result<Put, PortError> {
        let put = put.table_name(&self.table);
        let on_failure = ReturnValuesOnConditionCheckFailure::AllOld;
        match put.return_values_on_condition_check_failure(on_failure).send().await {
            Ok(_) => Ok(Put::Now),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Put::Refused(failed.item.clone()))
                }
                _ => Err(write_error(operation, subject, error)),
            },
        }
    }

    /// Reads all items of one partition in the order of their sort keys, or at most `limit`. Consistent.
    pub(super) async fn query_partition(
        &self,
        operation: &'static str,
        pk: &str,
        limit: Option<usize>,
    ) -> Result<Vec<Item>, PortError> {
        let query = self
            .client
            .query()
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(pk))
            .consistent_read(true);
        self.query(operation, pk, query, limit).await
    }

    /// Reads all that a query gives, or at most `limit` items, page by page, from where it begins on.
    pub(super) async fn query(
        &self,
        operation: &'static str,
        subject: &str,
        query: QueryFluentBuilder,
        limit: Option<usize>,
    ) -> Result<Vec<Item>, PortError> {
        let mut items: Vec<Item> = Vec::new();
        let mut from = query.get_exclusive_start_key().clone();
        while limit.is_none_or(|limit| items.len() < limit) {
            let page = query
                .clone()
                .table_name(&self.table)
                .set_limit(limit.map(|limit| page_size(limit - items.len())))
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(|error| read_error(operation, subject, error))?;
            items.extend(page.items.unwrap_or_default());
            from = page.last_evaluated_key;
            if from.is_none() {
                break;
            }
        }
        Ok(items)
    }
}

/// How many items to ask a page for; the service ends one at 1 MB anyway.
fn page_size(wanted: usize) -> i32 {
    i32::try_from(wanted.min(1000)).expect("at most 1000")
}

fn subject_of(key: &Item) -> String {
    read_text(key, "pk").unwrap_or("an item").to_owned()
}

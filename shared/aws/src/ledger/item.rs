//! Attributes of items: writing them, and reading them with an error that names what is wrong.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use fanfold_domain::Sums;
use fanfold_ports::{Fault, PortError, UnreadableItem};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::error::causes;

/// An item as the SDK has it.
pub(super) type Item = HashMap<String, AttributeValue>;

/// The attribute that holds a value as JSON.
const DOCUMENT: &str = "document";

/// The condition that there is no item of the key.
pub(super) const IS_NEW: &str = "attribute_not_exists(pk)";

/// An item that this crate did not write, or a newer one did.
#[derive(Debug, Error)]
#[error("the item has no valid attribute `{attribute}`")]
pub(super) struct Malformed {
    attribute: &'static str,
    #[source]
    cause: Option<serde_json::Error>,
}

impl Malformed {
    pub(super) fn of(attribute: &'static str) -> Self {
        Self { attribute, cause: None }
    }

    pub(super) fn error(self, operation: &'static str, subject: impl Display) -> PortError {
        let detail = causes(&self);
        PortError {
            source: Some(Box::new(self)),
            ..PortError::new(Fault::Permanent, operation, subject, detail)
        }
    }
}

/// An item of a list that cannot be read, by its name.
pub(super) fn unreadable(item: &Item, name: impl Display, error: &Malformed) -> UnreadableItem {
    let document = read_text(item, DOCUMENT).ok().map(ToOwned::to_owned);
    UnreadableItem { name: name.to_string(), document, reason: causes(error) }
}

/// The same, by its sort key.
pub(super) fn named(item: &Item, error: &Malformed) -> UnreadableItem {
    unreadable(item, read_text(item, "sk").unwrap_or_default(), error)
}

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// A set of numbers; DynamoDB has no empty ones.
pub(super) fn numbers<N: Display>(values: impl IntoIterator<Item = N>) -> AttributeValue {
    AttributeValue::Ns(values.into_iter().map(|value| value.to_string()).collect())
}

/// A value as JSON in a text: what is never part of a condition.
pub(super) fn document<T: Serialize>(value: &T) -> AttributeValue {
    text(serde_json::to_string(value).expect("the domain's types have only JSON's types"))
}

/// The key of an item.
pub(super) fn key(pk: String, sk: impl Into<String>) -> Item {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

pub(super) fn read_text<'a>(item: &'a Item, attribute: &'static str) -> Result<&'a str, Malformed> {
    match item.get(attribute) {
        Some(AttributeValue::S(value)) => Ok(value),
        _ => Err(Malformed::of(attribute)),
    }
}

pub(super) fn read_number<N: FromStr>(item: &Item, attribute: &'static str) -> Result<N, Malformed> {
    match item.get(attribute) {
        Some(AttributeValue::N(value)) => value.parse().map_err(|_| Malformed::of(attribute)),
        _ => Err(Malformed::of(attribute)),
    }
}

/// A set of numbers, empty if there is none.
pub(super) fn read_numbers<T: Ord>(
    item: &Item,
    attribute: &'static str,
    wrap: impl Fn(u32) -> T,
) -> Result<BTreeSet<T>, Malformed> {
    let values = match item.get(attribute) {
        None => return Ok(BTreeSet::new()),
        Some(AttributeValue::Ns(values)) => values,
        Some(_) => return Err(Malformed::of(attribute)),
    };
    values.iter().map(|value| value.parse().map(&wrap).map_err(|_| Malformed::of(attribute))).collect()
}

pub(super) fn read_document<T: DeserializeOwned>(item: &Item) -> Result<T, Malformed> {
    let text = read_text(item, DOCUMENT)?;
    serde_json::from_str(text).map_err(|error| Malformed { attribute: DOCUMENT, cause: Some(error) })
}

/// The attributes that hold sums, with their values.
pub(super) fn sums(sums: Sums) -> [(&'static str, u64); 5] {
    [
        ("records", sums.records),
        ("bad_records", sums.bad_records),
        ("bytes_in", sums.bytes_in),
        ("bytes_out", sums.bytes_out),
        ("failed_chunks", sums.failed_chunks),
    ]
}

/// Sums, zero where nothing was added yet.
pub(super) fn read_sums(item: &Item) -> Result<Sums, Malformed> {
    let read = |attribute| match item.get(attribute) {
        None => Ok(0),
        Some(_) => read_number(item, attribute),
    };
    Ok(Sums {
        records: read("records")?,
        bad_records: read("bad_records")?,
        bytes_in: read("bytes_in")?,
        bytes_out: read("bytes_out")?,
        failed_chunks: read("failed_chunks")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_survive_their_attributes() {
        let all = Sums { records: 1, bad_records: 2, bytes_in: u64::MAX, bytes_out: 4, failed_chunks: 5 };
        let item: Item =
            sums(all).into_iter().map(|(name, value)| (name.to_owned(), number(value))).collect();
        assert_eq!(read_sums(&item).unwrap(), all);
        assert_eq!(read_sums(&Item::new()).unwrap(), Sums::default());
    }

    #[test]
    fn a_foreign_item_is_named_and_not_guessed() {
        let item = Item::from([("done".to_owned(), text("1")), ("records".to_owned(), number("x"))]);
        assert!(read_numbers(&item, "done", |n| n).unwrap_err().to_string().contains("`done`"));
        assert!(read_sums(&item).unwrap_err().to_string().contains("`records`"));
        assert!(read_document::<Sums>(&item).is_err());
    }
}

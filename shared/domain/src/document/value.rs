//! A document as it was written, before it means anything.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};

/// A YAML or JSON value. Unlike `serde_json::Value` it keeps repeated keys, so that they can be refused by name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

/// Reads JSON or YAML.
///
/// JSON is tried first, for what YAML reads otherwise (surrogate pairs in escapes). Anchors, aliases, merge keys
/// and foreign tags are refused: nobody needs them, and an alias makes a short text long. Only `true` and
/// `false` are booleans.
pub(crate) fn read(text: &str) -> Result<Value, String> {
    if text.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    // Mappings reach our visitor entry by entry, repeated keys included, only under `LastWins`.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_aliases: 0, max_anchors: 0, max_documents: 1 },
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| plain(&error))
}

/// What is wrong, in a document's words where the parser's are a programmer's, and where.
fn plain(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error as Wrong;
    let what = match error {
        Wrong::NullIntoString { .. } => "a field without a name",
        Wrong::Budget { breach: BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. }, .. } => {
            "an anchor or an alias"
        }
        Wrong::Budget { breach: BudgetBreach::Documents { .. }, .. } => "a second document",
        Wrong::Budget { .. } => "too many values",
        error => return error.to_string().replace('\n', " "),
    };
    match error.location() {
        Some(at) => format!("{what} at line {}, column {}", at.line(), at.column()),
        None => what.to_owned(),
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of YAML or JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u128<E: Error>(self, number: u128) -> Result<Value, E> {
        // Out of every range that the schema knows, so it only has to stay out of range.
        Ok(Value::Integer(i128::try_from(number).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_keys_are_kept_in_yaml_and_in_json() {
        let twice = Value::Map(vec![("a".into(), Value::Integer(1)), ("a".into(), Value::Integer(2))]);
        assert_eq!(read("a: 1\na: 2"), Ok(twice.clone()));
        assert_eq!(read("{a: 1, a: 2}"), Ok(twice.clone()));
        assert_eq!(read(r#"{"a": 1, "a": 2}"#), Ok(twice));
    }

    #[test]
    fn only_true_and_false_are_booleans() {
        let words = ["true", "false", "yes", "no", "on", "~"].map(|word| read(word).unwrap());
        let text = |text: &str| Value::Text(text.into());
        assert_eq!(
            words,
            [Value::Bool(true), Value::Bool(false), text("yes"), text("no"), text("on"), Value::Null]
        );
    }

    #[test]
    fn json_escapes_of_two_surrogates_are_one_character() {
        assert_eq!(
            read(r#"{"a": "\ud83d\ude00"}"#),
            Ok(Value::Map(vec![("a".into(), Value::Text("😀".into()))]))
        );
    }

    #[test]
    fn anchors_aliases_tags_and_second_documents_are_refused() {
        for text in ["a: &x 1", "a: &x 1\nb: *x", "a: !thing 1", "a: 1\n---\nb: 2", "a: [1"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_a_documents_words() {
        for (text, words) in [
            ("a: 1\n~: 2", "a field without a name at line 2, column 1"),
            ("a: &x 1", "an anchor or an alias at line 1, column 7"),
            ("a: 1\n---\nb: 2", "a second document at line 2, column 1"),
            ("a: [1", "unclosed bracket '[' at line 1, column 4"),
        ] {
            assert_eq!(read(text).unwrap_err(), words);
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        assert!(read(&"[".repeat(60_000)).is_err());
        assert!(read(&"{\"a\":".repeat(10_000)).is_err());
        assert!(read(&"- ".repeat(30_000)).is_err());
    }
}

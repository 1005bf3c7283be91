//! Values that stand in a placeholder's place: what they are in a URL, in JSON, in a form, in plain text.

use std::{borrow::Cow, collections::HashMap};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;

use crate::processor::Reason;

/// All but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A JSON value, as it was written: no number loses a digit.
    Json(Cow<'a, str>),
}

impl<'a> Value<'a> {
    /// A text that may be a JSON value; nothing is `null`.
    pub(super) fn perhaps_json(text: &'a str) -> Self {
        if text.is_empty() {
            Self::Json("null".into())
        } else if serde_json::from_str::<&RawValue>(text).is_ok() {
            Self::Json(text.into())
        } else {
            Self::Text(text.into())
        }
    }

    /// What is to be read: of a JSON string its characters, of `null` nothing.
    pub(super) fn plain(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Json(json) if json.trim() == "null" => Cow::Borrowed(""),
            Self::Json(json) => match serde_json::from_str::<String>(json) {
                Ok(text) => Cow::Owned(text),
                Err(_) => Cow::Borrowed(json),
            },
        }
    }

    /// In a URL or a form.
    pub(super) fn percent_encoded(&self) -> String {
        utf8_percent_encode(&self.plain(), RESERVED).to_string()
    }

    /// In a JSON document, where a value may stand.
    pub(super) fn json(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Owned(quoted(text)),
            Self::Json(json) => Cow::Borrowed(json),
        }
    }

    /// In a JSON document, within a string.
    pub(super) fn json_in_quotes(&self) -> String {
        let quoted = quoted(&self.plain());
        quoted[1..quoted.len() - 1].to_owned()
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What a JSON pointer (RFC 6901) finds, as it was written.
pub(super) fn at<'a>(json: &'a str, pointer: &str) -> Result<&'a str, Reason> {
    let mut here: &RawValue =
        serde_json::from_str(json).map_err(|error| Reason::from(format!("not JSON: {error}")))?;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let below = match here.get().as_bytes().first() {
            Some(b'{') => serde_json::from_str::<HashMap<Cow<'a, str>, &'a RawValue>>(here.get())
                .ok()
                .and_then(|mut fields| fields.remove(token.as_str())),
            Some(b'[') => serde_json::from_str::<Vec<&'a RawValue>>(here.get())
                .ok()
                .and_then(|items| items.get(token.parse::<usize>().ok()?).copied()),
            _ => None,
        };
        here = below.ok_or_else(|| Reason::from(format!("it has nothing at {pointer:?}")))?;
    }
    Ok(here.get())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pointer_finds_values_as_they_were_written() {
        let json =
            r#"{"a": {"b": [1, 12345678901234567890.10, "x\u00e9"]}, "c/d": null, "e~": {}, "": 1, "é": 2}"#;
        for (pointer, found) in [
            ("/a/b/1", "12345678901234567890.10"),
            ("/a/b/2", r#""x\u00e9""#),
            ("/c~1d", "null"),
            ("/e~0", "{}"),
            ("/", "1"),
            ("/é", "2"),
            ("", json),
        ] {
            assert_eq!(at(json, pointer), Ok(found), "{pointer:?}");
        }
        for pointer in ["/x", "/a/b/3", "/a/b/-", "/a/b/1/x", "/c~1d/x"] {
            assert_eq!(at(json, pointer), Err(format!("it has nothing at {pointer:?}").into()));
        }
        assert!(at("{", "/a").unwrap_err().starts_with("not JSON"));
    }

    #[test]
    fn a_value_is_written_as_its_place_wants_it() {
        let text = Value::Text("a\"b/ü\n".into());
        assert_eq!(text.percent_encoded(), "a%22b%2F%C3%BC%0A");
        assert_eq!((text.json().as_ref(), text.json_in_quotes().as_str()), (r#""a\"b/ü\n""#, r#"a\"b/ü\n"#));
        let json = Value::Json(r#""x\ty""#.into());
        assert_eq!((json.json().as_ref(), json.plain().as_ref()), (r#""x\ty""#, "x\ty"));
        assert_eq!(json.json_in_quotes(), r"x\ty");
        assert_eq!(Value::perhaps_json("").json(), "null");
        assert_eq!(Value::perhaps_json("").percent_encoded(), "");
        assert_eq!(Value::perhaps_json("{\"a\":1}"), Value::Json("{\"a\":1}".into()));
        assert_eq!(Value::perhaps_json("{a}"), Value::Text("{a}".into()));
    }

    proptest! {
        #[test]
        fn no_text_leaves_its_place(text in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
            let value = Value::Text(text.as_str().into());
            let within = format!("{{\"a\": \"x{}\"}}", value.json_in_quotes());
            let read: serde_json::Value = serde_json::from_str(&within).unwrap();
            prop_assert_eq!(read["a"].as_str().unwrap(), format!("x{text}"));
            let as_value = format!("{{\"a\": {}}}", value.json());
            let read: serde_json::Value = serde_json::from_str(&as_value).unwrap();
            prop_assert_eq!(read["a"].as_str().unwrap(), text.as_str());
            let encoded = value.percent_encoded();
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
        }
    }
}

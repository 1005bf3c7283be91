//! What a function gave: a list of items, or a page of one.

use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::plan::is_item;

/// How much is shown of what a function gave, in bytes: a reason has 1,024, and says more than that.
const SHOWN_BYTES: usize = 500;

/// Why an answer is no list of items.
#[derive(Debug, Error)]
pub enum Unreadable {
    /// It is something else.
    #[error("{0}")]
    Answer(String),
    /// It is not written as it should be.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// An item that can be no record.
    #[error("item {number} is {found}, and an item is a mapping, a text or a number")]
    Item {
        /// Among those of its page, from 1.
        number: usize,
        /// What stands there, cut.
        found: String,
    },
}

/// A page of a list. A field that is misspelt would lose the rest of it, so that none is ignored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    next: Option<&'a RawValue>,
}

/// Appends the items of an answer, a line each, and gives what the next page is to be asked for with, if there is
/// one.
pub(super) fn take(answer: &[u8], out: &mut Vec<u8>) -> Result<Option<Box<RawValue>>, Unreadable> {
    let page = match answer.trim_ascii_start().first() {
        Some(b'[') => Page { items: serde_json::from_slice(answer)?, next: None },
        Some(b'{') => serde_json::from_slice(answer)?,
        Some(_) => return Err(Unreadable::Answer(shown(&String::from_utf8_lossy(answer)))),
        None => return Err(Unreadable::Answer("nothing".to_owned())),
    };
    for (item, number) in page.items.iter().zip(1..) {
        if !is_item(item) {
            return Err(Unreadable::Item { number, found: shown(item.get()) });
        }
        write_compact(item, out);
        out.push(b'\n');
    }
    Ok(page.next.map(ToOwned::to_owned))
}

/// The beginning of a text, for a person.
pub(super) fn shown(text: &str) -> String {
    let end = text.floor_char_boundary(SHOWN_BYTES);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

/// Leaves out the white space between tokens, and with it all line ends: in a text there are none. Numbers and the
/// order of fields stay as they are.
fn write_compact(json: &RawValue, out: &mut Vec<u8>) {
    let (mut is_in_text, mut is_escaped) = (false, false);
    for byte in json.get().bytes() {
        if !is_in_text && byte.is_ascii_whitespace() {
            continue;
        }
        if byte == b'"' && !is_escaped {
            is_in_text = !is_in_text;
        }
        is_escaped = is_in_text && byte == b'\\' && !is_escaped;
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(answer: &str) -> Result<(String, Option<String>), String> {
        let mut out = Vec::new();
        let next = take(answer.as_bytes(), &mut out).map_err(|error| error.to_string())?;
        Ok((String::from_utf8(out).unwrap(), next.map(|next| next.get().to_owned())))
    }

    #[test]
    fn each_item_is_a_line_and_says_what_it_said() {
        let answer = r#" [ {"b": [1, 2.50] , "a": "x \" y \\"} , "a\n b",
            12345678901234567890.10, -1e5, {} ] "#;
        let lines =
            "{\"b\":[1,2.50],\"a\":\"x \\\" y \\\\\"}\n\"a\\n b\"\n12345678901234567890.10\n-1e5\n{}\n";
        assert_eq!(taken(answer), Ok((lines.to_owned(), None)));
        assert_eq!(taken("[]"), Ok((String::new(), None)));
    }

    #[test]
    fn a_page_says_what_the_next_is_asked_for_with() {
        assert_eq!(
            taken(r#"{"items": [1], "next": {"a": [0]}}"#),
            Ok(("1\n".into(), Some(r#"{"a": [0]}"#.into())))
        );
        for (answer, next) in [
            (r#"{"next": 0, "items": []}"#, Some("0")),
            (r#"{"items": [], "next": false}"#, Some("false")),
            (r#"{"items": [], "next": null}"#, None),
            (r#"{"items": []}"#, None),
        ] {
            assert_eq!(taken(answer), Ok((String::new(), next.map(str::to_owned))), "{answer}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused_with_what_it_is() {
        for (answer, reason) in [
            ("", "nothing"),
            ("null", "null"),
            ("\"[1]\"", "\"[1]\""),
            ("{}", "missing field `items` at line 1 column 2"),
            (r#"{"items": 5}"#, "invalid type: integer `5`, expected a sequence at line 1 column 11"),
            (
                r#"{"items": [], "nextToken": 5}"#,
                "unknown field `nextToken`, expected `items` or `next` at line 1 column 25",
            ),
            ("[1, 2", "EOF while parsing a list at line 1 column 5"),
            ("[1, null]", "item 2 is null, and an item is a mapping, a text or a number"),
            ("[[1]]", "item 1 is [1], and an item is a mapping, a text or a number"),
        ] {
            assert_eq!(taken(answer), Err(reason.to_owned()), "{answer}");
        }
        assert!(taken(&"x".repeat(1_000)).unwrap_err().len() < 510);
    }
}

//! Texts with placeholders, of which requests are made: the URL and the body of `process: http`.
//!
//! `{` and a lower-case letter begin a placeholder, which ends at the next `}`. Any other brace is itself, so that JSON
//! is written as it is, and `{{` is a brace before a letter.

use std::fmt;

/// What stands in a placeholder's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placeholder {
    /// `{record}`: the record's text.
    Record,
    /// `{records}`: all records of a batch.
    Records,
    /// `{json:/a/0}`: what a JSON pointer (RFC 6901) finds in the record.
    Json(String),
    /// `{field:2}`: a field of a CSV record, from 1.
    Field(u32),
    /// `{column:Order ID}`: the field under that name in the source's header.
    Column(String),
    /// `{offset}`: where the record starts, in bytes from the source's first byte.
    Offset,
    /// `{id}`: the request's idempotency key.
    Id,
    /// `{previous}`: the last line of output before this request; or what a JSON pointer finds in it, `{previous:/a}`.
    Previous(Option<String>),
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text that stays as it is.
    Text(String),
    /// A value of the record.
    Value {
        /// Which.
        placeholder: Placeholder,
        /// Whether an odd number of JSON's quotes stands before it: within a string of a JSON document.
        is_quoted: bool,
    },
}

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestTemplate {
    text: String,
    pieces: Vec<Piece>,
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// A placeholder that there is not.
    #[error("the placeholder {{{0}}}")]
    Unknown(String),
    /// A brace that begins a placeholder which never ends.
    #[error("a placeholder without its end: {{{0}")]
    Endless(String),
}

/// The placeholders, for whoever wrote another one.
pub(super) const ALLOWED: &str = "{record}, {records} of a batch, {json:/pointer}, {field:n}, {column:name}, {offset}, {id}, \
     {previous}, {previous:/pointer}; `{{` for a brace before a letter";

impl RequestTemplate {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut quotes = Quotes::default();
        let mut rest = text;
        while let Some(brace) = rest.find('{') {
            literal.push_str(&rest[..brace]);
            rest = &rest[brace + 1..];
            if !rest.starts_with(|next: char| next.is_ascii_lowercase()) {
                literal.push('{');
                // Of `{{a` the second brace is the escaped one.
                let mut after = rest.chars();
                if after.next() == Some('{') && after.next().is_some_and(|next| next.is_ascii_lowercase()) {
                    rest = &rest[1..];
                }
                continue;
            }
            let Some(end) = rest.find('}') else {
                return Err(InvalidTemplate::Endless(rest.chars().take(20).collect()));
            };
            let placeholder = Placeholder::parse(&rest[..end])?;
            rest = &rest[end + 1..];
            quotes.pass(&literal);
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Value { placeholder, is_quoted: quotes.is_open });
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The placeholders, in order.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Value { placeholder, .. } => Some(placeholder),
        })
    }

    /// The text before the first placeholder.
    pub(super) fn head(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }
}

impl Placeholder {
    fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let unknown = || InvalidTemplate::Unknown(text.chars().take(40).collect());
        let (name, argument) = match text.split_once(':') {
            Some((name, argument)) => (name, Some(argument)),
            None => (text, None),
        };
        let is_pointer = |text: &&str| text.is_empty() || text.starts_with('/');
        match (name, argument) {
            ("record", None) => Ok(Self::Record),
            ("records", None) => Ok(Self::Records),
            ("offset", None) => Ok(Self::Offset),
            ("id", None) => Ok(Self::Id),
            ("previous", None) => Ok(Self::Previous(None)),
            ("previous", Some(pointer)) if is_pointer(&pointer) => {
                Ok(Self::Previous(Some(pointer.to_owned())))
            }
            ("json", Some(pointer)) if is_pointer(&pointer) => Ok(Self::Json(pointer.to_owned())),
            ("column", Some(column)) if !column.is_empty() => Ok(Self::Column(column.to_owned())),
            ("field", Some(number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                number.parse().ok().filter(|number| *number > 0).map(Self::Field).ok_or_else(unknown)
            }
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record => f.write_str("{record}"),
            Self::Records => f.write_str("{records}"),
            Self::Json(pointer) => write!(f, "{{json:{pointer}}}"),
            Self::Field(number) => write!(f, "{{field:{number}}}"),
            Self::Column(name) => write!(f, "{{column:{name}}}"),
            Self::Offset => f.write_str("{offset}"),
            Self::Id => f.write_str("{id}"),
            Self::Previous(None) => f.write_str("{previous}"),
            Self::Previous(Some(pointer)) => write!(f, "{{previous:{pointer}}}"),
        }
    }
}

/// Whether JSON's text is within a string.
#[derive(Debug, Default)]
struct Quotes {
    is_open: bool,
    is_escaped: bool,
}

impl Quotes {
    fn pass(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                _ if std::mem::take(&mut self.is_escaped) => {}
                b'\\' if self.is_open => self.is_escaped = true,
                b'"' => self.is_open = !self.is_open,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let show = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Value { placeholder, is_quoted } => {
                format!("<{placeholder}{}>", if *is_quoted { " in quotes" } else { "" })
            }
        };
        RequestTemplate::parse(text).unwrap().pieces().iter().map(show).collect()
    }

    #[test]
    fn json_is_written_as_it_is() {
        assert_eq!(
            shown(r#"{"a": "x\"{record}", "b": {json:/b/0}, "c": {}}"#),
            [r#"{"a": "x\""#, "<{record} in quotes>", r#"", "b": "#, "<{json:/b/0}>", r#", "c": {}}"#]
        );
        assert_eq!(shown(r#"{"a":{"b":{offset}}}"#), [r#"{"a":{"b":"#, "<{offset}>", "}}"]);
    }

    #[test]
    fn two_braces_before_a_letter_are_one() {
        assert_eq!(shown("{{record} {id} {{{id}"), ["{record} ", "<{id}>", " {{id}"]);
        assert_eq!(shown("{{ { {1} }"), ["{{ { {1} }"]);
    }

    #[test]
    fn placeholders_are_told_as_they_are_written() {
        for text in [
            "{record}",
            "{records}",
            "{json:}",
            "{json:/a b}",
            "{field:12}",
            "{column:Order ID}",
            "{previous:/x}",
        ] {
            assert_eq!(shown(text), [format!("<{text}>")]);
        }
    }

    #[test]
    fn what_is_no_placeholder_is_refused() {
        for text in [
            "{rec}",
            "{json}",
            "{json:a}",
            "{field:0}",
            "{field:x}",
            "{field:}",
            "{column:}",
            "{id:1}",
            "{record:x}",
        ] {
            assert!(matches!(RequestTemplate::parse(text), Err(InvalidTemplate::Unknown(_))), "{text}");
        }
        assert!(matches!(RequestTemplate::parse("a {record"), Err(InvalidTemplate::Endless(_))));
    }
}

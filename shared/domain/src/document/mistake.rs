//! What is wrong with a document: every mistake, not only the first.

use std::fmt;

use super::value::Value;

/// What is wrong at one place of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where: `stages[0].retry.attempts`; `(document)` for the document as a whole.
    pub path: String,
    /// What stands there, cut to a readable length.
    pub found: String,
    /// What may stand there.
    pub allowed: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}; allowed: {}", self.path, self.found, self.allowed)
    }
}

/// A refused document with all of its mistakes, at least one; displayed one a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.mistakes))]
pub struct InvalidDocument {
    /// The mistakes, in the order of the schema.
    pub mistakes: Vec<Mistake>,
}

impl InvalidDocument {
    /// A refusal of the document as a whole.
    pub(crate) fn whole(found: String, allowed: impl Into<String>) -> Self {
        let path = super::decode::DOCUMENT.to_owned();
        Self { mistakes: vec![Mistake { path, found, allowed: allowed.into() }] }
    }
}

fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(Mistake::to_string).collect::<Vec<_>>().join("\n")
}

/// Collects mistakes while a document is decoded.
#[derive(Debug, Default)]
pub(crate) struct Mistakes {
    found: Vec<Mistake>,
    is_stored: bool,
}

impl Mistakes {
    /// Those of a document that was accepted before, perhaps by a version with fewer rules: it must stay readable, or
    /// one such document stops all that reads the table.
    pub(crate) fn of_stored() -> Self {
        Self { is_stored: true, ..Self::default() }
    }

    /// Whether the rule holds, or was not there yet when the document was accepted.
    pub(crate) fn allows(&self, holds: bool) -> bool {
        holds || self.is_stored
    }

    pub(crate) fn add(
        &mut self,
        path: impl Into<String>,
        found: impl Into<String>,
        allowed: impl Into<String>,
    ) {
        self.found.push(Mistake { path: path.into(), found: found.into(), allowed: allowed.into() });
    }

    /// Runs `decode` and gives its result only if it added no mistake, so that what is compared with other
    /// fields later is what the user wrote, not a placeholder.
    pub(crate) fn flawless<T>(&mut self, decode: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = self.found.len();
        decode(self).filter(|_| self.found.len() == before)
    }

    /// The error, if there is any mistake.
    pub(crate) fn into_error(self) -> Option<InvalidDocument> {
        (!self.found.is_empty()).then_some(InvalidDocument { mistakes: self.found })
    }
}

/// Longest excerpt of the document in a mistake, in characters.
const EXCERPT_CHARS: usize = 60;

/// A value as a mistake names it.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing (null)".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Integer(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number:?}"),
        Value::Text(text) => quote(text),
        Value::List(items) => format!("a list of {}", items.len()),
        Value::Map(_) => "a mapping".into(),
    }
}

/// A text in quotes, escaped, cut to a readable length.
pub(crate) fn quote(text: &str) -> String {
    if text.chars().count() <= EXCERPT_CHARS {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(EXCERPT_CHARS).collect();
    format!("{start:?}... ({} bytes)", text.len())
}

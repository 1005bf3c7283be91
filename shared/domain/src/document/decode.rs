//! Decoding by hand, so that every mistake is collected with its path.
//!
//! A decoder takes a [`Node`] and gives a value or, having added a mistake, nothing.

use std::fmt;
use std::ops::RangeInclusive;

use super::mistake::{Mistakes, describe, quote};
use super::nearest::nearest;
use super::quantity::Kind;
use super::value::Value;

/// The path of the document as a whole.
pub(crate) const DOCUMENT: &str = "(document)";

static NO_FIELDS: Value = Value::Map(Vec::new());

/// A value of the document and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node<'a> {
    pub(crate) path: String,
    pub(crate) value: &'a Value,
}

impl Node<'_> {
    /// Adds the mistake that this value is not what is allowed, and gives nothing.
    pub(crate) fn refuse<T>(&self, mistakes: &mut Mistakes, allowed: impl Into<String>) -> Option<T> {
        mistakes.add(&self.path, describe(self.value), allowed);
        None
    }
}

/// The fields that a mapping may have.
#[derive(Debug)]
pub(crate) struct Schema {
    /// Fields that are built.
    pub(crate) built: &'static [&'static str],
    /// Fields of the fixed schema that are not built yet.
    pub(crate) not_yet: &'static [&'static str],
}

/// The fields of a mapping.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    path: String,
    entries: &'a [(String, Value)],
}

impl<'a> Fields<'a> {
    /// Opens a mapping; fields that are unknown, repeated or not built yet are mistakes at once.
    pub(crate) fn open(node: &Node<'a>, schema: &Schema, mistakes: &mut Mistakes) -> Option<Self> {
        let Value::Map(entries) = node.value else {
            return node.refuse(mistakes, format!("a mapping of {}", schema.built.join(", ")));
        };
        let fields = Self { path: node.path.clone(), entries };
        for (i, (name, value)) in entries.iter().enumerate() {
            let path = fields.path_of(name);
            if entries[..i].iter().any(|(earlier, _)| earlier == name) {
                mistakes.add(path, "the field again", "each field once");
            } else if schema.not_yet.contains(&name.as_str()) {
                mistakes.add(path, describe(value), format!("nothing: `{name}` is not yet built"));
            } else if !schema.built.contains(&name.as_str()) {
                mistakes.add(path, "an unknown field", schema.suggest(name));
            }
        }
        Some(fields)
    }

    /// The field, if it is there.
    pub(crate) fn get(&self, name: &str) -> Option<Node<'a>> {
        let (_, value) = self.entries.iter().find(|(known, _)| known == name)?;
        Some(Node { path: self.path_of(name), value })
    }

    /// The field, or an empty mapping in its place.
    pub(crate) fn section(&self, name: &str) -> Node<'a> {
        self.get(name).unwrap_or_else(|| Node { path: self.path_of(name), value: &NO_FIELDS })
    }

    /// Whether any of the fields is there.
    pub(crate) fn has_any(&self, names: &[&str]) -> bool {
        self.entries.iter().any(|(name, _)| names.contains(&name.as_str()))
    }

    /// Decodes a field that must be there.
    pub(crate) fn required<T>(
        &self,
        name: &str,
        allowed: &str,
        mistakes: &mut Mistakes,
        decode: impl FnOnce(&Node<'a>, &mut Mistakes) -> Option<T>,
    ) -> Option<T> {
        if let Some(node) = self.get(name) {
            return decode(&node, mistakes);
        }
        mistakes.add(self.path_of(name), "no such field", allowed);
        None
    }

    /// Decodes a field that may be left out. The default also stands in for a mistake, which
    /// [`Mistakes::flawless`] hides from later checks.
    pub(crate) fn optional<T>(
        &self,
        name: &str,
        default: T,
        mistakes: &mut Mistakes,
        decode: impl FnOnce(&Node<'a>, &mut Mistakes) -> Option<T>,
    ) -> T {
        self.get(name).and_then(|node| decode(&node, mistakes)).unwrap_or(default)
    }

    /// Adds a mistake for each of the fields that is there though it says nothing here, as `delimiter` of `lines`.
    pub(crate) fn refuse_all(&self, names: &[&str], allowed: &str, mistakes: &mut Mistakes) {
        for node in names.iter().filter_map(|name| self.get(name)) {
            node.refuse::<()>(mistakes, allowed);
        }
    }

    /// The path of a field of this mapping.
    pub(crate) fn path_of(&self, name: &str) -> String {
        let plain = !name.is_empty()
            && name.len() <= 60
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        match (self.path.as_str(), plain) {
            (DOCUMENT, true) => name.to_owned(),
            (DOCUMENT, false) => format!("[{}]", quote(name)),
            (path, true) => format!("{path}.{name}"),
            (path, false) => format!("{path}[{}]", quote(name)),
        }
    }
}

impl Schema {
    fn suggest(&self, name: &str) -> String {
        let known = self.built.iter().chain(self.not_yet).copied();
        match nearest(name, known) {
            Some(near) => format!("{} (did you mean `{near}`?)", self.built.join(", ")),
            None if self.built.is_empty() => "no field".to_owned(),
            None => self.built.join(", "),
        }
    }
}

/// Decodes a text; what it may say is the caller's to check.
pub(crate) fn text<'a>(node: &Node<'a>, mistakes: &mut Mistakes, allowed: &str) -> Option<&'a str> {
    match node.value {
        Value::Text(text) => Some(text),
        Value::Integer(_) | Value::Float(_) | Value::Bool(_) => {
            node.refuse(mistakes, format!("{allowed} (a text: put it in quotes)"))
        }
        _ => node.refuse(mistakes, allowed),
    }
}

/// Decodes a text that `fits`.
pub(crate) fn text_that(
    node: &Node<'_>,
    mistakes: &mut Mistakes,
    allowed: &str,
    fits: impl FnOnce(&str) -> bool,
) -> Option<String> {
    let found = text(node, mistakes, allowed)?;
    if fits(found) { Some(found.to_owned()) } else { node.refuse(mistakes, allowed) }
}

/// Decodes a text that `fits`, and that `also` fits unless the document was accepted before that rule was there.
pub(crate) fn text_that_also(
    node: &Node<'_>,
    mistakes: &mut Mistakes,
    allowed: &str,
    fits: impl FnOnce(&str) -> bool,
    also: impl FnOnce(&str) -> bool,
) -> Option<String> {
    let found = text(node, mistakes, allowed)?;
    let is_allowed = fits(found) && mistakes.allows(also(found));
    if is_allowed { Some(found.to_owned()) } else { node.refuse(mistakes, allowed) }
}

/// Decodes `true` or `false`.
pub(crate) fn flag(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<bool> {
    match node.value {
        Value::Bool(flag) => Some(*flag),
        _ => node.refuse(mistakes, "true or false"),
    }
}

/// Decodes a whole number in the range.
pub(crate) fn whole<N>(node: &Node<'_>, mistakes: &mut Mistakes, range: &RangeInclusive<N>) -> Option<N>
where
    N: Copy + PartialOrd + fmt::Display + TryFrom<i128>,
{
    let allowed = format!("a whole number from {} to {}", range.start(), range.end());
    match node.value {
        Value::Integer(number) => match N::try_from(*number) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => node.refuse(mistakes, allowed),
        },
        Value::Text(text) if text.parse::<i128>().is_ok() => {
            node.refuse(mistakes, format!("{allowed} (not in quotes)"))
        }
        _ => node.refuse(mistakes, allowed),
    }
}

/// Decodes a size or a duration in the range.
pub(crate) fn quantity(
    node: &Node<'_>,
    mistakes: &mut Mistakes,
    kind: &Kind,
    range: &RangeInclusive<u64>,
) -> Option<u64> {
    let allowed = kind.allowed(range);
    let guess = match node.value {
        Value::Text(text) => match kind.parse(text) {
            Some(quantity) if range.contains(&quantity) => return Some(quantity),
            Some(_) => None,
            None => kind.guess(text),
        },
        Value::Integer(number) => kind.guess(&number.to_string()),
        _ => None,
    };
    match guess {
        Some(guess) => node.refuse(mistakes, format!("{allowed} (did you mean {guess}?)")),
        None => node.refuse(mistakes, allowed),
    }
}

/// Decodes one of some words; `not_yet` are words of the fixed schema that are not built yet.
pub(crate) fn word<T: Clone>(
    node: &Node<'_>,
    mistakes: &mut Mistakes,
    built: &[(&str, T)],
    not_yet: &[&str],
) -> Option<T> {
    let words: Vec<_> = built.iter().map(|(word, _)| *word).collect();
    let allowed = words.join(", ");
    let found = text(node, mistakes, &allowed)?;
    if let Some((_, meaning)) = built.iter().find(|(word, _)| *word == found) {
        return Some(meaning.clone());
    }
    if not_yet.contains(&found) {
        return node.refuse(mistakes, format!("{allowed} (`{found}` is not yet built)"));
    }
    match nearest(found, words) {
        Some(near) => node.refuse(mistakes, format!("{allowed} (did you mean `{near}`?)")),
        None => node.refuse(mistakes, allowed),
    }
}

/// The items of a list, each with its path.
pub(crate) fn list<'a>(node: &Node<'a>, mistakes: &mut Mistakes, allowed: &str) -> Option<Vec<Node<'a>>> {
    let Value::List(items) = node.value else {
        return node.refuse(mistakes, allowed);
    };
    let at = |(i, value)| Node { path: format!("{}[{i}]", node.path), value };
    Some(items.iter().enumerate().map(at).collect())
}

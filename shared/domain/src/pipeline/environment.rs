//! `env` of a stage or a plan step: further variables of its command's environment.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::document::{
    Mistakes,
    decode::{Node, text_that},
    quote,
    value::Value,
};

/// What a function's own environment may hold in all, which is enough for settings; a run's item must hold them too.
const MOST_BYTES: usize = 4 << 10;
/// What Fanfold itself gives a command: where a program finds its files may not depend on the document.
const GIVEN: [&str; 3] = ["HOME", "PATH", "TMPDIR"];
/// The worker's own variables begin with these, credentials among them.
const RESERVED: [&str; 2] = ["FANFOLD_", "AWS_"];

const MAPPING: &str = "a mapping of variables to texts, such as { CURRENCY: EUR }";
const NAME: &str = "a name of letters, digits and `_`, but not HOME, PATH, TMPDIR, FANFOLD_... or AWS_..., which Fanfold \
     sets";
const VALUE: &str = "a text without NUL";

/// Variables by their names. Values are literal, and stored with the pipeline: they are no place for secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// No variables.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each name with its value, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn decode(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let Value::Map(entries) = node.value else { return node.refuse(mistakes, MAPPING) };
        let mut variables = BTreeMap::new();
        for (name, value) in entries {
            if !is_name(name) {
                mistakes.add(&node.path, format!("the variable {}", quote(name)), NAME);
                continue;
            }
            let path = format!("{}.{name}", node.path);
            let value = Node { path: path.clone(), value };
            let Some(value) = text_that(&value, mistakes, VALUE, |text| !text.contains('\0')) else {
                continue;
            };
            if variables.insert(name.clone(), value).is_some() {
                mistakes.add(path, "the variable again", "each variable once");
            }
        }
        let bytes: usize = variables.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > MOST_BYTES {
            let allowed = format!("at most {MOST_BYTES} bytes of names and values together");
            mistakes.add(&node.path, format!("{bytes} bytes"), allowed);
        }
        Some(Self(variables))
    }
}

/// Makes an environment of variables that are known to be right.
#[cfg(test)]
impl FromIterator<(String, String)> for Environment {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> Self {
        Self(variables.into_iter().collect())
    }
}

fn is_name(name: &str) -> bool {
    let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    is_word && !GIVEN.contains(&name) && !RESERVED.iter().any(|prefix| name.starts_with(prefix))
}

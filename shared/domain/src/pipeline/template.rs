//! The names of what a run writes: `{key}_Output`.

use std::fmt;
use std::str::FromStr;

use super::source::Source;

/// Longest object key, in bytes of UTF-8 (S3's own limit).
pub const MAX_KEY_BYTES: usize = 1024;

/// Longest literal text of a template, in bytes: half of a key, so that what is filled in has the other half.
pub const MAX_LITERAL_BYTES: usize = 512;

const KEY: &str = "{key}";
const RUN: &str = "{run}";

/// A template of an object's key, in which `{key}` is the source's key and `{run}` the run's id.
///
/// It holds at least one of the two, at most [`MAX_LITERAL_BYTES`] of literal text, no other brace, no control
/// character and no `.` or `..` between slashes (which are directories where objects become files).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTemplate(String);

/// Why a text is no template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a text with {{key}} or {{run}}, no other braces, no control characters, no `.` or `..` between slashes and at most \
     {MAX_LITERAL_BYTES} bytes beside the placeholders"
)]
pub struct NotATemplate;

/// A key that S3 would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key that `{template}` gives has {found_bytes} bytes; allowed: at most {MAX_KEY_BYTES}")]
pub struct KeyTooLong {
    /// The template that was filled in.
    pub template: String,
    /// Length of the key, in bytes of UTF-8.
    pub found_bytes: usize,
}

impl KeyTemplate {
    /// Fills in the source's key and the run's id. What they contain is never read as a placeholder.
    pub fn fill(&self, key: &str, run: &str) -> Result<String, KeyTooLong> {
        let pieces: Vec<_> = self.0.split(KEY).map(|piece| piece.replace(RUN, run)).collect();
        let filled = pieces.join(key);
        if filled.len() > MAX_KEY_BYTES {
            return Err(KeyTooLong { template: self.0.clone(), found_bytes: filled.len() });
        }
        Ok(filled)
    }

    /// The literal text before the first placeholder.
    pub fn head(&self) -> &str {
        self.0.split('{').next().unwrap_or_default()
    }

    /// The literal text after the last placeholder: the suffix that the bucket's rule excludes.
    pub fn tail(&self) -> &str {
        self.0.rsplit('}').next().unwrap_or_default()
    }

    /// Whether this template may have given the key: it has the head, the tail and something between them.
    pub fn may_give(&self, key: &str) -> bool {
        let (head, tail) = (self.head(), self.tail());
        key.len() > head.len() + tail.len() && key.starts_with(head) && key.ends_with(tail)
    }

    /// Whether all that the source matches looks given by this template, so that nothing could start a run.
    pub(super) fn hides_all(&self, source: &Source) -> bool {
        source.is_object() && source.prefix.starts_with(self.head()) && source.suffix.ends_with(self.tail())
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyTemplate {
    type Err = NotATemplate;

    fn from_str(text: &str) -> Result<Self, NotATemplate> {
        let literal = text.replace(KEY, "").replace(RUN, "");
        let sound = literal.len() < text.len()
            && literal.len() <= MAX_LITERAL_BYTES
            && text.len() <= MAX_KEY_BYTES
            && braces_are_placeholders(text)
            && !text.contains(char::is_control)
            && !text.split('/').any(|segment| matches!(segment, "." | ".."));
        if sound { Ok(Self(text.to_owned())) } else { Err(NotATemplate) }
    }
}

fn braces_are_placeholders(text: &str) -> bool {
    let placeholders = text.matches(KEY).count() + text.matches(RUN).count();
    text.matches('{').count() == placeholders && text.matches('}').count() == placeholders
}

impl fmt::Display for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> KeyTemplate {
        text.parse().unwrap()
    }

    #[test]
    fn placeholders_are_filled_in_once() {
        assert_eq!(template("{key}_Output").fill("orders/a.csv", "r1").unwrap(), "orders/a.csv_Output");
        assert_eq!(template("out/{run}/{key}").fill("{run}{key}", "r1").unwrap(), "out/r1/{run}{key}");
        assert_eq!(template("{run}").fill("a", "{key}").unwrap(), "{key}");
    }

    #[test]
    fn a_key_over_1024_bytes_is_refused_with_its_length() {
        let name = template("{key}_Output");
        assert_eq!(name.fill(&"é".repeat(508), "r").unwrap().len(), 1023);
        let error = name.fill(&"é".repeat(509), "r").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the key that `{key}_Output` gives has 1025 bytes; allowed: at most 1024"
        );
    }

    #[test]
    fn texts_that_are_no_templates_are_refused() {
        let long = format!("{{key}}{}", "x".repeat(513));
        for text in [
            "",
            "out.csv",
            "{date}_{key}",
            "{key",
            "key}{key}",
            "{{key}}",
            "../{key}",
            "a/./{run}",
            "{key}\n",
            &long,
        ] {
            assert_eq!(text.parse::<KeyTemplate>(), Err(NotATemplate), "{text:?}");
        }
    }

    #[test]
    fn a_template_knows_the_keys_it_may_have_given() {
        assert!(template("{key}_Output").may_give("a_Output"));
        assert!(!template("{key}_Output").may_give("_Output"));
        assert!(!template("{key}_Output").may_give("a_Output.csv"));
        assert!(template("out/{run}/{key}.csv").may_give("out/r/a.csv"));
        assert!(!template("out/{key}").may_give("in/a"));
    }
}

//! What is removed after the end of a run, and after which ends.

use serde_json::{Value as Json, json};

use super::template::{KeyTemplate, KeyTooLong};
use crate::RunState;
use crate::document::Mistakes;
use crate::document::decode::{Fields, Node, Schema, list, text, word};

const SCHEMA: Schema = Schema { built: &["on", "temporaries"], not_yet: &[] };

/// Each is a listing at every cleanup.
const MOST_TEMPORARIES: usize = 20;
const TEMPORARY: &str = "the key of an object in the work bucket, or of all beneath it if it ends in `/`: a text with {run}, \
                         perhaps {key}, no other braces, no control characters, no `.` or `..` between slashes and at most \
                         512 bytes beside the placeholders";

/// What is removed of the work bucket after the end of a run, and after which ends. A run that was cleaned cannot be
/// redriven.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cleanup {
    /// After which ends.
    pub on: CleanupOn,
    /// What the run's own program left in the work bucket beside what Fanfold did. Each names the run, so that none
    /// is another run's.
    pub temporaries: Vec<KeyTemplate>,
}

/// After which ends of a run its work objects are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CleanupOn {
    /// After none: they expire by the work bucket's rules, and until then a redrive repeats only what failed.
    #[default]
    Never,
    /// If the run succeeded, the whole of it.
    Succeeded,
    /// However it ended.
    Always,
}

impl Cleanup {
    /// Whether a run that ended as `state` is cleaned.
    pub fn applies_to(&self, state: RunState) -> bool {
        match self.on {
            CleanupOn::Never => false,
            CleanupOn::Succeeded => state == RunState::Succeeded,
            CleanupOn::Always => state.has_ended(),
        }
    }

    /// The keys of a run's temporaries; those that end in `/` stand for all beneath them.
    ///
    /// # Errors
    /// One would be longer than a key can be: then nothing is there under it.
    pub fn temporaries_of(&self, key: &str, run: &str) -> impl Iterator<Item = Result<String, KeyTooLong>> {
        self.temporaries.iter().map(move |template| template.fill(key, run))
    }

    pub(super) fn decode(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let fields = Fields::open(node, &SCHEMA, mistakes)?;
        let words =
            [("never", CleanupOn::Never), ("succeeded", CleanupOn::Succeeded), ("always", CleanupOn::Always)];
        let allowed = "never, succeeded, always";
        let on = fields.required("on", allowed, mistakes, |node, m| word(node, m, &words, &[]));
        let temporaries = fields.optional("temporaries", Vec::new(), mistakes, temporaries);
        Some(Self { on: on?, temporaries })
    }

    pub(super) fn to_document(&self) -> Json {
        let on = match self.on {
            CleanupOn::Never => "never",
            CleanupOn::Succeeded => "succeeded",
            CleanupOn::Always => "always",
        };
        json!({ "on": on, "temporaries": self.temporaries.iter().map(KeyTemplate::as_str).collect::<Vec<_>>() })
    }
}

fn temporaries(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Vec<KeyTemplate>> {
    let allowed = format!("a list of at most {MOST_TEMPORARIES} keys");
    let items = list(node, mistakes, &allowed)?;
    if items.len() > MOST_TEMPORARIES {
        return node.refuse(mistakes, allowed);
    }
    Some(items.iter().filter_map(|item| temporary(item, mistakes)).collect())
}

fn temporary(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<KeyTemplate> {
    let found = text(node, mistakes, TEMPORARY)?;
    let template = found.parse::<KeyTemplate>().ok().filter(|_| found.contains("{run}"));
    template.or_else(|| node.refuse(mistakes, TEMPORARY))
}

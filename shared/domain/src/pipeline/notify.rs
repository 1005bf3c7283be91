//! Of which milestones the notification topic is told.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::announcement::Milestone;
use crate::document::Mistakes;
use crate::document::decode::{Fields, Node, Schema, list, word};

const SCHEMA: Schema = Schema { built: &["on"], not_yet: &[] };

/// Of which milestones of a run the notification topic is told. The event bus has all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notify {
    /// The milestones; none by default.
    pub on: BTreeSet<Milestone>,
}

impl Notify {
    pub(super) fn decode(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let fields = Fields::open(node, &SCHEMA, mistakes)?;
        let words = Milestone::ALL.map(|milestone| (milestone.word(), milestone));
        let allowed = words.map(|(word, _)| word).join(", ");
        let on = fields.required("on", &format!("a list of {allowed}"), mistakes, |node, m| {
            let mut on = BTreeSet::new();
            for item in list(node, m, &format!("a list of {allowed}"))? {
                if let Some(milestone) = word(&item, m, &words, &[])
                    && !on.insert(milestone)
                {
                    m.add(&item.path, format!("`{}` again", milestone.word()), "each milestone once");
                }
            }
            Some(on)
        });
        Some(Self { on: on? })
    }

    pub(super) fn to_document(&self) -> Json {
        json!({ "on": self.on.iter().map(|milestone| milestone.word()).collect::<Vec<_>>() })
    }
}

//! The plan step: a program of the user's own that finds out what there is to be done.

use std::ops::RangeInclusive;

use serde_json::{Value as Json, json};

use super::eks::RunOn;
use super::process::{Credentials, Process, arguments};
use super::rate::Order;
use super::stage::{Retry, Stage};
use crate::{
    PLAN,
    document::{
        Mistakes,
        decode::{Fields, Node, Schema, quantity, word},
        quantity::{DURATION, MINUTE, SECOND},
    },
};

const SCHEMA: Schema = Schema { built: &["command", "timeout", "credentials"], not_yet: &["lambda"] };
const TIMEOUT_MS: RangeInclusive<u64> = SECOND..=14 * MINUTE + 30 * SECOND;

/// A program that writes the list of items: JSON Lines on stdout, each a record of the first stage. It runs once a
/// run; its list is kept, and what follows is retried apart from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanStep {
    /// The program and its arguments: at least one, none empty, none with a NUL.
    pub argv: Vec<String>,
    /// How long a try may take, in milliseconds.
    pub timeout_ms: u64,
    /// Whether the program sees AWS credentials.
    pub credentials: Credentials,
}

impl PlanStep {
    pub(super) fn decode(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let fields = Fields::open(node, &SCHEMA, mistakes)?;
        let timeout_ms = fields
            .optional("timeout", 5 * MINUTE, mistakes, |node, m| quantity(node, m, &DURATION, &TIMEOUT_MS));
        let credentials = fields.optional("credentials", Credentials::None, mistakes, |node, m| {
            word(node, m, Credentials::WORDS, &[])
        });
        let allowed = "a list of texts, the program first, such as [./plan]";
        let argv = fields.required("command", allowed, mistakes, |node, m| arguments(node, m, allowed))?;
        Some(Self { argv, timeout_ms, credentials })
    }

    /// The step as the internal stage that it runs as: one chunk, whose part is the list.
    pub fn stage(&self) -> Stage {
        Stage {
            name: PLAN.to_owned(),
            upstream: None,
            process: Process::Command {
                argv: self.argv.clone(),
                header_on_stdin: false,
                credentials: self.credentials,
            },
            run_on: RunOn::Lambda,
            order: Order::Parallel,
            rate: None,
            max_concurrency: 1,
            timeout_ms: self.timeout_ms,
            retry: Retry::DEFAULT,
        }
    }

    pub(super) fn to_document(&self) -> Json {
        json!({
            "command": self.argv,
            "timeout": DURATION.format(self.timeout_ms),
            "credentials": self.credentials.name(),
        })
    }
}

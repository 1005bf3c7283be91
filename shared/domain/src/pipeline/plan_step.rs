//! The plan step: a program or a function of the user's own that finds out what there is to be done.

use std::ops::RangeInclusive;

use serde_json::{Value as Json, json};

use super::eks::RunOn;
use super::environment::Environment;
use super::process::{Credentials, Process, arguments};
use super::rate::Order;
use super::stage::{Retry, Stage};
use crate::{
    FunctionName, PLAN,
    document::{
        Mistakes,
        decode::{Fields, Node, Schema, quantity, text, word},
        quantity::{DURATION, MINUTE, SECOND},
    },
    function::FUNCTION,
};

const SCHEMA: Schema =
    Schema { built: &["command", "lambda", "timeout", "credentials", "env"], not_yet: &[] };
const TIMEOUT_MS: RangeInclusive<u64> = SECOND..=14 * MINUTE + 30 * SECOND;

/// What writes the list of items, each a record of the first stage. It runs once a run; its list is kept, and
/// what follows is retried apart from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanStep {
    /// Who writes it.
    pub planner: Planner,
    /// How long a try may take, in milliseconds: of a function, with all its pages.
    pub timeout_ms: u64,
}

/// Who writes the list of items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Planner {
    /// A program: JSON Lines on stdout.
    Command {
        /// The program and its arguments: at least one, none empty, none with a NUL.
        argv: Vec<String>,
        /// Whether the program sees AWS credentials.
        credentials: Credentials,
        /// Further variables of its environment.
        env: Environment,
    },
    /// A Lambda function: a JSON array, or pages of one.
    Lambda(FunctionName),
}

impl PlanStep {
    pub(super) fn decode(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let fields = Fields::open(node, &SCHEMA, mistakes)?;
        let timeout_ms = fields
            .optional("timeout", 5 * MINUTE, mistakes, |node, m| quantity(node, m, &DURATION, &TIMEOUT_MS));
        let planner = Planner::decode(&fields, &node.path, mistakes)?;
        Some(Self { planner, timeout_ms })
    }

    /// The step as the internal stage that it runs as: one chunk, whose part is the list. It is done by the
    /// worker's function, wherever the pipeline's own stages run.
    pub fn stage(&self) -> Stage {
        let process = match &self.planner {
            Planner::Command { argv, credentials, env } => Process::Command {
                argv: argv.clone(),
                header_on_stdin: false,
                credentials: *credentials,
                env: env.clone(),
            },
            Planner::Lambda(function) => Process::Lambda(function.clone()),
        };
        Stage {
            name: PLAN.to_owned(),
            upstream: None,
            process,
            run_on: RunOn::Lambda,
            order: Order::Parallel,
            rate: None,
            max_concurrency: 1,
            timeout_ms: self.timeout_ms,
            retry: Retry::DEFAULT,
        }
    }

    pub(super) fn to_document(&self) -> Json {
        let timeout = DURATION.format(self.timeout_ms);
        match &self.planner {
            Planner::Command { argv, credentials, env } => {
                let mut step =
                    json!({ "command": argv, "timeout": timeout, "credentials": credentials.name() });
                if !env.is_empty() {
                    step["env"] = json!(env);
                }
                step
            }
            Planner::Lambda(function) => json!({ "lambda": function.as_str(), "timeout": timeout }),
        }
    }
}

impl Planner {
    fn decode(step: &Fields<'_>, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let found = match (step.get("command"), step.get("lambda")) {
            (Some(node), None) => return decode_command(&node, step, mistakes),
            (None, Some(node)) => return decode_lambda(&node, step, mistakes),
            (Some(_), Some(_)) => "both command and lambda",
            (None, None) => "neither command nor lambda",
        };
        mistakes.add(path, found, "exactly one of command, lambda");
        None
    }
}

fn decode_command(node: &Node<'_>, step: &Fields<'_>, mistakes: &mut Mistakes) -> Option<Planner> {
    let credentials = step.optional("credentials", Credentials::None, mistakes, |node, m| {
        word(node, m, Credentials::WORDS, &[])
    });
    let env = step.optional("env", Environment::new(), mistakes, Environment::decode);
    let argv = arguments(node, mistakes, "a list of texts, the program first, such as [./plan]")?;
    Some(Planner::Command { argv, credentials, env })
}

fn decode_lambda(node: &Node<'_>, step: &Fields<'_>, mistakes: &mut Mistakes) -> Option<Planner> {
    step.refuse_all(&["credentials"], "nothing: a function has a role of its own", mistakes);
    step.refuse_all(&["env"], "nothing: a function has variables of its own", mistakes);
    let name = text(node, mistakes, FUNCTION)?;
    name.parse().map(Planner::Lambda).ok().or_else(|| node.refuse(mistakes, FUNCTION))
}

//! What is done with a chunk: a builtin, the user's command, or, by the plan step, the user's function.

use serde_json::{Map, Value as Json, json};

use super::environment::Environment;
use super::http::Http;
use super::resize::Resize;
use crate::FunctionName;
use crate::document::Mistakes;
use crate::document::decode::{Fields, Node, Schema, list, text_that, word};

/// The fields of a stage that only a command has.
const OF_COMMANDS: &[&str] = &["header", "credentials", "env"];

/// What is done with a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Process {
    /// Confirms orders: a derived confirmation id and a line `orderid,confirmationid` for each record.
    Orders {
        /// The `DynamoDB` table that also gets each order; none writes no table.
        table: Option<String>,
    },
    /// Writes each record as it is.
    Copy,
    /// Writes a line `offset,length,fields` for each record, which makes boundaries visible.
    Index,
    /// Asks a third party, and writes a line for each answer.
    Http(Box<Http>),
    /// Makes a smaller image of each one that a record names, and writes a line of what came of it.
    Resize(Box<Resize>),
    /// Runs a program that reads records on stdin and writes the part to stdout.
    Command {
        /// The program and its arguments: at least one, none empty, none with a NUL.
        argv: Vec<String>,
        /// Whether stdin begins with the source's header in every chunk.
        header_on_stdin: bool,
        /// Whether the program sees AWS credentials.
        credentials: Credentials,
        /// Further variables of its environment.
        env: Environment,
    },
    /// Has a function of the user's own give the lines. Of the [plan step](super::PlanStep) alone: no stage of
    /// a document has it.
    Lambda(FunctionName),
}

/// Whether a command sees the worker's AWS credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// It does not.
    None,
    /// They are in its environment.
    Pass,
}

#[derive(Clone, Copy)]
enum Builtin {
    Orders,
    Copy,
    Index,
    Http,
    Resize,
}

impl Process {
    /// Decodes `process` or `command` of a stage, and the fields that go with them.
    pub(super) fn decode(stage: &Fields<'_>, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let found = match (stage.get("process"), stage.get("command")) {
            (Some(node), None) => return decode_builtin(&node, stage, mistakes),
            (None, Some(node)) => return decode_command(&node, stage, mistakes),
            (Some(_), Some(_)) => "both process and command",
            (None, None) => "neither process nor command",
        };
        mistakes.add(path, found, "exactly one of process, command");
        None
    }

    /// Whether the key may be one of an object that this stage writes beside its parts.
    pub(super) fn may_write(&self, key: &str) -> bool {
        matches!(self, Self::Resize(resize) if resize.key.may_give(key))
    }

    /// Writes the fields that [`Process::decode`] reads.
    pub(super) fn write(&self, stage: &mut Map<String, Json>) {
        let fields = match self {
            Self::Orders { table: Some(table) } => {
                vec![("process", json!("orders")), ("with", json!({ "table": table }))]
            }
            Self::Orders { table: None } => vec![("process", json!("orders"))],
            Self::Copy => vec![("process", json!("copy"))],
            Self::Index => vec![("process", json!("index"))],
            Self::Http(http) => vec![("process", json!("http")), ("with", http.to_document())],
            Self::Resize(resize) => vec![("process", json!("resize")), ("with", resize.to_document())],
            Self::Command { argv, header_on_stdin, credentials, env } => {
                let mut fields = vec![
                    ("command", json!(argv)),
                    ("header", json!(if *header_on_stdin { "stdin" } else { "none" })),
                    ("credentials", json!(credentials.name())),
                ];
                if !env.is_empty() {
                    fields.push(("env", json!(env)));
                }
                fields
            }
            Self::Lambda(function) => vec![("lambda", json!(function.as_str()))],
        };
        stage.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
}

impl Credentials {
    pub(super) const WORDS: &[(&str, Self)] = &[("none", Self::None), ("pass", Self::Pass)];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
        }
    }
}

fn decode_builtin(node: &Node<'_>, stage: &Fields<'_>, mistakes: &mut Mistakes) -> Option<Process> {
    stage.refuse_all(OF_COMMANDS, "nothing: only a command has it", mistakes);
    let names = [
        ("orders", Builtin::Orders),
        ("copy", Builtin::Copy),
        ("index", Builtin::Index),
        ("http", Builtin::Http),
        ("resize", Builtin::Resize),
    ];
    let builtin = word(node, mistakes, &names, &[])?;
    let options = stage.section("with");
    match builtin {
        Builtin::Orders => decode_orders(&options, mistakes),
        Builtin::Copy => no_options(&options, mistakes, Process::Copy),
        Builtin::Index => no_options(&options, mistakes, Process::Index),
        Builtin::Http => Http::decode(&options, mistakes).map(|http| Process::Http(Box::new(http))),
        Builtin::Resize => Some(Process::Resize(Box::new(Resize::decode(&options, mistakes)?))),
    }
}

fn decode_orders(options: &Node<'_>, mistakes: &mut Mistakes) -> Option<Process> {
    let fields = Fields::open(options, &Schema { built: &["table"], not_yet: &[] }, mistakes)?;
    let table = fields.optional("table", None, mistakes, |node, m| {
        let allowed = "a table's name: 3 to 255 of a-z, A-Z, 0-9, `_`, `.`, `-`";
        text_that(node, m, allowed, is_table).map(Some)
    });
    Some(Process::Orders { table })
}

fn no_options(options: &Node<'_>, mistakes: &mut Mistakes, process: Process) -> Option<Process> {
    Fields::open(options, &Schema { built: &[], not_yet: &[] }, mistakes)?;
    Some(process)
}

fn decode_command(node: &Node<'_>, stage: &Fields<'_>, mistakes: &mut Mistakes) -> Option<Process> {
    stage.refuse_all(&["with"], "nothing: only a process has options", mistakes);
    let header_on_stdin = stage.optional("header", false, mistakes, |node, m| {
        word(node, m, &[("none", false), ("stdin", true)], &[])
    });
    let credentials = stage.optional("credentials", Credentials::None, mistakes, |node, m| {
        word(node, m, Credentials::WORDS, &[])
    });
    let env = stage.optional("env", Environment::new(), mistakes, Environment::decode);
    let argv = arguments(node, mistakes, "a list of texts, the program first, such as [./confirm, --fast]")?;
    Some(Process::Command { argv, header_on_stdin, credentials, env })
}

/// A program and its arguments.
pub(super) fn arguments(node: &Node<'_>, mistakes: &mut Mistakes, allowed: &str) -> Option<Vec<String>> {
    let items = list(node, mistakes, allowed)?;
    if items.is_empty() {
        return node.refuse(mistakes, allowed);
    }
    let mut argv = Vec::new();
    for item in &items {
        argv.extend(text_that(item, mistakes, "a text that is not empty and has no NUL", is_argument));
    }
    Some(argv)
}

fn is_argument(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

/// `DynamoDB`'s rule for the name of a table.
fn is_table(name: &str) -> bool {
    (3..=255).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

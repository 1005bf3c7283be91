//! `process: http`: what a third party is asked, and how.

mod target;

use std::ops::RangeInclusive;

use serde_json::{Map, Value as Json, json};

use self::target::{URL, headers, template, url};
use super::request::{Placeholder, RequestTemplate};
use super::source::{Format, Source};
use crate::document::{
    Mistakes,
    decode::{Fields, Node, Schema, quantity, text_that, whole, word},
    quantity::{DURATION, KIB, MIB, MINUTE, SECOND, SIZE},
};

const SCHEMA: Schema = Schema {
    built: &[
        "url",
        "method",
        "headers",
        "body",
        "batch",
        "at_once",
        "timeout",
        "attempts",
        "backoff",
        "output",
        "max_answer",
        "first",
    ],
    not_yet: &["secret_headers"],
};

const BATCH: RangeInclusive<u32> = 1..=1_000;
const AT_ONCE: RangeInclusive<u32> = 1..=64;
const TIMEOUT_MS: RangeInclusive<u64> = 100..=5 * MINUTE;
const ATTEMPTS: RangeInclusive<u32> = 1..=20;
const BACKOFF_MS: RangeInclusive<u64> = 10..=MINUTE;
/// As many of them as there are requests at once are in a worker's memory.
const ANSWER_BYTES: RangeInclusive<u64> = KIB..=4 * MIB;

/// What a third party is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where. Scheme, host and port are literal: no record chooses them.
    pub url: RequestTemplate,
    /// How.
    pub method: Method,
    /// Names in lower case with their values, by name; none is a secret.
    pub headers: Vec<(String, String)>,
    /// What is sent; only with a method that has a body.
    pub body: Option<RequestTemplate>,
    /// Records a request.
    pub batch: u32,
    /// Requests at once of one chunk.
    pub at_once: u32,
    /// How long one may take, in milliseconds.
    pub timeout_ms: u64,
    /// How often a request is sent whose answer may be another the next time.
    pub attempts: u32,
    /// How long the second try waits, in milliseconds, before jitter; later ones wait twice as long each.
    pub backoff_ms: u64,
    /// What a line of output is.
    pub output: AnswerLine,
    /// The longest answer, in bytes.
    pub max_answer_bytes: u64,
    /// What `{previous}` is before there was any.
    pub first: String,
}

/// A request's method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET, without a body.
    Get,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

const METHODS: [(&str, Method); 5] = [
    ("GET", Method::Get),
    ("POST", Method::Post),
    ("PUT", Method::Put),
    ("PATCH", Method::Patch),
    ("DELETE", Method::Delete),
];

/// What a line of output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerLine {
    /// The answer itself, in one line.
    Body,
    /// JSON of the record's offset, the status and the answer.
    Json,
}

/// How values stand in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// As JSON.
    Json,
    /// Percent-encoded.
    Form,
    /// As they are.
    Text,
}

impl Method {
    /// As in a request.
    pub fn as_str(self) -> &'static str {
        METHODS.iter().find(|(_, method)| *method == self).map_or("POST", |(name, _)| name)
    }
}

impl Http {
    /// How values stand in the body, as its `content-type` says: JSON unless it says otherwise.
    pub fn body_kind(&self) -> BodyKind {
        match self.header("content-type") {
            None => BodyKind::Json,
            Some(kind) if kind.contains("json") => BodyKind::Json,
            Some("application/x-www-form-urlencoded") => BodyKind::Form,
            Some(_) => BodyKind::Text,
        }
    }

    /// The value of a header, its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All placeholders of URL and body.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.url.placeholders().chain(self.body.iter().flat_map(RequestTemplate::placeholders))
    }

    /// Whether a request is made of the output before it.
    pub fn needs_previous(&self) -> bool {
        self.placeholders().any(|placeholder| matches!(placeholder, Placeholder::Previous(_)))
    }

    /// Whether a request is made of named columns.
    pub fn needs_header(&self) -> bool {
        self.placeholders().any(|placeholder| matches!(placeholder, Placeholder::Column(_)))
    }

    pub(super) fn decode(options: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let fields = Fields::open(options, &SCHEMA, mistakes)?;
        let url = fields.required("url", URL, mistakes, url);
        let body = fields.optional("body", None, mistakes, |node, m| template(node, m).map(Some));
        let default = if body.is_some() { Method::Post } else { Method::Get };
        let method = fields.optional("method", default, mistakes, |node, m| word(node, m, &METHODS, &[]));
        if method == Method::Get && body.is_some() {
            mistakes.add(
                fields.path_of("method"),
                "GET with a body",
                "POST, PUT, PATCH, DELETE, or no `body`",
            );
        }
        let times = |name, default, range, m: &mut Mistakes| {
            fields.optional(name, default, m, |node, m| quantity(node, m, &DURATION, range))
        };
        let headers = fields.optional("headers", Vec::new(), mistakes, headers);
        let http = Self {
            headers,
            body,
            method,
            batch: fields.optional("batch", 1, mistakes, |node, m| whole(node, m, &BATCH)),
            at_once: fields.optional("at_once", 8, mistakes, |node, m| whole(node, m, &AT_ONCE)),
            timeout_ms: times("timeout", 30 * SECOND, &TIMEOUT_MS, mistakes),
            attempts: fields.optional("attempts", 5, mistakes, |node, m| whole(node, m, &ATTEMPTS)),
            backoff_ms: times("backoff", 200, &BACKOFF_MS, mistakes),
            output: fields.optional("output", AnswerLine::Body, mistakes, |node, m| {
                word(node, m, &[("body", AnswerLine::Body), ("json", AnswerLine::Json)], &[])
            }),
            max_answer_bytes: fields
                .optional("max_answer", MIB, mistakes, |node, m| quantity(node, m, &SIZE, &ANSWER_BYTES)),
            first: fields.optional("first", String::new(), mistakes, |node, m| {
                text_that(node, m, "one line of text", |text| !text.contains(['\n', '\r']))
            }),
            url: url?,
        };
        http.check_batch(&fields, mistakes);
        Some(http)
    }

    /// Of a batch there is no one record to take values of.
    fn check_batch(&self, fields: &Fields<'_>, mistakes: &mut Mistakes) {
        let is_batch = self.batch > 1;
        let wrong = |placeholder: &&Placeholder| match placeholder {
            Placeholder::Records => !is_batch,
            Placeholder::Offset | Placeholder::Id | Placeholder::Previous(_) => false,
            _ => is_batch,
        };
        let texts = [("url", Some(&self.url)), ("body", self.body.as_ref())];
        for (name, template) in texts {
            let Some(found) = template.and_then(|template| template.placeholders().find(wrong)) else {
                continue;
            };
            let (what, allowed) = if is_batch {
                ("in a batch", "{records}, {previous}, and {offset} and {id} of the batch's first record")
            } else {
                ("without a batch", "{record}, or `batch: n`")
            };
            mistakes.add(fields.path_of(name), format!("{found} {what}"), allowed);
        }
        let is_in_url = self.url.placeholders().any(|placeholder| *placeholder == Placeholder::Records);
        if is_batch && is_in_url {
            mistakes.add(fields.path_of("url"), "{records} in a URL", "{records} in `body`");
        }
    }

    /// Compares what the templates name with what is read.
    pub(super) fn check_source(&self, source: &Source, path: &str, mistakes: &mut Mistakes) {
        let is_csv = matches!(source.format, Format::Csv { .. });
        for placeholder in self.placeholders() {
            let allowed = match placeholder {
                Placeholder::Field(_) if !is_csv => "{field:n} with `source.format: csv`",
                Placeholder::Column(_) if !source.has_header() => "{column:name} with `source.header: true`",
                Placeholder::Json(_) if source.format != Format::Jsonl && !source.is_list() => {
                    "{json:/pointer} with `source.format: jsonl`"
                }
                _ => continue,
            };
            mistakes.add(path, format!("{placeholder} on another source"), allowed);
        }
    }

    /// Compares the templates with the lines of another stage's parts, which may be JSON.
    pub(super) fn check_parts(&self, path: &str, mistakes: &mut Mistakes) {
        for placeholder in self.placeholders() {
            if matches!(placeholder, Placeholder::Field(_) | Placeholder::Column(_)) {
                let found = format!("{placeholder} in a stage that reads the parts of another");
                mistakes.add(path, found, "{record}, {json:/pointer}");
            }
        }
    }

    pub(super) fn to_document(&self) -> Json {
        let mut with = Map::new();
        with.insert("url".into(), json!(self.url.as_str()));
        with.insert("method".into(), json!(self.method.as_str()));
        let headers: Map<String, Json> =
            self.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        with.insert("headers".into(), Json::Object(headers));
        if let Some(body) = &self.body {
            with.insert("body".into(), json!(body.as_str()));
        }
        with.insert("batch".into(), json!(self.batch));
        with.insert("at_once".into(), json!(self.at_once));
        with.insert("timeout".into(), json!(DURATION.format(self.timeout_ms)));
        with.insert("attempts".into(), json!(self.attempts));
        with.insert("backoff".into(), json!(DURATION.format(self.backoff_ms)));
        with.insert("output".into(), json!(if self.output == AnswerLine::Body { "body" } else { "json" }));
        with.insert("max_answer".into(), json!(SIZE.format(self.max_answer_bytes)));
        with.insert("first".into(), json!(self.first));
        Json::Object(with)
    }
}

//! Where the output and the bad records go.

use serde_json::{Map, Value as Json, json};

use super::process::Process;
use super::source::Source;
use super::stage::Stage;
use super::template::{KeyTemplate, NotATemplate};
use crate::document::Mistakes;
use crate::document::decode::{Fields, Node, Schema, text, text_that_also};

const SCHEMA: Schema = Schema { built: &["bucket", "key", "errors_key", "header"], not_yet: &[] };
const DEFAULT_KEY: &str = "{key}_Output";
const OUTPUT_TAIL: &str = "_Output";
const ERRORS_TAIL: &str = "_Errors";

/// Where the output and the bad records go, and what the output begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// The bucket of both; none means the deployment's output bucket.
    pub bucket: Option<String>,
    /// The output's key.
    pub key: KeyTemplate,
    /// The key of the bad records; never the output's. By default it is made of the output's, so that two pipelines
    /// with outputs of their own have lists of their own.
    pub errors_key: KeyTemplate,
    /// The output's first line.
    pub header: MergeHeader,
}

/// The output's first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeHeader {
    /// The output has only what the stage wrote.
    None,
    /// The source's header, byte for byte.
    Input,
    /// This line, not empty, without its end. The words `none` and `input` cannot be said so.
    Literal(String),
}

impl Merge {
    pub(super) fn decode(
        node: &Node<'_>,
        mistakes: &mut Mistakes,
        source: Option<&Source>,
        stages: Option<&[Stage]>,
    ) -> Option<Self> {
        let fields = Fields::open(node, &SCHEMA, mistakes)?;
        let bucket = fields.optional("bucket", None, mistakes, |node, m| bucket(node, m).map(Some));
        let key = decode_key(&fields, "key", DEFAULT_KEY, mistakes, source);
        let beside = default_errors_key(key.as_ref().map_or(DEFAULT_KEY, KeyTemplate::as_str));
        let errors_key = decode_key(&fields, "errors_key", &beside, mistakes, source);
        let header = fields
            .optional("header", default_header(source, stages), mistakes, |node, m| header(node, m, source));
        let (key, errors_key) = (key?, errors_key?);
        if key == errors_key {
            let found = format!("`{errors_key}`, which is the key of the output");
            mistakes.add(fields.path_of("errors_key"), found, "another template than `key`");
        }
        Some(Self { bucket, key, errors_key, header })
    }

    pub(super) fn to_document(&self) -> Json {
        let mut merge = Map::new();
        if let Some(bucket) = &self.bucket {
            merge.insert("bucket".into(), json!(bucket));
        }
        merge.insert("key".into(), json!(self.key.as_str()));
        merge.insert("errors_key".into(), json!(self.errors_key.as_str()));
        let header = match &self.header {
            MergeHeader::None => "none",
            MergeHeader::Input => "input",
            MergeHeader::Literal(line) => line,
        };
        merge.insert("header".into(), json!(header));
        Json::Object(merge)
    }

    /// Whether the key may be one that this pipeline writes, which therefore never starts a run of it.
    pub(super) fn may_write(&self, key: &str) -> bool {
        self.key.may_give(key) || self.errors_key.may_give(key)
    }
}

/// The list beside the output: `{key}_Errors` for `{key}_Output`, `x/{key}.csv_Errors` for `x/{key}.csv`.
fn default_errors_key(key: &str) -> String {
    format!("{}{ERRORS_TAIL}", key.strip_suffix(OUTPUT_TAIL).unwrap_or(key))
}

/// `input` for nothing but `copy` of a source with a header, else none.
fn default_header(source: Option<&Source>, stages: Option<&[Stage]>) -> MergeHeader {
    let copies = matches!(stages, Some([stage]) if stage.process == Process::Copy);
    if copies && source.is_some_and(Source::has_header) { MergeHeader::Input } else { MergeHeader::None }
}

fn header(node: &Node<'_>, mistakes: &mut Mistakes, source: Option<&Source>) -> Option<MergeHeader> {
    let allowed = "none, input, or a line that is not empty, without its end";
    match text(node, mistakes, allowed)? {
        "none" => Some(MergeHeader::None),
        "input" if source.is_some_and(|source| !source.has_header()) => {
            mistakes.add(
                &node.path,
                "input on a source without a header",
                "none, a line, or input with `source.header: true`",
            );
            None
        }
        "input" => Some(MergeHeader::Input),
        line if line.is_empty() || line.contains(['\n', '\r', '\0']) => node.refuse(mistakes, allowed),
        line => Some(MergeHeader::Literal(line.to_owned())),
    }
}

fn decode_key(
    fields: &Fields<'_>,
    name: &str,
    default: &str,
    mistakes: &mut Mistakes,
    source: Option<&Source>,
) -> Option<KeyTemplate> {
    let node = fields.get(name);
    let found = match &node {
        Some(node) => text(node, mistakes, &NotATemplate.to_string())?,
        None => default,
    };
    let Ok(template) = found.parse::<KeyTemplate>() else {
        let Some(node) = node else {
            mistakes.add(
                fields.path_of(name),
                "none, and `key` is too long to make it of",
                NotATemplate.to_string(),
            );
            return None;
        };
        return node.refuse(mistakes, NotATemplate.to_string());
    };
    if source.is_some_and(|source| template.hides_all(source)) {
        mistakes.add(
            fields.path_of(name),
            format!("`{template}`, which every key that the source matches looks like"),
            "a template whose text before or after the placeholders no key of the source must have",
        );
    }
    Some(template)
}

pub(super) fn bucket(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<String> {
    let allowed = "a bucket's name: 3 to 63 of a-z, 0-9, `.`, `-`, the first and the last a letter or digit, no two `.` beside \
                   each other, no IP address, none of S3's own prefixes (xn--, sthree-, amzn-s3-demo-) and suffixes \
                   (-s3alias, --ol-s3, .mrap, --x-s3, --table-s3)";
    text_that_also(node, mistakes, allowed, is_bucket, is_free)
}

/// The rest of S3's rules for the name of a bucket of general purpose.
fn is_free(name: &str) -> bool {
    let is_address = name.split('.').count() == 4 && name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    !name.contains("..")
        && !is_address
        && !["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|prefix| name.starts_with(prefix))
        && !["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"]
            .iter()
            .any(|suffix| name.ends_with(suffix))
}

/// What S3 wants of every bucket's name.
fn is_bucket(name: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (3..=63).contains(&name.len())
        && edge(name.bytes().next())
        && edge(name.bytes().last())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'))
}

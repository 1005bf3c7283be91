//! What a pipeline reads.

use std::ops::RangeInclusive;

use serde_json::{Value as Json, json};

use super::id_range::IdRange;
use super::template::MAX_KEY_BYTES;
use crate::document::Mistakes;
use crate::document::decode::{Fields, Node, Schema, flag, quantity, text, text_that, word};
use crate::document::quantity::{GIB, MIB, SIZE};

const SCHEMA: Schema = Schema {
    built: &[
        "prefix",
        "suffix",
        "format",
        "header",
        "delimiter",
        "quote",
        "encoding",
        "compression",
        "length",
        "max_record",
        "range",
        "items",
    ],
    not_yet: &[],
};
/// What makes a source that is no object; it has the rest of the fields of none.
const OTHER_SOURCES: &[&str] = &["range", "items"];
const OF_OBJECTS: &[&str] =
    &["prefix", "suffix", "format", "header", "delimiter", "quote", "encoding", "compression", "length"];

const DEFAULT_MAX_RECORD_BYTES: u64 = 16 * MIB;
/// A record is held whole in a worker's memory, more than once; the largest Lambda has 10 GiB.
const MAX_RECORD_BYTES: RangeInclusive<u64> = 1..=GIB;
const LENGTH_BYTES: RangeInclusive<u64> = 1..=16 * MIB;

/// Which objects start runs, and how their bytes make records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What an object's key begins with; may be empty.
    pub prefix: String,
    /// What an object's key ends with; may be empty, never ends in `/`.
    pub suffix: String,
    /// How bytes make records.
    pub format: Format,
    /// How bytes make characters.
    pub encoding: Encoding,
    /// The longest record, in bytes; a longer one is a bad record.
    pub max_record_bytes: u64,
}

/// How bytes make records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Delimited fields, perhaps in quotes.
    Csv {
        /// Whether the first record is a header: not data, known to every chunk.
        header: bool,
        /// The ASCII byte between fields.
        delimiter: u8,
        /// The ASCII byte around fields that hold delimiters, quotes or line ends; none if quotes are data.
        quote: Option<u8>,
    },
    /// Each line is a record.
    Lines,
    /// Each line is a JSON document.
    Jsonl,
    /// Records of one length, without line ends.
    Fixed {
        /// Length of a record, in bytes.
        length_bytes: u64,
    },
    /// Each object under the prefix is a record: a line of JSON that names and pins it.
    Objects,
    /// Each line is a JSON document of the list that the pipeline's plan step writes.
    Items,
    /// Each id is a record: a line of its decimal digits.
    Ids(IdRange),
}

/// How bytes make characters. All of them have ASCII's bytes for line ends, delimiters and quotes, so records are
/// found without decoding and bytes pass as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, perhaps with a BOM.
    Utf8,
    /// ASCII.
    Ascii,
    /// ISO 8859-1.
    Latin1,
}

impl Source {
    /// Whether a run reads one object, so that the upload of one starts it.
    pub fn is_object(&self) -> bool {
        !matches!(self.format, Format::Objects | Format::Items | Format::Ids(_))
    }

    /// Whether a run reads a list that is made first: of the objects under the prefix, or by the plan step.
    pub fn is_list(&self) -> bool {
        matches!(self.format, Format::Objects | Format::Items)
    }

    /// Whether the source begins with a header that is not data.
    pub fn has_header(&self) -> bool {
        matches!(self.format, Format::Csv { header: true, .. })
    }

    pub(super) fn decode(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let fields = Fields::open(node, &SCHEMA, mistakes)?;
        let prefix = fields.optional("prefix", String::new(), mistakes, prefix);
        let suffix = fields.optional("suffix", String::new(), mistakes, suffix);
        let format = decode_format(&fields, mistakes);
        let encoding = fields.optional("encoding", Encoding::Utf8, mistakes, encoding);
        fields.optional("compression", (), mistakes, compression);
        let max_record_bytes =
            fields.optional("max_record", DEFAULT_MAX_RECORD_BYTES, mistakes, |node, m| {
                let least = if let Some(Format::Fixed { length_bytes }) = format { length_bytes } else { 1 };
                quantity(node, m, &SIZE, &(least..=*MAX_RECORD_BYTES.end()))
            });
        Some(Self { prefix, suffix, format: format?, encoding, max_record_bytes })
    }

    pub(super) fn to_document(&self) -> Json {
        let mut document = json!({
            "prefix": self.prefix,
            "suffix": self.suffix,
            "encoding": self.encoding.name(),
            "compression": "none",
            "max_record": SIZE.format(self.max_record_bytes),
        });
        match self.format {
            Format::Csv { header, delimiter, quote } => {
                document["format"] = json!("csv");
                document["header"] = json!(header);
                document["delimiter"] = json!(char::from(delimiter));
                document["quote"] = quote.map_or(json!("none"), |byte| json!(char::from(byte)));
            }
            Format::Lines => document["format"] = json!("lines"),
            Format::Jsonl => document["format"] = json!("jsonl"),
            Format::Fixed { length_bytes } => {
                document["format"] = json!("fixed");
                document["length"] = json!(SIZE.format(length_bytes));
            }
            Format::Objects => document["format"] = json!("objects"),
            Format::Items => return json!({ "items": "plan", "max_record": document["max_record"] }),
            Format::Ids(range) => {
                return json!({ "range": range.to_document(), "max_record": document["max_record"] });
            }
        }
        document
    }
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Ascii => "ascii",
            Self::Latin1 => "latin-1",
        }
    }
}

fn prefix(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<String> {
    text_that(node, mistakes, "a text of at most 1024 bytes", |text| text.len() <= MAX_KEY_BYTES)
}

fn suffix(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<String> {
    let allowed = "a text of at most 1024 bytes that does not end in / (keys that do are folders)";
    text_that(node, mistakes, allowed, |text| text.len() <= MAX_KEY_BYTES && !text.ends_with('/'))
}

/// The format's name, before its own fields are known.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Csv,
    Lines,
    Jsonl,
    Fixed,
    Objects,
}

fn decode_format(fields: &Fields<'_>, mistakes: &mut Mistakes) -> Option<Format> {
    if fields.has_any(OTHER_SOURCES) {
        return decode_other(fields, mistakes);
    }
    let words = [
        ("csv", Kind::Csv),
        ("lines", Kind::Lines),
        ("jsonl", Kind::Jsonl),
        ("fixed", Kind::Fixed),
        ("objects", Kind::Objects),
    ];
    let allowed = "csv, lines, jsonl, fixed, objects";
    let kind = fields.required("format", allowed, mistakes, |node, m| word(node, m, &words, &[]))?;
    if kind != Kind::Csv {
        fields.refuse_all(&["delimiter", "quote"], "nothing: only a csv source has it", mistakes);
        fields.optional("header", (), mistakes, no_header);
    }
    if kind != Kind::Fixed {
        fields.refuse_all(&["length"], "nothing: only a fixed source has it", mistakes);
    }
    match kind {
        Kind::Csv => Some(decode_csv(fields, mistakes)),
        Kind::Lines => Some(Format::Lines),
        Kind::Jsonl => Some(Format::Jsonl),
        Kind::Objects => Some(Format::Objects),
        Kind::Fixed => {
            let allowed = SIZE.allowed(&LENGTH_BYTES);
            let length = |node: &Node<'_>, m: &mut Mistakes| quantity(node, m, &SIZE, &LENGTH_BYTES);
            let length_bytes = fields.required("length", &allowed, mistakes, length)?;
            Some(Format::Fixed { length_bytes })
        }
    }
}

fn decode_other(fields: &Fields<'_>, mistakes: &mut Mistakes) -> Option<Format> {
    fields.refuse_all(OF_OBJECTS, "nothing: a source that is a range or items has no object", mistakes);
    match (fields.get("range"), fields.get("items")) {
        (Some(range), None) => IdRange::decode(&range, mistakes).map(Format::Ids),
        (None, Some(items)) => word(&items, mistakes, &[("plan", Format::Items)], &[]),
        _ => {
            mistakes.add(fields.path_of("items"), "both range and items", "one of range, items");
            None
        }
    }
}

fn decode_csv(fields: &Fields<'_>, mistakes: &mut Mistakes) -> Format {
    let header = fields.optional("header", false, mistakes, flag);
    let delimiter = fields.optional("delimiter", b',', mistakes, |node, m| {
        let allowed = "one ASCII character other than a line end";
        one_byte(text(node, m, allowed)?).or_else(|| node.refuse(m, allowed))
    });
    let quote = fields.optional("quote", Some(b'"'), mistakes, |node, m| {
        let allowed = "none, or one ASCII character other than a line end and the delimiter";
        match text(node, m, allowed)? {
            "none" => Some(None),
            text => match one_byte(text) {
                Some(byte) if byte != delimiter => Some(Some(byte)),
                _ => node.refuse(m, allowed),
            },
        }
    });
    if fields.get("quote").is_none() && quote == Some(delimiter) {
        let found = "no such field, so the quote is the delimiter";
        mistakes.add(fields.path_of("quote"), found, "none, or another character");
    }
    Format::Csv { header, delimiter, quote }
}

fn one_byte(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] if !matches!(byte, b'\n' | b'\r') => Some(*byte),
        _ => None,
    }
}

/// Lines, JSON Lines and fixed records are all data; `header: false` says nothing else.
fn no_header(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<()> {
    if flag(node, mistakes)? {
        let allowed =
            "false: only a csv source has a header (lines with one are `format: csv` with `quote: none`)";
        return node.refuse(mistakes, allowed);
    }
    Some(())
}

fn encoding(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Encoding> {
    let names = [
        ("utf-8", Encoding::Utf8),
        ("ascii", Encoding::Ascii),
        ("latin-1", Encoding::Latin1),
        ("iso-8859-1", Encoding::Latin1),
    ];
    word(node, mistakes, &names, &[])
}

fn compression(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<()> {
    word(node, mistakes, &[("none", ())], &["gzip", "zstd", "bz2"])
}

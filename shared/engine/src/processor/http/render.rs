//! From records to a request.

use std::borrow::Cow;

use bytes::Bytes;
use fanfold_domain::pipeline::{BodyKind, Encoding, Http, Piece, Placeholder, RequestTemplate};
use fanfold_ports::web::Request;
use fanfold_records::{Dialect, fields};

use super::value::{Value, at};
use crate::{
    derive::IdDeriver,
    processor::{Context, ProcessError, Reason},
};

/// The longest URL, in bytes: servers take no longer ones.
const MAX_URL_BYTES: usize = 8 << 10;
/// The longest body, in bytes: as many of them as there are requests at once are in memory.
pub(super) const MAX_BODY_BYTES: usize = 4 << 20;

/// A record that waits for its request.
#[derive(Debug)]
pub(super) struct Taken {
    /// Its bytes without its line end.
    pub(super) body: Vec<u8>,
    /// Where it starts, in bytes from the source's first byte.
    pub(super) offset: u64,
    /// Its number among those that the processor was given, from 1.
    pub(super) number: u64,
}

/// Makes requests of records.
pub(super) struct Renderer {
    http: Http,
    dialect: Dialect,
    encoding: Encoding,
    /// The names of the source's columns, where the templates name some.
    columns: Vec<String>,
    ids: IdDeriver,
}

/// The records of one request, and what came before it.
struct Subject<'a> {
    records: &'a [Taken],
    previous: &'a str,
    id: String,
}

impl Renderer {
    /// # Errors
    /// The source's header has not the columns that the templates name.
    pub(super) fn new(context: &Context<'_>, http: &Http) -> Result<Self, ProcessError> {
        let run = context.run;
        // Apart from the ids of other stages, which may ask the same third party.
        let ids = IdDeriver::of_records(
            &format!("{}/{}", run.pipeline.name, context.stage.name),
            &context.identity,
        );
        let encoding = run.pipeline.source.encoding;
        let columns = if http.needs_header() { columns(context, encoding)? } else { Vec::new() };
        for placeholder in http.placeholders() {
            let Placeholder::Column(name) = placeholder else { continue };
            let found = columns.iter().filter(|column| *column == name).count();
            if found != 1 {
                let all = columns.join(", ");
                return Err(ProcessError::Header(format!(
                    "the header has {found} columns named {name:?}, and {placeholder} wants one of: {all}"
                )));
            }
        }
        Ok(Self { http: http.clone(), dialect: context.dialect, encoding, columns, ids })
    }

    /// The request of a batch: at least one record.
    ///
    /// # Errors
    /// What is wrong with the records.
    pub(super) fn request(&self, records: &[Taken], previous: &str) -> Result<Request, Reason> {
        let offset = records.first().map_or(0, |first| first.offset);
        let subject = Subject { records, previous, id: self.ids.id(offset).to_string() };
        let url = self.url(&subject)?;
        let body = match &self.http.body {
            Some(template) => self.body(template, &subject)?,
            None => Bytes::new(),
        };
        let mut headers = self.http.headers.clone();
        if self.http.body.is_some() && self.http.header("content-type").is_none() {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        if self.http.header("user-agent").is_none() {
            headers
                .push(("user-agent".to_owned(), concat!("fanfold/", env!("CARGO_PKG_VERSION")).to_owned()));
        }
        headers.push(("idempotency-key".to_owned(), subject.id));
        let (method, max_answer_bytes) = (self.http.method.as_str(), self.http.max_answer_bytes);
        Ok(Request { method, url, headers, body, max_answer_bytes })
    }

    fn url(&self, subject: &Subject<'_>) -> Result<String, Reason> {
        let mut url = String::new();
        for piece in self.http.url.pieces() {
            match piece {
                Piece::Text(text) => url.push_str(text),
                Piece::Value { placeholder, .. } => {
                    url.push_str(&self.value(placeholder, subject)?.percent_encoded());
                }
            }
            if url.len() > MAX_URL_BYTES {
                return Err(format!("its URL would have more than {MAX_URL_BYTES} bytes").into());
            }
        }
        let path = url.split('?').next().unwrap_or_default();
        // A server may take them for steps to other paths; no encoding hides them from it.
        if path.split('/').skip(3).any(|segment| matches!(segment, "." | "..")) {
            return Err("its URL would have `.` or `..` between slashes".into());
        }
        Ok(url)
    }

    fn body(&self, template: &RequestTemplate, subject: &Subject<'_>) -> Result<Bytes, Reason> {
        let kind = self.http.body_kind();
        let mut body = String::new();
        for piece in template.pieces() {
            match piece {
                Piece::Text(text) => body.push_str(text),
                Piece::Value { placeholder: Placeholder::Records, .. } => {
                    self.records(kind, subject, &mut body)?;
                }
                Piece::Value { placeholder, is_quoted } => {
                    write(&self.value(placeholder, subject)?, kind, *is_quoted, &mut body);
                }
            }
            if body.len() > MAX_BODY_BYTES {
                return Err(format!("its request would have more than {MAX_BODY_BYTES} bytes").into());
            }
        }
        Ok(body.into())
    }

    /// All records of a batch: in JSON as values with commas between them, else each in a line.
    fn records(&self, kind: BodyKind, subject: &Subject<'_>, out: &mut String) -> Result<(), Reason> {
        for (i, record) in subject.records.iter().enumerate() {
            if i > 0 {
                out.push(if kind == BodyKind::Json { ',' } else { '\n' });
            }
            let value = self.record(record).map_err(|reason| {
                Reason::from(format!("of its batch, the record at byte {}: {reason}", record.offset))
            })?;
            write(&value, kind, false, out);
        }
        Ok(())
    }

    fn record<'a>(&self, record: &'a Taken) -> Result<Value<'a>, Reason> {
        let text = self.text(&record.body)?;
        if self.dialect != Dialect::Jsonl {
            return Ok(Value::Text(text));
        }
        // What is no JSON must not reach the middle of a document.
        serde_json::from_str::<&serde_json::value::RawValue>(&text)
            .map_err(|error| Reason::from(format!("not JSON: {error}")))?;
        Ok(Value::Json(text))
    }

    fn value<'a>(&self, placeholder: &Placeholder, subject: &'a Subject<'_>) -> Result<Value<'a>, Reason> {
        let Some(record) = subject.records.first() else { return Err("a batch without records".into()) };
        Ok(match placeholder {
            Placeholder::Record => self.record(record)?,
            Placeholder::Records => return Err("{records} in a URL".into()),
            Placeholder::Offset => Value::Json(record.offset.to_string().into()),
            Placeholder::Id => Value::Text(subject.id.as_str().into()),
            Placeholder::Previous(None) => Value::perhaps_json(subject.previous),
            Placeholder::Previous(Some(_)) if subject.previous.is_empty() => Value::perhaps_json(""),
            Placeholder::Previous(Some(pointer)) => {
                let found = at(subject.previous, pointer);
                Value::Json(
                    found.map_err(|reason| Reason::from(format!("the output before it: {reason}")))?.into(),
                )
            }
            Placeholder::Json(pointer) => {
                let text = self.text(&record.body)?;
                Value::Json(at(&text, pointer)?.to_owned().into())
            }
            Placeholder::Field(number) => self.field(record, *number as usize - 1)?,
            Placeholder::Column(name) => {
                let index = self.columns.iter().position(|column| column == name);
                self.field(record, index.unwrap_or(usize::MAX))?
            }
        })
    }

    fn field<'a>(&self, record: &'a Taken, index: usize) -> Result<Value<'a>, Reason> {
        let Dialect::Csv { delimiter, quote } = self.dialect else { return Err("no CSV".into()) };
        let Some(field) = fields(&record.body, delimiter, quote).nth(index) else {
            return Err(format!("it has no field {}", index.saturating_add(1)).into());
        };
        let text = match field.unescape() {
            Cow::Borrowed(bytes) => self.text(bytes)?,
            Cow::Owned(bytes) => Cow::Owned(self.text(&bytes)?.into_owned()),
        };
        Ok(Value::Text(text))
    }

    fn text<'a>(&self, bytes: &'a [u8]) -> Result<Cow<'a, str>, Reason> {
        decode(bytes, self.encoding).ok_or_else(|| "it is not in the source's encoding".into())
    }
}

fn write(value: &Value<'_>, kind: BodyKind, is_quoted: bool, out: &mut String) {
    match kind {
        BodyKind::Json if is_quoted => out.push_str(&value.json_in_quotes()),
        BodyKind::Json => out.push_str(&value.json()),
        BodyKind::Form => out.push_str(&value.percent_encoded()),
        BodyKind::Text => out.push_str(&value.plain()),
    }
}

fn decode(bytes: &[u8], encoding: Encoding) -> Option<Cow<'_, str>> {
    match encoding {
        // ISO 8859-1 is the first 256 characters of Unicode.
        Encoding::Latin1 => Some(bytes.iter().map(|&byte| char::from(byte)).collect()),
        Encoding::Ascii if !bytes.is_ascii() => None,
        Encoding::Utf8 | Encoding::Ascii => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
    }
}

fn columns(context: &Context<'_>, encoding: Encoding) -> Result<Vec<String>, ProcessError> {
    let (Dialect::Csv { delimiter, quote }, Some(header)) = (context.dialect, context.header) else {
        return Err(ProcessError::Header("the source has no header to find columns in".to_owned()));
    };
    fields(header, delimiter, quote)
        .map(|field| decode(&field.unescape(), encoding).map(Cow::into_owned))
        .collect::<Option<_>>()
        .ok_or_else(|| ProcessError::Header("the header is not in the source's encoding".to_owned()))
}

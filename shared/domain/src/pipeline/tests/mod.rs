//! Documents as users write them.

mod accepted;
mod after;
mod http;
mod names;
mod refused;
mod resize;
mod round_trip;
mod sections;
mod sources;

use super::{InvalidDocument, Pipeline};
use crate::RunId;

/// A sound document with every section, to be spoilt by tests.
const ORDERS: &str = r#"
pipeline: orders
source:   { prefix: orders/, format: csv, header: true }
split:    { records: 30000 }
fan_out:  sqs
stages:
  - name: confirm
    run_on: lambda
    process: orders
    max_concurrency: 200
    retry: { attempts: 3, backoff: 2s }
merge:    { key: "{key}_Output", header: "orderid,confirmationid" }
on_error: { max_bad_records: 100, tolerate_failed_chunks: 0 }
"#;

/// The id of some run.
const RUN: &str = "0123456789abcdef0123456789abcdef";

/// The same as a type.
fn run() -> RunId {
    RUN.parse().unwrap()
}

/// The mistakes of a document, one a line; nothing if there is none.
fn mistakes(text: &str) -> String {
    Pipeline::parse(text).err().map(|error: InvalidDocument| error.to_string()).unwrap_or_default()
}

/// A document of the smallest sections, with other sections in their place.
fn document(source: &str, stage: &str, rest: &str) -> String {
    format!("{{pipeline: p, source: {{{source}}}, stages: [{{{stage}}}], {rest}}}")
}

//! A run to try the ledger with.

use fanfold_domain::{ETag, ObjectName, Origin, Run, RunId, SourcePin, Timestamp, pipeline::Pipeline};

/// A pipeline of that name (1 to 63 of a-z, 0-9 and `-`) that keeps at most `max_bad_records`.
///
/// # Panics
/// If the name is none.
pub fn sample_pipeline(name: &str, max_bad_records: u64) -> Pipeline {
    let document = format!(
        r#"
pipeline: {name}
source:   {{ prefix: orders/, format: csv, header: true }}
split:    {{ size: 64MiB }}
fan_out:  sqs
stages:
  - name: confirm
    run_on: lambda
    process: orders
    max_concurrency: 200
    retry: {{ attempts: 3, backoff: 2s }}
merge:    {{ key: "{{key}}_Output", header: "orderid,confirmationid" }}
on_error: {{ max_bad_records: {max_bad_records}, tolerate_failed_chunks: 0 }}
"#
    );
    Pipeline::parse(&document).expect("the sample is a pipeline")
}

/// A run in `planning`, its id derived from `key`, with an output of its own, created at `created_at` and due
/// a day later.
pub fn sample_run(key: &str, created_at: Timestamp) -> Run {
    let id = RunId::derive("sample", &Origin::Submission { idempotency_key: key });
    let key = format!("orders/{key}.csv");
    let source = SourcePin {
        object: ObjectName::new("input", &key),
        version: Some("3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY".to_owned()),
        etag: ETag::new("9a0364b9e99bb480dd25e1f0284c8555"),
        size_bytes: 126_000_000,
    };
    let result = |what: &str| ObjectName::new("output", format!("{key}_{what}"));
    let (output, errors) = (result("Output"), result("Errors"));
    let run = Run::new(id, sample_pipeline("sample", 100), source, output, errors, created_at);
    Run { pipeline_version: 1, ..run }
}

//! `process: http`, rates and orders: what they mean and what they are refused with.

use super::super::*;
use super::{document, mistakes};

const URL: &str = "url: 'https://api.example.com/x'";

fn stage_of(source: &str, split: &str, stage: &str) -> Stage {
    let text = document(source, &format!("name: s, {stage}"), split);
    Pipeline::parse(&text).unwrap_or_else(|error| panic!("{text}\n{error}")).stages.remove(0)
}

fn http(with: &str) -> Http {
    match stage_of("format: lines", "", &format!("process: http, with: {{{with}}}")).process {
        Process::Http(http) => *http,
        other => panic!("{other:?}"),
    }
}

/// The mistakes of a stage, without the stage's path.
fn wrong(source: &str, split: &str, stage: &str) -> String {
    mistakes(&document(source, &format!("name: s, {stage}"), split)).replace("stages[0].", "")
}

fn wrong_with(with: &str) -> String {
    wrong("format: lines", "", &format!("process: http, with: {{{with}}}"))
}

#[test]
fn a_request_is_short_to_write() {
    let get = http(URL);
    assert_eq!((get.method, get.body.clone(), get.batch, get.at_once), (Method::Get, None, 1, 8));
    assert_eq!(
        (get.timeout_ms, get.attempts, get.backoff_ms, get.max_answer_bytes),
        (30_000, 5, 200, 1 << 20)
    );
    let post =
        http(&format!("{URL}, body: '{{\"a\": {{record}}}}', headers: {{X-Team: a b, accept: '*/*'}}"));
    assert_eq!((post.method, post.body_kind()), (Method::Post, BodyKind::Json));
    let headers =
        [("accept", "*/*"), ("x-team", "a b")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(post.headers, headers);
}

#[test]
fn the_content_type_says_how_values_stand_in_the_body() {
    let kind = |kind: &str| http(&format!("{URL}, body: x, headers: {{content-type: {kind}}}")).body_kind();
    assert_eq!(kind("application/vnd.api+json"), BodyKind::Json);
    assert_eq!(kind("application/x-www-form-urlencoded"), BodyKind::Form);
    assert_eq!(kind("text/plain"), BodyKind::Text);
}

#[test]
fn no_record_chooses_the_host() {
    for url in [
        "{record}",
        "https://{record}/x",
        "https://{record}.example.com/",
        "https://example.com{record}/",
        "https://example.com:{record}/",
        "https://example.com",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://example.com\\\\@evil.example/",
        "ftp://example.com/",
        "//example.com/",
        "https://exa mple.com/",
        "https://example.com/#x",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https:///x",
        "https://[::1/x",
        "https://[x]/",
    ] {
        let found = wrong_with(&format!("url: \"{url}\""));
        assert!(found.starts_with("with.url: found"), "{url}: {found}");
    }
    for url in ["https://example.com/{record}", "http://localhost:8080/?q={record}", "http://[::1]:1/{id}"] {
        assert_eq!(http(&format!("url: '{url}'")).url.as_str(), url);
    }
}

#[test]
fn no_pipeline_asks_where_credentials_are_handed_out() {
    for host in [
        "169.254.169.254",
        "169.254.170.2:80",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "metadata.google.internal.",
    ] {
        let found = wrong_with(&format!("url: 'http://{host}/latest/'"));
        assert!(found.contains("another host"), "{host}: {found}");
    }
}

#[test]
fn a_secret_has_no_place_in_a_document_and_is_not_repeated() {
    let found = wrong_with(&format!("{URL}, headers: {{Authorization: Bearer hush}}"));
    assert_eq!(
        found,
        "with.headers.Authorization: found the header; allowed: nothing: a document is no place for a secret, and headers \
         from where secrets are kept are not yet built"
    );
    assert!(
        wrong_with(&format!("{URL}, secret_headers: {{authorization: x}}"))
            .contains("`secret_headers` is not yet built")
    );
}

#[test]
fn wrong_requests_are_refused_with_what_is_allowed() {
    for (with, expected) in [
        ("", "with.url: found no such field"),
        (
            &*format!("{URL}, body: '{{recrod}}'"),
            "with.body: found the placeholder {recrod}; allowed: {record}, ",
        ),
        (&format!("{URL}, method: GET, body: x"), "with.method: found GET with a body"),
        (
            &format!("{URL}, method: get"),
            "with.method: found \"get\"; allowed: GET, POST, PUT, PATCH, DELETE",
        ),
        (
            &format!("{URL}, headers: {{host: x}}"),
            "with.headers.host: found the header; allowed: nothing: each request has its own",
        ),
        (
            &format!("{URL}, headers: {{a: x, A: y}}"),
            "with.headers.A: found the header; allowed: each header once",
        ),
        (&format!("{URL}, headers: {{'a b': x}}"), "allowed: the name of a header"),
        (
            &format!("{URL}, headers: {{a: \"x\\ny\"}}"),
            "with.headers.a: found \"x\\ny\"; allowed: visible ASCII",
        ),
        (&format!("{URL}, body: '{{records}}'"), "with.body: found {records} without a batch"),
        (
            &format!("{URL}, body: '{{json:/a}}'"),
            "with: found {json:/a} on another source; allowed: {json:/pointer} with `source.format: jsonl`",
        ),
        (&format!("{URL}, body: '{{column:a}}'"), "with: found {column:a} on another source"),
        (&format!("{URL}, body: '{{field:1}}'"), "with: found {field:1} on another source"),
        (
            &format!("{URL}, body: '{{previous}}'"),
            "order: found {previous} in a stage without order; allowed: sequential",
        ),
        (&format!("{URL}, first: \"a\\nb\""), "with.first: found \"a\\nb\"; allowed: one line"),
        (
            &format!("{URL}, attempts: 0"),
            "with.attempts: found the number 0; allowed: a whole number from 1 to 20",
        ),
    ] {
        let found = wrong_with(with);
        assert!(found.contains(expected), "{with}\n{found}\n{expected}");
        assert_eq!(found.lines().count(), 1, "{found}");
    }
}

#[test]
fn batches_never_depend_on_where_chunks_end() {
    let with = "process: http, with: {url: 'https://a.example/', body: '[{records}]', batch: 20}";
    assert!(
        matches!(stage_of("format: jsonl", "split: {records: 100}", with).process, Process::Http(http) if http.batch == 20)
    );
    for split in ["split: {records: 30}", "split: {size: 1MiB}", ""] {
        let found = wrong("format: jsonl", split, with);
        assert!(
            found.starts_with("with.batch: found 20, and no chunk is known to be so many whole batches"),
            "{found}"
        );
    }
    let one = with.replace("[{records}]", "{record}");
    assert!(wrong("format: jsonl", "split: {records: 100}", &one).contains("found {record} in a batch"));
}

#[test]
fn a_rate_is_written_short_or_with_its_destination() {
    let stage =
        |rate: &str| stage_of("format: lines", "", &format!("process: http, with: {{{URL}}}, rate: {rate}"));
    let own = stage("20/s").destination("p").unwrap();
    assert_eq!((own.0.as_str(), own.1.interval_us()), ("p/s", 50_000));
    let shared = stage("{to: payments-api, per_second: 2.5}").destination("p").unwrap();
    assert_eq!((shared.0.as_str(), shared.1.to_string().as_str()), ("payments-api", "2.5/s"));
    let minutes = stage("{to: payments-api, per_minute: 600}").destination("p").unwrap();
    assert_eq!(minutes.1.interval_us(), 100_000);
}

#[test]
fn a_rate_of_zero_is_refused_in_every_writing() {
    for (rate, path) in [
        ("0/s", "rate"),
        ("0.0/m", "rate"),
        ("0", "rate"),
        ("{to: a, per_second: 0}", "rate.per_second"),
        ("{to: a, per_hour: 0.0}", "rate.per_hour"),
        ("{to: a, per_second: -1}", "rate.per_second"),
    ] {
        let found = wrong("format: lines", "", &format!("process: http, with: {{{URL}}}, rate: {rate}"));
        assert!(
            found.starts_with(&format!("{path}: found")) && found.contains("never zero"),
            "{rate}: {found}"
        );
    }
    let two = "process: http, with: {url: 'https://a.example/'}, rate: {to: a, per_second: 1, per_hour: 1}";
    assert!(wrong("format: lines", "", two).contains("rate: found 2 rates"));
    assert!(
        wrong("format: lines", "", "process: copy, rate: 1/s")
            .contains("rate: found a rate of another process")
    );
}

#[test]
fn a_stage_with_a_rate_has_as_many_chunks_at_once_as_use_it() {
    let stage =
        |more: &str| stage_of("format: lines", "", &format!("process: http, with: {{{URL}}}, {more}"));
    for (rate, expected) in [("1/h", 2), ("20/s", 2), ("200/s", 20), ("9000/s", 200)] {
        assert_eq!(stage(&format!("rate: {rate}")).max_concurrency, expected, "{rate}");
    }
    assert_eq!(stage("rate: 1/s, max_concurrency: 7").max_concurrency, 7);
}

#[test]
fn a_rate_by_which_no_chunk_would_end_in_time_is_refused() {
    let stage = format!("process: http, with: {{{URL}}}, rate: 20/s");
    assert_eq!(stage_of("format: lines", "split: {records: 3000}", &stage).max_concurrency, 2);
    let found = wrong("format: lines", "split: {records: 3001}", &stage);
    assert!(
        found.starts_with(
            "rate: found 20/s for 2 chunks of 3001 records at once, each of which would take 300 s"
        ),
        "{found}"
    );
}

#[test]
fn a_sequential_stage_does_one_thing_at_a_time() {
    let stage = stage_of(
        "format: lines",
        "",
        &format!("process: http, order: sequential, with: {{{URL}, body: '{{previous}}'}}"),
    );
    assert_eq!((stage.order, stage.max_concurrency), (Order::Sequential, 1));
    assert!(matches!(stage.process, Process::Http(http) if http.at_once == 1));
    for (more, expected) in [
        (
            "order: sequential, max_concurrency: 2",
            "max_concurrency: found the number 2; allowed: a whole number from 1 to 1",
        ),
        ("order: sequential, run_on: eks", "order: found sequential with `run_on: eks`"),
        ("order: any", "order: found \"any\"; allowed: parallel, sequential"),
    ] {
        let found = wrong("format: lines", "", &format!("process: copy, {more}"));
        assert!(found.starts_with(expected), "{more}: {found}");
    }
    let two = format!("process: http, order: sequential, with: {{{URL}, at_once: 2}}");
    assert_eq!(
        wrong("format: lines", "", &two),
        "with.at_once: found 2 with `order: sequential`; allowed: 1"
    );
}

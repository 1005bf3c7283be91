//! `fanfold local` with the example of a third party: a real one, on this machine, that fails now and then and counts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

const EXAMPLE: &str = include_str!("../../../examples/third-party.yaml");

/// The third party's process, ended with the test.
struct ThirdParty {
    child: Child,
    at: String,
}

impl ThirdParty {
    fn start(fail: &str) -> Self {
        Self::start_with(&["--fail", fail])
    }

    fn start_with(arguments: &[&str]) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/local/third_party.py");
        let mut command = Command::new("python3");
        let command = command.arg(program).args(["--port", "0"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("python3 is there");
        let mut at = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut at).unwrap();
        Self { child, at: at.trim().to_owned() }
    }

    fn figures(&self) -> Value {
        let mut stream = TcpStream::connect(self.at.strip_prefix("http://").unwrap()).unwrap();
        stream.write_all(b"GET /figures HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

impl Drop for ThirdParty {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What `fanfold local` says and writes of so many orders.
fn confirm(document: &str, orders: u32) -> (String, String, Option<i32>) {
    let place = tempfile::tempdir().unwrap();
    let rows: Vec<String> = (0..orders).map(|order| format!("{order},Chad,{}\n", order * 2)).collect();
    fs::write(place.path().join("in"), format!("Order ID,Country,Units Sold\n{}", rows.concat())).unwrap();
    fs::write(place.path().join("p.yaml"), document).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfold"));
    let arguments = ["local", "in", "--pipeline", "p.yaml", "--output", "out", "--jobs", "4"];
    let told = command.current_dir(place.path()).args(arguments).output().unwrap();
    let output = fs::read_to_string(place.path().join("out")).unwrap_or_default();
    (output, String::from_utf8(told.stderr).unwrap(), told.status.code())
}

#[test]
fn the_example_is_short_and_a_third_party_that_fails_gets_each_order_once_in_time() {
    assert!(EXAMPLE.lines().count() <= 20);
    let third_party = ThirdParty::start("10");
    let document =
        EXAMPLE.replace("http://127.0.0.1:8099", &third_party.at).replace("records: 50", "records: 15");
    let (output, stderr, status) = confirm(&document, 60);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let orders: Vec<&str> = lines.iter().map(|line| line["order"].as_str().unwrap()).collect();
    assert_eq!(orders, (0..60).map(|order| order.to_string()).collect::<Vec<_>>(), "in their order");
    let figures = third_party.figures();
    let number = |name: &str| figures[name].as_u64().unwrap();
    assert_eq!((number("confirmed"), number("keys")), (60, 60), "{figures}");
    assert!(number("failed") >= 6 && number("requests") == 60 + number("failed"), "{figures}");
    // 22 are allowed; a machine that is busy with other tests may take some requests late, and so more at once.
    assert!(number("most_in_a_second") <= 26, "{figures}");
    assert!(figures["seconds"].as_f64().unwrap() >= 2.9, "{figures}");
    // A second pass of the same source would be told from new orders by none of its keys.
    assert!(confirm(&document, 60).0 == output && third_party.figures()["keys"] == 60);
}

#[test]
fn what_each_order_begins_with_is_what_the_last_one_gave() {
    let third_party = ThirdParty::start("0");
    let document = format!(
        "pipeline: chain\nsource: {{ format: csv, header: true }}\nsplit: {{ records: 3 }}\nstages:\n  - name: a\n    process: http\n    \
         order: sequential\n    with:\n      url: '{}/o/{{column:Order ID}}-{{previous:/order}}'\n      body: '{{\"request\": 1}}'\n",
        third_party.at
    );
    let (output, stderr, status) = confirm(&document, 8);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let last: Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    assert_eq!((last["order"].as_str(), output.lines().count()), (Some("7-6-5-4-3-2-1-0-"), 8));
}

#[test]
fn nobody_is_waited_for_longer_than_a_run_has() {
    let third_party = ThirdParty::start_with(&["--fail", "1", "--retry-after", "200000"]);
    let document = EXAMPLE.replace("http://127.0.0.1:8099", &third_party.at);
    let (output, stderr, status) = confirm(&document, 1);
    assert_eq!((status, output.as_str()), (Some(1), ""));
    assert!(stderr.contains("is to be made again in 200000 s"), "{stderr}");
    assert_eq!(third_party.figures()["requests"], 1);
}

#[test]
fn a_third_party_that_is_not_there_fails_the_run_and_says_so() {
    let third_party = ThirdParty::start("0");
    let document = EXAMPLE
        .replace("http://127.0.0.1:8099", &third_party.at)
        .replace("attempts: 10", "attempts: 2, backoff: 10ms");
    let document = document.replace("    process: http\n", "    process: http\n    retry: { attempts: 1 }\n");
    drop(third_party);
    let document =
        document.replace("      attempts: 2, backoff: 10ms", "      attempts: 2\n      backoff: 10ms");
    let (output, stderr, status) = confirm(&document, 2);
    assert_eq!((status, output.as_str()), (Some(1), ""));
    assert!(
        stderr.contains("the request of the record at byte 28 was tried 2 times; the last time failed: "),
        "{stderr}"
    );
}

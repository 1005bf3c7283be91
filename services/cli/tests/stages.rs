//! Runs of several stages, of ids and of items, on one machine.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::PathBuf, process::Command};

use tempfile::TempDir;

struct Place(TempDir);

/// What a process told: its status, stdout and stderr.
type Told = (Option<i32>, String, String);

impl Place {
    fn new(pipeline: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::write(place.path("p.yaml"), pipeline).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn local(&self, arguments: &[&str]) -> Told {
        let fixed = ["local", "--pipeline", "p.yaml", "--output", "out"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanfold"));
        let output = command.current_dir(self.0.path()).args([&fixed, arguments].concat()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

fn lines(numbers: impl Iterator<Item = u64>) -> String {
    numbers.fold(String::new(), |text, number| text + &number.to_string() + "\n")
}

/// Each id becomes a line, then its square, then ten squares a sum.
const N_TO_N: &str = r#"
pipeline: squares
source: { range: { count: 1000 } }
split: { records: 7 }
stages:
  - { name: generate, command: [/bin/sh, -c, "sed 's/^/id /'"] }
  - { name: compute, depends: n_to_n, command: [/usr/bin/awk, '{ print $2 * $2 }'] }
"#;

#[test]
fn each_index_of_a_stage_reads_that_of_the_stage_before() {
    let place = Place::new(N_TO_N);
    assert_eq!(
        place.local(&["--check"]),
        (
            Some(0),
            "out: 1000 records in 143 chunks\n".to_owned(),
            "fanfold: one sequential pass gives the same bytes\n".to_owned()
        )
    );
    assert_eq!(place.read("out"), lines((1..=1000_u64).map(|id| id * id)));
}

#[test]
fn an_aggregate_reads_several_parts_in_order_to_any_depth() {
    let sum = "command: [/usr/bin/awk, '{ s += $1 } END { print s }'], aggregate: {fan_in: 10}";
    let place =
        Place::new(&format!("{N_TO_N}  - {{ name: tens, {sum} }}\n  - {{ name: hundreds, {sum} }}\n"));
    assert_eq!(place.local(&[]).0, Some(0));
    let chunks: Vec<u64> = (0..143_u64)
        .map(|chunk| (chunk * 7 + 1..=(chunk * 7 + 7).min(1000)).map(|id| id * id).sum())
        .collect();
    assert_eq!(place.read("out"), lines(chunks.chunks(100).map(|sums| sums.iter().sum())));
}

#[test]
fn a_failed_index_fails_only_its_own_line() {
    let generate =
        "generate, retry: {attempts: 1}, command: [/bin/sh, -c, \"if grep -qx 8; then exit 3; fi\"]";
    let copies = "compute, depends: n_to_n, command: [/bin/sh, -c, 'cat; echo $FANFOLD_CHUNK']";
    let pipeline = format!(
        "pipeline: p\nsource: {{range: {{count: 28}}}}\nsplit: {{records: 7}}\nstages:\n  - {{name: {generate}}}\n  - {{name: {copies}}}\n"
    );
    let place = Place::new(&pipeline);
    let (status, _, stderr) = place.local(&[]);
    assert_eq!(status, Some(1));
    assert!(stderr.contains("chunk 1 (bytes 8..15)") && stderr.contains("exited with 3"), "{stderr}");
    fs::write(place.path("p.yaml"), pipeline + "on_error: {tolerate_failed_chunks: 1}\n").unwrap();
    let (status, stdout, _) = place.local(&[]);
    assert_eq!((status, stdout.contains("1 chunks failed and were tolerated")), (Some(0), true));
    assert_eq!(place.read("out"), "0\n2\n3\n");
}

#[test]
fn bad_records_of_all_stages_are_listed_with_their_stage() {
    // A file whose third stage calls each second record bad.
    let bad = r#"command: [/bin/sh, -c, "while read -r line; do n=$((n+1)); if [ $((n % 2)) = 0 ]; then echo \"{\\\"record\\\":$n,\\\"reason\\\":\\\"even\\\"}\" >&3; else echo $line; fi; done"]"#;
    let pipeline = format!(
        "pipeline: p\nsource: {{range: {{count: 6}}}}\nsplit: {{records: 3}}\nstages:\n  - {{name: one, {bad}}}\n  - {{name: two, {bad}}}\non_error: {{max_bad_records: 9}}\n"
    );
    let place = Place::new(&pipeline);
    let (status, _, stderr) = place.local(&[]);
    assert_eq!(status, Some(0), "{stderr}");
    assert_eq!(place.read("out"), "1\n4\n");
    let errors: Vec<serde_json::Value> =
        place.read("out_Errors").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = errors
        .iter()
        .map(|bad| (bad["stage"].as_str(), bad["record"].as_u64(), bad["text"].as_str().unwrap().to_owned()))
        .collect();
    let expected = [(None, 2, "2"), (None, 5, "5"), (Some("two"), 2, "3"), (Some("two"), 4, "6")]
        .map(|(stage, record, text)| (stage, Some(record), text.to_owned()));
    assert_eq!(told, expected);
}

#[test]
fn a_plan_step_writes_the_items_once_and_wrong_ones_are_refused() {
    let pipeline = |script: &str| {
        format!(
            "pipeline: p\nsource: {{items: plan}}\nplan: {{command: [/bin/sh, -c, {script:?}]}}\n\
             split: {{records: 2}}\nstages: [{{name: a, command: [/bin/cat]}}]\n"
        )
    };
    let place = Place::new(&pipeline("for i in 1 2 3; do echo '{\"i\": '$i'}'; done"));
    let (status, stdout, stderr) = place.local(&[]);
    assert_eq!((status, stdout.as_str()), (Some(0), "out: 3 records in 2 chunks\n"), "{stderr}");
    assert_eq!(place.read("out"), "{\"i\": 1}\n{\"i\": 2}\n{\"i\": 3}\n");
    for (script, reason) in [
        ("true", "the plan step wrote no items"),
        (
            "echo '{}'; echo nonsense",
            "line 2 of the list (byte 3) is no JSON mapping, text or number: expected",
        ),
        (
            "echo 1; echo '[2]'",
            "line 2 of the list (byte 2) is no JSON mapping, text or number: it is true, false",
        ),
        ("exit 7", "the plan step gave no list: "),
    ] {
        fs::write(place.path("p.yaml"), pipeline(script)).unwrap();
        let (status, _, stderr) = place.local(&[]);
        assert!(status == Some(1) && stderr.contains(reason), "{script}: {stderr}");
    }
}

#[test]
fn items_may_be_texts_and_numbers() {
    let pipeline = "pipeline: p\nsource: {items: plan}\nsplit: {records: 1}\n\
        plan: {command: [printf, '\"a\"\\n-1.5\\n']}\nstages: [{name: a, process: copy}]\n";
    let place = Place::new(pipeline);
    let (status, stdout, stderr) = place.local(&[]);
    assert_eq!((status, stdout.as_str()), (Some(0), "out: 2 records in 2 chunks\n"), "{stderr}");
    assert_eq!(place.read("out"), "\"a\"\n-1.5\n");
}

#[test]
fn a_function_as_the_plan_step_is_refused() {
    let pipeline = "pipeline: p\nsource: {items: plan}\nplan: {lambda: list-items}\n\
        stages: [{name: a, process: copy}]\n";
    let (status, _, stderr) = Place::new(pipeline).local(&[]);
    let told =
        "a local run invokes no function, and the plan step is list-items: give the step a command here";
    assert!(status == Some(2) && stderr.contains(told), "{status:?}: {stderr}");
}

#[test]
fn an_input_is_given_where_one_is_read_and_only_there() {
    let place = Place::new(N_TO_N);
    fs::write(place.path("in"), "x\n").unwrap();
    assert!(place.local(&["in"]).2.contains("the pipeline reads no file, and an input is given"));
    fs::write(
        place.path("p.yaml"),
        "{pipeline: p, source: {format: lines}, stages: [{name: a, process: copy}]}",
    )
    .unwrap();
    assert!(place.local(&[]).2.contains("the pipeline reads a file: name it"));
}

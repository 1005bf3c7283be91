//! `fanfold local` and `fanfold plan` as a person or a script meets them: a process, its status, its words,
//! the files it leaves.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use tempfile::TempDir;

const HEADER: &str = "Region,Country,Item Type,Sales Channel,Order Priority,Order Date,Order ID,Ship Date,Units Sold,Unit Price,Unit Cost,Total Revenue,Total Cost,Total Profit";
const ORDERS: &str = r#"
pipeline: orders
source: { format: csv, header: true }
split: { records: 7 }
stages: [ { name: confirm, process: orders } ]
merge: { header: "orderid,confirmationid" }
"#;

/// A directory with a pipeline and an input.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new(pipeline: &str, input: impl AsRef<[u8]>) -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        fs::write(place.path("p.yaml"), pipeline).unwrap();
        fs::write(place.path("in"), input).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanfold"));
        command.current_dir(self.directory.path()).args(arguments);
        command
    }

    fn local(&self, more: &[&str]) -> Told {
        let fixed = ["local", "in", "--pipeline", "p.yaml", "--output", "out"];
        Told::from(self.command(&[&fixed, more].concat()).output().unwrap())
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8(fs::read(self.path(name)).unwrap()).unwrap()
    }

    /// The names of all folders.
    fn folders(&self) -> Vec<String> {
        self.files().into_iter().filter(|name| self.path(name).is_dir()).collect()
    }

    /// The names of all files, sorted.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// What a process told.
#[derive(Debug)]
struct Told {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

fn order(number: u32) -> String {
    format!("Asia,Chad,Baby Food,Online,C,1/31/2017,{number},2/28/2017,5,1.00,0.50,5.00,2.50,2.50\n")
}

fn orders(count: u32) -> String {
    (0..count).map(order).fold(format!("{HEADER}\n"), |text, order| text + &order)
}

#[test]
fn an_output_appears_whole_with_a_summary() {
    let place = Place::new(ORDERS, orders(100));
    let told = place.local(&[]);
    assert_eq!((told.status, told.stderr.as_str()), (Some(0), ""));
    assert_eq!(told.stdout, "out: 100 records in 15 chunks\n");
    let output = place.read("out");
    let lines: Vec<_> = output.lines().collect();
    assert_eq!((lines.len(), lines[0]), (101, "orderid,confirmationid"));
    assert!(lines[100].starts_with("99,"));
    assert_eq!(place.files(), ["in", "out", "p.yaml"]);
    let mode = fs::metadata(place.path("out")).unwrap().permissions().mode();
    assert_eq!(mode & 0o600, 0o600);
}

#[test]
fn json_tells_the_sums() {
    let place = Place::new(ORDERS, orders(10));
    let told = place.local(&["--json", "--jobs", "2"]);
    assert_eq!(
        told.stdout,
        format!(
            "{{\"chunks\":2,\"records\":10,\"bad_records\":0,\"bytes_in\":{},\"bytes_out\":{},\"failed_chunks\":0,\"output\":\"out\"}}\n",
            orders(10).len() - HEADER.len() - 1,
            place.read("out").len()
        )
    );
}

#[test]
fn all_ways_to_run_give_the_same_bytes_and_a_source_its_own_ids() {
    let place = Place::new(ORDERS, orders(50));
    let mut outputs = Vec::new();
    for more in [&["--jobs", "3"][..], &["--sequential"], &["--check"]] {
        assert_eq!(place.local(more).status, Some(0));
        outputs.push(place.read("out"));
    }
    assert!(outputs.iter().all(|output| *output == outputs[0]));
    for source in ["s3://in/a@e1", "s3://in/a@\"e1\""] {
        place.local(&["--source", source]);
        outputs.push(place.read("out"));
    }
    assert_ne!(outputs[0], outputs[3]);
    assert_eq!(outputs[3], outputs[4], "quotes around an entity tag are none of it");
    assert_eq!(place.local(&["--source", "in/a"]).status, Some(2));
    assert_eq!(place.files(), ["in", "out", "p.yaml"]);
}

#[test]
fn a_copy_is_the_input_and_counted_as_one_pass_counts_it() {
    let pipeline = "{pipeline: p, source: {format: csv, header: true}, split: {size: 70KiB}, stages: [{name: a, process: copy}]}";
    let record = |i: usize| format!("{i},\"a\n{}\"\n", "b".repeat(i % 300));
    let input: String = (0..5000).map(record).collect();
    let place = Place::new(pipeline, &input);
    let sums = |more: &[&str]| {
        let told = place.local(&[&["--json"], more].concat());
        assert_eq!(told.status, Some(0), "{told:?}");
        told.stdout.split_once(',').unwrap().1.to_owned() // less the number of chunks
    };
    let all = sums(&["--jobs", "3"]);
    assert_eq!((place.read("out"), all), (input.clone(), sums(&["--sequential"])));

    // The last record is bad, so that it is in no output.
    fs::write(place.path("p.yaml"), pipeline.replace("stages", "on_error: {max_bad_records: 1}, stages"))
        .unwrap();
    fs::write(place.path("in"), input.clone() + "5000,\"a").unwrap();
    let all = sums(&["--check"]);
    assert_eq!((place.read("out"), all), (input, sums(&["--sequential"])));
    assert_eq!(place.read("out_Errors").lines().count(), 1);
}

#[test]
fn a_program_that_is_not_record_wise_is_found_out() {
    let pipeline =
        "{pipeline: p, source: {format: lines}, split: {records: 2}, stages: [{name: a, command: [wc, -l]}]}";
    let place = Place::new(pipeline, "a\nb\nc\n");
    let told = place.local(&["--check"]);
    assert_eq!(told.status, Some(1));
    let [folder] = &place.folders()[..] else { panic!("{:?}", place.files()) };
    assert!(folder.starts_with("out.sequential-"), "{folder}");
    let words = format!("{folder}/output, differ from byte 0 on\n");
    assert!(told.stderr.starts_with("fanfold: the program is not record-wise: out and "), "{}", told.stderr);
    assert!(told.stderr.ends_with(&words), "{}", told.stderr);
    assert_eq!((place.read("out"), place.read(&format!("{folder}/output"))), ("2\n1\n".into(), "3\n".into()));
    fs::remove_dir_all(place.path(folder)).unwrap();
    let told = place.local(&[]);
    assert_eq!(told.status, Some(0));
    fs::write(place.path("p.yaml"), pipeline.replace("wc, -l", "rev")).unwrap();
    let told = place.local(&["--check"]);
    assert_eq!(
        (told.status, told.stderr.as_str()),
        (Some(0), "fanfold: one sequential pass gives the same bytes\n")
    );
    assert_eq!(place.files(), ["in", "out", "p.yaml"]);
}

#[test]
fn a_check_leaves_files_that_are_not_its_own_alone() {
    let place = Place::new(ORDERS, orders(10));
    for name in ["out.sequential", "out_Errors.sequential"] {
        fs::write(place.path(name), orders(20)).unwrap();
    }
    let input = "out.sequential";
    let fixed = ["local", input, "--pipeline", "p.yaml", "--output", "out", "--check"];
    let told = Told::from(place.command(&fixed).output().unwrap());
    assert_eq!(told.status, Some(0), "{told:?}");
    assert_eq!(told.stdout, "out: 20 records in 3 chunks\n");
    assert_eq!(place.files(), ["in", "out", "out.sequential", "out_Errors.sequential", "p.yaml"]);
    assert_eq!((place.read(input), place.read("out_Errors.sequential")), (orders(20), orders(20)));
}

#[test]
fn a_wrong_document_is_refused_with_all_its_mistakes() {
    let place =
        Place::new("{pipeline: P, source: {format: cvs}, splt: {}, stages: [{name: a, process: ordes}]}", "");
    let told = place.local(&[]);
    assert_eq!(told.status, Some(2));
    for mistake in ["pipeline p.yaml: ", "source.format: found \"cvs\"", "splt: ", "`orders`", "found \"P\""]
    {
        assert!(told.stderr.contains(mistake), "{mistake} in {}", told.stderr);
    }
    assert_eq!(place.files(), ["in", "p.yaml"]);
}

#[test]
fn what_is_asked_wrongly_is_told_before_anything_is_done() {
    let place = Place::new(ORDERS, orders(1));
    for arguments in [
        &["local", "in", "--pipeline", "none.yaml", "--output", "out"][..],
        &["local", "in", "--pipeline", "p.yaml", "--output", "./in"],
        &["local", "in", "--pipeline", "p.yaml", "--output", "out", "--errors", "out"],
        &["local", "in", "--pipeline", "p.yaml", "--output", "p.yaml"],
        &["local", "in", "--pipeline", "p.yaml", "--output", "out", "--jobs", "0"],
        &["local", "in", "--pipeline", "p.yaml", "--output", "out", "--sequential", "--jobs", "2"],
        &["local", "in"],
        &["frobnicate"],
    ] {
        let told = Told::from(place.command(arguments).output().unwrap());
        assert_eq!(told.status, Some(2), "{arguments:?}: {told:?}");
    }
    std::os::unix::fs::symlink("in", place.path("alias")).unwrap();
    let told = place.command(&["local", "alias", "--pipeline", "p.yaml", "--output", "in"]).output().unwrap();
    assert_eq!(told.status.code(), Some(2));
    assert_eq!(place.read("in"), orders(1));
}

#[test]
fn a_missing_input_is_named() {
    let place = Place::new(ORDERS, "");
    fs::remove_file(place.path("in")).unwrap();
    let told = place.local(&[]);
    assert_eq!(told.status, Some(1));
    assert!(told.stderr.starts_with("fanfold: input in: No such file"), "{}", told.stderr);
    fs::create_dir(place.path("in")).unwrap();
    assert!(place.local(&[]).stderr.contains("input in is not a file"));
}

#[test]
fn an_input_without_records_gives_the_header_alone() {
    for input in ["", HEADER, &format!("{HEADER}\r\n"), &format!("\u{feff}{HEADER}\n\n\n")] {
        let place = Place::new(ORDERS, input);
        for more in [&[][..], &["--sequential"]] {
            let told = place.local(more);
            assert_eq!(
                (told.status, told.stdout.as_str()),
                (Some(0), "out: 0 records in 1 chunks\n"),
                "{input:?}"
            );
            assert_eq!(place.read("out"), "orderid,confirmationid\n");
        }
    }
}

#[test]
fn another_encoding_or_other_columns_are_refused_with_the_reason() {
    let place = Place::new(ORDERS, b"\xff\xfeR\0e\0");
    let told = place.local(&[]);
    assert_eq!(told.status, Some(1));
    assert!(told.stderr.contains("byte order mark of UTF-16 (little-endian)"), "{}", told.stderr);

    let place = Place::new(ORDERS, "a,b\n1,2\n");
    let told = place.local(&[]);
    assert_eq!(told.status, Some(1));
    assert_eq!(told.stderr, "fanfold: chunk 0 (bytes 4..8): the header has 2 columns, and orders has 14\n");
    assert_eq!(place.files(), ["in", "p.yaml"]);
}

#[test]
fn bad_records_are_listed_and_a_stale_list_is_replaced() {
    let pipeline = format!("{ORDERS}on_error: {{ max_bad_records: 2 }}\n");
    let input = |poison: &str| format!("{}{poison}\n{}", orders(20), order(21));
    let place = Place::new(&pipeline, input("a,b"));
    let told = place.local(&[]);
    assert_eq!(told.stdout, "out: 22 records in 4 chunks\nout_Errors: 1 bad records\n");
    let offset = orders(20).len();
    assert_eq!(
        place.read("out_Errors"),
        format!(
            "{{\"record\":21,\"offset\":{offset},\"reason\":\"2 columns, and orders has 14\",\"text\":\"a,b\"}}\n"
        )
    );
    assert_eq!(place.read("out").lines().count(), 22);
    let list = place.read("out_Errors");
    place.local(&["--sequential", "--errors", "list"]);
    assert_eq!(place.read("list"), list);

    // Once nothing is bad any more the list is empty; of another name there is none.
    fs::write(place.path("in"), input(order(20).trim_end())).unwrap();
    assert_eq!(place.local(&[]).stdout, "out: 22 records in 4 chunks\n");
    assert_eq!(place.read("out_Errors"), "");
    place.local(&["--errors", "other"]);
    assert!(!place.path("other").exists());
}

#[test]
fn a_poison_record_fails_the_run_and_leaves_the_output_as_it_was() {
    let place = Place::new(ORDERS, format!("{}poison\n{}", orders(10), order(11)));
    fs::write(place.path("out"), "before").unwrap();
    for more in [&[][..], &["--sequential"], &["--check"]] {
        let told = place.local(more);
        assert_eq!((told.status, told.stdout.as_str()), (Some(1), ""));
        let offset = orders(10).len();
        for words in
            ["chunk ", &format!("at byte {offset}: 1 columns"), "bad records are listed in out_Errors"]
        {
            assert!(told.stderr.contains(words), "{words} in {}", told.stderr);
        }
        assert_eq!(place.read("out"), "before");
        assert!(
            place.read("out_Errors").contains(&format!("\"offset\":{offset},")),
            "{}",
            place.read("out_Errors")
        );
        assert_eq!(place.files(), ["in", "out", "out_Errors", "p.yaml"]);
    }
}

#[test]
fn too_many_bad_records_fail_the_run_even_if_failed_chunks_are_tolerated() {
    let pipeline = format!("{ORDERS}on_error: {{ max_bad_records: 2, tolerate_failed_chunks: 100% }}\n");
    let place = Place::new(&pipeline, format!("{HEADER}\n1\n2\n3\n4\n"));
    let told = place.local(&[]);
    assert_eq!(told.status, Some(1));
    assert_eq!(place.read("out_Errors").lines().count(), 3);
    // Also if no chunk alone has too many.
    fs::write(place.path("p.yaml"), pipeline.replace("records: 7", "records: 1")).unwrap();
    let told = place.local(&[]);
    assert_eq!(told.status, Some(1));
    assert!(told.stderr.contains("3 bad records of"), "{}", told.stderr);
}

const TOLERANT: &str = r"
pipeline: p
source: { format: lines }
split: { records: 1 }
stages: [ { name: a, command: [sh, -c, 'read x; [ $x = b ] && { echo no b here >&2; exit 4; }; echo $x'], retry: { attempts: 2, backoff: 0s } } ]
on_error: { tolerate_failed_chunks: 1 }
";

#[test]
fn a_failed_chunk_is_tried_again_and_then_fails_the_run_or_is_tolerated() {
    let place = Place::new(TOLERANT, "a\nb\nc\n");
    let told = place.local(&[]);
    assert_eq!(told.status, Some(0));
    assert_eq!(told.stdout, "out: 2 records in 3 chunks\n1 chunks failed and were tolerated\n");
    assert_eq!(place.read("out"), "a\nc\n");
    assert_eq!(
        told.stderr,
        "fanfold: chunk 1, try 1: \"sh\" exited with 4; it said: no b here; trying again\n"
    );
    fs::write(place.path("in"), "a\nb\nb\nc\n").unwrap();
    let told = place.local(&["--output", "other"]);
    assert_eq!(told.status, Some(2), "an argument twice");
    let told = place.local(&[]);
    assert_eq!(told.status, Some(1));
    let last = told.stderr.lines().last().unwrap();
    assert!(last.ends_with("\"sh\" exited with 4; it said: no b here"), "{last}");
    assert!(last.contains("(bytes 2..4)") || last.contains("(bytes 4..6)"), "{last}");
    assert_eq!(place.read("out"), "a\nc\n", "the earlier output stands");
}

#[test]
fn where_nothing_can_be_written_nothing_is_left_and_the_place_is_named() {
    let place = Place::new(ORDERS, orders(3));
    let told =
        place.command(&["local", "in", "--pipeline", "p.yaml", "--output", "none/out"]).output().unwrap();
    let told = Told::from(told);
    assert_eq!(told.status, Some(1));
    assert!(told.stderr.contains("none/out"), "{}", told.stderr);
    assert_eq!(place.files(), ["in", "p.yaml"]);
}

#[test]
fn where_a_disk_is_full_its_directory_is_named() {
    let place = Place::new("{pipeline: p, source: {format: lines}, stages: [{name: a, process: index}]}", "");
    fs::write(place.path("in"), b"0123456789\n".repeat(100_000)).unwrap();
    fs::create_dir(place.path("full")).unwrap();
    // No file may be longer than a block of it.
    let limited = "ulimit -f 1; trap '' XFSZ; exec \"$0\" local in --pipeline p.yaml --output full/out";
    let told = Command::new("sh")
        .args(["-c", limited])
        .arg(env!("CARGO_BIN_EXE_fanfold"))
        .current_dir(place.directory.path())
        .output();
    let told = Told::from(told.unwrap());
    assert_eq!(told.status, Some(1));
    assert!(told.stderr.contains("write of a temporary file in full: "), "{}", told.stderr);
    assert_eq!(fs::read_dir(place.path("full")).unwrap().count(), 0);
}

#[test]
fn an_output_that_is_no_regular_file_is_refused_by_its_kind_and_stays() {
    let place = Place::new(ORDERS, orders(3));
    fs::create_dir(place.path("folder")).unwrap();
    assert!(Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
    std::os::unix::fs::symlink("/dev/null", place.path("link")).unwrap();
    let files = place.files();
    for (name, kind) in [("folder", "a directory"), ("pipe", "a pipe"), ("link", "a device")] {
        for arguments in [&["--output", name][..], &["--output", "out", "--errors", name]] {
            let fixed = ["local", "in", "--pipeline", "p.yaml"];
            let told = Told::from(place.command(&[&fixed, arguments].concat()).output().unwrap());
            assert_eq!(told.status, Some(2), "{told:?}");
            let words = format!(" {name}: it is {kind}, and not a regular file\n");
            assert!(told.stderr.ends_with(&words), "{words} in {}", told.stderr);
        }
    }
    assert_eq!(place.files(), files);
}

#[test]
fn an_output_that_is_there_keeps_its_mode_and_the_links_to_it() {
    let place = Place::new(ORDERS, orders(3));
    fs::create_dir(place.path("folder")).unwrap();
    fs::write(place.path("folder/file"), "before").unwrap();
    fs::set_permissions(place.path("folder/file"), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("folder/file", place.path("out")).unwrap();
    assert_eq!(place.local(&["--check"]).status, Some(0));
    assert!(fs::symlink_metadata(place.path("out")).unwrap().is_symlink());
    assert_eq!(place.read("folder/file").lines().count(), 4);
    let mode = fs::metadata(place.path("folder/file")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(place.files(), ["folder", "in", "out", "p.yaml"]);
    // By a link, too, four files are four files.
    std::os::unix::fs::symlink("new", place.path("link")).unwrap();
    let fixed = ["local", "in", "--pipeline", "p.yaml", "--output", "link", "--errors", "new"];
    assert_eq!(place.command(&fixed).output().unwrap().status.code(), Some(2));
}

#[test]
fn an_input_that_changes_meanwhile_gives_no_output() {
    let pipeline = "{pipeline: p, source: {format: lines}, split: {records: 1}, \
                     stages: [{name: a, command: [sh, -c, 'cat; echo > started; sleep 0.3']}], on_error: {tolerate_failed_chunks: 100%}}";
    let place = Place::new(pipeline, "a\nb\nc\nd\n");
    let child = place
        .command(&["local", "in", "--pipeline", "p.yaml", "--output", "out", "--jobs", "1"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while !place.path("started").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::OpenOptions::new().append(true).open(place.path("in")).unwrap().write_all(b"e\n").unwrap();
    let told = Told::from(child.wait_with_output().unwrap());
    assert_eq!(told.status, Some(1));
    assert!(told.stderr.contains("the input was changed meanwhile"), "{}", told.stderr);
    assert_eq!(place.files(), ["in", "p.yaml", "started"]);
}

fn ignores_hang_up() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 == 1
}

#[test]
fn an_interrupted_run_leaves_no_process_and_no_file() {
    let pipeline = "{pipeline: p, source: {format: lines}, stages: [{name: a, command: [sh, -c, 'echo $$ > pid; sleep 1000']}]}";
    // Whoever runs the tests may have had them ignore the terminal's end, and then a run that they begin does so too.
    let hangs_up = (!ignores_hang_up()).then_some("-HUP");
    for signal in ["-INT", "-QUIT", "-TERM"].into_iter().chain(hangs_up) {
        let place = Place::new(pipeline, "a\n");
        let child = place
            .command(&["local", "in", "--pipeline", "p.yaml", "--output", "out"])
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = wait_for_line(&place.path("pid"));
        send(signal, child.id());
        let told = Told::from(child.wait_with_output().unwrap());
        assert_eq!(
            (told.status, told.stderr.as_str()),
            (Some(1), "fanfold: interrupted; nothing was published\n"),
            "{signal}"
        );
        assert_eq!(place.files(), ["in", "p.yaml", "pid"]);
        let is_gone =
            || fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
        assert!((0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            is_gone()
        }));
    }
}

#[test]
fn a_run_that_was_begun_to_outlive_its_terminal_does() {
    let pipeline = "{pipeline: p, source: {format: lines}, stages: [{name: a, command: [sh, -c, 'echo $$ > pid; while ! [ -e go ]; do sleep 0.01; done; cat']}]}";
    let place = Place::new(pipeline, "a\n");
    let child = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$0\" local in --pipeline p.yaml --output out"])
        .arg(env!("CARGO_BIN_EXE_fanfold"))
        .current_dir(place.directory.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_line(&place.path("pid"));
    send("-HUP", child.id());
    fs::write(place.path("go"), "").unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    assert_eq!(place.read("out"), "a\n");
}

fn send(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_package_is_found_as_the_worker_finds_it_and_told_of_if_it_is_none() {
    let pipeline = "{pipeline: p, source: {format: lines}, stages: [{name: a, command: [tool, data]}]}";
    let place = Place::new(pipeline, "a\n");
    fs::create_dir_all(place.path("package/bin")).unwrap();
    fs::write(place.path("package/data"), "beside it\n").unwrap();
    fs::write(place.path("package/bin/tool"), "#!/bin/sh\nread line < \"$1\"; echo \"$line\"\n").unwrap();
    fs::set_permissions(place.path("package/bin/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    let fixed = ["local", "in", "--pipeline", "p.yaml", "--output", "out"];
    let run = |more: &[&str]| {
        let mut command = place.command(&[&fixed, more].concat());
        Told::from(command.env("PATH", "/nowhere").output().unwrap())
    };
    let told = run(&["--with", "package", "--check"]);
    assert_eq!(told.status, Some(0), "{}", told.stderr);
    assert_eq!(place.read("out"), "beside it\n");
    assert!(run(&[]).stderr.contains("\"tool\" cannot be started"), "without the package");
    for (package, refusal) in
        [("none", "the package none: No such file"), ("in", "the package in is not a folder")]
    {
        let told = run(&["--with", package]);
        assert_eq!(told.status, Some(2));
        assert!(told.stderr.contains(refusal), "{}", told.stderr);
    }
}

/// Root reads what it likes, so that all of it is done as somebody else.
#[test]
fn a_command_cannot_read_the_environment_that_it_was_not_given() {
    let script = "cat > /dev/null; cat /proc/$PPID/environ || echo refused";
    let pipeline = format!(
        "{{pipeline: p, source: {{format: lines}}, stages: [{{name: a, command: [sh, -c, '{script}']}}]}}"
    );
    let place = Place::new(&pipeline, "a\n");
    fs::set_permissions(place.directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    // Where the program was built, only its owner may look.
    fs::copy(env!("CARGO_BIN_EXE_fanfold"), place.path("fanfold")).unwrap();
    let arguments = ["./fanfold", "local", "in", "--pipeline", "p.yaml", "--output", "out"];
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let words = if is_root { [&as_nobody[..], &arguments].concat() } else { arguments.to_vec() };
    let told = Command::new(words[0])
        .args(&words[1..])
        .current_dir(place.directory.path())
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .output();
    let told = Told::from(told.unwrap());
    assert_eq!(told.status, Some(0), "{told:?}");
    assert_eq!(place.read("out"), "refused\n");
}

fn wait_for_line(path: &Path) -> String {
    loop {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[test]
fn a_plan_tells_the_chunks_and_what_they_cost_to_find() {
    let place = Place::new(ORDERS, orders(20));
    let told = Told::from(place.command(&["plan", "in", "--pipeline", "p.yaml"]).output().unwrap());
    assert_eq!(told.status, Some(0));
    assert!(told.stdout.starts_with("3 chunks of "), "{}", told.stdout);
    let told = Told::from(place.command(&["plan", "in", "--pipeline", "p.yaml", "--json"]).output().unwrap());
    let plan: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(plan["chunks"].as_array().unwrap().len(), 3);
    assert_eq!(plan["chunks"][0]["start"], HEADER.len() + 1);
    assert_eq!(plan["preamble"]["end"], HEADER.len() + 1);
    assert_eq!(place.files(), ["in", "p.yaml"]);
}

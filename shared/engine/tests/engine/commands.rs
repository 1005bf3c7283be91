//! `command` on real programs, well-behaved and not.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use fanfold_domain::{
    message::Failure,
    pipeline::{Pipeline, Split},
};
use fanfold_engine::{
    bad::BadRecord,
    chunk::ChunkError,
    processor::{PACKAGE, ProcessError},
};

use crate::world::{Outcome, WHOLE, World, block_on, pipeline};

fn command(source: &str, argv: &[&str], more: &str) -> Pipeline {
    pipeline(source, &format!("command: {}{more}", serde_json::to_string(argv).unwrap()))
}

fn sh(script: &str) -> Pipeline {
    command("format: lines", &["sh", "-c", script], "")
}

fn finish(pipeline: Pipeline, bytes: impl Into<bytes::Bytes>, split: Split) -> Result<Outcome, String> {
    block_on(World::with_pieces(pipeline, bytes, 1000).finish(split))
}

fn output(pipeline: Pipeline, bytes: &'static [u8]) -> String {
    String::from_utf8(finish(pipeline, bytes, WHOLE).unwrap().output.to_vec()).unwrap()
}

fn refusal(pipeline: Pipeline, bytes: &'static [u8]) -> String {
    finish(pipeline, bytes, WHOLE).unwrap_err()
}

fn bad_records(outcome: &Outcome) -> Vec<BadRecord> {
    let lines = outcome.errors.split(|byte| *byte == b'\n');
    lines.filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[test]
fn a_record_wise_command_gives_the_same_whatever_the_split() {
    let record = |n: usize| format!("{n},\"a {n}\r\nb\",c\r\n{}", ["", "\r\n"][n % 2]);
    let text = (0..3_000).map(record).collect::<Vec<_>>().concat();
    for argv in [&["cat"][..], &["tr", "a-z", "A-Z"], &["awk", "{print length($0) \":\" $0}"]] {
        let pipeline = command("format: csv", argv, "");
        let whole = finish(pipeline.clone(), text.clone(), WHOLE).unwrap();
        assert_eq!(whole.records, 3_000);
        for split in [Split::SizeBytes(20_000), Split::Records(700)] {
            assert_eq!(finish(pipeline.clone(), text.clone(), split).unwrap(), whole, "{argv:?}");
        }
    }
}

#[test]
fn line_ends_that_are_missing_are_added_on_both_sides() {
    assert_eq!(output(command("format: lines", &["cat"], ""), b"a\r\nb"), "a\r\nb\r\n");
    assert_eq!(output(sh("wc -l | tr -d '\\n '"), b"a\nb"), "2\n");
    assert_eq!(output(command("format: fixed, length: 2B", &["cat"], ""), b"aabb"), "aa\nbb\n");
    assert_eq!(output(sh("cat > /dev/null"), b"a\nb"), "");
}

#[test]
fn the_header_comes_first_on_the_stdin_of_every_chunk_if_asked_for() {
    let bytes = &b"\xef\xbb\xbfh,i\r\n1,2\r\n\r\n3,4"[..];
    let with = |more| command("format: csv, header: true", &["cat"], more);
    let asked = finish(with(", header: stdin"), bytes, Split::Records(1)).unwrap();
    assert_eq!(asked.output, "h,i\r\n1,2\r\nh,i\r\n3,4\r\n");
    assert_eq!(finish(with(""), bytes, Split::Records(1)).unwrap().output, "1,2\r\n3,4\r\n");
    // It is none of the records that may be reported.
    let script = r#"cat > /dev/null; echo '{"record": 1, "reason": "no"}' >&3"#;
    let reports = command("format: csv, header: true", &["sh", "-c", script], ", header: stdin");
    let outcome = finish(reports, bytes, WHOLE).unwrap();
    assert_eq!(bad_records(&outcome)[0].text, "1,2");
}

#[test]
fn the_environment_is_the_documented_one() {
    let temporary = tempfile::tempdir().unwrap();
    let world = |more: &str| {
        let mut world =
            World::new(command("format: csv, header: true", &["env"], more), &b"caf\xe9,b\n1,2\n3,4\n"[..]);
        for (name, value) in [
            ("HOME", "/root"),
            ("LANG", "de_DE"),
            ("TMPDIR", temporary.path().to_str().unwrap()),
            ("LD_LIBRARY_PATH", "/opt/lib"),
            ("AWS_SESSION_TOKEN", "secret"),
            ("AWS_REGION", "r"),
        ] {
            world.inherited.insert(name.to_owned(), value.to_owned());
        }
        world
    };
    let variables = |mut world: World| {
        let run = world.run.id.to_string();
        block_on(async {
            let chunk = world.plan(Split::Records(1)).await.unwrap().chunks[1];
            world.attempt(chunk, "try").await.unwrap();
        });
        let body = world.objects.contents(&fanfold_domain::ObjectName::new(
            crate::world::WORK,
            world.run.keys(&world.run.last_stage().name).part(fanfold_domain::ChunkIndex(1)),
        ));
        let body = body.unwrap();
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let pairs = lines.map(|line| {
            let (name, value) = line.split_at(line.iter().position(|byte| *byte == b'=').unwrap());
            (String::from_utf8(name.to_vec()).unwrap(), value[1..].to_vec())
        });
        (pairs.collect::<BTreeMap<_, _>>(), run)
    };
    let (mut found, run) = variables(world(""));
    let [home, scratch] =
        ["HOME", "TMPDIR"].map(|name| String::from_utf8(found.remove(name).unwrap()).unwrap());
    assert_eq!(home, scratch);
    assert!(home.starts_with(temporary.path().to_str().unwrap()) && !Path::new(&home).exists(), "{home}");
    // What a shell or a dynamic loader adds by itself is not ours.
    let path = world("").inherited["PATH"].clone();
    let wanted: BTreeMap<String, Vec<u8>> = [
        ("FANFOLD_ATTEMPT", &b"1"[..]),
        ("FANFOLD_CHUNK", b"1"),
        ("FANFOLD_HEADER", b"caf\xe9,b"),
        ("FANFOLD_OFFSET", b"11"),
        ("FANFOLD_RUN", run.as_bytes()),
        ("FANFOLD_STAGE", b"one"),
        ("LANG", b"C.UTF-8"),
        ("LD_LIBRARY_PATH", b"/opt/lib"),
        ("PATH", path.as_bytes()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_vec()))
    .into();
    assert_eq!(found, wanted);

    let (found, _) = variables(world(", credentials: pass"));
    let more: Vec<_> = found.keys().filter(|name| !wanted.contains_key(*name)).collect();
    assert_eq!(more, ["AWS_REGION", "AWS_SESSION_TOKEN", "HOME", "TMPDIR"]);

    let (found, _) = variables(world(", env: {CURRENCY: EUR, LANG: en_GB.UTF-8}"));
    assert_eq!((&found["CURRENCY"][..], &found["LANG"][..]), (&b"EUR"[..], &b"en_GB.UTF-8"[..]));
}

#[test]
fn an_attempts_own_folder_is_empty_writable_and_gone_with_it_however_it_ends() {
    let temporary = tempfile::tempdir().unwrap();
    for (script, succeeds) in [
        ("ls -A \"$HOME\" | wc -l; echo x > \"$TMPDIR/file\"; mkdir \"$HOME/.cache\"", true),
        ("echo x > \"$HOME/file\"; exit 1", false),
    ] {
        for _ in 0..2 {
            let mut world = World::new(sh(&format!("cat > /dev/null; {script}")), &b"a\n"[..]);
            world.inherited.insert("TMPDIR".to_owned(), temporary.path().to_str().unwrap().to_owned());
            match block_on(world.finish(WHOLE)) {
                Ok(outcome) => assert_eq!(outcome.output, "0\n"),
                Err(error) => assert!(!succeeds, "{error}"),
            }
            assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "{script}");
        }
    }
    let mut world = World::new(sh("cat"), &b"a\n"[..]);
    world.inherited.insert("TMPDIR".to_owned(), "/no/such/folder".to_owned());
    let error = block_on(world.finish(WHOLE)).unwrap_err();
    assert!(error.contains("no folder could be made for it in /no/such/folder"), "{error}");
}

#[test]
fn a_package_is_where_a_command_works_and_where_programs_are_found_first() {
    let package = tempfile::tempdir().unwrap();
    let root = package.path().to_str().unwrap();
    std::fs::create_dir(package.path().join("bin")).unwrap();
    for (place, says) in [("bin/tr", "tr of bin"), ("sed", "sed of the root"), ("own", "own")] {
        let program = package.path().join(place);
        std::fs::write(&program, format!("#!/bin/sh\ncat > /dev/null; echo {says}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::fs::write(package.path().join("data"), "beside it\n").unwrap();
    let said = |argv: &[&str], path: Option<&str>| {
        let mut world = World::new(command("format: lines", argv, ""), &b"a\n"[..]);
        world.inherited.insert(PACKAGE.to_owned(), root.to_owned());
        if let Some(path) = path {
            world.inherited.insert("PATH".to_owned(), path.to_owned());
        }
        String::from_utf8(block_on(world.finish(WHOLE)).unwrap().output.to_vec()).unwrap()
    };
    assert_eq!(said(&["tr"], None), "tr of bin\n");
    assert_eq!(said(&["sed"], None), "sed of the root\n");
    assert_eq!(said(&["./own"], Some("")), "own\n");
    assert_eq!(said(&["cat", "data"], None), "beside it\n");
    let path = said(&["/bin/sh", "-c", "echo $PATH"], Some("/opt/bin"));
    assert_eq!(path, format!("{root}/bin:{root}:/opt/bin\n"));
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_of_stderr_is_logged_with_what_it_is_of() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_span_list(true);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    let mut world = World::new(sh("cat; echo oh >&2"), &b"a\n"[..]);
    tracing::subscriber::with_default(subscriber, || block_on(world.finish(WHOLE)).unwrap());
    let lines = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = lines.lines().find(|line| line.contains("command stderr")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let of = serde_json::json!([
        { "name": "attempt", "run_id": world.run.id, "stage": "one", "chunk": 0, "attempt": 1 }
    ]);
    assert_eq!((&line["line"], &line["spans"]), (&"oh".into(), &of));
}

#[test]
fn a_command_need_not_read_to_the_end() {
    let bytes = b"0123456789\n".repeat(2_000_000);
    let first = finish(command("format: lines", &["head", "-1"], ""), bytes.clone(), WHOLE).unwrap();
    assert_eq!((&first.output[..], first.records), (&b"0123456789\n"[..], 2_000_000));
    let none = finish(command("format: lines", &["true"], ""), bytes, WHOLE).unwrap();
    assert_eq!(none.output, "");
}

#[test]
fn much_in_and_much_out_neither_blocks_nor_piles_up() {
    let bytes = b"0123456789012345678901234567890123456789012345678901234567890\n".repeat(500_000);
    // All at once; only after the end of the input; much more out than in.
    for (script, wanted) in [
        ("cat", bytes.len() as u64),
        ("tac", bytes.len() as u64),
        ("cat > /dev/null; head -c 50000000 /dev/zero | tr '\\0' '\\n'", 50_000_000),
        ("head -c 50000000 /dev/zero | tr '\\0' '\\n'; cat > /dev/null", 50_000_000),
    ] {
        let mut world = World::new(sh(script), bytes.clone());
        let sums = block_on(async {
            let chunk = world.plan(WHOLE).await.unwrap().chunks[0];
            world.attempt(chunk, "1").await.unwrap()
        });
        assert_eq!(sums.bytes_out, wanted, "{script}");
        let parts = world.objects.requests()["upload_part"];
        assert!(parts >= wanted / (10 << 20), "{script}: {parts} upload parts of {wanted} bytes");
    }
}

#[test]
fn a_report_on_descriptor_3_names_the_record_by_its_place_among_those_given() {
    // The second line is too long to be given to the command.
    let script = r#"cat; printf '%s\n' '{"record":2,"reason":"b","more":1}' '' '{"record":1,"reason":"a"}' '{"record":2,"reason":"again"}' >&3"#;
    let mut pipeline = sh(script);
    pipeline.source.max_record_bytes = 8;
    for split in [WHOLE, Split::SizeBytes(1000)] {
        let outcome = finish(pipeline.clone(), &b"one\ntoo long for this\nthree\nfour\n"[..], split).unwrap();
        assert_eq!(outcome.output, "one\nthree\nfour\n");
        let bad: Vec<_> = bad_records(&outcome)
            .into_iter()
            .map(|bad| (bad.record, bad.offset, bad.reason, bad.text))
            .collect();
        let listed = |record, offset, reason: &str, text: &str| {
            (Some(record), offset, reason.to_owned(), text.to_owned())
        };
        assert_eq!(
            bad,
            [
                listed(1, 0, "a", "one"),
                listed(2, 4, "longer than source.max_record, 8 bytes", "too long for this"),
                listed(3, 22, "b", "three"),
            ]
        );
    }
}

#[test]
fn one_report_too_many_fails_the_chunk_even_if_others_came_twice() {
    let script = r#"cat; for n in 1 1 1 2; do echo "{\"record\":$n,\"reason\":\"no\"}" >&3; done"#;
    let mut pipeline = sh(script);
    pipeline.on_error.max_bad_records = 1;
    let error = refusal(pipeline, b"a\nb\n");
    assert!(error.starts_with("2 bad records in this chunk alone"), "{error}");
}

#[test]
fn what_is_no_report_fails_the_attempt() {
    for line in ["nonsense", "{}", r#"{"record":0,"reason":"r"}"#, r#"{"record":3,"reason":"r"}"#, "[1]"] {
        let script = format!("cat; echo '{line}' >&3; head -c 1000000 /dev/zero >&3");
        let error = refusal(sh(&script), b"a\nb\n");
        assert!(error.contains("to descriptor 3, and a line there must be JSON"), "{line}: {error}");
    }
}

#[test]
fn a_failure_is_told_with_its_status_and_the_last_of_stderr() {
    let script = "cat; i=0; while [ $i -lt 300 ]; do echo line $i >&2; i=$((i+1)); done; exit 3";
    let error = refusal(sh(script), b"a\n");
    assert!(error.starts_with("\"sh\" exited with 3; it said: "), "{error}");
    assert!(Failure::of_chunk(error).reason.ends_with("line 299"), "the end is what is kept");

    let error = refusal(sh("echo before >&2; kill -9 $$"), b"a\n");
    assert_eq!(
        error,
        "\"sh\" was killed by signal 9 (SIGKILL: out of memory, if nobody else sent it); it said: before"
    );
    let error = refusal(sh("(kill -9 $$) & wait; true"), b"a\n");
    assert!(error.contains("signal 9"), "{error}");
    assert!(refusal(sh("kill -TERM $$"), b"a\n").contains("was killed by signal 15"));
    assert!(refusal(sh("sh -c 'kill -9 $$'; exit $?"), b"a\n").contains("137 (a program in it was killed"));
}

#[test]
fn a_program_that_cannot_be_started_fails_for_good() {
    let mut world = World::new(command("format: lines", &["./no-such-program"], ""), &b"a\n"[..]);
    let error = block_on(async {
        let chunk = world.plan(WHOLE).await.unwrap().chunks[0];
        world.attempt(chunk, "1").await.unwrap_err()
    });
    let ChunkError::Permanent(failure) = error else { panic!("{error}") };
    assert!(failure.reason.contains("\"./no-such-program\" cannot be started: No such file"), "{failure:?}");
    assert!(refusal(command("format: lines", &["/etc/passwd"], ""), b"a\n").contains("Permission denied"));
}

#[test]
fn a_failure_may_pass_and_its_output_is_not_kept() {
    let mut world = World::new(sh("cat; exit 1"), b"0123456789012345678901234\n".repeat(1_000_000));
    let error = block_on(async {
        let chunk = world.plan(WHOLE).await.unwrap().chunks[0];
        world.attempt(chunk, "1").await.unwrap_err()
    });
    assert!(matches!(error, ChunkError::Process(ProcessError::Command(_))), "{error}");
    assert_eq!(world.objects.open_uploads(), []);
    assert!(world.objects.keys(crate::world::WORK).is_empty());
}

/// What a run of `script` says that has `timeout_ms`, and how long it took.
fn timed_out(script: &str, timeout_ms: u64) -> (String, Duration) {
    let mut pipeline = sh(script);
    pipeline.stages[0].timeout_ms = timeout_ms;
    #[expect(clippy::disallowed_methods, reason = "a real program takes real time")]
    let start = Instant::now();
    let error = refusal(pipeline, b"a\n");
    (error, start.elapsed())
}

fn state_of(pid: &str) -> Option<String> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).ok()?;
    Some(stat.rsplit(')').next()?.split_whitespace().next()?.to_owned())
}

/// Whether all processes whose ids are in the file are gone, or become so soon.
fn are_gone(pids: &Path) -> bool {
    let text = std::fs::read_to_string(pids).unwrap();
    let gone = || text.lines().all(|pid| state_of(pid).is_none());
    (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        gone()
    })
}

#[test]
fn a_hang_is_ended_with_its_children_at_the_timeout_and_leaves_no_zombie() {
    // As the first process of a pod, which orphans are handed to.
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let file = pids.display();
    let script = format!(
        "echo $$ > {file}; (sleep 1000 & echo $! >> {file}; sleep 1000) & echo $! >> {file}; echo stuck >&2; sleep 1000"
    );
    let (error, took) = timed_out(&script, 400);
    assert_eq!(error, "\"sh\" was killed after 400 ms, the stage's timeout; it said: stuck");
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(std::fs::read_to_string(&pids).unwrap().lines().count(), 3);
    assert!(are_gone(&pids));
}

#[test]
fn a_process_that_holds_the_output_open_is_waited_for_until_the_timeout_and_no_longer() {
    let (error, took) = timed_out("cat; sleep 1000 & exit 0", 400);
    assert!(
        error.contains("ended, but a process that it began held its stdout or descriptor 3 open"),
        "{error}"
    );
    assert!(took < Duration::from_secs(3), "{took:?}");
    // One that left the process group cannot be killed, and holds stderr open too.
    let (error, took) = timed_out("cat; setsid sleep 6 & sleep 0.1; exit 0", 400);
    assert!(error.contains("held its stdout"), "{error}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    // Only stderr open: the output is whole.
    let whole = output(sh("cat; setsid sleep 2 > /dev/null 3>&- & sleep 0.1"), b"a\n");
    assert_eq!(whole, "a\n");
}

#[test]
fn what_is_left_of_a_command_that_succeeded_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let script = format!("cat; sleep 1000 > /dev/null 2>&1 3>&- & echo $! > {}", pids.display());
    assert_eq!(output(sh(&script), b"a\n"), "a\n");
    assert!(are_gone(&pids));
}

//! End to end, on the deployed stack: runs of several stages, and of ids, listings and items.

use fanfold_domain::{
    Run, RunState,
    pipeline::{IdRange, Pipeline},
};
use fanfold_tests::photos::Photo;
use serde_json::Value;

use crate::{stack::Stack, succeeded};

/// Each id becomes a line, then its square.
const SQUARES: &str = "source: { range: { count: 1000 } }\nsplit: { records: 7 }\nstages:\n\
    - { name: generate, command: [/bin/sh, -c, \"sed 's/^/id /'\"], max_concurrency: 6 }\n\
    - { name: square, depends: n_to_n, command: [/usr/bin/awk, '{ print $2 * $2 }'], max_concurrency: 4 }\n";
const SUM: &str = "command: [/usr/bin/awk, '{ s += $1 } END { print s }'], aggregate: { fan_in: 10 }";

/// Applies a pipeline that reads no single object, and has it run once.
pub(crate) async fn run_of(stack: &Stack, name: &str, rest: &str) -> Run {
    let document = format!("pipeline: {name}\n{rest}");
    let pipeline = Pipeline::parse(&document).unwrap_or_else(|error| panic!("{document}\n{error}"));
    stack.apply(&pipeline).await;
    stack.run_without_object(name).await
}

pub(crate) async fn text(stack: &Stack, run: &Run) -> String {
    succeeded(run);
    String::from_utf8(stack.read(&run.output).await.expect("it has an output")).expect("it is text")
}

fn squares() -> impl Iterator<Item = u64> {
    (1..=1000).map(|id| id * id)
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_over_ids_give_the_bytes_of_one_pass() {
    let stack = Stack::connect().await;
    let run = run_of(&stack, "squares", SQUARES).await;
    let expected: String = squares().map(|square| square.to_string() + "\n").collect();
    assert!(text(&stack, &run).await == expected, "the output differs");
    let sums = run.sums.expect("a run that succeeded has sums");
    assert_eq!((sums.records, sums.bytes_out), (1000, expected.len() as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_random_ids_has_as_many_as_it_drew_for_itself() {
    let stack = Stack::connect().await;
    let rest = "source: { range: { random: { least: 20, most: 60 } } }\nsplit: { records: 7 }\n\
        stages: [{ name: show, command: [/bin/cat] }]\n";
    let run = run_of(&stack, "drawn", rest).await;
    let ids = IdRange::Random { least: 20, most: 60 }.of(&run.id);
    assert!((20..=60).contains(&ids.len()), "{ids:?}");
    let expected: String = (ids.start..ids.end).map(|id| id.to_string() + "\n").collect();
    assert_eq!(text(&stack, &run).await, expected);
}

/// The first chunk takes longest, and each shows all that were worked on before it: local functions have one `/tmp`.
#[tokio::test(flavor = "multi_thread")]
async fn a_stage_with_an_order_works_on_one_chunk_after_another() {
    let stack = Stack::connect().await;
    let rest = "source: { range: { count: 3 } }\nsplit: { records: 1 }\nstages:\n\
        - name: one\n  order: sequential\n  \
        command: [/bin/sh, -c, 'cat > /dev/null; sleep $((2 - FANFOLD_CHUNK)); echo $FANFOLD_CHUNK >> /tmp/$FANFOLD_RUN; \
        echo $(cat /tmp/$FANFOLD_RUN); [ $FANFOLD_CHUNK != 2 ] || rm /tmp/$FANFOLD_RUN']\n";
    let run = run_of(&stack, "queue", rest).await;
    assert_eq!(text(&stack, &run).await, "0\n0 1\n0 1 2\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregates_read_parts_in_order_to_any_depth() {
    let stack = Stack::connect().await;
    let rest = format!("{SQUARES}- {{ name: tens, {SUM} }}\n- {{ name: hundreds, {SUM} }}\n");
    let run = run_of(&stack, "sums", &rest).await;
    let all: Vec<u64> = squares().collect();
    // Chunks of 7 ids, tens of chunks, tens of tens.
    let expected: String = all.chunks(700).map(|sums| sums.iter().sum::<u64>().to_string() + "\n").collect();
    assert_eq!(text(&stack, &run).await, expected);
}

/// The last chunk of the first stage waits for what the first chunk of the second leaves: local functions have one
/// `/tmp`. Were the second stage begun after all of the first, the first would never end well.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_released_while_its_neighbours_are_still_worked_on() {
    let stack = Stack::connect().await;
    let rest = "source: { range: { count: 4 } }\nsplit: { records: 1 }\nstages:\n\
        - name: one\n  retry: { attempts: 1 }\n  timeout: 20s\n  \
        command: [/bin/sh, -c, 'if [ $FANFOLD_CHUNK = 3 ]; then until [ -e /tmp/$FANFOLD_RUN ]; do sleep 0.1; done; rm /tmp/$FANFOLD_RUN; fi; cat']\n\
        - name: two\n  depends: n_to_n\n  \
        command: [/bin/sh, -c, 'if [ $FANFOLD_CHUNK = 0 ]; then touch /tmp/$FANFOLD_RUN; fi; cat']\n";
    let run = run_of(&stack, "ahead", rest).await;
    assert_eq!(text(&stack, &run).await, "1\n2\n3\n4\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_index_fails_its_own_line_of_successors_alone() {
    let stack = Stack::connect().await;
    let rest = "source: { range: { count: 12 } }\nsplit: { records: 3 }\non_error: { tolerate_failed_chunks: 1 }\nstages:\n\
        - { name: one, retry: { attempts: 1 }, command: [/bin/sh, -c, '[ $FANFOLD_CHUNK != 1 ] || exit 3; cat'] }\n\
        - { name: two, depends: n_to_n, command: [/bin/cat] }\n";
    let run = run_of(&stack, "lines", rest).await;
    assert_eq!(run.state, RunState::SucceededPartial, "{:?}", run.reason);
    let output = stack.read(&run.output).await.expect("it has an output");
    assert_eq!(String::from_utf8_lossy(&output), "1\n2\n3\n7\n8\n9\n10\n11\n12\n");
    let failures = stack.failures(&run).await;
    let [(chunk, failure)] = &failures[..] else { panic!("{failures:?}") };
    assert_eq!(chunk.0, 1);
    assert!(failure.reason.contains("one"), "{}", failure.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_under_a_prefix_are_resized_and_a_broken_one_is_listed_by_name() {
    let stack = Stack::connect().await;
    for at in 0..12_u16 {
        let photo = Photo::of(320 + 8 * at, 240, u64::from(at)).to_jpeg().expect("a photograph is made");
        stack.upload(&format!("album/{at:02}.jpg"), &photo).await;
    }
    stack.upload("album/05.jpg", b"no image").await;
    let rest = "source: { prefix: album/, suffix: .jpg, format: objects }\nsplit: { records: 5 }\n\
        stages: [{ name: small, process: resize, with: { size: 80 } }]\non_error: { max_bad_records: 1 }\n";
    let run = run_of(&stack, "album", rest).await;
    let lines: Vec<Value> = json_lines(&text(&stack, &run).await);
    let names: Vec<_> = lines.iter().map(|line| line["source"].as_str().unwrap_or_default()).collect();
    let expected: Vec<String> =
        (0..12).filter(|at| *at != 5).map(|at| format!("album/{at:02}.jpg")).collect();
    assert_eq!(names, expected);
    for line in &lines {
        let name = fanfold_domain::ObjectName::new(&run.output.bucket, line["key"].as_str().unwrap_or(""));
        let head = stack.head(&name).await.unwrap_or_else(|| panic!("{name} is not there"));
        assert_eq!((Some(head.size_bytes), line["width"].as_u64()), (line["bytes"].as_u64(), Some(80)));
    }
    let errors = stack.read(&run.errors).await.expect("there is a list");
    let bad = json_lines(std::str::from_utf8(&errors).expect("it is text"));
    assert_eq!((bad.len(), bad[0]["record"].as_u64()), (1, Some(6)));
    assert!(bad[0]["text"].as_str().is_some_and(|text| text.contains("album/05.jpg")), "{bad:?}");
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_step_writes_the_items_that_are_worked_on() {
    let stack = Stack::connect().await;
    let rest = "source: { items: plan }\nsplit: { records: 4 }\n\
        plan: { command: [/bin/sh, -c, 'for i in 1 2 3 4 5 6 7 8 9; do echo \"{\\\"i\\\": $i}\"; done'] }\n\
        stages: [{ name: show, command: [/bin/cat] }]\n";
    let run = run_of(&stack, "items", rest).await;
    let expected = (1..=9).map(|item| format!("{{\"i\": {item}}}\n")).collect::<Vec<_>>().concat();
    assert_eq!(text(&stack, &run).await, expected);
    assert_eq!(run.plan.map(|plan| plan.grouping.chunks), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_without_objects_and_a_plan_step_without_a_list_fail_with_the_reason() {
    let stack = Stack::connect().await;
    let stages = "stages: [{ name: show, command: [/bin/cat] }]\n";
    for (name, source, reason) in [
        ("nowhere", "source: { prefix: nowhere/, format: objects }\n", "there is no object under s3://"),
        (
            "planless",
            "source: { items: plan }\nplan: { command: [/bin/true] }\n",
            "the plan step wrote no items",
        ),
        (
            "gibberish",
            "source: { items: plan }\nplan: { command: [/bin/sh, -c, 'echo 1; echo one'] }\n",
            "line 2 of the list (byte 2) is no JSON mapping, text or number: ",
        ),
    ] {
        let run = run_of(&stack, name, &format!("{source}{stages}")).await;
        assert_eq!(run.state, RunState::Failed, "{name}");
        assert!(run.reason.as_ref().is_some_and(|told| told.contains(reason)), "{:?}", run.reason);
        assert_eq!(stack.read(&run.output).await, None);
    }
}

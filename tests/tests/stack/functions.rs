//! End to end, on the deployed stack: a plan step that is a function of the user's own.

use aws_sdk_lambda::{
    Client,
    primitives::Blob,
    types::{FunctionCode, Runtime},
};
use fanfold_domain::RunState;
use serde_json::{Value, json};

use crate::{
    stack::{Stack, variable},
    stages::{run_of, text},
};

/// Three pages of four items each, or an error, as the pipeline's name asks for it.
const PROGRAM: &str = r#"
def handler(event, context):
    if event["pipeline"] == "lambda-broken":
        raise ValueError("no list today")
    page = event.get("next", 0)
    items = [{"run": event["run"], "item": page * 4 + at} for at in range(4)]
    return {"items": items, "next": page + 1 if page < 2 else None}
"#;

/// Makes the function that the stack may invoke, or another one, which it may not.
async fn function(name: &str) {
    let sdk = aws_config::load_defaults(aws_config::BehaviorVersion::v2026_01_12()).await;
    let code = FunctionCode::builder().zip_file(Blob::new(zip("list.py", PROGRAM.as_bytes()))).build();
    let create = Client::new(&sdk).create_function().function_name(name).runtime(Runtime::Python313);
    let create = create.handler("list.handler").code(code).timeout(30);
    // It asks for nothing, and any role does that a function may have.
    create.role(variable("FANFOLD_LAUNCHER_ROLE_ARN")).send().await.expect("the function is made");
}

/// What the stack may invoke, as scripts/test sets it; it may also invoke what is called so and `-missing`.
fn allowed() -> String {
    variable("FANFOLD_TEST_PLAN_FUNCTION")
}

fn pipeline(function: &str) -> String {
    format!(
        "source: {{ items: plan }}\nplan: {{ lambda: '{function}' }}\nsplit: {{ records: 5 }}\n\
         stages: [{{ name: show, command: [/bin/cat] }}]\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_gives_the_items_that_are_worked_on_and_is_told_of_what_run() {
    let (stack, arn) = (Stack::connect().await, allowed());
    let name = arn.rsplit(':').next().expect("an ARN ends in the name");
    function(name).await;
    // By its name, and by its ARN: the role names the ARN.
    for (pipeline_name, function) in [("lambda-name", name), ("lambda-arn", &arn)] {
        let run = run_of(&stack, pipeline_name, &pipeline(function)).await;
        let items: Vec<Value> = text(&stack, &run)
            .await
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line is JSON"))
            .collect();
        let expected: Vec<Value> =
            (0..12).map(|item| json!({ "run": run.id.to_string(), "item": item })).collect();
        assert_eq!(items, expected);
        assert_eq!(run.plan.map(|plan| plan.grouping.chunks), Some(3));
    }
    let run = run_of(&stack, "lambda-broken", &pipeline(name)).await;
    let told = run.reason.clone().unwrap_or_default();
    assert_eq!((run.state, stack.read(&run.output).await), (RunState::Failed, None), "{told}");
    // The local AWS names another kind of error than the program's.
    assert!(told.contains("failed: ") && told.contains(": no list today (after 3 tries)"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_not_there_or_not_allowed_fails_the_run_with_the_reason() {
    let stack = Stack::connect().await;
    function("fanfold-test-other").await;
    let missing = format!("{}-missing", allowed());
    for (name, function, reason) in [
        ("lambda-denied", "fanfold-test-other", "plan.lambda: found \"fanfold-test-other\"; allowed: "),
        (
            "lambda-abroad",
            "arn:aws:lambda:eu-north-1:000000000000:function:list",
            "parameter PlanFunctionArns",
        ),
        ("lambda-missing", missing.as_str(), "does not exist"),
    ] {
        let run = run_of(&stack, name, &pipeline(function)).await;
        let told = run.reason.clone().unwrap_or_default();
        assert_eq!(run.state, RunState::Failed, "{name}: {told}");
        assert!(told.contains(reason), "{name}: {told}");
    }
}

/// An archive of one file, which is not compressed.
pub(crate) fn zip(name: &str, contents: &[u8]) -> Vec<u8> {
    let u16s = |values: &[u16]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let u32s = |values: &[usize]| {
        let narrow = |value: &usize| u32::try_from(*value).expect("it is small").to_le_bytes();
        values.iter().flat_map(narrow).collect::<Vec<u8>>()
    };
    let name_len = u16::try_from(name.len()).expect("it is short");
    let sizes = [&crc32(contents).to_le_bytes()[..], &u32s(&[contents.len(), contents.len()])].concat();
    // Version, flags, method, and a time that is none.
    let head = [u16s(&[20, 0, 0, 0, 0x21]), sizes, u16s(&[name_len, 0])].concat();
    let file = [b"PK\x03\x04", &head[..], name.as_bytes(), contents].concat();
    // Who may do what with it: everybody may read.
    let rest = [u16s(&[0, 0, 0]), u32s(&[0o100_644 << 16, 0])].concat();
    let directory = [b"PK\x01\x02", &u16s(&[20])[..], &head, &rest, name.as_bytes()].concat();
    let end = [u16s(&[0, 0, 1, 1]), u32s(&[directory.len(), file.len()]), u16s(&[0])].concat();
    [&file[..], &directory, b"PK\x05\x06", &end].concat()
}

/// The checksum of an archive's files, CRC-32.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

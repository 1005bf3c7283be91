//! A function of the user's own that gives the list of items, in virtual time and in memory.

use std::sync::Arc;

use bytes::Bytes;
use fanfold_domain::{ChunkIndex, FunctionName, ObjectName, PLAN, Plan, Sums, pipeline::Pipeline};
use fanfold_engine::{
    chunk::{Attempt, ChunkError, Input},
    processor::Outside,
};
use fanfold_ports::{
    Fault, PortError,
    functions::{InvokeError, Returned},
    memory::{MemoryClock, MemoryFunctions, MemoryPacer, MemoryWeb},
};
use serde_json::{Value, json};

use crate::world::{WORK, World};

type Invoked = Result<Returned, InvokeError>;

/// A world with a run whose plan step is this function, which takes so long and returns so.
fn world(
    takes_ms: u64,
    script: impl Fn(&FunctionName, &Bytes, usize) -> Invoked + Send + Sync + 'static,
) -> (World, MemoryFunctions) {
    let document = "{pipeline: test, source: {items: plan}, plan: {lambda: list, timeout: 60s}, \
         stages: [{name: one, process: copy}]}";
    let mut world = World::new(Pipeline::parse(document).unwrap(), "");
    let clock = MemoryClock::seeded(1);
    let functions = MemoryFunctions::new(clock.clone(), takes_ms, script);
    world.outside = Some(Outside {
        web: Arc::new(MemoryWeb::nobody(clock.clone())),
        pacer: Arc::new(MemoryPacer::default()),
        functions: Some(Arc::new(functions.clone())),
        clock: Arc::new(clock),
        ends_at: None,
    });
    (world, functions)
}

/// One attempt at the plan step.
async fn attempt(world: &World, name: &str) -> Result<Sums, ChunkError> {
    let run = &world.run;
    let attempt = Attempt {
        objects: &*world.objects,
        run,
        plan: &Plan::unplanned(),
        stage: &run.stage(PLAN).unwrap(),
        chunk: ChunkIndex(0),
        input: Input::of_plan_step(run),
        counted: None,
        work_bucket: WORK,
        name,
        number: 1,
        inherited: &world.inherited,
        tables: None,
        outside: world.outside.as_ref(),
    };
    Ok(attempt.run().await?.sums)
}

fn list(world: &World) -> Option<Bytes> {
    world.objects.contents(&ObjectName::new(WORK, world.run.keys(PLAN).part(ChunkIndex(0))))
}

#[expect(clippy::unnecessary_wraps, reason = "it stands beside what fails")]
fn answer(answer: Value) -> Invoked {
    Ok(Returned::Answer(answer.to_string().into()))
}

fn asked_with(event: &Bytes) -> Value {
    serde_json::from_slice::<Value>(event).unwrap()["next"].clone()
}

fn port_error(fault: Fault, detail: &str) -> InvokeError {
    PortError::new(fault, "invoke", "list", detail).into()
}

#[tokio::test(start_paused = true)]
async fn the_list_is_a_line_an_item_and_the_event_says_of_what_run_it_is() {
    let (mut world, functions) = world(0, |name, _, _| {
        assert_eq!(name.as_str(), "list");
        answer(json!([{ "at": [1, 2] }, "two", 3]))
    });
    world.run.scheduled_at = Some("2026-01-01T06:00:00Z".parse().unwrap());
    let sums = attempt(&world, "a1").await.unwrap();
    let lines = "{\"at\":[1,2]}\n\"two\"\n3\n";
    assert_eq!((list(&world).unwrap(), sums.bytes_out), (lines.into(), lines.len() as u64));
    let event: Value = serde_json::from_slice(&functions.events()[0]).unwrap();
    let expected = json!({
        "run": world.run.id, "pipeline": "test", "created_at_ms": 0, "attempt": 1,
        "scheduled_at": "2026-01-01T06:00:00Z",
    });
    assert_eq!(event, expected);
}

#[tokio::test(start_paused = true)]
async fn pages_are_asked_for_with_next_until_none_comes() {
    let (world, functions) = world(1_000, |_, _, number| {
        let items = [number * 2, number * 2 + 1];
        let next = if number == 0 { json!(0) } else { json!({ "page": number }) };
        answer(if number < 4 { json!({ "items": items, "next": next }) } else { json!({ "items": items }) })
    });
    attempt(&world, "a1").await.unwrap();
    assert_eq!(list(&world).unwrap(), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    let asked: Vec<Value> = functions.events().iter().map(asked_with).collect();
    let pages = (1..4).map(|page| json!({ "page": page }));
    assert_eq!(asked, [Value::Null, json!(0)].into_iter().chain(pages).collect::<Vec<_>>());
}

/// Several upload parts long.
#[tokio::test(start_paused = true)]
async fn a_list_may_be_longer_than_what_a_function_can_give_at_once() {
    let long = "x".repeat(1 << 20);
    let (world, _) = world(0, move |_, _, number| {
        answer(json!({ "items": [long, long, long, long, long], "next": (number < 3).then_some(number) }))
    });
    let sums = attempt(&world, "a1").await.unwrap();
    assert_eq!(sums.bytes_out, 20 * ((1 << 20) + 3));
    assert_eq!(list(&world).unwrap().len() as u64, sums.bytes_out);
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_is_one() {
    let (world, _) = world(0, |_, _, _| answer(json!([])));
    attempt(&world, "a1").await.unwrap();
    assert_eq!(list(&world).unwrap(), "");
}

/// What another try may mend is told from what it cannot.
#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_is_told_so_that_a_person_can_act_on_it() {
    type Case = (fn() -> Invoked, bool, &'static str);
    let cases: [Case; 9] = [
        (
            || Ok(Returned::Failure("ValueError: no list today".into())),
            true,
            "function list failed: ValueError: no list today",
        ),
        (
            || answer(Value::Null),
            false,
            "function list gave no list: null; it must give a JSON array of items, or {\"items\": [...], \"next\": ...}",
        ),
        (|| answer(json!([1, [2]])), false, "item 2 is [2], and an item is a mapping, a text or a number"),
        (
            || answer(json!(["x".repeat(6 << 20)])),
            true,
            "function list failed: Function.ResponseSizeTooLarge: the answer is too large",
        ),
        (
            || Err(InvokeError::Missing { function: "list".parse().unwrap(), detail: "not found".into() }),
            false,
            "function list does not exist: not found",
        ),
        (
            || Err(InvokeError::Denied { function: "list".parse().unwrap(), detail: "no".into() }),
            false,
            "function list may not be invoked: no; the stack's PlanFunctionArns must name its ARN",
        ),
        (
            || Err(port_error(Fault::Transient, "TooManyRequestsException: Rate Exceeded")),
            true,
            "invoke of list: TooManyRequestsException: Rate Exceeded (transient)",
        ),
        (
            || Err(port_error(Fault::Indeterminate, "ServiceException: oh")),
            true,
            "invoke of list: ServiceException: oh (indeterminate)",
        ),
        (
            || Err(port_error(Fault::Permanent, "it is in eu-west-1, and the stack in us-east-1")),
            false,
            "it is in eu-west-1, and the stack in us-east-1",
        ),
    ];
    for (returns, may_pass, reason) in cases {
        let (world, _) = world(0, move |_, _, _| returns());
        let error = attempt(&world, "a1").await.unwrap_err();
        assert_eq!(matches!(error, ChunkError::Process(_)), may_pass, "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!((list(&world), world.objects.open_uploads()), (None, Vec::new()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_would_never_end_is_given_up() {
    let (stuck, functions) = world(0, |_, _, _| answer(json!({ "items": [1], "next": "again" })));
    let error = attempt(&stuck, "a1").await.unwrap_err();
    let reason =
        "function list gave as `next` what it was given, \"again\", at page 2: its list would never end";
    assert_eq!((error.to_string().as_str(), functions.events().len()), (reason, 2));
    let (endless, functions) = world(0, |_, _, number| answer(json!({ "items": [number], "next": number })));
    let error = attempt(&endless, "a1").await.unwrap_err();
    assert!(error.to_string().contains("gave a `next` with 10000 pages, and that is the most"), "{error}");
    assert_eq!((functions.events().len(), matches!(error, ChunkError::Permanent(_))), (10_000, true));
}

#[tokio::test(start_paused = true)]
async fn all_pages_together_have_the_plan_steps_timeout() {
    let (world, _) = world(25_000, |_, _, number| answer(json!({ "items": [1], "next": number })));
    let error = attempt(&world, "a1").await.unwrap_err();
    let reason = "function list had given 2 pages, and not the last, after 60000 ms, the plan step's timeout";
    assert_eq!(error.to_string(), reason);
    assert!(matches!(error, ChunkError::Process(_)));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_begins_again_asks_for_all_pages_and_one_that_comes_late_for_none() {
    let (world, functions) = world(0, |_, _, number| match number {
        0 => answer(json!({ "items": ["of the first attempt"], "next": 1 })),
        1 => Ok(Returned::Failure("oh".into())),
        2 => answer(json!({ "items": ["a"], "next": 1 })),
        _ => answer(json!({ "items": ["b"] })),
    });
    assert!(attempt(&world, "a1").await.unwrap_err().to_string().contains("failed at page 2: oh"));
    let sums = attempt(&world, "a2").await.unwrap();
    assert_eq!(attempt(&world, "a3").await.unwrap(), sums);
    assert_eq!(list(&world).unwrap(), "\"a\"\n\"b\"\n");
    let asked: Vec<Value> = functions.events().iter().map(asked_with).collect();
    assert_eq!(asked, [Value::Null, json!(1), Value::Null, json!(1)]);
}

//! What begins runs by itself and what follows them, on the deployed stack.

use std::sync::Arc;

use aws_sdk_eventbridge::types::{PutEventsRequestEntry, Target};
use aws_sdk_sqs::types::QueueAttributeName;
use fanfold_aws::ScheduleGroup;
use fanfold_domain::{
    ChunkIndex, Cleaning, Origin, Run, RunId, RunState, key,
    message::{FoldMessage, Submission, encode},
    pipeline::Pipeline,
};
use fanfold_ports::{Queue, Schedules, queues::Outgoing};
use serde_json::{Value, json};

use crate::{
    stack::{Stack, fanfold, variable},
    stages::text,
};

const NAME: &str = "ticking";
const KEY: &str = "ticking.source";

/// A queue that is told all that the stack announces of a pipeline and that asks for a notification.
struct Listener {
    sqs: aws_sdk_sqs::Client,
    url: String,
}

impl Listener {
    async fn on(name: &str) -> Self {
        let bus = variable("FANFOLD_EVENT_BUS");
        let sdk = aws_config::load_defaults(aws_config::BehaviorVersion::v2026_01_12()).await;
        let (events, sqs) = (aws_sdk_eventbridge::Client::new(&sdk), aws_sdk_sqs::Client::new(&sdk));
        let pattern = json!({ "source": ["fanfold"], "detail": { "pipeline": [name], "notify": [true] } });
        let rule = events.put_rule().name(name).event_bus_name(&bus).event_pattern(pattern.to_string());
        let rule = rule.send().await.expect("the rule is made").rule_arn.expect("a rule has an ARN");
        let url = sqs.create_queue().queue_name(name).send().await.expect("the queue is made").queue_url;
        let url = url.expect("a queue has a URL");
        let attribute = QueueAttributeName::QueueArn;
        let asked =
            sqs.get_queue_attributes().queue_url(&url).attribute_names(attribute.clone()).send().await;
        let arn =
            asked.expect("the queue answers").attributes.expect("it has attributes")[&attribute].clone();
        let policy = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": { "Service": "events.amazonaws.com" }, "Action": "sqs:SendMessage",
            "Resource": arn, "Condition": { "ArnEquals": { "aws:SourceArn": rule } },
        }] });
        let allow = sqs.set_queue_attributes().queue_url(&url);
        allow.attributes(QueueAttributeName::Policy, policy.to_string()).send().await.expect("it is allowed");
        let target = Target::builder().id("queue").arn(arn).build().expect("id and ARN are set");
        let put = events.put_targets().rule(name).event_bus_name(bus).targets(target).send().await;
        put.expect("the target is put");
        Self { sqs, url }
    }

    /// The next events, in any order.
    async fn hear(&self) -> Vec<Value> {
        let heard = self.sqs.receive_message().queue_url(&self.url).max_number_of_messages(10).send().await;
        let messages = heard.expect("the queue answers").messages.unwrap_or_default();
        let bodies = messages.into_iter().filter_map(|message| message.body);
        bodies.map(|body| serde_json::from_str(&body).expect("an event is JSON")).collect()
    }
}

fn schedules(stack: &Stack) -> Arc<dyn Schedules> {
    Arc::new(stack.aws.schedules(ScheduleGroup {
        name: variable("FANFOLD_SCHEDULE_GROUP"),
        role_arn: variable("FANFOLD_SCHEDULE_ROLE_ARN"),
        intake_arn: variable("FANFOLD_INTAKE_QUEUE_ARN"),
        dead_arn: variable("FANFOLD_EVENTS_DEAD_QUEUE_ARN"),
    }))
}

fn pipeline() -> Pipeline {
    let document = format!(
        "pipeline: {NAME}\nsource: {{ prefix: nothing/, format: lines }}\n\
         stages: [{{ name: upper, command: [tr, a-z, A-Z] }}]\nmerge: {{ key: '{NAME}-{{run}}_Output' }}\n\
         schedule: {{ rate: 1 minute, object: {KEY} }}\nnotify: {{ on: [stage_finished, succeeded] }}\n\
         cleanup: {{ on: succeeded }}\n"
    );
    Pipeline::parse(&document).expect("the document is right")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_pipeline_runs_by_itself_tells_of_it_and_is_cleaned() {
    let stack = Stack::connect().await;
    let listener = Listener::on(NAME).await;
    stack.upload(KEY, b"one\ntwo\n").await;
    let pipeline = pipeline();
    stack.apply(&pipeline).await;
    let schedules = schedules(&stack);
    let schedule = pipeline.schedule.as_ref().expect("it has one");
    schedules.put(NAME, schedule).await.expect("the schedule is made");

    let run = stack.until("a run by itself", async || scheduled(&stack).await).await;
    schedules.delete(NAME).await.expect("the schedule is deleted");
    assert_eq!(run.state, RunState::Succeeded, "{:?}", run.reason);
    assert_eq!(stack.read(&run.output).await, Some(b"ONE\nTWO\n".to_vec()));

    let mut told: Vec<(String, String)> = Vec::new();
    stack
        .until("both notifications", async || {
            told.extend(
                listener
                    .hear()
                    .await
                    .iter()
                    .filter(|event| event["detail"]["run"] == run.id.as_str())
                    .map(|event| (event["detail-type"].to_string(), event["detail"]["state"].to_string())),
            );
            told.sort();
            told.dedup();
            (told.len() == 2).then_some(())
        })
        .await;
    let pair = |kind: &str, state: &str| (format!("{kind:?}"), format!("{state:?}"));
    assert_eq!(told, [pair("Run Succeeded", "succeeded"), pair("Stage Finished", "completing")]);
    cleaned(&stack, &run).await;
}

/// The run of a tick, once its end is announced.
async fn scheduled(stack: &Stack) -> Option<Run> {
    let runs = stack.runs_of(KEY).await;
    runs.into_iter().find(|run| {
        run.pipeline.name == NAME
            && run.scheduled_at.is_some()
            && run.state.has_ended()
            && run.unannounced.is_empty()
    })
}

/// Has a run cleaned now that the sweeper would have cleaned 20 minutes later.
async fn cleaned(stack: &Stack, run: &Run) {
    assert!(!stack.work_of(run).await.is_empty(), "its part is there");
    stack.save(&Run { cleaning: Cleaning::Asked(run.updated_at), ..run.clone() }).await;
    let cleanup = FoldMessage::Cleanup { run: run.id.clone(), generation: run.generation };
    stack.send(Queue::Folds, Outgoing::now(encode(&cleanup))).await;
    let settled = async || Some(stack.run(run).await).filter(Run::is_settled);
    let now = stack.until("the run to be cleaned", settled).await;
    assert!(matches!(now.cleaning, Cleaning::Done(_)), "{:?}", now.cleaning);
    assert_eq!(stack.work_of(run).await, Vec::<String>::new(), "{}", key::prefix(&run.id));
    assert!(stack.read(&run.output).await.is_some(), "the output stays");
}

/// Chunks 2 and 3 are under way then; once they end, or are not begun at all, the last two are not begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_a_person_cancels_is_told_of_and_publishes_nothing() {
    let stack = Stack::connect().await;
    let name = "cancelled";
    let listener = Listener::on(name).await;
    let document = format!(
        "pipeline: {name}\nsource: {{ prefix: {name}/, format: lines }}\nsplit: {{ records: 1 }}\n\
         stages: [{{ name: slow, max_concurrency: 2, \
         command: [/bin/sh, -c, 'case $FANFOLD_CHUNK in 2|3) sleep 6;; esac; cat'] }}]\n\
         notify: {{ on: [cancelled] }}\n"
    );
    stack.apply(&Pipeline::parse(&document).expect("the document is right")).await;
    let etag = stack.upload("cancelled/a", b"0\n1\n2\n3\n4\n5\n").await;
    let run = stack.begun("cancelled/a", &etag).await;
    let has_part =
        async |chunk| stack.work_of(&run).await.contains(&run.keys("slow").part(ChunkIndex(chunk)));
    for chunk in [0, 1] {
        stack.until("the first chunks", async || has_part(chunk).await.then_some(())).await;
    }
    let cancel = ["cancel", run.id.as_str(), "--reason", "wrong file"];
    for _ in 0..2 {
        assert_eq!(fanfold(&cancel), Ok(format!("run {} is cancelled: wrong file\n", run.id)));
    }

    let told = stack.until("the event", async || listener.hear().await.pop()).await;
    assert_eq!((&told["detail-type"], &told["detail"]["run"]), (&json!("Run Cancelled"), &json!(run.id)));
    assert_eq!(told["detail"]["reason"], "wrong file");
    // Longer than those under way take, and the last two behind them.
    stack.pause(11_000).await;
    assert_eq!([has_part(4).await, has_part(5).await], [false; 2]);
    let now = stack.run(&run).await;
    assert_eq!((now.state, now.unannounced), (RunState::Cancelled, vec![]));
    assert_eq!((stack.read(&run.output).await, stack.read(&run.errors).await), (None, None));
    // Nor is there anything to cancel in a run that ended otherwise.
    let run = stack.run_of("hello.csv", b"").await;
    let told = fanfold(&["cancel", run.id.as_str()]).expect_err("it had ended");
    assert!(told.contains("had ended: it is succeeded"), "{told}");
}

/// It names no object, by whose bucket the account's bus tells stacks apart: so it is put on the stack's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_submission_on_the_stacks_own_bus_begins_a_run_of_no_object() {
    let stack = Stack::connect().await;
    let (name, key) = ("by-event", "an event of ids");
    let document = format!(
        "pipeline: {name}\nsource: {{ range: {{ count: 9 }} }}\nsplit: {{ records: 4 }}\n\
         stages: [{{ name: show, command: [/bin/cat] }}]\n"
    );
    stack.apply(&Pipeline::parse(&document).expect("the document is right")).await;
    let (pipeline, idempotency_key) = (name.to_owned(), key.to_owned());
    let submission = Submission { pipeline, object: None, version: None, idempotency_key };
    let event = PutEventsRequestEntry::builder().event_bus_name(variable("FANFOLD_EVENT_BUS"));
    let event = event.source("fanfold").detail_type("Run Submitted").detail(encode(&submission)).build();
    let sdk = aws_config::load_defaults(aws_config::BehaviorVersion::v2026_01_12()).await;
    let put = aws_sdk_eventbridge::Client::new(&sdk).put_events().entries(event).send().await;
    assert_eq!(put.expect("the bus answers").failed_entry_count(), 0);
    let run = stack.end_of(&RunId::derive(name, &Origin::Submission { idempotency_key: key })).await;
    assert_eq!(text(&stack, &run).await, "1\n2\n3\n4\n5\n6\n7\n8\n9\n");
}

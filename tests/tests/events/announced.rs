//! The samples of what begins runs by itself and of what follows them: ticks, submissions, milestones, cleaning.

use std::{fs, path::Path};

use fanfold_domain::{
    Announcement, Cleaning, Event, Milestone, Origin, Run, RunId, RunState, Timestamp, pipeline::Pipeline,
};
use fanfold_ports::{Ledger, Queue};
use serde_json::Value;

use super::{ETAG, KEY, Stack, VERSION, failed, orders, run_id, sample};

/// The sample of each milestone.
const MILESTONES: [(&str, Milestone); 6] = [
    ("run-started.json", Milestone::Started),
    ("stage-finished.json", Milestone::StageFinished),
    ("run-succeeded.json", Milestone::Succeeded),
    ("run-failed.json", Milestone::Failed),
    ("run-cancelled.json", Milestone::Cancelled),
    ("run-superseded.json", Milestone::Superseded),
];

/// The pipeline of the samples, with what these are about.
fn document(rest: &str) -> String {
    format!("{}notify: {{ on: [succeeded, failed] }}\n{rest}\n", orders())
}

impl Stack {
    /// A sample of a milestone: its type, and its detail as this memory has the source.
    fn milestone(&self, name: &str) -> (String, Value) {
        let text = sample(name)
            .replace(&format!("\"{VERSION}\""), "null")
            .replace(ETAG, self.etag.as_str())
            .replace(run_id(VERSION).as_str(), run_id(self.etag.as_str()).as_str());
        let mut event: Value = serde_json::from_str(&text).expect("a sample is JSON");
        assert_eq!(event["source"], "fanfold");
        let kind = event["detail-type"].as_str().expect("it has a type").to_owned();
        (kind, event["detail"].take())
    }

    /// Takes the run to its end.
    async fn finish(&self) -> Run {
        for body in self.sent(Queue::Chunks) {
            self.worked(&body).await;
        }
        self.tracked(self.sent(Queue::Completions)).await;
        for _ in 0..2 {
            for body in self.sent(Queue::Folds) {
                self.merged(&body).await;
            }
        }
        self.run().await
    }
}

/// An event as its type and its detail, but for the moment, which the clock of a test has another.
fn told(event: &Event) -> (String, Value) {
    let mut detail: Value = serde_json::from_str(&event.detail).expect("a detail is JSON");
    assert_eq!(detail["passed_at"], event.happened_at.0);
    detail["passed_at"] = 0.into();
    (event.detail_type.to_owned(), detail)
}

fn timeless((kind, mut detail): (String, Value)) -> (String, Value) {
    assert!(detail["passed_at"].is_u64(), "{detail}");
    detail["passed_at"] = 0.into();
    (kind, detail)
}

#[tokio::test(start_paused = true)]
async fn a_runs_milestones_are_announced_as_the_samples_tell_them() {
    let stack = Stack::new();
    stack.split_by(&document(""), stack.event("splitter.json")).await;
    let run = stack.finish().await;
    assert_eq!(run.state, RunState::Succeeded, "{:?}", run.reason);
    assert!(run.is_settled());
    let announced: Vec<_> = stack.world.events.all().iter().map(told).collect();
    let samples: Vec<_> = MILESTONES[..3].iter().map(|(name, _)| timeless(stack.milestone(name))).collect();
    assert_eq!(announced, samples);
}

#[tokio::test(start_paused = true)]
async fn the_samples_of_other_ends_are_what_those_would_announce() {
    let stack = Stack::new();
    stack.split_by(&document(""), stack.event("splitter.json")).await;
    let run = stack.run().await;
    for (name, milestone) in &MILESTONES[3..] {
        let (kind, detail) = timeless(stack.milestone(name));
        let state: RunState = serde_json::from_value(detail["state"].clone()).expect("a state");
        let reason = detail["reason"].as_str().map(str::to_owned);
        let ended = Run { reason, ..run.advanced(state, Timestamp(0)).expect("a run may end so") };
        let announcements: &[Announcement] = &ended.unannounced;
        assert_eq!(announcements.last().map(|announcement| announcement.milestone), Some(*milestone));
        let event = announcements.last().map(|announcement| announcement.event(&ended));
        assert_eq!(event.as_ref().map(told), Some((kind, detail)), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tick_that_comes_twice_begins_one_run_of_what_its_schedule_names() {
    let stack = Stack::new();
    let document = document(&format!("schedule: {{ cron: 0 6 * * ? *, object: '{KEY}' }}"));
    for _ in 0..2 {
        let split = stack.split_by(&document, stack.event("splitter-tick.json")).await;
        assert_eq!(failed(&split), Vec::<&str>::new());
    }
    let run = stack.run().await;
    let scheduled_at = "2025-11-21T06:00:00Z".parse().expect("a moment");
    assert_eq!(run.id, RunId::derive("orders", &Origin::Schedule { scheduled_at: &scheduled_at }));
    assert_eq!((run.source.object.key.as_str(), &run.source.etag), (KEY, &stack.etag));
    assert_eq!(run.scheduled_at, Some(scheduled_at));
    assert_eq!(stack.finish().await.state, RunState::Succeeded);
}

#[test]
fn the_example_of_a_schedule_is_a_pipeline() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/morning-report.yaml");
    let text = fs::read_to_string(path).expect("there is an example");
    assert!(text.lines().count() <= 20);
    let pipeline = Pipeline::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let schedule = pipeline.schedule.expect("it has a schedule");
    assert_eq!(schedule.expression(), "cron(0 6 ? * MON-FRI *)");
}

#[tokio::test(start_paused = true)]
async fn a_submission_begins_a_run_of_its_object() {
    let stack = Stack::new();
    stack.split_by(&document(""), stack.event("splitter-submission.json")).await;
    let run = stack.run().await;
    let origin = Origin::Submission { idempotency_key: "november-again" };
    assert_eq!((run.id, run.source.object.key.as_str()), (RunId::derive("orders", &origin), KEY));
}

#[tokio::test(start_paused = true)]
async fn a_run_is_cleaned_once_it_was_asked_for() {
    let stack = Stack::new();
    stack.split_by(&document("cleanup: { on: succeeded }"), stack.event("splitter.json")).await;
    let run = stack.finish().await;
    let cleanup = || stack.event("merger-cleanup.json");
    assert_eq!(failed(&stack.merge(cleanup()).await), Vec::<&str>::new());
    assert!(!stack.world.objects.keys("work").is_empty(), "nobody asked for it");

    let asked = Run { cleaning: Cleaning::Asked(run.updated_at), ..run };
    stack.world.ledger.save_run(&asked).await.expect("memory answers");
    for _ in 0..2 {
        assert_eq!(failed(&stack.merge(cleanup()).await), Vec::<&str>::new());
        assert_eq!(stack.world.objects.keys("work"), Vec::<String>::new());
        assert!(stack.run().await.is_settled());
    }
    assert!(!stack.world.objects.keys("output").is_empty(), "the output stays");
}

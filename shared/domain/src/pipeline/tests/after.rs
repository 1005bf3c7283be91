//! Sections that say when a run begins by itself, and what follows it.

use super::super::*;
use super::mistakes;
use crate::{Milestone, RunState};

fn parsed(rest: &str) -> Pipeline {
    let text =
        format!("pipeline: p\nsource: {{format: lines}}\nstages: [{{name: s, process: copy}}]\n{rest}\n");
    Pipeline::parse(&text).unwrap_or_else(|error| panic!("{text}{error}"))
}

fn wrong(rest: &str) -> String {
    mistakes(&format!(
        "{{pipeline: p, source: {{format: lines}}, stages: [{{name: s, process: copy}}], {rest}}}"
    ))
}

#[test]
fn a_schedule_is_by_the_clock_of_its_time_zone_or_by_a_rate() {
    let cron = parsed("schedule: {cron: 0 6 ? * mon-fri *, time_zone: Europe/Berlin, object: sales/all.csv}");
    let schedule = cron.schedule.as_ref().unwrap();
    assert_eq!(
        (schedule.expression().as_str(), schedule.time_zone()),
        ("cron(0 6 ? * MON-FRI *)", "Europe/Berlin")
    );
    assert_eq!(schedule.object.as_deref(), Some("sales/all.csv"));
    let rate = parsed("schedule: {rate: 1 hours, object: a}").schedule.unwrap();
    assert_eq!((rate.expression().as_str(), rate.time_zone()), ("rate(1 hour)", "UTC"));
    assert_eq!(parsed("").schedule, None);
}

#[test]
fn a_schedule_says_when_once_and_what() {
    for (rest, says) in [
        ("schedule: {object: a}", "schedule: found neither cron nor rate"),
        ("schedule: {rate: 5 minutes}", "schedule.object: found no such field"),
        ("schedule: {rate: 5, object: a}", "schedule.rate: found the number 5"),
        (
            "schedule: {rate: 5 minutes, time_zone: UTC, object: a}",
            "schedule.time_zone: found \"UTC\"; allowed: nothing",
        ),
        (
            "schedule: {cron: 0 6 * * ? *, time_zone: europe/berlin, object: a}",
            "schedule.time_zone: found \"europe/berlin\"",
        ),
        (
            "schedule: {rate: 1 day, object: a_Output}",
            "schedule.object: found `a_Output`, which is a key that this pipeline",
        ),
    ] {
        assert!(wrong(rest).starts_with(says), "{rest}: {}", wrong(rest));
    }
    let near = wrong("schedule: {cron: 0 6 * * ? *, time_zone: europe/berlin, object: a}");
    assert!(near.ends_with("(did you mean `Europe/Berlin`?)"), "{near}");
}

#[test]
fn nobody_is_notified_and_nothing_removed_unless_it_is_asked_for() {
    let plain = parsed("");
    assert_eq!((plain.notify, plain.cleanup), (Notify::default(), Cleanup::default()));
    let asked = parsed(
        "notify: {on: [succeeded, failed]}\ncleanup: {on: always, temporaries: ['tmp/{run}/', '{key}.{run}']}",
    );
    assert_eq!(asked.notify.on, [Milestone::Succeeded, Milestone::Failed].into());
    let keys: Result<Vec<_>, _> = asked.cleanup.temporaries_of("a.csv", "r1").collect();
    assert_eq!(keys.unwrap(), ["tmp/r1/", "a.csv.r1"]);
    assert!(wrong("notify: {}").starts_with("notify.on: found no such field"));
    assert!(wrong("cleanup: {temporaries: []}").starts_with("cleanup.on: found no such field"));
}

#[test]
fn a_cleanup_applies_to_the_ends_that_it_names() {
    let applies = |on, state| Cleanup { on, temporaries: Vec::new() }.applies_to(state);
    for state in [RunState::Succeeded, RunState::SucceededPartial, RunState::Failed, RunState::Superseded] {
        assert!(applies(CleanupOn::Always, state));
        assert_eq!(applies(CleanupOn::Succeeded, state), state == RunState::Succeeded);
        assert!(!applies(CleanupOn::Never, state));
    }
    assert!(!applies(CleanupOn::Always, RunState::Completing), "it has not ended");
}

#[test]
fn a_schedule_of_a_pipeline_that_reads_no_object_names_none() {
    let ids = |schedule: &str| {
        format!(
            "{{pipeline: p, source: {{range: {{count: 5}}}}, stages: [{{name: s, process: copy}}], schedule: {{{schedule}}}}}"
        )
    };
    let pipeline = Pipeline::parse(&ids("rate: 1 hours")).unwrap();
    assert_eq!(pipeline.schedule.as_ref().unwrap().object, None);
    assert_eq!(Pipeline::from_value(&pipeline.to_document()), Ok(pipeline));
    assert_eq!(
        super::mistakes(&ids("rate: 1 hours, object: a")),
        "schedule.object: found \"a\"; allowed: nothing: the source is no object"
    );
}

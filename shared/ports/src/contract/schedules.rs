//! What all schedules keep to.

use std::sync::Arc;

use async_trait::async_trait;
use fanfold_domain::pipeline::{Schedule, Times};

use crate::Schedules;

/// How a test looks at schedules, which is no port: nothing of ours reads them.
#[async_trait]
pub trait Looker: Send + Sync {
    /// The schedule of a pipeline: its expression and its time zone, and the pipeline that its tick names.
    async fn look(&self, pipeline: &str) -> Option<(String, String, String)>;
}

/// Schedules under test.
#[derive(Clone)]
pub struct SchedulesUnderTest {
    /// The schedules.
    pub schedules: Arc<dyn Schedules>,
    /// How the test looks at them.
    pub looker: Arc<dyn Looker>,
    /// What the names of this test's pipelines begin with.
    pub unique: String,
}

impl SchedulesUnderTest {
    async fn put(&self, pipeline: &str, schedule: &Schedule) {
        self.schedules.put(pipeline, schedule).await.expect("the schedule was put");
    }

    async fn must_be(&self, pipeline: &str, schedule: &Schedule) {
        let wanted = (schedule.expression(), schedule.time_zone().to_owned(), pipeline.to_owned());
        assert_eq!(self.looker.look(pipeline).await, Some(wanted));
    }

    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.unique)
    }
}

fn cron(text: &str, time_zone: &str) -> Schedule {
    let cron = text.parse().expect("it is a cron expression");
    Schedule {
        times: Times::Cron { cron, time_zone: time_zone.to_owned() },
        object: Some("a.csv".to_owned()),
    }
}

fn rate(text: &str) -> Schedule {
    let rate = text.parse().expect("it is a rate");
    Schedule { times: Times::Rate(rate), object: Some("a.csv".to_owned()) }
}

/// By both kinds, in a time zone of its own.
pub async fn a_schedule_ticks_as_it_was_put(t: &SchedulesUnderTest) {
    for (name, schedule) in
        [("cron", cron("0 6 ? * MON-FRI *", "Europe/Berlin")), ("rate", rate("5 minutes"))]
    {
        let pipeline = t.name(name);
        t.put(&pipeline, &schedule).await;
        t.must_be(&pipeline, &schedule).await;
    }
}

/// A pipeline that is applied again.
pub async fn a_schedule_that_is_put_again_is_changed(t: &SchedulesUnderTest) {
    let pipeline = t.name("again");
    for schedule in
        [rate("1 day"), rate("1 day"), cron("0 6 * * ? *", "UTC"), cron("0 6 * * ? *", "Asia/Tokyo")]
    {
        t.put(&pipeline, &schedule).await;
        t.must_be(&pipeline, &schedule).await;
    }
}

/// Each pipeline has its own.
pub async fn a_schedule_is_of_its_pipeline_alone(t: &SchedulesUnderTest) {
    let (one, other) = (t.name("one"), t.name("other"));
    t.put(&one, &rate("1 hour")).await;
    t.put(&other, &rate("2 hours")).await;
    t.schedules.delete(&one).await.expect("the schedule was deleted");
    assert_eq!(t.looker.look(&one).await, None);
    t.must_be(&other, &rate("2 hours")).await;
}

/// A pipeline without a schedule is applied, or the first answer was lost.
pub async fn deleting_what_is_not_there_is_no_error(t: &SchedulesUnderTest) {
    let pipeline = t.name("none");
    for _ in 0..2 {
        t.schedules.delete(&pipeline).await.expect("there is none");
    }
    t.put(&pipeline, &rate("1 minute")).await;
    t.must_be(&pipeline, &rate("1 minute")).await;
}

/// Tests schedules: the argument names an `async fn() -> SchedulesUnderTest`.
#[macro_export]
macro_rules! schedules_contract {
    ($instance:path) => {
        $crate::contract_tests!(
            schedules,
            $instance,
            [
                a_schedule_ticks_as_it_was_put,
                a_schedule_that_is_put_again_is_changed,
                a_schedule_is_of_its_pipeline_alone,
                deleting_what_is_not_there_is_no_error,
            ]
        );
    };
}

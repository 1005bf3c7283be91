//! What all executions keep to.

use std::sync::Arc;

use async_trait::async_trait;
use fanfold_domain::{
    Timestamp,
    map::{ExecutionName, MapInput},
};

use super::{eventually, sample_run};
use crate::{Maps, maps::MapStatus};

/// Who looks at executions and ends them, which is no port: a person on AWS.
#[async_trait]
pub trait Stopper: Send + Sync {
    /// What an execution was started with.
    async fn input(&self, name: &ExecutionName) -> MapInput;

    /// Ends an execution, which goes on until then.
    async fn stop(&self, name: &ExecutionName);
}

/// Executions under test.
#[derive(Clone)]
pub struct MapsUnderTest {
    /// The executions. Others may use them too.
    pub maps: Arc<dyn Maps>,
    /// Who ends them.
    pub stopper: Arc<dyn Stopper>,
    /// From this all names of the test are derived; of no other test's.
    pub unique: String,
}

impl MapsUnderTest {
    fn input(&self) -> MapInput {
        let run = sample_run(&self.unique, Timestamp(0));
        MapInput::new(&run, run.first_stage(), "work", 7, 7)
    }

    async fn start(&self, input: &MapInput) {
        self.maps.start(input).await.expect("the start was answered");
    }

    async fn status(&self) -> Option<MapStatus> {
        self.maps.status(&self.input().name()).await.expect("the status was answered")
    }

    async fn must_run(&self) {
        eventually("it runs", async || self.status().await == Some(MapStatus::Running)).await;
    }
}

/// The splitter starts it again whenever it cannot know whether it did.
pub async fn a_repeated_start_is_the_same_start(t: &MapsUnderTest) {
    for _ in 0..3 {
        t.start(&t.input()).await;
    }
    t.must_run().await;
    assert_eq!(t.stopper.input(&t.input().name()).await, t.input());
}

/// What it is about is in its name, so that whoever is second means the same.
pub async fn a_start_under_a_name_that_is_taken_changes_nothing(t: &MapsUnderTest) {
    t.start(&t.input()).await;
    t.start(&MapInput { max_concurrency: 3, ..t.input() }).await;
    t.must_run().await;
    assert_eq!(t.stopper.input(&t.input().name()).await, t.input());
}

/// Or else a late start would do all of it again.
pub async fn an_execution_that_has_ended_is_never_started_again(t: &MapsUnderTest) {
    t.start(&t.input()).await;
    t.must_run().await;
    t.stopper.stop(&t.input().name()).await;
    let has_ended = async || matches!(t.status().await, Some(MapStatus::Ended { .. }));
    eventually("it has ended", has_ended).await;
    t.start(&t.input()).await;
    assert!(has_ended().await);
}

/// A run whose Map was lost before it was started is told from one whose Map is at work.
pub async fn what_was_never_started_has_no_status(t: &MapsUnderTest) {
    assert_eq!(t.status().await, None);
}

/// Tests executions: the argument names an `async fn() -> MapsUnderTest`.
#[macro_export]
macro_rules! maps_contract {
    ($instance:path) => {
        $crate::contract_tests!(
            maps,
            $instance,
            [
                a_repeated_start_is_the_same_start,
                a_start_under_a_name_that_is_taken_changes_nothing,
                an_execution_that_has_ended_is_never_started_again,
                what_was_never_started_has_no_status,
            ]
        );
    };
}

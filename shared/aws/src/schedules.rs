//! Schedules of pipelines on EventBridge Scheduler.
//!
//! A schedule has its pipeline's name, in a group of the stack: names of both have the same characters. It sends its
//! tick to the queue `intake` itself, by a role of the stack.

use async_trait::async_trait;
use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::error::ProvideErrorMetadata;
use aws_sdk_scheduler::types::{
    DeadLetterConfig, FlexibleTimeWindow, FlexibleTimeWindowMode, RetryPolicy, ScheduleState, Target,
};
use fanfold_domain::{message::tick_of, pipeline::Schedule};
use fanfold_ports::{Fault, PortError, Schedules};

use crate::error::write_error;

/// What the scheduler replaces by the moment that a tick is of, however late it comes.
const SCHEDULED_TIME: &str = "<aws.scheduler.scheduled-time>";
/// A tick that cannot be delivered is tried for a day; then it is in the dead-letter queue.
const MAX_AGE_S: i32 = 86_400;
const MAX_RETRIES: i32 = 185;

/// Fills in a request to make a schedule or to change one: two types, which have these in common.
macro_rules! filled {
    ($request:expr, $self:ident, $pipeline:ident, $schedule:ident) => {
        $request
            .group_name(&$self.group.name)
            .name($pipeline)
            .schedule_expression($schedule.expression())
            .schedule_expression_timezone($schedule.time_zone())
            .flexible_time_window(to_the_minute())
            .state(ScheduleState::Enabled)
            .target($self.target($pipeline))
    };
}

/// Where the schedules of a stack are, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleGroup {
    /// The group's name.
    pub name: String,
    /// The role by which ticks are sent: its ARN.
    pub role_arn: String,
    /// The queue `intake`: its ARN.
    pub intake_arn: String,
    /// Where ticks go that could not be sent: a queue's ARN.
    pub dead_arn: String,
}

/// The schedules port on EventBridge Scheduler.
#[derive(Debug, Clone)]
pub struct EventBridgeSchedules {
    client: Client,
    group: ScheduleGroup,
}

impl EventBridgeSchedules {
    pub(crate) fn new(client: Client, group: ScheduleGroup) -> Self {
        Self { client, group }
    }

    fn target(&self, pipeline: &str) -> Target {
        Target::builder()
            .arn(&self.group.intake_arn)
            .role_arn(&self.group.role_arn)
            .input(tick_of(pipeline, SCHEDULED_TIME))
            .dead_letter_config(DeadLetterConfig::builder().arn(&self.group.dead_arn).build())
            .retry_policy(
                RetryPolicy::builder()
                    .maximum_event_age_in_seconds(MAX_AGE_S)
                    .maximum_retry_attempts(MAX_RETRIES)
                    .build(),
            )
            .build()
            .expect("target and role are set")
    }

    /// Changes a schedule; whether there was one.
    async fn update(&self, pipeline: &str, schedule: &Schedule) -> Result<bool, PortError> {
        let update = filled!(self.client.update_schedule(), self, pipeline, schedule);
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(MISSING) => Ok(false),
            Err(error) => Err(write_error("put schedule", pipeline, error)),
        }
    }

    /// Makes a schedule; whether there was none.
    async fn create(&self, pipeline: &str, schedule: &Schedule) -> Result<bool, PortError> {
        let create = filled!(self.client.create_schedule(), self, pipeline, schedule);
        match create.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("ConflictException") => Ok(false),
            Err(error) => Err(write_error("put schedule", pipeline, error)),
        }
    }
}

const MISSING: &str = "ResourceNotFoundException";

#[async_trait]
impl Schedules for EventBridgeSchedules {
    async fn put(&self, pipeline: &str, schedule: &Schedule) -> Result<(), PortError> {
        // Another may make it between the two calls, or this call's own first try inside the SDK.
        if self.update(pipeline, schedule).await?
            || self.create(pipeline, schedule).await?
            || self.update(pipeline, schedule).await?
        {
            return Ok(());
        }
        let detail = "it was there, and then it was not: is there such a schedule group?";
        Err(PortError::new(Fault::Transient, "put schedule", pipeline, detail))
    }

    async fn delete(&self, pipeline: &str) -> Result<(), PortError> {
        let delete = self.client.delete_schedule().group_name(&self.group.name).name(pipeline);
        match delete.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(MISSING) => Ok(()),
            Err(error) => Err(write_error("delete schedule", pipeline, error)),
        }
    }
}

/// At the moment itself, not some time around it.
fn to_the_minute() -> FlexibleTimeWindow {
    FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build().expect("the mode is set")
}

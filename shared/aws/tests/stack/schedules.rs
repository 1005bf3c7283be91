//! A schedule group to test with, made once.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_scheduler::{Client, error::ProvideErrorMetadata};
use fanfold_aws::ScheduleGroup;
use fanfold_domain::message::{Intake, decode};
use fanfold_ports::contract::{Looker, SchedulesUnderTest};
use tokio::sync::OnceCell;

use crate::stack::{Stack, unique};

/// What the scheduler puts in the place of a tick's time.
const SCHEDULED_TIME: &str = "<aws.scheduler.scheduled-time>";

pub(crate) async fn under_test(stack: &Stack) -> SchedulesUnderTest {
    static GROUP: OnceCell<String> = OnceCell::const_new();
    let client = Client::new(&stack.sdk);
    let make = async || {
        let name = format!("contract-{}", unique());
        client.create_schedule_group().name(&name).send().await.expect("the group is made");
        name
    };
    let group = GROUP.get_or_init(make).await.clone();
    let schedules = stack.aws.schedules(ScheduleGroup {
        name: group.clone(),
        role_arn: "arn:aws:iam::000000000000:role/ticks".to_owned(),
        intake_arn: "arn:aws:sqs:us-east-1:000000000000:intake".to_owned(),
        dead_arn: "arn:aws:sqs:us-east-1:000000000000:dead".to_owned(),
    });
    SchedulesUnderTest {
        schedules: Arc::new(schedules),
        looker: Arc::new(Group { client, group }),
        unique: unique(),
    }
}

struct Group {
    client: Client,
    group: String,
}

#[async_trait]
impl Looker for Group {
    async fn look(&self, pipeline: &str) -> Option<(String, String, String)> {
        let get = self.client.get_schedule().group_name(&self.group).name(pipeline).send().await;
        let found = match get {
            Ok(found) => found,
            Err(error) if error.code() == Some("ResourceNotFoundException") => return None,
            Err(error) => panic!("the scheduler answers: {error:?}"),
        };
        let target = found.target.expect("a schedule has a target");
        assert!(target.arn.ends_with(":intake"), "{}", target.arn);
        assert!(target.dead_letter_config.is_some(), "a tick that cannot be sent is not lost");
        let input = target.input.expect("a tick says what it is");
        let tick = decode(&input.replace(SCHEDULED_TIME, "2025-11-21T06:00:00Z")).expect("it is a message");
        let Intake::Tick(tick) = tick else { panic!("a tick") };
        assert_eq!(tick.scheduled_at.as_str(), "2025-11-21T06:00:00Z", "its time is the scheduler's");
        Some((found.schedule_expression?, found.schedule_expression_timezone?, tick.pipeline))
    }
}

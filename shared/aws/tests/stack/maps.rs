//! A state machine to test with, whose executions wait until they are stopped, made once.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_sfn::Client;
use fanfold_domain::map::{ExecutionName, MapInput};
use fanfold_ports::contract::{MapsUnderTest, Stopper};
use tokio::sync::OnceCell;

use crate::stack::{Stack, unique};

const WAITS: &str = r#"{"StartAt":"Wait","States":{"Wait":{"Type":"Wait","Seconds":600,"End":true}}}"#;

pub(crate) async fn under_test(stack: &Stack) -> MapsUnderTest {
    static STATE_MACHINE: OnceCell<String> = OnceCell::const_new();
    let client = Client::new(&stack.sdk);
    let arn = STATE_MACHINE.get_or_init(|| make_state_machine(&client)).await.clone();
    let executions = arn.replacen(":stateMachine:", ":execution:", 1);
    MapsUnderTest {
        maps: Arc::new(stack.aws.maps(arn)),
        stopper: Arc::new(Person { client, executions }),
        unique: unique(),
    }
}

async fn make_state_machine(client: &Client) -> String {
    let create = client.create_state_machine().name(format!("maps-{}", unique())).definition(WAITS);
    let created = create.role_arn(role(client).await).send().await.expect("the state machine is made");
    created.state_machine_arn
}

/// The role of whatever state machine is deployed there: it must be one that there is, and does nothing here.
async fn role(client: &Client) -> String {
    let listed = client.list_state_machines().send().await.expect("the state machines are listed");
    let deployed = listed.state_machines.into_iter().next().expect("a stack is deployed there");
    let describe = client.describe_state_machine().state_machine_arn(deployed.state_machine_arn);
    describe.send().await.expect("the state machine is there").role_arn
}

struct Person {
    client: Client,
    executions: String,
}

#[async_trait]
impl Stopper for Person {
    async fn input(&self, name: &ExecutionName) -> MapInput {
        let describe = self.client.describe_execution().execution_arn(format!("{}:{name}", self.executions));
        let described = describe.send().await.expect("the execution is there");
        let input = described.input.expect("it has an input");
        serde_json::from_str(&input).expect("the input is as it was given")
    }

    async fn stop(&self, name: &ExecutionName) {
        let stop = self.client.stop_execution().execution_arn(format!("{}:{name}", self.executions));
        stop.send().await.expect("the execution is stopped");
    }
}

//! A state machine to test with, whose executions wait until they are stopped, made once.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_sfn::Client;
use fanfold_domain::map::{ExecutionName, MapInput};
use fanfold_ports::contract::{MapsUnderTest, Stopper};
use tokio::sync::OnceCell;

use crate::stack::{Stack, unique};

const WAITS: &str = r#"{"StartAt":"Wait","States":{"Wait":{"Type":"Wait","Seconds":600,"End":true}}}"#;
const ROLE: &str = "arn:aws:iam::000000000000:role/nobody";

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
    let created = create.role_arn(ROLE).send().await.expect("the state machine is made");
    created.state_machine_arn
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

//! Executions of the Distributed Map on Step Functions.

use async_trait::async_trait;
use aws_sdk_sfn::{
    Client,
    operation::{describe_execution::DescribeExecutionError, start_execution::StartExecutionError},
    types::ExecutionStatus,
};
use fanfold_domain::map::{ExecutionName, MapInput};
use fanfold_ports::{Fault, Maps, PortError, maps::MapStatus};

use crate::error::{read_error, write_error};

/// The maps port on one state machine of Step Functions, of the type STANDARD: only there is a repeated start the same
/// start.
#[derive(Debug, Clone)]
pub struct StepFunctionsMaps {
    client: Client,
    state_machine_arn: String,
}

impl StepFunctionsMaps {
    pub(crate) fn new(client: Client, state_machine_arn: String) -> Self {
        Self { client, state_machine_arn }
    }
}

#[async_trait]
impl Maps for StepFunctionsMaps {
    async fn start(&self, input: &MapInput) -> Result<(), PortError> {
        let name = input.name();
        let text = serde_json::to_string(input).map_err(|error| {
            PortError::new(Fault::Permanent, "start", &name, format!("its input is no JSON: {error}"))
        })?;
        let start = self.client.start_execution().state_machine_arn(&self.state_machine_arn);
        match start.name(name.as_str()).input(text).send().await {
            Ok(_) => Ok(()),
            // An equal start of one that is under way is answered as if it were this one's.
            Err(error)
                if matches!(
                    error.as_service_error(),
                    Some(StartExecutionError::ExecutionAlreadyExists(_))
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(write_error("start", name, error)),
        }
    }

    async fn status(&self, name: &ExecutionName) -> Result<Option<MapStatus>, PortError> {
        let arn = execution_arn(&self.state_machine_arn, name);
        match self.client.describe_execution().execution_arn(arn).send().await {
            Ok(execution) => Ok(Some(status(&execution.status))),
            Err(error)
                if matches!(
                    error.as_service_error(),
                    Some(DescribeExecutionError::ExecutionDoesNotExist(_))
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(read_error("describe", name, error)),
        }
    }
}

fn status(status: &ExecutionStatus) -> MapStatus {
    match status {
        // One that waits for a redrive of Step Functions' own has not ended for it.
        ExecutionStatus::Running | ExecutionStatus::PendingRedrive => MapStatus::Running,
        ended => MapStatus::Ended { how: ended.as_str().to_owned() },
    }
}

/// The ARN of an execution, which differs from its state machine's in the kind and by the name.
fn execution_arn(state_machine_arn: &str, name: &ExecutionName) -> String {
    format!("{}:{name}", state_machine_arn.replacen(":stateMachine:", ":execution:", 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfold_domain::{Generation, Origin, RunId, launch::StageName};

    #[test]
    fn an_executions_arn_is_made_of_its_state_machines() {
        let run = RunId::derive("p", &Origin::Submission { idempotency_key: "k" });
        let name = ExecutionName::of(&StageName { run: &run, stage: "s", generation: Generation(2) });
        let arn = execution_arn("arn:aws:states:eu-west-1:123456789012:stateMachine:Maps-1", &name);
        assert_eq!(arn, format!("arn:aws:states:eu-west-1:123456789012:execution:Maps-1:{run}-s-2"));
    }

    #[test]
    fn only_an_execution_under_way_has_not_ended() {
        assert_eq!(status(&ExecutionStatus::Running), MapStatus::Running);
        for ended in [
            ExecutionStatus::Succeeded,
            ExecutionStatus::Failed,
            ExecutionStatus::TimedOut,
            ExecutionStatus::Aborted,
        ] {
            assert_eq!(status(&ended), MapStatus::Ended { how: ended.as_str().to_owned() });
        }
    }
}

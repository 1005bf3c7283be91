//! `fanfold cancel`: a person ends a run.

use anyhow::anyhow;
use fanfold_domain::{Run, RunState};

use super::{Stack, find, parse};
use crate::{Failed, arguments::CancelArguments, say};

pub(super) async fn cancel(stack: &Stack, arguments: &CancelArguments) -> Result<(), Failed> {
    let run = find(stack, &parse(&arguments.run)?).await?;
    let now = fanfold_lifecycle::cancel(&stack.ports, &run.id, run.generation, &arguments.reason).await?;
    Ok(say::line(&verdict(&now)?)?)
}

/// What a person is told. To cancel twice is to cancel once.
fn verdict(run: &Run) -> Result<String, Failed> {
    let Run { id, state, reason, .. } = run;
    match state {
        RunState::Cancelled => {
            Ok(format!("run {id} is cancelled: {}", reason.as_deref().unwrap_or("no reason")))
        }
        RunState::Completing => {
            Err(anyhow!("run {id} is completing: its output may appear at any moment, so that it goes on")
                .into())
        }
        RunState::Planning | RunState::Running => {
            Err(anyhow!("run {id} was begun again meanwhile, and is {state}: it goes on").into())
        }
        ended => Err(anyhow!("run {id} had ended: it is {ended}").into()),
    }
}

#[cfg(test)]
mod tests {
    use fanfold_domain::Timestamp;
    use fanfold_ports::contract::sample_run;

    use super::*;

    #[test]
    fn a_person_is_told_what_became_of_the_run() {
        let told = |state| {
            let run = Run { state, reason: Some("so".to_owned()), ..sample_run("c", Timestamp(0)) };
            let id = run.id.to_string();
            match verdict(&run) {
                Ok(told) => told.replace(&id, "R"),
                Err(Failed::Run(error) | Failed::Usage(error)) => format!("error: {error}").replace(&id, "R"),
            }
        };
        assert_eq!(told(RunState::Cancelled), "run R is cancelled: so");
        assert_eq!(told(RunState::Succeeded), "error: run R had ended: it is succeeded");
        assert!(told(RunState::Completing).starts_with("error: run R is completing"));
        assert!(told(RunState::Running).contains("begun again"));
    }
}

//! From a `main` to the loop of invocations.

use std::fmt;
use std::future::Future;
use std::process::ExitCode;

use fanfold_domain::Timestamp;
use lambda_runtime::{Context, Diagnostic, LambdaEvent, service_fn};
use serde::{Serialize, de::DeserializeOwned};
use tracing::{error, info};

use crate::failure::causes;
use crate::step::name_of;
use crate::telemetry;

/// Any error: what a handler fails with as a whole. Lambda then does with the event what its source says.
pub type Error = lambda_runtime::Error;

/// What is known of one invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// Lambda's id of it.
    pub request_id: String,
    /// When Lambda ends it.
    pub deadline_at: Timestamp,
}

impl From<&Context> for Invocation {
    fn from(context: &Context) -> Self {
        Self { request_id: context.request_id.clone(), deadline_at: Timestamp(context.deadline) }
    }
}

/// Runs a Lambda: sets up logging, awaits `start` for the handler, then handles one invocation after another.
///
/// ```text
/// #[tokio::main]
/// async fn main() -> ExitCode {
///     boot(async {
///         let config = Variables::from_environment(Function::Tracker, Config::read)?;
///         let ports = Aws::connect(config.aws).await.ports(config.table, config.queues);
///         Ok(move |event: SqsEvent, _| {
///             let ports = ports.clone();
///             async move { run_whole_batch(event, |batch| handler::handle(&ports, batch)).await }
///         })
///     })
///     .await
/// }
/// ```
///
/// An error of `start` is logged and ends the process with a failure, which Lambda reports as one of the
/// function's start. Each invocation leaves one line at least on stderr, which the local stack waits for.
pub async fn boot<E, R, H, F>(start: impl Future<Output = Result<H, Error>>) -> ExitCode
where
    E: DeserializeOwned,
    R: Serialize,
    H: Fn(E, Invocation) -> F,
    F: Future<Output = Result<R, Error>>,
{
    telemetry::init();
    let handler = match start.await {
        Ok(handler) => handler,
        Err(error) => return failed("could not start", &error),
    };
    let invocations = lambda_runtime::run(service_fn(|event: LambdaEvent<E>| {
        let answer = handler(event.payload, Invocation::from(&event.context));
        async move {
            let answer = answer.await;
            // The error itself is logged by the Lambda runtime.
            info!(failed = answer.is_err(), "invocation ended");
            answer.map_err(|error| Failed { name: name_of(&error), text: causes(error.as_ref()) })
        }
    }));
    match invocations.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed("the Lambda runtime ended", &error),
    }
}

/// The error of an invocation as the Lambda runtime logs it (by `Debug`) and reports it: in one line.
struct Failed {
    name: &'static str,
    text: String,
}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Failed> for Diagnostic {
    fn from(Failed { name, text }: Failed) -> Self {
        Self { error_type: name.to_owned(), error_message: text }
    }
}

/// Runs a program that is no Lambda: sets up logging, awaits its exit code. An error is logged and ends the process
/// with a failure.
pub async fn program(work: impl Future<Output = Result<u8, Error>>) -> ExitCode {
    telemetry::init();
    work.await.map_or_else(|error| failed("the program ended", &error), ExitCode::from)
}

fn failed(what: &'static str, error: &Error) -> ExitCode {
    error!(error = causes(error.as_ref()), "{what}");
    ExitCode::FAILURE
}

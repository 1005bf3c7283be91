//! `fanfold`: the command line.

mod arguments;
mod cloud;
mod local;
mod plan;
mod say;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};

/// What a person or a script is told by the exit status.
pub(crate) enum Failed {
    /// 1: it was tried and failed, for this reason.
    Run(anyhow::Error),
    /// 2: the arguments or the pipeline's document are wrong: nothing was tried.
    Usage(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}

/// A variable of the environment: where a stack is. The command line has no configuration of its own.
fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the command line is configured where it is called")]
    let value = std::env::var(name);
    value.ok().filter(|value| !value.is_empty())
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let done = match Arguments::parse().command {
        Command::Local(arguments) => local::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Run(arguments) => cloud::start(&arguments),
        Command::Runs(arguments) => cloud::runs(&arguments),
        Command::Show(arguments) => cloud::show(&arguments),
        Command::Watch(arguments) => cloud::watch(&arguments),
        Command::Cancel(arguments) => cloud::cancel(&arguments),
        Command::Pipelines(command) => cloud::pipelines(&command),
        Command::Clusters(command) => cloud::clusters(&command),
        Command::Rate(arguments) => cloud::rate(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Run(error)) => {
            say::failure(&error);
            ExitCode::from(1)
        }
        Err(Failed::Usage(error)) => {
            say::failure(&error);
            ExitCode::from(2)
        }
    }
}

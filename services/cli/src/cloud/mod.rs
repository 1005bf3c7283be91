//! The commands that speak to a deployed stack.

mod apply;
mod cancel;
mod clusters;
mod connect;
mod pipelines;
mod progress;
mod rate;
mod reach;
mod show;
mod start;
mod upload;
mod watch;

use fanfold_domain::{Run, RunId};
use fanfold_ports::ledger::Freshness;

use crate::{
    Failed,
    arguments::{
        CancelArguments, ClustersCommand, PipelinesCommand, RateArguments, RunsArguments, ShowArguments,
        StartArguments, WatchArguments,
    },
};

pub(crate) use connect::Stack;

/// Starts a run.
pub(crate) fn start(arguments: &StartArguments) -> Result<(), Failed> {
    Stack::with(async |stack| start::start(stack, arguments).await)
}

/// Lists the latest runs.
pub(crate) fn runs(arguments: &RunsArguments) -> Result<(), Failed> {
    Stack::with(async |stack| show::list(stack, arguments).await)
}

/// Shows one run.
pub(crate) fn show(arguments: &ShowArguments) -> Result<(), Failed> {
    Stack::with(async |stack| show::show(stack, arguments).await)
}

/// Follows one run to its end.
pub(crate) fn watch(arguments: &WatchArguments) -> Result<(), Failed> {
    Stack::with(async |stack| watch::watch(stack, &parse(&arguments.run)?, arguments.json).await)
}

/// Ends one run.
pub(crate) fn cancel(arguments: &CancelArguments) -> Result<(), Failed> {
    Stack::with(async |stack| cancel::cancel(stack, arguments).await)
}

/// Applies, lists or shows pipelines.
pub(crate) fn pipelines(command: &PipelinesCommand) -> Result<(), Failed> {
    Stack::with(async |stack| pipelines::run(stack, command).await)
}

/// Applies, lists or drains clusters.
pub(crate) fn clusters(command: &ClustersCommand) -> Result<(), Failed> {
    Stack::with(async |stack| clusters::run(stack, command).await)
}

/// Shows or changes a destination's rate.
pub(crate) fn rate(arguments: &RateArguments) -> Result<(), Failed> {
    Stack::with(async |stack| rate::run(stack, arguments).await)
}

fn parse(id: &str) -> Result<RunId, Failed> {
    id.parse().map_err(|error: fanfold_domain::ids::InvalidId| Failed::Usage(error.into()))
}

async fn find(stack: &Stack, id: &RunId) -> Result<Run, Failed> {
    let run = stack.ports.ledger.run(id, Freshness::Consistent).await?;
    run.ok_or_else(|| anyhow::anyhow!("there is no run {id}").into())
}

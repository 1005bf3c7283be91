//! `fanfold local`: the splitter's plan, the worker's engine, the tracker's counting and the merger's fold,
//! on the threads of one machine.

mod check;
mod drive;
pub(crate) mod setup;
mod work;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, anyhow};
use fanfold_domain::{
    Sums,
    pipeline::{PlanStep, Planner, Process},
};
use serde::Serialize;

use crate::{Failed, arguments, say};

/// What a run came to.
#[derive(Debug, Serialize)]
struct Summary {
    chunks: u32,
    #[serde(flatten)]
    sums: Sums,
    output: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<PathBuf>,
}

/// Where one run writes, and how many chunks it does at once; none: no splitting at all.
struct Target<'a> {
    output: &'a Path,
    errors: &'a Path,
    jobs: Option<NonZeroUsize>,
}

pub(crate) fn run(arguments: &arguments::Local) -> Result<(), Failed> {
    let errors = arguments.errors.clone().unwrap_or_else(|| with_suffix(&arguments.output, "_Errors"));
    let output = &arguments.output;
    let files = [arguments.input.as_ref(), Some(&arguments.pipeline), Some(output), Some(&errors)];
    let files: Vec<PathBuf> = files.into_iter().flatten().map(|file| setup::real(file)).collect();
    if (0..files.len()).any(|i| files[..i].contains(&files[i])) {
        return Err(Failed::Usage(anyhow!(
            "input, pipeline, output and errors must be four different files"
        )));
    }
    for (name, file) in [("output", output), ("errors", &errors)] {
        let named = || format!("{name} {}", file.display());
        fanfold_local::check_output(file).with_context(named).map_err(Failed::Usage)?;
    }
    let machine = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let jobs = (!arguments.sequential).then(|| arguments.jobs.unwrap_or_else(machine));
    let summary = run_once(arguments, &Target { output, errors: &errors, jobs })?;
    if arguments.check {
        check::check(arguments, &errors)?;
    }
    tell(arguments, &summary)
}

fn run_once(arguments: &arguments::Local, target: &Target<'_>) -> Result<Summary, Failed> {
    let mut pipeline = setup::read_pipeline(&arguments.pipeline)?;
    if let Process::Orders { table: Some(table) } = &pipeline.stages[0].process {
        say::note(&format!("table {table} is not written: a local run has no tables"));
    }
    if let Some(PlanStep { planner: Planner::Lambda(function), .. }) = &pipeline.plan {
        return Err(Failed::Usage(anyhow!(
            "a local run invokes no function, and the plan step is {function}: give the step a command here, such as \
             [cat, items.jsonl]"
        )));
    }
    let input = setup::input(&pipeline, arguments.input.as_deref()).map_err(Failed::Usage)?;
    for (name, file) in [("output", target.output), ("errors", target.errors)] {
        setup::check_unlisted(&pipeline, input, name, file).map_err(Failed::Usage)?;
    }
    let nothing = tempfile::NamedTempFile::new().context("a file in the temporary directory")?;
    let file = if pipeline.source.is_object() { input } else { nothing.path() };
    let source = setup::pin(file, arguments.source.as_deref())?;
    let folders = setup::folders(&mut pipeline, &source, input, target.output);
    let run = setup::new_run(pipeline, source.clone(), target.output, target.errors);
    let outputs = [(run.output.clone(), target.output), (run.errors.clone(), target.errors)]
        .map(|(name, path)| (name, path.to_owned()));
    let objects = setup::open(setup::places(file, &source, outputs.into()), target.output)?;
    let inherited = work::inherited(arguments.package.as_deref()).map_err(Failed::Usage)?;
    let driver = drive::Driver::new(Arc::new(objects), folders, run, target.jobs, inherited);
    let (chunks, sums) = driver.run()?;
    let errors = (sums.bad_records > 0).then(|| target.errors.to_owned());
    Ok(Summary { chunks, sums, output: target.output.to_owned(), errors })
}

fn tell(arguments: &arguments::Local, summary: &Summary) -> Result<(), Failed> {
    if arguments.json {
        return Ok(say::json(summary)?);
    }
    let Summary { chunks, sums, output, .. } = summary;
    say::line(&format!("{}: {} records in {chunks} chunks", output.display(), sums.records))?;
    if let Some(errors) = &summary.errors {
        say::line(&format!("{}: {} bad records", errors.display(), sums.bad_records))?;
    }
    if sums.failed_chunks > 0 {
        say::line(&format!("{} chunks failed and were tolerated", sums.failed_chunks))?;
    }
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

//! `fanfold runs` and `fanfold show`.

use std::collections::BTreeMap;

use fanfold_domain::{
    ByteRange, ChunkIndex, Cleaning, Launch, ObjectName, Run, RunState, key, manifest, message::Failure,
    pipeline::Format,
};
use fanfold_ports::{
    ItemList, UnreadableItem,
    ledger::StageId,
    objects::{Pin, ReadError},
};
use futures::TryStreamExt;
use serde::Serialize;
use serde_json::json;

use super::{Stack, find, parse, progress, progress::Progress};
use crate::{
    Failed,
    arguments::{RunsArguments, ShowArguments},
    say,
};

/// Failed chunks that are shown.
const MOST_FAILURES: usize = 100;

pub(super) async fn list(stack: &Stack, arguments: &RunsArguments) -> Result<(), Failed> {
    let ItemList { items: runs, unreadable } = stack.ports.ledger.recent_runs(arguments.limit).await?;
    if arguments.json {
        for run in runs {
            say::json(&run)?;
        }
        for UnreadableItem { name, reason, .. } in unreadable {
            say::json(&json!({ "id": name, "unreadable": reason }))?;
        }
        return Ok(());
    }
    for run in runs {
        let Run { id, state, pipeline, source, .. } = &run;
        let source = if pipeline.source.is_object() { source.object.to_string() } else { source_of(&run) };
        say::line(&format!("{id}  {state:<17}  {:<12}  {source}", pipeline.name))?;
    }
    for UnreadableItem { name, reason, .. } in unreadable {
        say::line(&format!("{name}  cannot be read: {reason}"))?;
    }
    Ok(())
}

pub(super) async fn show(stack: &Stack, arguments: &ShowArguments) -> Result<(), Failed> {
    let run = find(stack, &parse(&arguments.run)?).await?;
    let progress = progress::read(stack, &run).await?;
    tell(stack, &run, &progress, arguments.json).await
}

/// A chunk that failed, with its place in the source.
#[derive(Debug, Serialize)]
struct FailedChunk {
    stage: String,
    chunk: ChunkIndex,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<ByteRange>,
    #[serde(flatten)]
    failure: Failure,
}

/// Prints all that a person would ask of a run.
pub(super) async fn tell(stack: &Stack, run: &Run, progress: &Progress, json: bool) -> Result<(), Failed> {
    let failed = failed_chunks(stack, run).await?;
    let mut launches = Vec::new();
    for stage in &run.pipeline.stages {
        let ItemList { items, unreadable } = stack.fleet.launches(&StageId::of(run, &stage.name)).await?;
        launches.extend(items);
        for UnreadableItem { name, reason, .. } in unreadable {
            say::note(&format!("launch {name} of stage {} cannot be read: {reason}", stage.name));
        }
    }
    if json {
        let shown =
            json!({ "run": run, "progress": progress, "failed_chunks": failed, "launches": launches });
        return Ok(say::json(&shown)?);
    }
    let Run { id, state, pipeline, errors, .. } = run;
    say::line(&format!("run       {id}"))?;
    say::line(&format!("state     {state}"))?;
    if let Some(reason) = &run.reason {
        say::line(&format!("reason    {reason}"))?;
    }
    say::line(&format!("pipeline  {} (version {})", pipeline.name, run.pipeline_version))?;
    say::line(&format!("source    {}", source_of(run)))?;
    if let Some(time) = &run.scheduled_at {
        say::line(&format!("schedule  the tick of {time}"))?;
    }
    let Progress { stage, chunks, done, groups, folded, sums, .. } = progress;
    say::line(&format!("stage     {stage}"))?;
    say::line(&format!(
        "chunks    {done} of {chunks} done, {} failed; {folded} of {groups} groups folded",
        progress.failed.len()
    ))?;
    say::line(&format!("records   {}, {} of them bad", sums.records, sums.bad_records))?;
    say::line(&format!("took      {} ms", run.updated_at.ms_since(run.created_at)))?;
    say::line(&format!("output    {}", place_of_output(run)))?;
    if sums.bad_records > 0 {
        say::line(&format!("errors    {errors}"))?;
    }
    if let Some(cleaned) = place_of_work(run) {
        say::line(&format!("work      {cleaned}"))?;
    }
    tell_launches(&launches)?;
    for FailedChunk { stage, chunk, range, failure } in failed {
        let place = match range {
            Some(range) => format!(" (bytes {range})"),
            None if stage == run.first_stage().name => String::new(),
            None => format!(" of stage {stage}"),
        };
        say::line(&format!("failed    chunk {chunk}{place}: {}", failure.reason))?;
    }
    Ok(())
}

/// What a run reads, for a person.
pub(super) fn source_of(run: &Run) -> String {
    let source = &run.source;
    match run.pipeline.source.format {
        Format::Ids(range) => {
            let ids = range.of(&run.id);
            format!("ids {} to {}", ids.start, ids.end - 1)
        }
        Format::Items => "items of its plan step".to_owned(),
        Format::Objects => format!("objects under {}", source.object),
        _ => format!("{} @ {} ({} bytes)", source.object, source.version_or_etag(), source.size_bytes),
    }
}

/// Which cluster was given how many launches, and what keeps any.
fn tell_launches(launches: &[Launch]) -> Result<(), Failed> {
    let mut given: BTreeMap<&str, u32> = BTreeMap::new();
    for launch in launches {
        *given.entry(launch.cluster.as_deref().unwrap_or("no cluster yet")).or_default() += 1;
    }
    if !given.is_empty() {
        let given: Vec<String> = given.iter().map(|(cluster, count)| format!("{cluster} {count}")).collect();
        say::line(&format!("launches  {}", given.join(", ")))?;
    }
    // Launches that wait mostly wait for the same.
    let mut kept: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for launch in launches {
        if let Some(note) = &launch.note {
            kept.entry(note).or_default().push(launch.index.to_string());
        }
    }
    for (note, launches) in kept {
        say::line(&format!("kept      launch {}: {note}", launches.join(", ")))?;
    }
    Ok(())
}

/// Where the output is, as far as this run wrote one: its name may be that of an earlier run's.
fn place_of_output(run: &Run) -> String {
    match run.state {
        RunState::Succeeded | RunState::SucceededPartial => run.output.to_string(),
        state if state.has_ended() => "none".to_owned(),
        _ => format!("{}, at the end", run.output),
    }
}

/// What became of the work objects, where they were asked to be removed.
fn place_of_work(run: &Run) -> Option<&'static str> {
    match run.cleaning {
        Cleaning::NotBegun => None,
        Cleaning::Asked(_) => Some("is being removed: the run cannot be redriven"),
        Cleaning::Done(_) => Some("removed: the run cannot be redriven"),
        Cleaning::GivenUp(_) => Some("removed in part, and the rest expires: the run cannot be redriven"),
    }
}

async fn failed_chunks(stack: &Stack, run: &Run) -> Result<Vec<FailedChunk>, Failed> {
    let mut failed = Vec::new();
    for (place, stage) in run.pipeline.stages.iter().enumerate() {
        let id = StageId::of(run, &stage.name);
        let noted = stack.ports.ledger.failures(&id, MOST_FAILURES).await?;
        if noted.is_empty() {
            continue;
        }
        // One that was noted need not have been marked: its part may have been there.
        let marked = progress::read_stage(stack, run, &id).await?.failed;
        for (chunk, failure) in noted.into_iter().filter(|(chunk, _)| marked.contains(chunk)) {
            let range = if place == 0 { range_of(stack, run, chunk).await? } else { None };
            failed.push(FailedChunk { stage: stage.name.clone(), chunk, range, failure });
        }
    }
    Ok(failed)
}

/// The chunk's bytes, as long as the manifest is kept.
async fn range_of(stack: &Stack, run: &Run, chunk: ChunkIndex) -> Result<Option<ByteRange>, Failed> {
    let name = ObjectName::new(&stack.work_bucket, key::manifest(&run.id));
    let line = manifest::line_range(chunk, 1);
    match stack.ports.objects.read(&name, &Pin::default(), line).await {
        Ok(stream) => {
            let bytes = stream.try_collect::<Vec<_>>().await?.concat();
            Ok(manifest::read_lines(&bytes, chunk)?.first().map(|chunk| chunk.range))
        }
        Err(ReadError::Missing(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use fanfold_domain::Timestamp;
    use fanfold_ports::contract::sample_run;

    use super::*;

    #[test]
    fn an_output_is_shown_only_where_the_run_wrote_one() {
        let shown = |state| place_of_output(&Run { state, ..sample_run("a", Timestamp(0)) });
        let name = "s3://output/orders/a.csv_Output";
        assert_eq!(shown(RunState::Succeeded), name);
        assert_eq!(shown(RunState::SucceededPartial), name);
        assert_eq!(shown(RunState::Running), format!("{name}, at the end"));
        for state in [RunState::Failed, RunState::Cancelled, RunState::Superseded] {
            assert_eq!(shown(state), "none");
        }
    }
}

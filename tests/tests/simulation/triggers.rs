//! What begins runs by itself and what follows their ends: ticks, announcements, cleaning.

use std::collections::BTreeMap;

use bytes::Bytes;
use fanfold_domain::{
    ChunkIndex, Cleaning, Milestone, PLAN, Run, RunState, Sums, key,
    pipeline::{CleanupOn, Notify, Pipeline, Schedule, Times},
};
use fanfold_engine::chunk::{ATTEMPT, Statistics};
use fanfold_ports::{
    Queue,
    memory::{MEMORY_EPOCH, MemoryWorld},
    objects::Metadata,
};
use serde_json::Value;

use crate::{
    chance::Chance,
    driver::Driver,
    record::{Record, short},
    scenario::{Act, KEY, WORK},
    stages,
};

const MINUTE: u64 = 60_000;
/// No attempt goes on for longer after its run's end, unless it hangs.
const ATTEMPTS_OVER_MS: u64 = 20 * MINUTE;

/// A pipeline that is cleaned after these ends, with temporaries.
pub(crate) fn cleaned(mut pipeline: Pipeline, on: CleanupOn) -> Pipeline {
    pipeline.cleanup.on = on;
    let template = |text: &str| text.parse().expect("it is a template");
    pipeline.cleanup.temporaries = vec![template("tmp/{run}/"), template("tmp-{run}")];
    pipeline
}

/// The pipeline with a schedule, and with what follows an end.
pub(crate) fn with_triggers(chance: &Chance, mut pipeline: Pipeline) -> Pipeline {
    if chance.percent(40) {
        let on = chance.one_of(&[CleanupOn::Succeeded, CleanupOn::Always, CleanupOn::Always]);
        pipeline = cleaned(pipeline, on);
    }
    if chance.percent(30) {
        let object = pipeline.source.is_object();
        let rate = "1 minute".parse().expect("it is a rate");
        pipeline.schedule =
            Some(Schedule { times: Times::Rate(rate), object: object.then(|| KEY.to_owned()) });
    }
    if chance.percent(50) {
        pipeline.notify = Notify { on: [Milestone::Succeeded, Milestone::Failed].into() };
    }
    pipeline
}

/// Ticks of a pipeline that has a schedule: some come twice, some late, some after the next.
pub(crate) fn ticks(chance: &Chance, pipeline: &Pipeline) -> Vec<(u64, Act)> {
    if pipeline.schedule.is_none() {
        return Vec::new();
    }
    let tick = |minute: u64| {
        let late = if chance.percent(30) { chance.within(0..30 * MINUTE) } else { chance.within(0..MINUTE) };
        let times = u32::try_from(chance.within(1..4)).expect("small");
        (minute * MINUTE + late, Act::Tick { scheduled_at: format!("2026-01-01T00:{minute:02}:00Z"), times })
    };
    let mut ticks: Vec<_> = (0..chance.within(1..4)).map(tick).collect();
    if chance.percent(30) {
        // The first once more, long after it.
        let (at, act) = ticks[0].clone();
        ticks.push((at + chance.within(1..60) * MINUTE, act));
    }
    ticks
}

/// What the program of a run leaves in the work bucket, and what belongs to nobody and looks alike.
pub(crate) fn leave_temporaries(world: &MemoryWorld, run: &Run) {
    if run.pipeline.cleanup.temporaries.is_empty() {
        return;
    }
    for key in temporaries(run).into_iter().chain([neighbour(run)]) {
        world.objects.insert(WORK, key, "x");
    }
}

fn temporaries(run: &Run) -> [String; 3] {
    [format!("tmp/{}/a", run.id), format!("tmp/{}/b/c", run.id), format!("tmp-{}", run.id)]
}

fn neighbour(run: &Run) -> String {
    format!("tmp-{}-of-another", run.id)
}

/// What the plan step of a run wrote, as if its worker had died just behind it.
pub(crate) fn leave_items(run: &Run, items: &Bytes) -> [(String, Bytes, Metadata); 2] {
    let (keys, chunk) = (run.keys(PLAN), ChunkIndex(0));
    let records = items.split_inclusive(|byte| *byte == b'\n').count() as u64;
    let sums = Sums { records, bytes_out: items.len() as u64, ..Sums::default() };
    let statistics = serde_json::to_vec(&Statistics { sums }).expect("it has only JSON's types");
    let metadata = Metadata::from([(ATTEMPT.to_owned(), "dead".to_owned())]);
    [
        (keys.statistics(chunk, "dead"), statistics.into(), Metadata::new()),
        (keys.part(chunk), items.clone(), metadata),
    ]
}

/// What must be true of all of it when all is over.
pub(crate) fn check(driver: &Driver, record: &Record) -> Result<(), String> {
    check_announced(driver, record)?;
    check_ticks(driver, record)?;
    for run in record.runs.values() {
        check_cleaned(driver, record, run).map_err(|wrong| format!("run {}: {wrong}", short(&run.id)))?;
    }
    Ok(())
}

/// Every end is announced, as it was, and nothing that was not. Where nothing went wrong, once.
fn check_announced(driver: &Driver, record: &Record) -> Result<(), String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for event in driver.world.events.all() {
        let detail: Value = serde_json::from_str(&event.detail).map_err(|error| error.to_string())?;
        let text = |field: &str| detail[field].as_str().unwrap_or_default().to_owned();
        let run = record.runs.values().find(|run| run.id.as_str() == text("run"));
        let run = run.ok_or_else(|| format!("{} of no run", event.detail_type))?;
        let state: RunState =
            serde_json::from_value(detail["state"].clone()).map_err(|error| error.to_string())?;
        if state.has_ended() && state != run.state {
            return Err(format!("{} of run {}, which is {}", event.detail_type, short(&run.id), run.state));
        }
        // The end of a stage draws no arrow of its own.
        let milestone = match detail["milestone"].as_str() {
            Some("stage_finished") => Milestone::StageFinished,
            _ => Milestone::of(state).ok_or("planning is no milestone")?,
        };
        if milestone == Milestone::StageFinished {
            let place = run.pipeline.stage_index(&text("stage")).ok_or("the end of no stage")?;
            if detail["chunks"] != stages::chunks(run, place) {
                return Err(format!("{} says that it had {} chunks", text("id"), detail["chunks"]));
            }
        }
        if detail["notify"] != run.pipeline.notify.on.contains(&milestone) {
            return Err(format!("{} says notify: {}", event.detail_type, detail["notify"]));
        }
        *counts.entry(text("id")).or_default() += 1;
    }
    let is_undisturbed = driver.scenario.is_calm() && driver.world.faults.dealt().is_empty();
    // Chunks that fail at once fail their run at once, and whoever is second may find the first one telling it.
    let is_once = |id: &str| !id.ends_with(Milestone::Failed.word());
    if let Some((id, count)) = counts.iter().find(|(id, count)| is_undisturbed && **count > 1 && is_once(id))
    {
        return Err(format!("nothing went wrong, and {id} was announced {count} times"));
    }
    for run in record.runs.values() {
        let milestone = Milestone::of(run.state).ok_or("a run is still planned")?;
        let id = format!("{}/{}/{}", run.id, run.generation, milestone.word());
        if !counts.contains_key(&id) || !run.unannounced.is_empty() {
            return Err(format!("{id} was never announced: {:?}", run.unannounced));
        }
        for stage in run.pipeline.stages.iter().filter(|_| has_succeeded(run)) {
            let id = format!("{}/{}/stage_finished/{}", run.id, run.generation, stage.name);
            if !counts.contains_key(&id) {
                return Err(format!("{id} was never announced"));
            }
        }
    }
    Ok(())
}

fn has_succeeded(run: &Run) -> bool {
    matches!(run.state, RunState::Succeeded | RunState::SucceededPartial)
}

/// A tick is one run, however often it comes.
fn check_ticks(driver: &Driver, record: &Record) -> Result<(), String> {
    let scenario = &driver.scenario;
    let mut begun: BTreeMap<&str, usize> = BTreeMap::new();
    for run in record.runs.values() {
        if let Some(time) = &run.scheduled_at {
            *begun.entry(time.as_str()).or_default() += 1;
        }
    }
    if let Some((time, count)) = begun.iter().find(|(_, count)| **count > 1) {
        return Err(format!("the tick of {time} began {count} runs"));
    }
    let may_be_lost = scenario.is_faulty()
        || scenario.refused.is_some()
        || !driver.stranded.is_empty()
        || scenario.has(|act| matches!(act, Act::Outage { queue: Queue::Intake, .. }));
    for (_, act) in &scenario.acts {
        if let Act::Tick { scheduled_at, .. } = act
            && !begun.contains_key(scheduled_at.as_str())
            && !may_be_lost
        {
            return Err(format!("the tick of {scheduled_at} began no run"));
        }
    }
    Ok(())
}

/// Nothing is left of a run that is to be cleaned, but what somebody wrote who hung; of any other, nothing was removed.
fn check_cleaned(driver: &Driver, record: &Record, run: &Run) -> Result<(), String> {
    let scenario = &driver.scenario;
    let there = driver.world.objects.keys(WORK);
    let is_there = |key: &String| there.contains(key);
    if !run.pipeline.cleanup.temporaries.is_empty()
        && !is_there(&neighbour(run))
        && !record.expired.contains(&neighbour(run))
    {
        return Err("what is none of its temporaries was removed".to_owned());
    }
    if !run.pipeline.cleanup.applies_to(run.state) {
        let removed = record.removed.iter().find(|key| key.contains(run.id.as_str()));
        return removed.map_or(Ok(()), |key| Err(format!("{key} was removed")));
    }
    if !scenario.has_sweeper {
        return Ok(());
    }
    match run.cleaning {
        Cleaning::Done(_) => {}
        Cleaning::GivenUp(_)
            if scenario.is_faulty() || scenario.refused.is_some() || driver.world.faults.was_down() =>
        {
            return Ok(());
        }
        other => return Err(format!("it is to be cleaned, and that is {other:?}")),
    }
    let over_ms = run.updated_at.ms_since(MEMORY_EPOCH) + ATTEMPTS_OVER_MS;
    let prefix = key::prefix(&run.id);
    let is_late = |key: &&String| record.written_at_ms.get(*key).is_some_and(|at| *at >= over_ms);
    let own = there.iter().filter(|key| key.starts_with(&prefix));
    let left = own
        .filter(|key| !is_late(key))
        .chain(there.iter().filter(|key| temporaries(run).contains(key)))
        .next();
    left.map_or(Ok(()), |key| Err(format!("it is cleaned, and {key} is left")))
}

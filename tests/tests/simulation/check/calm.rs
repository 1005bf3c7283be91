//! What holds where nothing, or little, went wrong.

use std::collections::BTreeSet;

use fanfold_domain::{
    Run, RunState,
    pipeline::{Depends, Split},
};
use fanfold_ports::Queue;

use crate::{
    driver::Driver,
    record::Record,
    requests,
    scenario::{Act, Scenario},
    truth::read_errors,
};

/// Where nothing went wrong, nothing was done twice and nothing is left.
pub(super) fn check_calm(driver: &Driver, record: &Record) -> Result<(), String> {
    let scenario = &driver.scenario;
    let events = scenario
        .acts
        .iter()
        .filter(|(_, act)| matches!(act, Act::Upload { event_delays_ms, .. } if !event_delays_ms.is_empty()));
    if !scenario.is_faulty() && !driver.world.faults.was_down() {
        // One whose deletions are lost is delivered until it dies, though all went well each time.
        if scenario.doubles_percent == 0
            && let Some(stranded) = driver.stranded.first()
        {
            return Err(format!("nothing failed, and this died in intake: {stranded}"));
        }
        let has_outage = scenario.has(|act| matches!(act, Act::Outage { queue: Queue::Intake, .. }));
        if record.runs.len() < events.count() && !has_outage {
            return Err("an event began no run".to_owned());
        }
    }
    if !scenario.is_calm() || !driver.world.faults.dealt().is_empty() {
        return Ok(());
    }
    if let Some(open) = driver.world.objects.open_uploads().first() {
        return Err(format!("nothing went wrong, and upload {} of {} is open", open.id, open.object));
    }
    let attempts = record.work.keys().filter(|key| key.ends_with(".statistics")).count();
    let chunks: BTreeSet<_> = record.marks.keys().collect();
    // Whoever opens a window and whoever brings what is read may both send a chunk, if they are at it at once.
    let mut upstreams = scenario.pipeline.stages.iter().filter_map(|stage| stage.upstream);
    let may_be_doubled = scenario.concurrency > 1 && upstreams.any(|upstream| upstream.by == Depends::NToN);
    if attempts > chunks.len() && !may_be_doubled {
        return Err(format!("nothing went wrong, and {attempts} attempts made {} chunks", chunks.len()));
    }
    if let Some(again) = requests::asked_again(record).filter(|_| !may_be_doubled) {
        return Err(format!("nothing went wrong, and {again} was asked again"));
    }
    let Some(run) = record.runs.values().next() else { return Err("no run".to_owned()) };
    check_calm_run(scenario, record, run)
}

fn check_calm_run(scenario: &Scenario, record: &Record, run: &Run) -> Result<(), String> {
    let plan = run.plan.as_ref().ok_or("it was not planned")?;
    if let (true, Split::Records(_), 0) =
        (scenario.pipeline.source.is_object(), scenario.pipeline.split, run.source.size_bytes)
        && plan.grouping.chunks != 1
    {
        return Err("an empty source has one chunk".to_owned());
    }
    if run.state != RunState::Failed {
        return Ok(());
    }
    // It failed for its bad records: then they are listed.
    let listed = record.published.get(&run.errors).and_then(|lists| lists.last());
    let errors = listed.map_or(0, |list| read_errors(&list.bytes).len() as u64);
    if errors <= run.pipeline.on_error.max_bad_records {
        let tolerance = run.pipeline.on_error.tolerate_failed_chunks;
        return Err(format!("only {errors} bad records are listed; {tolerance:?}"));
    }
    Ok(())
}

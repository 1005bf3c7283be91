//! What must be true when all is over.

mod calm;
mod excuses;
mod truths;

use std::collections::BTreeSet;

use fanfold_domain::{
    ObjectName, Report, Run, RunState, Stamp, Sums,
    pipeline::{Format, Process},
};
use fanfold_engine::bad::BadRecord;
use fanfold_ports::{Ledger as _, Objects, tables::Row};

use self::{calm::check_calm, excuses::verdict};
use crate::{
    driver::Driver,
    ports::lock,
    record::{Record, short},
    requests,
    scenario::{Act, TABLE},
    services::CANCELLED,
    shape::check_list,
    stages::stage_at,
    triggers,
    truth::{Truth, read_errors, truth},
};

/// Checks everything; the first thing that is wrong.
pub(crate) async fn check(driver: &Driver) -> Result<(), String> {
    let record = lock(&driver.record).snapshot();
    if let Some(violation) = record.violations.first() {
        return Err(violation.clone());
    }
    for run in record.runs.values() {
        let id = short(&run.id);
        let ended = Ended { driver, record: &record, run };
        ended.check().await.map_err(|wrong| format!("run {id}, which is {}: {wrong}", run.state))?;
    }
    triggers::check(driver, &record)?;
    requests::check(driver, &record)?;
    let outputs: BTreeSet<&ObjectName> = record.runs.values().map(|run| &run.output).collect();
    for output in outputs {
        check_owners(&record, output)?;
        check_names(driver, &record, output).await?;
    }
    check_rows(driver, &record).await?;
    check_calm(driver, &record)
}

struct Ended<'a> {
    driver: &'a Driver,
    record: &'a Record,
    run: &'a Run,
}

impl Ended<'_> {
    async fn check(&self) -> Result<(), String> {
        let Self { driver, record, run } = self;
        if !run.state.has_ended() {
            return Err("it never ended".to_owned());
        }
        self.check_uploads()?;
        self.check_failures().await?;
        let published = |name| record.published.get(name).into_iter().flatten().filter(|p| p.run == run.id);
        match run.state {
            RunState::Succeeded | RunState::SucceededPartial => {
                let stages = self.truths().await?;
                let truth = self.total(&stages)?;
                self.check_roots(&stages, &truth).await?;
                if run.sums != Some(truth.sums) {
                    return Err(format!("its sums are {:?}, and the truth is {:?}", run.sums, truth.sums));
                }
                let is_partial = truth.sums.failed_chunks > 0;
                if is_partial != (run.state == RunState::SucceededPartial) {
                    return Err(format!("{} chunks failed", truth.sums.failed_chunks));
                }
                let sums = stages.iter().map(|stage| stage.sums).collect::<Vec<_>>();
                if let Some(reason) = verdict(run, &sums) {
                    return Err(format!("it should have failed: {reason}"));
                }
                if published(&run.output).count() == 0 {
                    return Err("it published nothing".to_owned());
                }
                let foreign = driver.scenario.has(|act| *act == Act::ForeignWrite);
                if published(&run.output).count() > 1 && !foreign && record.runs.len() == 1 {
                    return Err("it published more than once".to_owned());
                }
                if published(&run.errors).count() > 1 && !foreign && record.runs.len() == 1 {
                    return Err("it listed its bad records more than once".to_owned());
                }
                for output in published(&run.output) {
                    same("its output", &output.bytes, &truth.output)?;
                }
                for errors in published(&run.errors) {
                    same_errors(&read_errors(&errors.bytes), &truth.errors)?;
                }
                self.check_rows(&truth)?;
                self.check_list()?;
                if !truth.errors.is_empty() && published(&run.errors).count() == 0 {
                    return Err("its bad records were never listed".to_owned());
                }
            }
            RunState::Failed => {
                if published(&run.output).count() > 0 {
                    return Err("it published its output".to_owned());
                }
                self.check_excuse().await?;
                for errors in published(&run.errors) {
                    self.check_report(&errors.bytes).await?;
                }
                if run.is_report_due() {
                    return Err("whether its bad records are listed is left open".to_owned());
                }
                let failed_for_them =
                    run.reason.as_deref().is_some_and(|reason| reason.contains("bad records of"));
                let is_alone = record.runs.len() == 1;
                if failed_for_them
                    && is_alone
                    && run.report == Report::Done
                    && published(&run.errors).count() == 0
                {
                    return Err("it failed for its bad records, and they were never listed".to_owned());
                }
            }
            RunState::Cancelled => {
                let is_by_a_person = driver.scenario.has(|act| *act == Act::Cancel);
                if !is_by_a_person || run.reason.as_deref() != Some(CANCELLED) {
                    return Err(format!("by nobody, for {:?}", run.reason));
                }
                if published(&run.output).chain(published(&run.errors)).count() > 0 {
                    return Err("it published something".to_owned());
                }
            }
            RunState::Superseded if record.runs.len() < 2 => return Err("by nobody".to_owned()),
            _ => {}
        }
        Ok(())
    }

    /// Each line of the output has its row, and each row is right.
    fn check_rows(&self, truth: &Truth) -> Result<(), String> {
        if !matches!(self.run.first_stage().process, Process::Orders { table: Some(_) }) {
            return Ok(());
        }
        let written = rows(self.driver);
        if let Some(row) = truth.rows.iter().find(|row| !written.contains(row)) {
            return Err(format!("its row {row:?} was never written"));
        }
        let key = |row: &Row| format!("{},{}", row["orderid"].as_str(), row["confirmationid"].as_str());
        let keys: BTreeSet<String> = written.iter().map(key).collect();
        if self.run.pipeline.stages.len() > 1 {
            return Ok(());
        }
        let output = String::from_utf8_lossy(&truth.output);
        match output.lines().skip(1).find(|line| !keys.contains(*line)) {
            Some(line) => Err(format!("{line} has no row")),
            None => Ok(()),
        }
    }

    fn check_uploads(&self) -> Result<(), String> {
        let open = self.driver.world.objects.open_uploads();
        let left = open
            .iter()
            .find(|upload| upload.object == self.run.output && self.run.uploads.contains(&upload.id));
        left.map_or(Ok(()), |upload| Err(format!("upload {} was left open", upload.id)))
    }

    /// No chunk failed for a fault of the platform, which end long before they are borne no longer, and none for workers
    /// that died but where they did. A worker that hangs for hours is dead to all but itself.
    async fn check_failures(&self) -> Result<(), String> {
        let has_zombies = self.driver.scenario.zombies_permille > 0;
        for place in 0..self.run.pipeline.stages.len() {
            let stage = stage_at(self.run, place);
            let failures =
                self.driver.world.ledger.failures(&stage, 1_000).await.expect("memory does not fail");
            for (chunk, failure) in failures {
                let reason = &failure.reason;
                // What a third party answers, or does not, is charged to the chunk.
                let is_of_third_party = reason.contains("the request of the record");
                let is_charged = reason.contains("the plan of faults")
                    && !reason.contains("AccessDenied")
                    && !is_of_third_party;
                let (begun, died) =
                    self.record.workers.get(&(stage.clone(), chunk)).copied().unwrap_or_default();
                let deaths = if has_zombies { begun } else { died };
                let is_unfounded = reason.contains("its worker died") && deaths < 5;
                if is_charged && !has_zombies || is_unfounded {
                    let workers = format!("{begun} workers began, {died} died");
                    return Err(format!("chunk {chunk} of {} failed, {workers}: {reason}", stage.stage));
                }
            }
        }
        Ok(())
    }

    /// The counters of every stage are what its chunks came to.
    async fn check_roots(&self, stages: &[Truth], total: &Truth) -> Result<(), String> {
        for (place, stage) in stages.iter().enumerate() {
            let is_last = place + 1 == stages.len();
            let bytes_out = if is_last { total.sums.bytes_out } else { stage.sums.bytes_out };
            let truth = Sums { bytes_out, ..stage.sums };
            let id = stage_at(self.run, place);
            let root = self.driver.world.ledger.root(&id).await.expect("memory does not fail");
            if root.sums != truth {
                return Err(format!("{} counted {:?}, and the truth is {truth:?}", id.stage, root.sums));
            }
        }
        Ok(())
    }

    /// A listing has all that there was.
    fn check_list(&self) -> Result<(), String> {
        match self.run.pipeline.source.format {
            Format::Objects => check_list(&self.source()?, &self.driver.scenario.objects),
            Format::Ids(range) => {
                let ids = range.of(&self.run.id);
                let read: u64 = self.chunks()?.iter().map(|chunk| chunk.range.len()).sum();
                let has_all = read == ids.end - ids.start;
                if has_all { Ok(()) } else { Err(format!("{read} ids, of {ids:?}")) }
            }
            _ => Ok(()),
        }
    }
}

/// Of the runs of an output the last that took it was not superseded, so that never all are. A run of the newest upload
/// gives way only to one that took the output after it, and runs take theirs as they are created.
fn check_owners(record: &Record, output: &ObjectName) -> Result<(), String> {
    let takers = record.takers.get(output).map_or(&[][..], Vec::as_slice);
    let of = || record.runs.values().filter(|run| run.output == *output);
    let superseded = || of().filter(|run| run.state == RunState::Superseded);
    if let Some(last) = superseded().find(|run| takers.last().is_none_or(|last| *last == run.id)) {
        let id = short(&last.id);
        return Err(format!(
            "run {id} is superseded, and no run took its output after it: {:?}",
            last.reason
        ));
    }
    let newest = of().filter_map(|run| run.sequencer.as_ref()).max();
    match superseded().find(|run| run.sequencer.as_ref() == newest && newest.is_some()) {
        Some(run) if !takers.contains(&run.id) => {
            Err(format!("run {} is of the newest upload, and never owned its output", short(&run.id)))
        }
        _ => Ok(()),
    }
}

/// What stands under the names of an output and its errors belongs to the newest run of it that succeeded.
async fn check_names(driver: &Driver, record: &Record, output: &ObjectName) -> Result<(), String> {
    let succeeded = |run: &&Run| {
        run.output == *output && matches!(run.state, RunState::Succeeded | RunState::SucceededPartial)
    };
    let Some(newest) = record.runs.values().filter(succeeded).max_by_key(|run| run.epoch) else {
        return Ok(());
    };
    let stamp_of = async |name: &ObjectName| {
        let head = driver.world.objects.head(name, None).await.expect("memory does not fail");
        head.map(|head| Stamp::read(&head.metadata))
    };
    let is_foreign = driver.scenario.has(|act| *act == Act::ForeignWrite);
    let id = short(&newest.id);
    match stamp_of(output).await {
        None => return Err("no output is there".to_owned()),
        Some(None) if is_foreign => return Ok(()),
        Some(Some(stamp)) if stamp.run == newest.id => {}
        other => return Err(format!("the output is {other:?}'s, and run {id} was the newest to succeed")),
    }
    match stamp_of(&newest.errors).await {
        None => Ok(()),
        Some(Some(stamp)) if stamp.epoch >= newest.epoch => Ok(()),
        other => Err(format!("the bad records are {other:?}'s, and run {id} was the newest to succeed")),
    }
}

/// Each row is of a record of a run's source, whole, and of no record are there two.
async fn check_rows(driver: &Driver, record: &Record) -> Result<(), String> {
    let written = rows(driver);
    if driver.scenario.odd_attempts_percent > 0 || written.is_empty() {
        return Ok(());
    }
    let mut known = BTreeSet::new();
    for run in record.runs.values().filter(|run| run.plan.is_some()) {
        let ended = Ended { driver, record, run };
        // Only a first stage writes rows.
        known.extend(truth(run, &ended.source()?, &ended.chunks()?, &|_| false).await.rows);
    }
    match written.difference(&known).next() {
        Some(row) => Err(format!("the row {row:?} is of no record")),
        None => Ok(()),
    }
}

fn rows(driver: &Driver) -> BTreeSet<Row> {
    driver.world.tables.rows(TABLE).into_iter().collect()
}

fn same(what: &str, found: &[u8], expected: &[u8]) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    let show = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(2_000)]).into_owned();
    Err(format!("{what} is\n{}\nand should be\n{}", show(found), show(expected)))
}

fn same_errors(found: &[BadRecord], expected: &[BadRecord]) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("its bad records are {found:?}\nand should be {expected:?}"))
    }
}

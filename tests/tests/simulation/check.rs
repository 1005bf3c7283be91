//! What must be true when all is over.

use std::collections::BTreeSet;

use bytes::Bytes;
use fanfold_domain::{
    Chunk, ChunkIndex, Mark, ObjectName, Run, RunState, Stamp, Sums, key, manifest,
    pipeline::{Process, Split},
};
use fanfold_engine::{
    bad::BadRecord,
    chunk::{ATTEMPT, Statistics},
};
use fanfold_ports::{Objects, Queue, ledger::StageId, tables::Row};

use crate::{
    driver::Driver,
    ports::lock,
    record::{Record, short},
    scenario::{Act, KEY, OUTPUT, Scenario, TABLE},
    triggers,
    truth::{Truth, header, pass, read_errors, renumbered, truth},
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
    check_names(driver, &record).await?;
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
        let published = |name| record.published.get(name).into_iter().flatten().filter(|p| p.run == run.id);
        match run.state {
            RunState::Succeeded | RunState::SucceededPartial => {
                let truth = self.truth().await?;
                if run.sums != Some(truth.sums) {
                    return Err(format!("its sums are {:?}, and the truth is {:?}", run.sums, truth.sums));
                }
                let is_partial = truth.sums.failed_chunks > 0;
                if is_partial != (run.state == RunState::SucceededPartial) {
                    return Err(format!("{} chunks failed", truth.sums.failed_chunks));
                }
                if let Some(reason) = run.verdict(&run.last_stage().name, &truth.sums) {
                    return Err(format!("it should have failed: {reason}"));
                }
                if published(&run.output).count() == 0 {
                    return Err("it published nothing".to_owned());
                }
                let foreign = driver.scenario.has(|act| *act == Act::ForeignWrite);
                if published(&run.output).count() > 1 && !foreign && record.runs.len() == 1 {
                    return Err("it published more than once".to_owned());
                }
                for output in published(&run.output) {
                    same("its output", &output.bytes, &truth.output)?;
                }
                for errors in published(&run.errors) {
                    same_errors(&read_errors(&errors.bytes), &truth.errors)?;
                }
                self.check_rows(&truth)?;
                if !truth.errors.is_empty() && published(&run.errors).count() == 0 {
                    return Err("its bad records were never listed".to_owned());
                }
            }
            RunState::Failed => {
                self.check_excuse().await?;
                for errors in published(&run.errors) {
                    self.check_report(&errors.bytes).await?;
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

    fn source(&self) -> Result<Bytes, String> {
        let etag = self.run.source.etag.as_str();
        self.record.sources.get(etag).cloned().ok_or_else(|| format!("nobody uploaded {etag}"))
    }

    fn chunks(&self) -> Result<Vec<Chunk>, String> {
        let (bytes, _) = self.record.work.get(&key::manifest(&self.run.id)).ok_or("it has no manifest")?;
        manifest::read_lines(bytes, ChunkIndex(0)).map_err(|error| error.to_string())
    }

    fn mark(&self, chunk: ChunkIndex) -> Option<Mark> {
        self.record.marks.get(&(StageId::last_of(self.run), chunk)).copied()
    }

    fn counted(&self) -> Sums {
        let stage = StageId::last_of(self.run);
        self.record.marks.iter().filter(|((of, _), _)| *of == stage).map(|(_, mark)| mark.sums()).sum()
    }

    /// What the run must have come to. Where attempts at a chunk differed, that of the one whose part was
    /// created counts.
    async fn truth(&self) -> Result<Truth, String> {
        let (source, chunks) = (self.source()?, self.chunks()?);
        let unended = chunks.iter().find(|chunk| self.mark(chunk.index).is_none());
        if let Some(chunk) = unended {
            return Err(format!("chunk {} never ended", chunk.index));
        }
        let failed = |chunk| self.mark(chunk) == Some(Mark::Failed);
        let of_parts = self.truth_of_parts(&source, &chunks, &failed)?;
        if self.driver.scenario.odd_attempts_percent > 0 {
            return Ok(of_parts);
        }
        let truth = truth(self.run, &source, &chunks, &failed).await;
        same("what its parts make", &of_parts.output, &truth.output)?;
        same_errors(&of_parts.errors, &truth.errors)?;
        if self.run.first_stage().process == Process::Copy
            && truth.errors.is_empty()
            && truth.sums.failed_chunks == 0
        {
            same("a copy", &truth.output, &source)?;
        }
        Ok(truth)
    }

    fn truth_of_parts(
        &self,
        source: &Bytes,
        chunks: &[Chunk],
        failed: &dyn Fn(ChunkIndex) -> bool,
    ) -> Result<Truth, String> {
        let mut truth = Truth::beginning(header(self.run, source));
        let (keys, mut before) = (self.run.keys(&self.run.last_stage().name), Some(0));
        for chunk in chunks.iter().map(|chunk| chunk.index) {
            if failed(chunk) {
                truth.sums.failed_chunks += 1;
                before = None;
                continue;
            }
            let (part, metadata) =
                self.record.work.get(&keys.part(chunk)).ok_or(format!("no part {chunk}"))?;
            let attempt = &metadata[ATTEMPT];
            let (statistics, _) = self
                .record
                .work
                .get(&keys.statistics(chunk, attempt))
                .ok_or(format!("no statistics {chunk}"))?;
            let Statistics { sums } =
                serde_json::from_slice(statistics).map_err(|error| error.to_string())?;
            truth.output.extend_from_slice(part);
            if let Some((list, _)) = self.record.work.get(&keys.bad_records(chunk, attempt)) {
                truth.errors.extend(read_errors(list).into_iter().map(|bad| renumbered(bad, before)));
            }
            before = before.map(|before| before + sums.records);
            truth.sums += sums;
        }
        truth.sums.bytes_out = truth.output.len() as u64;
        Ok(truth)
    }

    /// A run may fail only for a reason that is true.
    async fn check_excuse(&self) -> Result<(), String> {
        let Self { driver, run, .. } = self;
        let scenario = &driver.scenario;
        let reason = run.reason.as_deref().ok_or("it has no reason")?;
        let is_expiring = scenario.has(|act| *act == Act::Expire);
        let is_faulty = scenario.is_faulty();
        let is_true = if let Some(refused) = &scenario.refused
            && reason.contains("AccessDenied")
        {
            reason.contains(refused)
        } else if reason.contains("bad records of") || reason.contains("chunks failed") {
            self.check_failed_chunks().await?;
            run.verdict(&run.last_stage().name, &self.counted()).is_some()
        } else if reason.contains("bad records in this chunk alone") {
            // Whether it has them is looked at with every failed chunk.
            self.check_failed_chunks().await?;
            true
        } else if reason.contains("the source was replaced") {
            !scenario.is_versioned && self.record.sources.len() > 1
        } else if reason.contains("not done at its deadline") || reason.contains("within an hour") {
            scenario.has(|act| matches!(act, Act::Outage { ms, .. } if *ms > 3_600_000))
        } else if reason.contains("the source could not be scanned") {
            is_faulty || scenario.sick_chunk.is_some()
        } else if ["must keep what the scan", "cannot be folded", "cannot be assembled"]
            .iter()
            .any(|expired| reason.contains(expired))
        {
            is_expiring
        } else if reason.contains("could not be folded") || reason.contains("could not be assembled") {
            is_expiring || is_faulty
        } else {
            false
        };
        if is_true { Ok(()) } else { Err(format!("that is no reason: {reason}")) }
    }

    async fn check_failed_chunks(&self) -> Result<(), String> {
        let scenario = &self.driver.scenario;
        let is_faulty = scenario.is_faulty()
            || scenario.odd_attempts_percent > 0
            || scenario.has(|act| *act == Act::Expire);
        let source = self.source()?;
        if is_faulty {
            return Ok(());
        }
        let chunks = self.chunks()?;
        let is_sick = |chunk: &Chunk| scenario.sick_chunk.is_some_and(|(sick, _)| sick == chunk.index.0);
        let mut wrong = BTreeSet::new();
        for chunk in &chunks {
            let bad = pass(self.run, &source, chunk.range).await.sums.bad_records;
            if is_sick(chunk) || bad > self.run.pipeline.on_error.max_bad_records {
                wrong.insert(chunk.index);
            }
        }
        for Chunk { index, .. } in chunks {
            // Kubernetes gives up a whole index, or a whole Job, for one chunk; and what ails a chunk's pod ails all
            // that this pod does.
            let of_failed_job = self.record.of_failed_jobs.contains(&(self.run.id.clone(), index));
            let has_excuse = wrong.contains(&index) || of_failed_job && !wrong.is_empty();
            if self.mark(index) == Some(Mark::Failed) && !has_excuse {
                return Err(format!("chunk {index} failed, and nothing is wrong with it"));
            }
        }
        Ok(())
    }

    /// What a failed run lists are bad records of its source, in order, each once, with their numbers.
    async fn check_report(&self, bytes: &Bytes) -> Result<(), String> {
        let is_odd = self.driver.scenario.odd_attempts_percent > 0;
        let (source, chunks) = (self.source()?, self.chunks()?);
        let all = truth(self.run, &source, &chunks, &|_| false).await.errors;
        let mut after = None;
        for bad in read_errors(bytes) {
            if after.is_some_and(|after| bad.offset <= after) {
                return Err(format!("its report is out of order at byte {}", bad.offset));
            }
            after = Some(bad.offset);
            let known = all.iter().find(|known| known.offset == bad.offset);
            let is_known = known.is_some_and(|known| {
                known.text == bad.text && bad.record.is_none_or(|number| known.record == Some(number))
            });
            if !is_known && !is_odd {
                return Err(format!("its report lists {bad:?}, and the truth is {known:?}"));
            }
        }
        Ok(())
    }
}

/// What stands under the names of output and errors belongs to the newest run that succeeded.
async fn check_names(driver: &Driver, record: &Record) -> Result<(), String> {
    let succeeded = |run: &&Run| matches!(run.state, RunState::Succeeded | RunState::SucceededPartial);
    let Some(newest) = record.runs.values().filter(succeeded).max_by_key(|run| run.epoch) else {
        return Ok(());
    };
    let stamp_of = async |name: &ObjectName| {
        let head = driver.world.objects.head(name, None).await.expect("memory does not fail");
        head.map(|head| Stamp::read(&head.metadata))
    };
    let is_foreign = driver.scenario.has(|act| *act == Act::ForeignWrite);
    let id = short(&newest.id);
    match stamp_of(&ObjectName::new(OUTPUT, format!("{KEY}_Output"))).await {
        None => return Err("no output is there".to_owned()),
        Some(None) if is_foreign => return Ok(()),
        Some(Some(stamp)) if stamp.run == newest.id => {}
        other => return Err(format!("the output is {other:?}'s, and run {id} was the newest to succeed")),
    }
    let errors = ObjectName::new(OUTPUT, format!("{KEY}_Errors"));
    match stamp_of(&errors).await {
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

/// Where nothing went wrong, nothing was done twice and nothing is left.
fn check_calm(driver: &Driver, record: &Record) -> Result<(), String> {
    let scenario = &driver.scenario;
    let events = scenario
        .acts
        .iter()
        .filter(|(_, act)| matches!(act, Act::Upload { event_delays_ms, .. } if !event_delays_ms.is_empty()));
    if !scenario.is_faulty() {
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
    if attempts > chunks.len() {
        return Err(format!("nothing went wrong, and {attempts} attempts made {} chunks", chunks.len()));
    }
    let Some(run) = record.runs.values().next() else { return Err("no run".to_owned()) };
    check_calm_run(scenario, record, run)
}

fn check_calm_run(scenario: &Scenario, record: &Record, run: &Run) -> Result<(), String> {
    let plan = run.plan.as_ref().ok_or("it was not planned")?;
    if let (Split::Records(_), 0) = (scenario.pipeline.split, run.source.size_bytes)
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

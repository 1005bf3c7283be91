//! What must be true when all is over.

use std::collections::BTreeSet;

use bytes::Bytes;
use fanfold_domain::{
    Chunk, ChunkIndex, Mark, ObjectName, Run, RunState, Stamp, Sums, key, manifest,
    pipeline::{Depends, Format, Process, Split},
};
use fanfold_engine::{
    bad::BadRecord,
    chunk::{ATTEMPT, Statistics},
};
use fanfold_ports::{Ledger as _, Objects, Queue, tables::Row};

use crate::{
    driver::Driver,
    ports::lock,
    record::{Record, short},
    scenario::{Act, OUTPUT, Scenario, TABLE},
    shape::check_list,
    stages::{self, stage_at},
    triggers,
    truth::{Truth, header, is_copy, pass, pass_parts, read_errors, renumbered, truth},
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

    /// What the first stage reads.
    fn source(&self) -> Result<Bytes, String> {
        if let Format::Ids(_) = self.run.pipeline.source.format {
            return Ok(Bytes::new());
        }
        if self.run.pipeline.source.is_list() {
            let list = self.run.list.as_ref().ok_or("it has no list")?;
            let (bytes, _) = self.record.work.get(&list.object.key).ok_or("its list was never there")?;
            return Ok(bytes.clone());
        }
        let etag = self.run.source.etag.as_str();
        self.record.sources.get(etag).cloned().ok_or_else(|| format!("nobody uploaded {etag}"))
    }

    fn chunks(&self) -> Result<Vec<Chunk>, String> {
        let (bytes, _) = self.record.work.get(&key::manifest(&self.run.id)).ok_or("it has no manifest")?;
        manifest::read_lines(bytes, ChunkIndex(0)).map_err(|error| error.to_string())
    }

    fn mark(&self, chunk: ChunkIndex) -> Option<Mark> {
        self.mark_at(0, chunk.0)
    }

    fn mark_at(&self, place: usize, chunk: u32) -> Option<Mark> {
        self.record.mark_at(self.run, place, chunk)
    }

    /// What was counted of each stage.
    fn counted(&self) -> Vec<Sums> {
        let of_stage = |place| {
            let stage = stage_at(self.run, place);
            self.record.marks.iter().filter(|((of, _), _)| *of == stage).map(|(_, mark)| mark.sums()).sum()
        };
        (0..self.run.pipeline.stages.len()).map(of_stage).collect()
    }

    /// What each stage must have come to. Where attempts at a chunk differed, that of the one whose part was
    /// created counts.
    async fn truths(&self) -> Result<Vec<Truth>, String> {
        let (source, chunks) = (self.source()?, self.chunks()?);
        let mut truths = vec![self.first_truth(&source, &chunks).await?];
        for place in 1..self.run.pipeline.stages.len() {
            truths.push(
                self.later_truth(place)
                    .await
                    .map_err(|wrong| format!("stage {}: {wrong}", self.run.pipeline.stages[place].name))?,
            );
        }
        Ok(truths)
    }

    async fn first_truth(&self, source: &Bytes, chunks: &[Chunk]) -> Result<Truth, String> {
        let of_parts = self.truth_of_parts(0)?;
        if self.driver.scenario.odd_attempts_percent > 0 {
            return Ok(of_parts);
        }
        let failed = |chunk| self.mark(chunk) == Some(Mark::Failed);
        let truth = truth(self.run, source, chunks, &failed).await;
        same("what its parts make", &of_parts.output, &truth.output)?;
        same_errors(&of_parts.errors, &truth.errors)?;
        let is_whole = truth.errors.is_empty() && truth.sums.failed_chunks == 0;
        if is_copy(self.run) && is_whole && self.run.pipeline.source.is_object() {
            same("a copy", &[header(self.run, source), truth.output.clone()].concat(), source)?;
        }
        Ok(truth)
    }

    /// What the chunks of a stage behind the first make, one after another, of the parts that they read.
    async fn later_truth(&self, place: usize) -> Result<Truth, String> {
        let of_parts = self.truth_of_parts(place)?;
        let mut truth = Truth::beginning(Vec::new());
        let mut before = Some(0);
        for chunk in 0..stages::chunks(self.run, place) {
            let Some(input) = self.read_by(place, chunk)? else {
                if !matches!(self.mark_at(place, chunk), Some(Mark::Failed)) {
                    return Err(format!("chunk {chunk} did not fail with what it reads"));
                }
                truth.sums.failed_chunks += 1;
                before = None;
                continue;
            };
            if self.mark_at(place, chunk) == Some(Mark::Failed) {
                truth.sums.failed_chunks += 1;
                before = None;
                continue;
            }
            let Truth { output, errors, sums, .. } = pass_parts(self.run, place, chunk, input).await;
            let part = self.part(place, chunk)?;
            same(&format!("part {chunk}"), part, &output)?;
            truth.output.extend(output);
            truth.errors.extend(errors.into_iter().map(|bad| renumbered(bad, before)));
            before = before.map(|before| before + sums.records);
            truth.sums += sums;
        }
        same_errors(&of_parts.errors, &truth.errors)?;
        Ok(truth)
    }

    /// The parts that a chunk of a later stage reads, in order; none if one of them failed.
    fn read_by(&self, place: usize, chunk: u32) -> Result<Option<Bytes>, String> {
        let upstream = self.run.pipeline.stages[place].upstream.ok_or("it reads the source")?;
        let mut input = Vec::new();
        for read in stages::inputs(upstream, chunk, stages::chunks(self.run, upstream.stage)) {
            if self.mark_at(upstream.stage, read) == Some(Mark::Failed) {
                return Ok(None);
            }
            input.extend_from_slice(self.part(upstream.stage, read)?);
        }
        Ok(Some(input.into()))
    }

    fn part(&self, place: usize, chunk: u32) -> Result<&Bytes, String> {
        let key = self.run.keys(&self.run.pipeline.stages[place].name).part(ChunkIndex(chunk));
        self.record.work.get(&key).map(|(bytes, _)| bytes).ok_or_else(|| format!("no part {key}"))
    }

    /// What the run must have come to, of what its stages did: what the first read, what the last wrote, and what all
    /// found bad.
    fn total(&self, stages: &[Truth]) -> Result<Truth, String> {
        let (Some(first), Some(last)) = (stages.first(), stages.last()) else {
            return Err("it has no stage".to_owned());
        };
        let output = [header(self.run, &self.source()?), last.output.clone()].concat();
        let failed = stages.iter().map(|stage| stage.sums.failed_chunks).max().unwrap_or(0);
        let errors: Vec<BadRecord> = stages.iter().flat_map(|stage| stage.errors.clone()).collect();
        let bad_records = stages.iter().map(|stage| stage.sums.bad_records).sum();
        let bytes_out = output.len() as u64;
        let sums = Sums { bad_records, failed_chunks: failed, bytes_out, ..first.sums };
        Ok(Truth { output, errors, sums, rows: first.rows.clone() })
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

    /// What a stage's parts and their attempts' statistics say.
    fn truth_of_parts(&self, place: usize) -> Result<Truth, String> {
        let mut truth = Truth::beginning(Vec::new());
        let stage = &self.run.pipeline.stages[place].name;
        let (keys, mut before) = (self.run.keys(stage), Some(0));
        for chunk in (0..stages::chunks(self.run, place)).map(ChunkIndex) {
            match self.mark_at(place, chunk.0) {
                None => return Err(format!("chunk {chunk} of {stage} never ended")),
                Some(Mark::Failed) => {
                    truth.sums.failed_chunks += 1;
                    before = None;
                    continue;
                }
                Some(Mark::Done(_)) => {}
            }
            let (part, metadata) =
                self.record.work.get(&keys.part(chunk)).ok_or(format!("no part {chunk} of {stage}"))?;
            let attempt = &metadata[ATTEMPT];
            let (statistics, _) = self
                .record
                .work
                .get(&keys.statistics(chunk, attempt))
                .ok_or(format!("no statistics {chunk} of {stage}"))?;
            let Statistics { sums } =
                serde_json::from_slice(statistics).map_err(|error| error.to_string())?;
            truth.output.extend_from_slice(part);
            if let Some((list, _)) = self.record.work.get(&keys.bad_records(chunk, attempt)) {
                truth.errors.extend(read_errors(list).into_iter().map(|bad| renumbered(bad, before)));
            }
            before = before.map(|before| before + sums.records);
            truth.sums += sums;
        }
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
            verdict(run, &self.counted()).is_some()
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
        } else if reason.contains("the plan step gave no list") {
            is_faulty || is_expiring || scenario.sick_chunk.is_some()
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
        self.check_failed_of(0, &wrong)?;
        for place in 1..self.run.pipeline.stages.len() {
            let mut wrong = BTreeSet::new();
            for chunk in 0..stages::chunks(self.run, place) {
                if self.mark_at(place, chunk) != Some(Mark::Failed) {
                    continue;
                }
                let is_sick = scenario.sick_chunk.is_some_and(|(sick, _)| sick == chunk);
                let is_bad = match self.read_by(place, chunk)? {
                    None => true,
                    Some(parts) => {
                        let bad = pass_parts(self.run, place, chunk, parts).await.sums.bad_records;
                        bad > self.run.pipeline.on_error.max_bad_records
                    }
                };
                if is_sick || is_bad {
                    wrong.insert(ChunkIndex(chunk));
                }
            }
            self.check_failed_of(place, &wrong)?;
        }
        Ok(())
    }

    fn check_failed_of(&self, place: usize, wrong: &BTreeSet<ChunkIndex>) -> Result<(), String> {
        for index in (0..stages::chunks(self.run, place)).map(ChunkIndex) {
            // Kubernetes gives up a whole index, or a whole Job, for one chunk; and what ails a chunk's pod ails all
            // that this pod does.
            let of_failed_job = self.record.of_failed_jobs.contains(&(self.run.id.clone(), index));
            let has_excuse = wrong.contains(&index) || of_failed_job && !wrong.is_empty();
            if self.mark_at(place, index.0) == Some(Mark::Failed) && !has_excuse {
                let stage = &self.run.pipeline.stages[place].name;
                return Err(format!("chunk {index} of {stage} failed, and nothing is wrong with it"));
            }
        }
        Ok(())
    }

    /// All that a stage behind the first could find bad, its numbers as they are while nothing before fails. What was
    /// not made is not known: then there is nothing of it in a report either.
    async fn errors_without_failures(&self, place: usize) -> Vec<BadRecord> {
        let (mut errors, mut before) = (Vec::new(), Some(0));
        for chunk in 0..stages::chunks(self.run, place) {
            let Ok(Some(parts)) = self.read_by(place, chunk) else {
                before = None;
                continue;
            };
            let Truth { errors: found, sums, .. } = pass_parts(self.run, place, chunk, parts).await;
            errors.extend(found.into_iter().map(|bad| renumbered(bad, before)));
            before = before.map(|before| before + sums.records);
        }
        errors
    }

    /// What a failed run lists are bad records of its source, in order, each once, with their numbers.
    async fn check_report(&self, bytes: &Bytes) -> Result<(), String> {
        let is_odd = self.driver.scenario.odd_attempts_percent > 0;
        let (source, chunks) = (self.source()?, self.chunks()?);
        let mut all = truth(self.run, &source, &chunks, &|_| false).await.errors;
        for place in 1..self.run.pipeline.stages.len() {
            all.extend(self.errors_without_failures(place).await);
        }
        let place_of = |bad: &BadRecord| {
            let at = bad.at.as_ref();
            let stage = at.and_then(|at| self.run.pipeline.stage_index(&at.stage)).unwrap_or(0);
            (stage, at.map_or(0, |at| at.chunk.0), bad.offset)
        };
        let mut after = None;
        for bad in read_errors(bytes) {
            let place = place_of(&bad);
            if after.is_some_and(|after| place <= after) {
                return Err(format!("its report is out of order at {place:?}"));
            }
            after = Some(place);
            let known = all.iter().find(|known| place_of(known) == place);
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

/// Why sums like these of its stages end a run, if they do: failed chunks of each stage, bad records of all.
fn verdict(run: &Run, stages: &[Sums]) -> Option<String> {
    let on_error = &run.pipeline.on_error;
    let bad: u64 = stages.iter().map(|sums| sums.bad_records).sum();
    if bad > on_error.max_bad_records {
        return Some(format!("{bad} bad records"));
    }
    let too_many = |(place, sums): (usize, &Sums)| {
        let chunks = u64::from(stages::chunks(run, place));
        let failed = sums.failed_chunks;
        (!on_error.tolerate_failed_chunks.permits(failed, chunks)).then(|| format!("{failed} chunks failed"))
    };
    stages.iter().enumerate().find_map(too_many)
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
    match stamp_of(&ObjectName::new(OUTPUT, format!("{}_Output", driver.scenario.output_stem()))).await {
        None => return Err("no output is there".to_owned()),
        Some(None) if is_foreign => return Ok(()),
        Some(Some(stamp)) if stamp.run == newest.id => {}
        other => return Err(format!("the output is {other:?}'s, and run {id} was the newest to succeed")),
    }
    let errors = ObjectName::new(OUTPUT, format!("{}_Errors", driver.scenario.output_stem()));
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
    // Whoever opens a window and whoever brings what is read may both send a chunk, if they are at it at once.
    let mut upstreams = scenario.pipeline.stages.iter().filter_map(|stage| stage.upstream);
    let may_be_doubled = scenario.concurrency > 1 && upstreams.any(|upstream| upstream.by == Depends::NToN);
    if attempts > chunks.len() && !may_be_doubled {
        return Err(format!("nothing went wrong, and {attempts} attempts made {} chunks", chunks.len()));
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

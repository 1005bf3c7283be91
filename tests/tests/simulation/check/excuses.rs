//! Why a run failed, whether that is true, and what it lists then.

use std::collections::BTreeSet;

use bytes::Bytes;
use fanfold_domain::{Chunk, ChunkIndex, Mark, Run, Sums, pipeline::Order};
use fanfold_engine::bad::BadRecord;

use super::Ended;
use crate::{
    scenario::Act,
    stages,
    truth::{Truth, pass, pass_parts, read_errors, renumbered, truth},
};

impl Ended<'_> {
    /// A run may fail only for a reason that is true.
    pub(super) async fn check_excuse(&self) -> Result<(), String> {
        let Self { driver, run, .. } = self;
        let scenario = &driver.scenario;
        let reason = run.reason.as_deref().ok_or("it has no reason")?;
        let is_expiring = scenario.has(|act| *act == Act::Expire);
        let is_faulty = scenario.is_faulty() || driver.world.faults.was_down();
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
        } else if reason.contains("not done at its deadline") || reason.contains("could not be planned in") {
            scenario.has(|act| matches!(act, Act::Outage { ms, .. } if *ms > 3_600_000))
        } else if reason.contains("the source could not be scanned") {
            is_faulty || scenario.sick_chunk.is_some()
        } else if reason.contains("the plan step gave no list") {
            is_faulty || is_expiring || scenario.sick_chunk.is_some()
        } else if reason.contains("for another output") {
            let share = |other: &Run| other.errors == run.errors && other.output != run.output;
            self.record.runs.values().any(share)
        } else if reason.contains("cannot be assembled") && scenario.corrupts.is_some() {
            self.record.counts.contains_key("bytes changed")
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
            || self.driver.world.faults.was_down()
            || scenario.may_ask_in_vain()
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
                        let bad = pass_parts(self.run, place, chunk, parts, None).await.sums.bad_records;
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
        let is_sequential = self.run.pipeline.stages[place].order == Order::Sequential;
        for index in (0..stages::chunks(self.run, place)).map(ChunkIndex) {
            // Kubernetes gives up a whole index, or a whole Job, for one chunk; and what ails a chunk's pod ails all
            // that this pod does.
            let of_failed_job = self.record.of_failed_jobs.contains(&(self.run.id.clone(), index));
            let follows = is_sequential && wrong.first().is_some_and(|first| *first < index);
            let has_excuse = wrong.contains(&index) || follows || of_failed_job && !wrong.is_empty();
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
            let Truth { errors: found, sums, .. } = pass_parts(self.run, place, chunk, parts, None).await;
            errors.extend(found.into_iter().map(|bad| renumbered(bad, before)));
            before = before.map(|before| before + sums.records);
        }
        errors
    }

    /// What a failed run lists are bad records of its source, in order, each once, with their numbers.
    pub(super) async fn check_report(&self, bytes: &Bytes) -> Result<(), String> {
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
pub(super) fn verdict(run: &Run, stages: &[Sums]) -> Option<String> {
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

//! What a run read, what its stages made of it, and what they must have made.

use bytes::Bytes;
use fanfold_domain::{
    Chunk, ChunkIndex, Mark, Sums, key, manifest,
    pipeline::{Format, Order},
};
use fanfold_engine::{
    bad::BadRecord,
    chunk::{ATTEMPT, Statistics},
};

use super::{Ended, same, same_errors};
use crate::{
    stages::{self, stage_at},
    truth::{Truth, header, is_copy, pass_parts, read_errors, renumbered, truth},
};

impl Ended<'_> {
    /// What the first stage reads.
    pub(super) fn source(&self) -> Result<Bytes, String> {
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

    pub(super) fn chunks(&self) -> Result<Vec<Chunk>, String> {
        let (bytes, _) = self.record.work.get(&key::manifest(&self.run.id)).ok_or("it has no manifest")?;
        manifest::read_lines(bytes, ChunkIndex(0)).map_err(|error| error.to_string())
    }

    fn mark(&self, chunk: ChunkIndex) -> Option<Mark> {
        self.mark_at(0, chunk.0)
    }

    pub(super) fn mark_at(&self, place: usize, chunk: u32) -> Option<Mark> {
        self.record.mark_at(self.run, place, chunk)
    }

    /// What was counted of each stage.
    pub(super) fn counted(&self) -> Vec<Sums> {
        let of_stage = |place| {
            let stage = stage_at(self.run, place);
            self.record.marks.iter().filter(|((of, _), _)| *of == stage).map(|(_, mark)| mark.sums()).sum()
        };
        (0..self.run.pipeline.stages.len()).map(of_stage).collect()
    }

    /// What each stage must have come to. Where attempts at a chunk differed, that of the one whose part was
    /// created counts.
    pub(super) async fn truths(&self) -> Result<Vec<Truth>, String> {
        (0..self.run.pipeline.stages.len()).try_for_each(|place| self.check_sequence(place))?;
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
        let is_sequential = self.run.pipeline.stages[place].order == Order::Sequential;
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
            let answered = last_line(&truth.output).filter(|_| is_sequential);
            let Truth { output, errors, sums, .. } =
                pass_parts(self.run, place, chunk, input, answered).await;
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

    /// What follows a failed chunk of a sequential stage failed with it.
    fn check_sequence(&self, place: usize) -> Result<(), String> {
        let stage = &self.run.pipeline.stages[place];
        let chunks = 0..stages::chunks(self.run, place);
        let is_failed = |chunk: &u32| self.mark_at(place, *chunk) == Some(Mark::Failed);
        let Some(failed) = chunks.clone().find(is_failed).filter(|_| stage.order == Order::Sequential) else {
            return Ok(());
        };
        match chunks.skip_while(|chunk| *chunk < failed).find(|chunk| !is_failed(chunk)) {
            Some(done) => {
                Err(format!("chunk {failed} of {} failed, and {done}, which follows it, did not", stage.name))
            }
            None => Ok(()),
        }
    }

    /// The parts that a chunk of a later stage reads, in order; none if one of them failed.
    pub(super) fn read_by(&self, place: usize, chunk: u32) -> Result<Option<Bytes>, String> {
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
    pub(super) fn total(&self, stages: &[Truth]) -> Result<Truth, String> {
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
}

/// The last line of what was written, without its end.
fn last_line(output: &[u8]) -> Option<String> {
    let lines = output.strip_suffix(b"\n")?;
    let last = lines.rsplit(|byte| *byte == b'\n').next()?;
    Some(String::from_utf8_lossy(last).into_owned())
}

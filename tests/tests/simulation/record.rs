//! What happened, as the world itself saw it, and the rules that hold at every single step.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use fanfold_domain::{
    ChunkIndex, Cleaning, Destination, Epoch, GroupIndex, Grouping, Launch, LaunchIndex, Mark, ObjectName,
    Rate, Run, RunId, RunState, SCAN, Sequencer, Stamp,
    launch::{Launching, StageName},
    map::{ExecutionName, MapInput, Told},
    message::{ChunkEnd, ChunkMessage, Completion, FoldMessage, LaunchMessage, decode},
    pipeline::{FanOut, RunOn},
};
use fanfold_ports::{
    Queue,
    clusters::{KubeJob, LAUNCH, LAUNCH_GENERATION, RUN, STAGE},
    ledger::StageId,
    objects::{Metadata, Upload},
    queues::Outgoing,
};

use crate::{
    scenario::WORK,
    stages::{has_window, stage_at},
    third_party::{Asked, Errand},
};

/// An output or a list of bad records that appeared under its name.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    pub(crate) run: RunId,
    pub(crate) epoch: Epoch,
    pub(crate) bytes: Bytes,
}

/// What happened.
#[derive(Debug, Default, Clone)]
pub(crate) struct Record {
    /// Runs as they are now.
    pub(crate) runs: BTreeMap<RunId, Run>,
    /// Every source that was uploaded, by its entity tag.
    pub(crate) sources: BTreeMap<String, Bytes>,
    /// What appeared under a name, in order.
    pub(crate) published: BTreeMap<ObjectName, Vec<Published>>,
    /// Every object that was created in the work bucket, expired or not.
    pub(crate) work: BTreeMap<String, (Bytes, Metadata)>,
    /// When each of them was first there, in milliseconds from the start.
    pub(crate) created_at_ms: BTreeMap<String, u64>,
    /// Those that expired, and may be created once more.
    pub(crate) expired: BTreeSet<String>,
    /// When each was last written.
    pub(crate) written_at_ms: BTreeMap<String, u64>,
    /// Those that were removed after their run's end, and may be created once more by whoever hung meanwhile.
    pub(crate) removed: BTreeSet<String>,
    /// Uploads of outputs, and the run that began each.
    pub(crate) uploads: BTreeMap<Upload, RunId>,
    /// How each chunk ended.
    pub(crate) marks: BTreeMap<(StageId, ChunkIndex), Mark>,
    pub(crate) folded: BTreeMap<StageId, BTreeSet<GroupIndex>>,
    sent_chunks: BTreeSet<(StageId, ChunkIndex)>,
    /// Chunks of which it is noted that what follows from their end was done.
    pub(crate) handed: BTreeSet<(StageId, ChunkIndex)>,
    sent_launches: BTreeSet<(StageId, LaunchIndex)>,
    started_maps: BTreeSet<ExecutionName>,
    /// Launches as they are now.
    launches: BTreeMap<(StageId, LaunchIndex), Launch>,
    /// The cluster that each generation of a launch was given to.
    homes: BTreeMap<(RunId, String, u32, u32), String>,
    /// Chunks of which it was told that they failed.
    told_failed: BTreeSet<(RunId, String, ChunkIndex)>,
    /// When each run ended, in milliseconds from the start.
    pub(crate) ended_at_ms: BTreeMap<RunId, u64>,
    /// Chunks whose index or whole Job Kubernetes gave up, or whose pod could not read the source.
    pub(crate) of_failed_jobs: BTreeSet<(RunId, ChunkIndex)>,
    /// How many workers were given a message of each chunk, and how many of those died.
    pub(crate) workers: BTreeMap<(StageId, ChunkIndex), (u32, u32)>,
    /// Requests that arrived at the third party, in order.
    pub(crate) asked: Vec<Asked>,
    /// From when on, in milliseconds from the start, a person has had a destination asked at which rate.
    pub(crate) rates: BTreeMap<Destination, Vec<(u64, Rate)>>,
    /// How often what happened that a simulation must meet.
    pub(crate) counts: BTreeMap<&'static str, usize>,
    /// The runs that took each output, in order.
    pub(crate) takers: BTreeMap<ObjectName, Vec<RunId>>,
    /// How many there were of what is numbered.
    numbered: BTreeMap<&'static str, usize>,
    /// The newest upload of each source whose run took an output, by output and source.
    newest_taker: BTreeMap<(ObjectName, ObjectName), Sequencer>,
    /// What no step may have done.
    pub(crate) violations: Vec<String>,
    /// A line for each step that matters, to be read by a person.
    pub(crate) trace: Vec<String>,
}

impl Record {
    /// What happened so far, without the trace.
    pub(crate) fn snapshot(&self) -> Self {
        Self { trace: Vec::new(), ..self.clone() }
    }

    pub(crate) fn tell(&mut self, line: String) {
        self.trace.push(line);
    }

    pub(crate) fn accuse(&mut self, violation: String) {
        self.trace.push(format!("!!! {violation}"));
        self.violations.push(violation);
    }

    pub(crate) fn run_created(&mut self, run: &Run) {
        self.tell(format!("run {} created {}, epoch {}", short(&run.id), run.state, run.epoch));
        self.runs.insert(run.id.clone(), run.clone());
    }

    pub(crate) fn run_saved(&mut self, run: &Run) {
        let Some(before) = self.runs.insert(run.id.clone(), run.clone()) else {
            return self.accuse(format!("run {} was saved and never created", run.id));
        };
        let id = short(&run.id);
        self.tell(format!(
            "run {id} {} -> {}, epoch {}, uploads {:?} {}",
            before.state,
            run.state,
            run.epoch,
            run.uploads,
            run.reason.as_deref().unwrap_or_default()
        ));
        if before.state == run.state {
            // What keeps it from ever writing again may be noted, that its end was announced, and how far its
            // cleaning and the list of its bad records are.
            let noted = Run {
                list_uploads: run.list_uploads.clone(),
                is_fenced: run.is_fenced,
                unannounced: run.unannounced.clone(),
                report: run.report,
                cleaning: run.cleaning,
                revision: run.revision,
                ..before.clone()
            };
            if run.state.has_ended() && *run != noted {
                self.accuse(format!("run {id} ended {} and was changed", run.state));
            }
            return;
        }
        if !before.state.may_become(run.state) {
            self.accuse(format!("run {id} went from {} to {}", before.state, run.state));
        }
        if matches!(run.state, RunState::Failed | RunState::Cancelled | RunState::Superseded)
            && run.reason.is_none()
        {
            self.accuse(format!("run {id} is {} without a reason", run.state));
        }
        match run.state {
            RunState::Running => self.check_first_window(run),
            RunState::Completing => self.check_all_folded(run),
            _ => {}
        }
    }

    /// `running` only after the last message was sent.
    fn check_first_window(&mut self, run: &Run) {
        let Some(plan) = &run.plan else {
            return self.accuse(format!("run {} is running without a plan", run.id));
        };
        if is_by_map(run) {
            if !self.started_maps.contains(&ExecutionName::of(&StageName::of(run, &run.first_stage().name))) {
                self.accuse(format!("run {} is running and its map was not started", short(&run.id)));
            }
            return;
        }
        if is_on_clusters(run) {
            let launching = Launching::of(plan.grouping.chunks, run.first_stage().max_concurrency);
            let launches = launching.map_or(0, Launching::launches);
            for launch in (0..launches).map(LaunchIndex) {
                if !self.sent_launches.contains(&(StageId::first_of(run), launch)) {
                    self.accuse(format!(
                        "run {} is running and launch {launch} was not sent",
                        short(&run.id)
                    ));
                }
            }
            return;
        }
        let first = run.first_stage().max_concurrency.min(plan.grouping.chunks);
        for chunk in (0..first).map(ChunkIndex) {
            if !self.sent_chunks.contains(&(StageId::first_of(run), chunk)) {
                self.accuse(format!("run {} is running and chunk {chunk} was not sent", short(&run.id)));
            }
        }
    }

    fn check_all_folded(&mut self, run: &Run) {
        for (place, stage) in run.pipeline.stages.iter().enumerate() {
            let groups = run.grouping_at(place).map_or(0, Grouping::groups);
            let folded = self.folded.get(&stage_at(run, place)).map_or(0, BTreeSet::len);
            if folded != groups as usize {
                let (id, stage) = (short(&run.id), &stage.name);
                self.accuse(format!("run {id} is completing with {folded} of {groups} groups of {stage}"));
            }
        }
    }

    pub(crate) fn marked(&mut self, stage: &StageId, marks: &[(ChunkIndex, Mark)]) {
        for (chunk, mark) in marks {
            self.tell(format!("run {} chunk {chunk} of {} marked {mark:?}", short(&stage.run), stage.stage));
            if self.marks.insert((stage.clone(), *chunk), *mark).is_some() {
                self.accuse(format!("chunk {chunk} of {}'s {} was counted twice", stage.run, stage.stage));
            }
            self.check_part(stage, *chunk, *mark);
        }
    }

    /// A chunk is done or has failed: of the one there is a part for good, of the other never.
    fn check_part(&mut self, stage: &StageId, chunk: ChunkIndex, mark: Mark) {
        let Some(run) = self.runs.get(&stage.run) else { return };
        let is_done = matches!(mark, Mark::Done(_));
        // What was lost from the bucket makes chunks fail whose part was there.
        let is_lossless = self.expired.is_empty() && self.removed.is_empty();
        if is_lossless && stage.stage != SCAN && self.has_part(run, &stage.stage, chunk) != is_done {
            let what = if is_done { "done without a part" } else { "failed beside its part" };
            self.accuse(format!("chunk {chunk} of {}'s {} was counted as {what}", stage.run, stage.stage));
        }
    }

    pub(crate) fn handed(&mut self, stage: &StageId, chunks: &[ChunkIndex]) {
        let Some(run) = self.runs.get(&stage.run).cloned() else { return };
        let place = run.pipeline.stage_index(&stage.stage);
        if let Some(place) = place {
            for chunk in chunks {
                self.check_followed(&run, place, chunk.0);
            }
        }
        self.handed.extend(chunks.iter().map(|chunk| (stage.clone(), *chunk)));
        // Of a later stage it is looked at with what its chunks read.
        if place.is_some_and(|place| place > 0 || !has_window(&run, place)) {
            return;
        }
        let count = run.grouping_of(&stage.stage).map_or(0, |grouping| grouping.chunks);
        let window = window(&run, place);
        for chunk in chunks {
            let next = ChunkIndex(chunk.0 + window);
            if next.0 < count && !self.sent_chunks.contains(&(stage.clone(), next)) {
                self.accuse(format!("chunk {chunk} of {} was handed before {next} was sent", short(&run.id)));
            }
        }
    }

    /// Whether a part was created under this key, and not the tombstone of a chunk that failed.
    fn is_part(&self, key: &str) -> bool {
        self.work.get(key).is_some_and(|(_, metadata)| !is_tombstone(metadata))
    }

    /// Whether there is a chunk's tombstone under this key.
    pub(crate) fn has_tombstone(&self, key: &str) -> bool {
        self.work.get(key).is_some_and(|(_, metadata)| is_tombstone(metadata))
    }

    pub(crate) fn has_part(&self, run: &Run, stage: &str, chunk: ChunkIndex) -> bool {
        self.is_part(&run.keys(stage).part(chunk))
    }

    pub(crate) fn was_sent(&self, stage: &StageId, chunk: ChunkIndex) -> bool {
        self.sent_chunks.contains(&(stage.clone(), chunk))
    }

    pub(crate) fn map_started(&mut self, input: &MapInput) {
        let name = input.name();
        self.tell(format!("map {name} started"));
        let MapInput { run, stage, generation, .. } = input;
        let stage = StageId { run: run.clone(), stage: stage.clone(), generation: *generation };
        self.check_inputs(&stage, &[], false);
        self.started_maps.insert(name);
    }

    pub(crate) fn folded(&mut self, stage: &StageId, group: GroupIndex) {
        self.tell(format!("run {} group {group} of {} marked folded", short(&stage.run), stage.stage));
        self.folded.entry(stage.clone()).or_default().insert(group);
    }

    /// Messages of an invocation that began at `begun_ms`.
    pub(crate) fn sent(&mut self, queue: Queue, messages: &[Outgoing], begun_ms: u64) {
        for message in messages {
            self.tell(format!("sent to {queue} after {} s: {}", message.delay_s, message.body));
            match queue {
                Queue::Chunks => self.chunk_sent(&decode(&message.body).expect("a message of ours")),
                Queue::Folds => self.fold_sent(&decode(&message.body).expect("a message of ours")),
                Queue::Launches => self.launch_sent(&decode(&message.body).expect("a message of ours")),
                Queue::Completions => {
                    if let Told::Completion(told) = Told::read(&message.body).expect("a message of ours") {
                        self.completion_sent(&told, begun_ms);
                    }
                }
                Queue::Intake => {}
            }
        }
    }

    /// At most a window of chunks is outstanding: chunk i is sent only once chunk i - W has ended, by its part or its mark.
    fn chunk_sent(&mut self, message: &ChunkMessage) {
        let ChunkMessage { run, stage, generation, chunk, .. } = message;
        let stage = StageId { run: run.clone(), stage: stage.clone(), generation: *generation };
        let place = self.runs.get(run).and_then(|run| run.pipeline.stage_index(&stage.stage));
        let launched = |run: &Run| place.is_some_and(|place| is_launched(run, place));
        if self.runs.get(run).is_some_and(launched) {
            self.accuse(format!("chunk {chunk} of {run}'s {} was sent, which is launched", stage.stage));
        }
        self.check_inputs(&stage, &[*chunk], !self.runs.get(run).is_some_and(is_by_map));
        self.sent_chunks.insert((stage.clone(), *chunk));
        // What a Map leaves undone goes on in no order.
        if place.is_some() && self.runs.get(run).is_some_and(is_by_map) {
            return self.count("chunks sent for a map");
        }
        let window = self.runs.get(run).map_or(u32::MAX, |run| window(run, place));
        let Some(gate) = chunk.0.checked_sub(window).map(ChunkIndex) else { return };
        let part = self.runs.get(&stage.run).map(|run| run.keys(&stage.stage).part(gate));
        // A tombstone is an end too.
        let has_ended = part.is_some_and(|part| self.work.contains_key(&part));
        if !has_ended && !self.marks.contains_key(&(stage.clone(), gate)) {
            self.accuse(format!(
                "chunk {chunk} of {run}'s {} was sent before chunk {gate} ended",
                stage.stage
            ));
        }
    }

    pub(crate) fn asked(&mut self, asked: Asked) {
        let Asked { errand: Errand { run, stage, .. }, key, body, .. } = &asked;
        self.tell(format!("run {} asks, of {stage}, as {key}: {body:?}", short(run)));
        self.count("requests");
        self.asked.push(asked);
    }

    pub(crate) fn work_begun(&mut self, body: &str) {
        self.workers_of(body).0 += 1;
    }

    pub(crate) fn worker_died(&mut self, body: &str) {
        self.workers_of(body).1 += 1;
    }

    fn workers_of(&mut self, body: &str) -> &mut (u32, u32) {
        let ChunkMessage { run, stage, generation, chunk, .. } = decode(body).expect("a message of ours");
        self.workers.entry((StageId { run, stage, generation }, chunk)).or_default()
    }

    pub(crate) fn rate_set(&mut self, destination: Destination, at_ms: u64, rate: Rate) {
        self.count("rates changed");
        self.rates.entry(destination).or_default().push((at_ms, rate));
    }

    /// A part that was there before somebody began to look means done, whatever became of its worker.
    fn completion_sent(&mut self, completion: &Completion, begun_ms: u64) {
        if !completion.sent.is_empty() {
            self.count("released by workers");
        }
        let Completion { run, stage, chunk, end: ChunkEnd::Failed(failure), .. } = completion else { return };
        let Some(part) = self.runs.get(run).map(|run| run.keys(stage).part(*chunk)) else {
            return;
        };
        if !self.told_failed.insert((run.clone(), stage.clone(), *chunk)) {
            // Perhaps the same completion, which died and was sent back.
            return;
        }
        let is_there = self.is_part(&part) && self.created_at_ms.get(&part).is_some_and(|at| *at < begun_ms);
        // What expires makes chunks fail of its own.
        if is_there && stage != SCAN && self.expired.is_empty() && !self.removed.contains(&part) {
            let reason = &failure.reason;
            self.accuse(format!("chunk {chunk} of {run} was told failed, and its part was there: {reason}"));
        }
    }

    fn launch_sent(&mut self, message: &LaunchMessage) {
        let LaunchMessage { run, stage, generation, launch, launch_generation, chunks, .. } = message;
        let stage = StageId { run: run.clone(), stage: stage.clone(), generation: *generation };
        let known = self.launches.get(&(stage.clone(), *launch)).map_or(0, |launch| launch.generation);
        if *launch_generation > known {
            self.accuse(format!("launch {launch} of {run} was sent before its generation was kept"));
        }
        self.check_inputs(&stage, &chunks.iter().collect::<Vec<_>>(), false);
        self.sent_launches.insert((stage, *launch));
    }

    /// A launch moves by a new generation only, and loses only chunks that have ended.
    pub(crate) fn launch_saved(&mut self, stage: &StageId, launch: &Launch) {
        let Launch { index, generation, chunks, cluster, is_created, note, .. } = launch;
        let id = short(&stage.run).to_owned();
        self.tell(format!(
            "run {id} launch {index}, generation {generation}: {chunks} on {cluster:?}, created: {is_created}, {note:?}"
        ));
        let before = self.launches.insert((stage.clone(), *index), launch.clone());
        if let Some(cluster) = cluster {
            let home = (stage.run.clone(), stage.stage.clone(), index.0, *generation);
            let home = self.homes.entry(home).or_insert_with(|| cluster.clone());
            if home != cluster {
                let home = home.clone();
                self.accuse(format!(
                    "launch {index} of {id} moved from {home} to {cluster} without a new name"
                ));
            }
        }
        let Some(before) = before else { return };
        if before.generation > *generation {
            self.accuse(format!("launch {index} of {id} went back to generation {generation}"));
        }
        if before.generation < *generation {
            self.count("launched anew");
            let why = note.as_deref().unwrap_or_default();
            self.count(why_anew(why));
            if before.is_created && why.contains("Full:") {
                self.accuse(format!(
                    "launch {index} of {id} left a cluster that runs it and takes no others"
                ));
            }
        }
        let kept: BTreeSet<ChunkIndex> = chunks.iter().collect();
        for chunk in before.chunks.iter().filter(|chunk| !kept.contains(chunk)) {
            if !self.marks.contains_key(&(stage.clone(), chunk)) {
                self.accuse(format!("launch {index} of {id} lost chunk {chunk}, which has not ended"));
            }
        }
    }

    /// A launch's item says where its Job is before it is there.
    pub(crate) fn job_created(&mut self, cluster: &str, job: &KubeJob) {
        self.tell(format!("Job {} created on {cluster}", job.name));
        self.count("jobs created");
        let label = |name: &str| job.manifest["metadata"]["labels"][name].as_str().unwrap_or_default();
        let number = |name: &str| label(name).parse().expect("a label of ours");
        let run: RunId = label(RUN).parse().expect("a label of ours");
        let home = self.homes.get(&(run, label(STAGE).to_owned(), number(LAUNCH), number(LAUNCH_GENERATION)));
        if home.is_none_or(|home| home != cluster) {
            self.accuse(format!("Job {} is on {cluster}, and the launch is {home:?}'s", job.name));
        }
    }

    pub(crate) fn job_deleted(&mut self, cluster: &str, job: &str) {
        self.tell(format!("Job {job} deleted on {cluster}"));
        self.count("jobs deleted");
    }

    /// These chunks fail for another of their Job.
    pub(crate) fn failed_by_job(&mut self, run: &RunId, chunks: Vec<ChunkIndex>) {
        self.of_failed_jobs.extend(chunks.into_iter().map(|chunk| (run.clone(), chunk)));
    }

    /// The number of the next of these, from 0.
    pub(crate) fn next(&mut self, what: &'static str) -> usize {
        let number = self.numbered.entry(what).or_default();
        *number += 1;
        *number - 1
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn fold_sent(&mut self, message: &FoldMessage) {
        let FoldMessage::Fold { run, stage, generation, group } = message else { return };
        let Some(grouping) = self.runs.get(run).and_then(|run| run.grouping_of(stage)) else { return };
        let stage = StageId { run: run.clone(), stage: stage.clone(), generation: *generation };
        for chunk in grouping.chunks_of(*group).map(ChunkIndex) {
            if !self.marks.contains_key(&(stage.clone(), chunk)) {
                self.accuse(format!("group {group} of {run} was sent to be folded without chunk {chunk}"));
            }
        }
    }

    /// Parts, groups and manifests are created once; an attempt's own objects have its name.
    pub(crate) fn work_written(&mut self, key: &str, bytes: Bytes, metadata: &Metadata) {
        let is_shared =
            !key.ends_with(".statistics") && (!key.ends_with(".errors") || key.contains("/group-"));
        if is_tombstone(metadata) {
            self.count("tombstones");
        }
        let Some(before) = self.work.insert(key.to_owned(), (bytes, metadata.clone())) else { return };
        let is_of_failure = is_tombstone(metadata) && !is_tombstone(&before.1);
        let (was_removed, has_expired) = (self.removed.contains(key), self.expired.contains(key));
        if was_removed || has_expired && is_of_failure {
            // What was counted, if anything was, is what was lost: after its end a run counts nothing.
            self.work.insert(key.to_owned(), before);
        } else if is_shared && !self.expired.remove(key) {
            self.accuse(format!("{key} was overwritten"));
        }
    }

    /// Nothing is removed but what a run left that has ended, was announced, and is to be cleaned; also by an invocation
    /// that goes on after its message was given up.
    pub(crate) fn removed(&mut self, bucket: &str, key: &str) {
        self.removed.insert(key.to_owned());
        let run = self.runs.values().find(|run| key.contains(run.id.as_str()));
        let is_asked = run.is_some_and(|run| {
            let was_asked =
                matches!(run.cleaning, Cleaning::Asked(_) | Cleaning::Done(_) | Cleaning::GivenUp(_));
            was_asked && run.unannounced.is_empty()
        });
        let may_be = run.is_some_and(|run| run.pipeline.cleanup.applies_to(run.state)) && is_asked;
        if bucket != WORK || !may_be {
            let run = run.map(|run| (run.state, run.cleaning));
            self.accuse(format!("{key} of {bucket} was removed, and its run is {run:?}"));
        }
    }

    /// A run takes an output once, and never back. Once an output was a newer upload's, no older upload's run owns it
    /// any more, whoever took it in between.
    pub(crate) fn taken(&mut self, run: &Run) {
        let (output, short) = (&run.output, short(&run.id));
        self.tell(format!("run {short} owns the output at epoch {}, taken from {:?}", run.epoch, run.former));
        let takers = self.takers.entry(output.clone()).or_default();
        if takers.contains(&run.id) {
            return self.accuse(format!("run {short} took its output again"));
        }
        if run.former.as_ref() != takers.last() {
            let last = takers.last().cloned();
            return self.accuse(format!("run {short} took it from {:?}, and {last:?} owned it", run.former));
        }
        takers.push(run.id.clone());
        let Some(sequencer) = &run.sequencer else { return };
        let newest = self.newest_taker.entry((output.clone(), run.source.object.clone()));
        let newest = newest.or_insert_with(|| sequencer.clone());
        if sequencer >= newest {
            newest.clone_from(sequencer);
            return;
        }
        let newest = newest.clone();
        self.accuse(format!("run {short} of upload {sequencer:?} owns the output after {newest:?}"));
    }

    pub(crate) fn published(&mut self, name: &ObjectName, bytes: Bytes, metadata: &Metadata) {
        let Some(Stamp { run, epoch, .. }) = Stamp::read(metadata) else {
            return self.accuse(format!("{name} was written without a stamp"));
        };
        self.tell(format!("run {} published {name} at epoch {epoch}, {} bytes", short(&run), bytes.len()));
        let all = self.published.entry(name.clone()).or_default();
        let highest = all.iter().map(|published| published.epoch).max().unwrap_or_default();
        all.push(Published { run: run.clone(), epoch, bytes });
        if epoch < highest {
            self.accuse(format!("run {run} of epoch {epoch} overwrote {name} of epoch {highest}"));
        }
    }

    /// An upload of an output is recorded in its run before it is used.
    pub(crate) fn upload_used(&mut self, upload: &Upload) {
        let Some(id) = self.uploads.get(upload) else { return };
        let Some(run) = self.runs.get(id) else { return };
        let recorded = if upload.object == run.errors { &run.list_uploads } else { &run.uploads };
        let is_published = upload.object == run.output || upload.object == run.errors;
        if is_published && !recorded.contains(&upload.id) {
            self.accuse(format!("upload {} of {} is used and not recorded", upload.id, short(id)));
        }
    }
}

/// How many chunks may be outstanding at once of the stage at this place, or of an internal one.
fn window(run: &Run, place: Option<usize>) -> u32 {
    place.map_or_else(|| run.pipeline.scan_window(), |place| run.pipeline.stages[place].max_concurrency)
}

/// Why a launch was launched anew, in a few words.
fn why_anew(note: &str) -> &'static str {
    let kinds = [
        ("is gone from cluster", "anew: job gone"),
        ("not all of it was told", "anew: untold"),
        ("did not take it", "anew: not taken"),
        ("Unreachable", "anew: unreachable"),
        ("Refused", "anew: refused"),
        ("there is no such cluster", "anew: cluster gone"),
        ("plan of faults", "anew: by faults"),
    ];
    kinds.into_iter().find(|(words, _)| note.contains(words)).map_or("anew: otherwise", |(_, kind)| kind)
}

/// Whether a Map fans a run's chunks out.
pub(crate) fn is_by_map(run: &Run) -> bool {
    matches!(run.pipeline.fan_out, FanOut::Map { .. })
}

/// Whether the first stage's chunks are done by pods.
pub(crate) fn is_on_clusters(run: &Run) -> bool {
    is_launched(run, 0)
}

/// Whether the chunks of the stage at this place are done by pods.
fn is_launched(run: &Run, place: usize) -> bool {
    matches!(run.pipeline.stages[place].run_on, RunOn::Eks(_))
}

/// The first digits of an id: enough to tell the few runs of a simulation apart.
pub(crate) fn short(id: &RunId) -> &str {
    &id.as_str()[..6]
}

/// Whether what was created in the place of a part is a tombstone.
fn is_tombstone(metadata: &Metadata) -> bool {
    metadata.contains_key("fanfold-failed")
}

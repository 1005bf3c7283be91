//! What happened, as the world itself saw it, and the rules that hold at every single step.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use fanfold_domain::{
    ChunkIndex, Epoch, GroupIndex, Mark, ObjectName, Run, RunId, RunState, Sequencer, Stamp,
    message::{ChunkMessage, FoldMessage, decode},
};
use fanfold_ports::{
    Queue,
    ledger::StageId,
    objects::{Metadata, Upload},
    queues::Outgoing,
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
    /// Those that expired, and may be created once more.
    pub(crate) expired: BTreeSet<String>,
    /// Uploads of outputs, and the run that began each.
    pub(crate) uploads: BTreeMap<Upload, RunId>,
    /// How each chunk ended.
    pub(crate) marks: BTreeMap<(StageId, ChunkIndex), Mark>,
    pub(crate) folded: BTreeMap<StageId, BTreeSet<GroupIndex>>,
    sent_chunks: BTreeSet<(StageId, ChunkIndex)>,
    /// The newest upload whose run took an output. All uploads of a simulation are of one key.
    newest_taker: BTreeMap<ObjectName, Sequencer>,
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

    fn accuse(&mut self, violation: String) {
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
            // What keeps it from ever writing again may be noted.
            let noted = Run {
                list_uploads: run.list_uploads.clone(),
                is_fenced: run.is_fenced,
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
        if matches!(run.state, RunState::Failed | RunState::Superseded) && run.reason.is_none() {
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
        let first = run.stage().max_concurrency.min(plan.grouping.chunks);
        for chunk in (0..first).map(ChunkIndex) {
            if !self.sent_chunks.contains(&(StageId::of(run), chunk)) {
                self.accuse(format!("run {} is running and chunk {chunk} was not sent", short(&run.id)));
            }
        }
    }

    fn check_all_folded(&mut self, run: &Run) {
        let groups = run.plan.as_ref().map_or(0, |plan| plan.grouping.groups());
        let folded = self.folded.get(&StageId::of(run)).map_or(0, BTreeSet::len);
        if folded != groups as usize {
            self.accuse(format!("run {} is completing with {folded} of {groups} groups", short(&run.id)));
        }
    }

    pub(crate) fn marked(&mut self, stage: &StageId, marks: &[(ChunkIndex, Mark)]) {
        for (chunk, mark) in marks {
            self.tell(format!("run {} chunk {chunk} marked {mark:?}", short(&stage.run)));
            if self.marks.insert((stage.clone(), *chunk), *mark).is_some() {
                self.accuse(format!("chunk {chunk} of {} was counted twice", stage.run));
            }
        }
    }

    pub(crate) fn handed(&mut self, stage: &StageId, chunks: &[ChunkIndex]) {
        let Some(run) = self.runs.get(&stage.run).cloned() else { return };
        let count = run.grouping_of(&stage.stage).map_or(0, |grouping| grouping.chunks);
        let window = run.stage().max_concurrency;
        for chunk in chunks {
            let next = ChunkIndex(chunk.0 + window);
            if next.0 < count && !self.sent_chunks.contains(&(stage.clone(), next)) {
                self.accuse(format!("chunk {chunk} of {} was handed before {next} was sent", short(&run.id)));
            }
        }
    }

    pub(crate) fn folded(&mut self, stage: &StageId, group: GroupIndex) {
        self.tell(format!("run {} group {group} marked folded", short(&stage.run)));
        self.folded.entry(stage.clone()).or_default().insert(group);
    }

    pub(crate) fn sent(&mut self, queue: Queue, messages: &[Outgoing]) {
        for message in messages {
            self.tell(format!("sent to {queue} after {} s: {}", message.delay_s, message.body));
            match queue {
                Queue::Chunks => self.chunk_sent(&decode(&message.body).expect("a message of ours")),
                Queue::Folds => self.fold_sent(&decode(&message.body).expect("a message of ours")),
                Queue::Intake | Queue::Launches | Queue::Completions => {}
            }
        }
    }

    /// At most a window of chunks is outstanding: chunk i is sent only once chunk i - W has ended.
    fn chunk_sent(&mut self, message: &ChunkMessage) {
        let ChunkMessage { run, stage, generation, chunk, .. } = message;
        let stage = StageId { run: run.clone(), stage: stage.clone(), generation: *generation };
        self.sent_chunks.insert((stage.clone(), *chunk));
        let window = self.runs.get(run).map_or(u32::MAX, |run| run.stage().max_concurrency);
        let Some(gate) = chunk.0.checked_sub(window).map(ChunkIndex) else { return };
        if !self.marks.contains_key(&(stage, gate)) {
            self.accuse(format!("chunk {chunk} of {run} was sent before chunk {gate} ended"));
        }
    }

    fn fold_sent(&mut self, message: &FoldMessage) {
        let FoldMessage::Fold { run, stage, generation, group } = message else { return };
        let Some(plan) = self.runs.get(run).and_then(|run| run.plan.clone()) else { return };
        let stage = StageId { run: run.clone(), stage: stage.clone(), generation: *generation };
        for chunk in plan.grouping.chunks_of(*group).map(ChunkIndex) {
            if !self.marks.contains_key(&(stage.clone(), chunk)) {
                self.accuse(format!("group {group} of {run} was sent to be folded without chunk {chunk}"));
            }
        }
    }

    /// Parts, groups and manifests are created once; an attempt's own objects have its name.
    pub(crate) fn work_written(&mut self, key: &str, bytes: Bytes, metadata: &Metadata) {
        let is_shared =
            !key.ends_with(".statistics") && (!key.ends_with(".errors") || key.contains("/group-"));
        let before = self.work.insert(key.to_owned(), (bytes, metadata.clone()));
        if before.is_some() && is_shared && !self.expired.remove(key) {
            self.accuse(format!("{key} was overwritten"));
        }
    }

    /// Once an output was a newer upload's, no older upload's run owns it any more, whoever took it in between.
    pub(crate) fn taken(&mut self, output: &ObjectName, run: &RunId, sequencer: Option<&Sequencer>) {
        let Some(sequencer) = sequencer else { return };
        let newest = self.newest_taker.entry(output.clone()).or_insert_with(|| sequencer.clone());
        if sequencer >= newest {
            newest.clone_from(sequencer);
            return;
        }
        let newest = newest.clone();
        let short = short(run);
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

/// The first digits of an id: enough to tell the few runs of a simulation apart.
pub(crate) fn short(id: &RunId) -> &str {
    &id.as_str()[..6]
}

//! Drives a run on threads: plan, chunks, counting, folds, publication.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::Arc,
};

use anyhow::{Context, anyhow};
use fanfold_domain::{
    ChunkIndex, GroupCount, GroupIndex, Grouping, Mark, ObjectName, PLAN, Plan, RootCount, Run, SourcePin,
    Sums, key,
    message::Failure,
    pipeline::{Format, Order, Split, Stage},
};
use fanfold_engine::{
    fold::Fold,
    plan::{Planned, Wanted, list_objects, plan, plan_ids, plan_whole},
    processor::Inherited,
    publish::{ListUpload, StageReport, assemble, metadata, report_bad_records, write_bad_records},
};
use fanfold_local::LocalObjects;
use fanfold_ports::{Objects, objects::Condition};
use futures::future::select_all;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use super::{
    setup::{FILES, Folders},
    work::{End, Task, Work},
};
use crate::Failed;

/// The bucket of parts; no other bucket can be called so.
pub(super) const WORK: &str = ".work";

/// One local run.
pub(super) struct Driver {
    objects: Arc<LocalObjects>,
    folders: Arc<Folders>,
    run: Run,
    jobs: Option<NonZeroUsize>,
    inherited: Inherited,
}

impl Driver {
    pub(super) fn new(
        objects: Arc<LocalObjects>,
        folders: Folders,
        run: Run,
        jobs: Option<NonZeroUsize>,
        inherited: Inherited,
    ) -> Self {
        Self { objects, folders: Arc::new(folders), run, jobs, inherited }
    }

    /// Runs to the end. Returns the number of chunks and the final sums.
    pub(super) fn run(mut self) -> Result<(u32, Sums), Failed> {
        let threads = self.jobs.map_or(1, NonZeroUsize::get);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
        runtime.block_on(async move {
            // Before anything is begun: commands and temporary files end with what began them, so that is ended in order.
            let mut signals = listen().context("signals cannot be listened to")?;
            tokio::select! {
                biased;
                done = self.drive(threads) => done,
                () = interruption(&mut signals) => Err(anyhow!("interrupted; nothing was published").into()),
            }
        })
    }

    async fn drive(&mut self, threads: usize) -> Result<(u32, Sums), Failed> {
        self.run.list = match self.run.pipeline.source.format {
            Format::Items => Some(self.have_list_written().await?),
            Format::Objects => Some(self.list_objects().await?),
            _ => None,
        };
        let planned = self.plan().await?;
        let plan = planned.plan.clone();
        self.run.plan = Some(plan.clone());
        let mut stages: Vec<Counted> = Vec::new();
        for place in 0..self.run.pipeline.stages.len() {
            let (tasks, lost) = self.tasks(place, &planned, &stages);
            stages.push(Counted::default());
            self.count(&plan, place, tasks, lost, &mut stages, threads).await?;
        }
        let sums = self.publish(&stages).await?;
        Ok((plan.grouping.chunks, sums))
    }

    async fn plan(&self) -> Result<Planned, Failed> {
        let (objects, pipeline, source): (Arc<dyn Objects>, _, _) =
            (self.objects.clone(), &self.run.pipeline, self.run.input());
        Ok(match (pipeline.source.format, self.jobs) {
            (Format::Ids(range), jobs) => {
                let ids = range.of(&self.run.id);
                let split = if jobs.is_some() { pipeline.split } else { Split::Records(ids.len()) };
                plan_ids(ids, split)?
            }
            (_, Some(_)) => plan(objects, pipeline, source).await?,
            (_, None) => plan_whole(objects, pipeline, source).await?,
        })
    }

    /// Lists the files of the folder that stands for the bucket.
    async fn list_objects(&self) -> Result<SourcePin, Failed> {
        let source = &self.run.pipeline.source;
        let wanted =
            Wanted { bucket: &self.run.source.object.bucket, prefix: &source.prefix, suffix: &source.suffix };
        let to = ObjectName::new(WORK, key::list(&self.run.id));
        let folders = fanfold_local::Folders::new(&self.objects, &self.folders);
        list_objects(&folders, wanted, &to).await.map_err(|error| failed(&error.to_string()))
    }

    /// Has the plan step write the list.
    async fn have_list_written(&self) -> Result<SourcePin, Failed> {
        let stage = self.run.stage(PLAN).expect("the pipeline has a plan step").into_owned();
        let (run, chunk) = (self.run.clone(), ChunkIndex(0));
        let task = Task::Parts(chunk);
        let (objects, folders) = (self.objects.clone(), self.folders.clone());
        let inherited = self.inherited.clone();
        let work =
            Arc::new(Work::new(objects, folders, run, Plan::unplanned(), stage, vec![task], inherited));
        let (sender, mut ends) = mpsc::channel(1);
        work.do_chunks(sender).await;
        if let Some((_, End::Failed(failure))) = ends.recv().await {
            return Err(Failed::Run(anyhow!("the plan step gave no list: {}", failure.reason)));
        }
        let object = ObjectName::new(WORK, self.run.keys(PLAN).part(chunk));
        let head = self.objects.head(&object, None).await?.context("the plan step's list is gone")?;
        if head.size_bytes == 0 {
            return Err(Failed::Run(anyhow!("the plan step wrote no items")));
        }
        Ok(SourcePin { object, version: None, etag: head.etag, size_bytes: head.size_bytes })
    }

    /// What a stage has to do, and the chunks that failed before they began: those that read a failed chunk's part.
    fn tasks(&self, place: usize, planned: &Planned, before: &[Counted]) -> (Vec<Task>, Vec<ChunkIndex>) {
        let (Some(upstream), Some(grouping)) =
            (self.run.pipeline.stages[place].upstream, self.run.grouping_at(place))
        else {
            let counted = |place: usize| planned.counted.as_ref().map(|counted| counted[place]);
            let tasks = planned.chunks.iter().enumerate();
            return (tasks.map(|(at, chunk)| Task::Source(*chunk, counted(at))).collect(), Vec::new());
        };
        let failed = before[upstream.stage].failures.iter();
        let lost: BTreeSet<ChunkIndex> = failed.map(|(chunk, _)| upstream.reader_of(*chunk)).collect();
        let left = (0..grouping.chunks).map(ChunkIndex).filter(|chunk| !lost.contains(chunk));
        (left.map(Task::Parts).collect(), lost.into_iter().collect())
    }

    /// Has all chunks of a stage done and counted, and full groups folded.
    async fn count(
        &self,
        plan: &Plan,
        place: usize,
        tasks: Vec<Task>,
        lost: Vec<ChunkIndex>,
        stages: &mut [Counted],
        threads: usize,
    ) -> Result<(), Failed> {
        let stage = &self.run.pipeline.stages[place];
        let grouping = self.run.grouping_at(place).expect("the run is planned");
        for chunk in lost {
            let failure = Failure::of_chunk("a chunk that it reads failed");
            let group = stages[place].add(grouping, chunk, End::Failed(failure));
            self.fold_if_full(plan, place, group, &mut stages[place]).await?;
        }
        let (sender, mut ends) = mpsc::channel(threads * 2);
        let (objects, folders) = (self.objects.clone(), self.folders.clone());
        let (run, inherited) = (self.run.clone(), self.inherited.clone());
        let work = Work::new(objects, folders, run, plan.clone(), stage.clone(), tasks, inherited);
        let work = Arc::new(work);
        // In a sequential stage a chunk begins when the one before it has ended.
        let at_once = if stage.order == Order::Sequential { 1 } else { threads };
        for _ in 0..at_once {
            tokio::spawn(work.clone().do_chunks(sender.clone()));
        }
        drop(sender);
        while let Some((chunk, end)) = ends.recv().await {
            if let End::Failed(failure) = &end {
                // Whatever it looks like: what was read may be of another file.
                self.objects.check_source().context("the input was changed meanwhile")?;
                if failure.bad_records.is_some() || !self.tolerates_another(&stage.name, &stages[place]) {
                    let mut reason = format!("{}: {}", work.place(chunk), failure.reason);
                    if failure.bad_records.is_some() {
                        reason += &format!("; bad records are listed in {}", self.run.errors);
                    }
                    stages[place].add(grouping, chunk, end);
                    return Err(self.fail(stages, reason).await?);
                }
            }
            let group = stages[place].add(grouping, chunk, end);
            if let Some(reason) = self.verdict(&stage.name, stages, place) {
                return Err(self.fail(stages, reason).await?);
            }
            self.fold_if_full(plan, place, group, &mut stages[place]).await?;
        }
        Ok(())
    }

    /// Each stage's failed chunks are judged by themselves, bad records all together.
    fn verdict(&self, stage: &str, stages: &[Counted], place: usize) -> Option<String> {
        let bad_records = stages.iter().map(|counted| counted.sums.bad_records).sum();
        self.run.verdict(stage, &Sums { bad_records, ..stages[place].sums })
    }

    fn tolerates_another(&self, stage: &str, counted: &Counted) -> bool {
        let one_more = Sums { failed_chunks: counted.sums.failed_chunks + 1, ..Sums::default() };
        self.run.verdict(stage, &one_more).is_none()
    }

    async fn fold_if_full(
        &self,
        plan: &Plan,
        place: usize,
        group: GroupIndex,
        counted: &mut Counted,
    ) -> Result<(), Failed> {
        let (run, objects) = (&self.run, &*self.objects);
        let stage = &run.pipeline.stages[place];
        let grouping = run.grouping_at(place).expect("the run is planned");
        let count = &counted.groups[&group];
        if count.ended() == grouping.size_of(group) {
            let fold = Fold { objects, run, plan, stage, grouping, work_bucket: WORK, group, count };
            let sums = fold.run().await?;
            self.forget_parts(stage, count);
            counted.root.mark(group, sums);
        }
        Ok(())
    }

    /// Forgets the parts of a folded group of the last stage, unless a report of bad records would ask for them, or the
    /// chunk that follows the group.
    fn forget_parts(&self, stage: &Stage, count: &GroupCount) {
        let is_read = stage.name != self.run.last_stage().name || stage.order == Order::Sequential;
        if is_read || count.sums.bad_records > 0 || !count.failed.is_empty() {
            return;
        }
        let keys = self.run.keys(&stage.name);
        for chunk in &count.done {
            self.objects.forget(&ObjectName::new(WORK, keys.part(*chunk)));
        }
    }

    /// Publishes the bad records, if any, and then the output.
    async fn publish(&self, stages: &[Counted]) -> Result<Sums, Failed> {
        let (run, objects) = (&self.run, &*self.objects);
        let last = stages.len() - 1;
        let groups = run.grouping_at(last).expect("the run is planned").groups();
        let written = stages[last].root.sums;
        let sums = Run::total(&stages.iter().map(|counted| counted.root.sums).collect::<Vec<_>>());
        let upload = objects.create_upload(&run.output, &metadata(run)).await?;
        let assembled = assemble(objects, run, WORK, groups, &written, upload).await?;
        objects.check_source().context("the input was changed meanwhile")?;
        if sums.bad_records > 0 || objects.was_published_before(&run.errors) {
            let of_groups = |counted: &Counted| counted.groups.values().map(|count| count.sums).collect();
            let stages: Vec<Vec<Sums>> = stages.iter().map(of_groups).collect();
            write_bad_records(objects, run, WORK, &stages, self.list().await?).await?;
        }
        let (parts, expected) = (&assembled.parts, assembled.expected);
        objects.complete_upload(&assembled.upload, parts, Condition::Always, expected).await?;
        Ok(sums)
    }

    /// Where the bad records go, over whatever is there.
    async fn list(&self) -> Result<ListUpload, Failed> {
        let upload = self.objects.create_upload(&self.run.errors, &metadata(&self.run)).await?;
        Ok(ListUpload { upload, condition: Condition::Always })
    }

    /// Lists what is bad, as far as it is known, and gives up.
    async fn fail(&self, stages: &[Counted], reason: String) -> Result<Failed, Failed> {
        let (run, objects) = (&self.run, &*self.objects);
        let report = |(place, counted): (usize, &Counted)| {
            let groups = run.grouping_at(place).map_or(0, Grouping::groups);
            let known = |group| counted.groups.get(&GroupIndex(group)).cloned().unwrap_or_default();
            StageReport { groups: (0..groups).map(known).collect(), failures: counted.failures.clone() }
        };
        let reports: Vec<StageReport> = stages.iter().enumerate().map(report).collect();
        if reports.iter().any(StageReport::has_bad_records) || objects.was_published_before(&run.errors) {
            report_bad_records(objects, run, WORK, &reports, self.list().await?).await?;
        }
        Ok(failed(&reason))
    }
}

/// A failure that names files as the user does.
fn failed(reason: &str) -> Failed {
    Failed::Run(anyhow!(reason.replace(&format!("s3://{FILES}/"), "")))
}

/// What is counted so far of a stage.
#[derive(Default)]
struct Counted {
    groups: BTreeMap<GroupIndex, GroupCount>,
    sums: Sums,
    root: RootCount,
    failures: Vec<(ChunkIndex, Failure)>,
}

impl Counted {
    /// Counts a chunk, once; returns its group.
    fn add(&mut self, grouping: Grouping, chunk: ChunkIndex, end: End) -> GroupIndex {
        let group = grouping.group_of(chunk);
        let mark = match end {
            End::Done(sums) => Mark::Done(sums),
            End::Failed(failure) => {
                self.failures.push((chunk, failure));
                Mark::Failed
            }
        };
        if self.groups.entry(group).or_default().mark(&[(chunk, mark)]) {
            self.sums += mark.sums();
        }
        group
    }
}

/// Listens to whatever says that the run is to end: the keyboard, `kill`, the terminal as it goes.
fn listen() -> std::io::Result<Vec<Signal>> {
    let mut kinds = vec![SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate()];
    if !ignores_hangup() {
        kinds.push(SignalKind::hangup());
    }
    kinds.into_iter().map(signal).collect()
}

/// Waits for any of them.
async fn interruption(signals: &mut [Signal]) {
    select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
}

/// Whether it was begun by `nohup` or the like, to outlive its terminal: to listen would undo that.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // A bit a signal, from 1 on, in hexadecimal; the hangup is signal 1.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

//! Drives a run on threads: plan, chunks, counting, folds, publication.

use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc};

use anyhow::{Context, anyhow};
use fanfold_domain::{
    Chunk, ChunkIndex, GroupCount, GroupIndex, Grouping, Mark, ObjectName, Plan, RootCount, Run, Sums,
    message::Failure,
};
use fanfold_engine::{
    fold::Fold,
    plan::{plan, plan_whole},
    publish::{ListUpload, assemble, metadata, report_bad_records, write_bad_records},
};
use fanfold_local::LocalObjects;
use fanfold_ports::{Objects, objects::Condition};
use futures::future::select_all;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{
    setup::{FILES, Folders},
    work::{End, Work},
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
}

impl Driver {
    pub(super) fn new(
        objects: Arc<LocalObjects>,
        folders: Folders,
        run: Run,
        jobs: Option<NonZeroUsize>,
    ) -> Self {
        Self { objects, folders: Arc::new(folders), run, jobs }
    }

    /// Runs to the end. Returns the number of chunks and the final sums.
    pub(super) fn run(mut self) -> Result<(u32, Sums), Failed> {
        let threads = self.jobs.map_or(1, NonZeroUsize::get);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
        runtime.block_on(async move {
            tokio::select! {
                biased;
                done = self.drive(threads) => done,
                // Commands and temporary files end with what began them, so that is ended in order.
                interrupted = interruption() => Err(interrupted.into()),
            }
        })
    }

    async fn drive(&mut self, threads: usize) -> Result<(u32, Sums), Failed> {
        let objects: Arc<dyn Objects> = self.objects.clone();
        let (pipeline, source) = (&self.run.pipeline, &self.run.source);
        let planned = match self.jobs {
            Some(_) => plan(objects, pipeline, source).await?,
            None => plan_whole(objects, pipeline, source).await?,
        };
        self.run.plan = Some(planned.plan.clone());
        let counted = self.count(planned.chunks, &planned.plan, threads).await?;
        let sums = self.publish(&planned.plan, &counted).await?;
        Ok((planned.plan.grouping.chunks, sums))
    }

    /// Has all chunks done and counted, and full groups folded.
    async fn count(&self, chunks: Vec<Chunk>, plan: &Plan, threads: usize) -> Result<Counted, Failed> {
        let (sender, mut ends) = mpsc::channel(threads * 2);
        let work = Arc::new(Work::new(
            self.objects.clone(),
            self.folders.clone(),
            self.run.clone(),
            plan.clone(),
            chunks,
        ));
        for _ in 0..threads {
            tokio::spawn(work.clone().do_chunks(sender.clone()));
        }
        drop(sender);
        let mut counted = Counted::default();
        while let Some((chunk, end)) = ends.recv().await {
            if let End::Failed(failure) = &end {
                // Whatever it looks like: what was read may be of another file.
                self.objects.check_source().context("the input was changed meanwhile")?;
                if failure.bad_records.is_some() || !self.tolerates_another(&counted) {
                    let range = work.range(chunk);
                    let mut reason = format!("chunk {chunk} (bytes {range}): {}", failure.reason);
                    if failure.bad_records.is_some() {
                        reason += &format!("; bad records are listed in {}", self.run.errors);
                    }
                    counted.add(plan.grouping, chunk, end);
                    return Err(self.fail(plan, &counted, reason).await?);
                }
            }
            let group = counted.add(plan.grouping, chunk, end);
            if let Some(reason) = self.run.verdict(&counted.sums) {
                return Err(self.fail(plan, &counted, reason).await?);
            }
            let count = &counted.groups[&group];
            if count.ended() == plan.grouping.size_of(group) {
                let sums = self.fold(plan, group, count).await?;
                self.forget_parts(count);
                counted.root.mark(group, sums);
            }
        }
        Ok(counted)
    }

    fn tolerates_another(&self, counted: &Counted) -> bool {
        let one_more = Sums { failed_chunks: counted.sums.failed_chunks + 1, ..Sums::default() };
        self.run.verdict(&one_more).is_none()
    }

    async fn fold(&self, plan: &Plan, group: GroupIndex, count: &GroupCount) -> Result<Sums, Failed> {
        let (run, objects) = (&self.run, &*self.objects);
        Ok(Fold { objects, run, plan, work_bucket: WORK, group, count }.run().await?)
    }

    /// Forgets the parts of a folded group, unless a report of bad records would ask for them.
    fn forget_parts(&self, count: &GroupCount) {
        if count.sums.bad_records > 0 || !count.failed.is_empty() {
            return;
        }
        let keys = self.run.keys();
        for chunk in &count.done {
            self.objects.forget(&ObjectName::new(WORK, keys.part(*chunk)));
        }
    }

    /// Publishes the bad records, if any, and then the output.
    async fn publish(&self, plan: &Plan, counted: &Counted) -> Result<Sums, Failed> {
        let (run, objects, sums) = (&self.run, &*self.objects, counted.root.sums);
        let upload = objects.create_upload(&run.output, &metadata(run)).await?;
        let assembled = assemble(objects, run, WORK, plan.grouping.groups(), &sums, upload).await?;
        objects.check_source().context("the input was changed meanwhile")?;
        if sums.bad_records > 0 || objects.was_published_before(&run.errors) {
            let groups: Vec<Sums> = counted.groups.values().map(|count| count.sums).collect();
            write_bad_records(objects, run, WORK, &groups, self.list().await?).await?;
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
    async fn fail(&self, plan: &Plan, counted: &Counted, reason: String) -> Result<Failed, Failed> {
        let (run, objects, failures) = (&self.run, &*self.objects, &counted.failures);
        let has_bad =
            counted.sums.bad_records > 0 || failures.iter().any(|(_, failure)| failure.bad_records.is_some());
        if has_bad || objects.was_published_before(&run.errors) {
            let known = |group| counted.groups.get(&GroupIndex(group)).cloned().unwrap_or_default();
            let groups: Vec<GroupCount> = (0..plan.grouping.groups()).map(known).collect();
            let list = self.list().await?;
            report_bad_records(objects, run, WORK, plan.grouping, &groups, failures, list).await?;
        }
        // Files are named as the user names them.
        Ok(Failed::Run(anyhow!(reason.replace(&format!("s3://{FILES}/"), ""))))
    }
}

/// What is counted so far.
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

/// Waits until a person or the system wants the run to end: by the keyboard, by `kill`, or as the terminal goes.
async fn interruption() -> anyhow::Error {
    let wait = async || {
        let mut kinds = vec![SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate()];
        if !ignores_hangup() {
            kinds.push(SignalKind::hangup());
        }
        let mut signals = kinds.into_iter().map(signal).collect::<Result<Vec<_>, _>>()?;
        select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
        Ok::<_, std::io::Error>(())
    };
    match wait().await {
        Ok(()) => anyhow!("interrupted; nothing was published"),
        Err(error) => anyhow::Error::new(error).context("signals cannot be listened to"),
    }
}

/// Whether it was begun by `nohup` or the like, to outlive its terminal: to listen would undo that.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // A bit a signal, from 1 on, in hexadecimal; the hangup is signal 1.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

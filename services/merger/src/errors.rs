//! The list of bad records, `<key>_Errors`: written before the output, and for a run that failed.

use fanfold_domain::{
    Cleaning, Epoch, GroupCount, GroupIndex, Grouping, Report, Run, RunId, Stamp, Standing, Sums,
};
use fanfold_engine::publish::{ListUpload, StageReport, report_bad_records, write_bad_records};
use fanfold_lifecycle::{change, fence_formers};
use fanfold_ports::{
    ledger::StageId,
    objects::{Condition, UploadError, Written},
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{Merger, MergerError, upload::Target};

/// How often the list is tried against others who write there.
const TRIES: usize = 5;
/// Ledger reads under way at once.
const READS_AT_ONCE: usize = 16;
/// Failures whose bad records are listed.
const MOST_FAILURES: usize = 10_000;

/// The epoch of an output's first owner.
const FIRST: Epoch = Epoch(1);

/// What the name of the list says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// The list is there, or there is none to be.
    Yes,
    /// A newer run's list is there.
    Newer,
    /// What that run wrote is there, and belongs to another output.
    OfAnother(RunId),
}

impl Merger {
    /// Has the bad records of a run listed that is about to publish. An older list gives way, to an empty one
    /// if there is nothing to list.
    pub(crate) async fn list_bad_records(&self, run: &Run, sums: &Sums) -> Result<Listed, MergerError> {
        let has_any = sums.bad_records > 0;
        let mut stages: Vec<Vec<Sums>> = Vec::new();
        for place in 0..if has_any { run.pipeline.stages.len() } else { 0 } {
            let groups = self.groups(run, place).await?;
            stages.push(groups.into_iter().map(|count| count.sums).collect());
        }
        let (objects, bucket) = (&*self.ports.objects, &self.work_bucket);
        self.publish_list(run, has_any, async |list| {
            write_bad_records(objects, run, bucket, &stages, list).await
        })
        .await
    }

    /// Has the bad records of a run listed that failed, as far as they are known, and notes that: it reads all groups of
    /// all stages, and messages that ask for it may be many. Should the note be lost, it is done again, to the same end.
    pub(crate) async fn report(&self, run: &Run) -> Result<(), MergerError> {
        if !run.is_report_due() {
            return Ok(());
        }
        // Whoever cleaned it had its bad records listed before; and another's output has another's list.
        let is_cleaned = matches!(run.cleaning, Cleaning::Done(_) | Cleaning::GivenUp(_));
        if !is_cleaned && self.owns_output(run).await? {
            self.write_report(run).await?;
        }
        change(&*self.ports.ledger, &run.id, |now| {
            let is_due = now.is_report_due() && now.generation == run.generation;
            Ok(is_due.then(|| Run { report: Report::Done, ..now.clone() }))
        })
        .await?;
        Ok(())
    }

    async fn write_report(&self, run: &Run) -> Result<(), MergerError> {
        let mut stages: Vec<StageReport> = Vec::new();
        for (place, stage) in run.pipeline.stages.iter().enumerate() {
            let groups = self.groups(run, place).await?;
            let failures = self.ports.ledger.failures(&StageId::of(run, &stage.name), MOST_FAILURES).await?;
            stages.push(StageReport { groups, failures });
        }
        let has_any = stages.iter().any(StageReport::has_bad_records);
        let (objects, bucket) = (&*self.ports.objects, &self.work_bucket);
        fence_formers(&self.ports, run).await?;
        let listed = self
            .publish_list(run, has_any, async |list| {
                report_bad_records(objects, run, bucket, &stages, list).await
            })
            .await?;
        if let Listed::OfAnother(other) = listed {
            // The run has its reason already.
            tracing::error!(run_id = %run.id, errors = %run.errors, %other, "the list of bad records is another output's");
        }
        Ok(())
    }

    /// The counters of all groups of the stage at this place, in order.
    async fn groups(&self, run: &Run, place: usize) -> Result<Vec<GroupCount>, MergerError> {
        let count = run.grouping_at(place).map_or(0, Grouping::groups);
        let stage = &StageId::of(run, &run.pipeline.stages[place].name);
        let read = |group| self.ports.ledger.group(stage, GroupIndex(group));
        Ok(stream::iter(0..count).map(read).buffered(READS_AT_ONCE).try_collect().await?)
    }

    async fn publish_list(
        &self,
        run: &Run,
        has_any: bool,
        write: impl AsyncFn(ListUpload) -> Result<Written, UploadError>,
    ) -> Result<Listed, MergerError> {
        for _ in 0..TRIES {
            let head = self.ports.objects.head(&run.errors, None).await?;
            match Stamp::of(run, &run.errors).judge(head.as_ref().map(|head| &head.metadata)) {
                Standing::Ours => return Ok(Listed::Yes),
                Standing::Newer => return Ok(Listed::Newer),
                Standing::OfAnother(other) => return Ok(Listed::OfAnother(other)),
                // Where another run owned the output before, it may be about to write a list here: an empty one of
                // this run's keeps it from standing beside this run's output.
                Standing::Replaceable if head.is_none() && !has_any && run.epoch <= FIRST => {
                    return Ok(Listed::Yes);
                }
                Standing::Replaceable => {}
            }
            let condition = head.map_or(Condition::Absent, |head| Condition::Matches(head.etag));
            // A run that may write no more has a successor, or has ended.
            let Some(upload) = self.begin_upload(run, Target::List).await? else {
                return Ok(Listed::Newer);
            };
            if let Written::Stored(_) = write(ListUpload { upload, condition }).await? {
                return Ok(Listed::Yes);
            }
        }
        Err(MergerError::Contended(run.id.clone()))
    }
}

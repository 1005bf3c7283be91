//! Assembling and publishing the output.

use fanfold_domain::{Run, RunState, Stamp, Standing};
use fanfold_engine::publish::{Assembled, assemble};
use fanfold_lifecycle::{fence_formers, give_up, succeed};
use fanfold_ports::{
    Fault,
    ledger::StageId,
    objects::{Condition, ReadError, UploadError, Written},
};

use crate::{Merger, MergerError, errors::Listed, upload::Target};

/// How often publication is tried against others who write there.
const TRIES: usize = 5;
const TAKEN_OVER: &str = "another run took over the output";

/// How one try at publication ended.
enum Published {
    /// The output is there.
    Yes,
    /// A newer run's output is there, or a newer run owns it.
    Newer,
    /// Someone else wrote there meanwhile: look again.
    Refused,
    /// The upload cannot be completed any more: begin another.
    Spent,
}

impl Merger {
    pub(crate) async fn assemble(&self, run: &Run) -> Result<(), MergerError> {
        if run.state == RunState::Failed {
            return self.report(run).await;
        }
        let (Some(plan), RunState::Completing) = (&run.plan, run.state) else { return Ok(()) };
        let sums = self.ports.ledger.root(&StageId::of(run)).await?.sums;
        let groups = plan.grouping.groups();
        let mut assembled: Option<Assembled> = None;
        for _ in 0..TRIES {
            if assembled.is_none() && !self.is_settled(run).await? {
                // Before anything is written under a name that is another's by now, the list of bad records too.
                if !self.owns_output(run).await? {
                    return Ok(give_up(&self.ports, &run.id, RunState::Superseded, TAKEN_OVER).await?);
                }
                fence_formers(&self.ports, run).await?;
                let Some(upload) = self.begin_upload(run, Target::Output).await? else { return Ok(()) };
                let filled =
                    assemble(&*self.ports.objects, run, &self.work_bucket, groups, &sums, upload).await;
                match filled {
                    Ok(filled) => assembled = Some(filled),
                    Err(error) => return self.assembly_failed(run, error).await,
                }
                if self.list_bad_records(run, &sums).await? == Listed::Newer {
                    return Ok(give_up(&self.ports, &run.id, RunState::Superseded, TAKEN_OVER).await?);
                }
            }
            match self.publish(run, assembled.as_ref()).await? {
                Published::Yes => return Ok(succeed(&self.ports, &run.id).await?),
                Published::Newer => {
                    return Ok(give_up(&self.ports, &run.id, RunState::Superseded, TAKEN_OVER).await?);
                }
                Published::Refused => {}
                Published::Spent => assembled = None,
            }
        }
        Err(MergerError::Contended(run.id.clone()))
    }

    /// Whether the output's name already decides how the run ends, so that nothing is to be assembled.
    async fn is_settled(&self, run: &Run) -> Result<bool, MergerError> {
        let head = self.ports.objects.head(&run.output, None).await?;
        let standing = Stamp::of(run).judge(head.as_ref().map(|head| &head.metadata));
        Ok(standing != Standing::Replaceable)
    }

    /// Whether the run still owns its output.
    pub(crate) async fn owns_output(&self, run: &Run) -> Result<bool, MergerError> {
        let owner = self.ports.ledger.owner(&run.output).await?;
        Ok(owner.is_some_and(|owner| owner.run == run.id && owner.epoch == run.epoch))
    }

    async fn publish(&self, run: &Run, assembled: Option<&Assembled>) -> Result<Published, MergerError> {
        let head = self.ports.objects.head(&run.output, None).await?;
        match Stamp::of(run).judge(head.as_ref().map(|head| &head.metadata)) {
            Standing::Ours => return Ok(Published::Yes),
            Standing::Newer => return Ok(Published::Newer),
            Standing::Replaceable => {}
        }
        let Some(Assembled { upload, parts, expected }) = assembled else { return Ok(Published::Spent) };
        if !self.owns_output(run).await? {
            return Ok(Published::Newer);
        }
        let condition = head.map_or(Condition::Absent, |head| Condition::Matches(head.etag));
        let completed = self.ports.objects.complete_upload(upload, parts, condition, *expected).await;
        match completed {
            Ok(Written::Stored(_)) => Ok(Published::Yes),
            Ok(Written::Refused) => Ok(Published::Refused),
            Ok(Written::Conflict) | Err(UploadError::Gone(_)) => Ok(Published::Spent),
            Err(error) => Err(error.into()),
        }
    }

    /// What no further try would mend ends the run.
    async fn assembly_failed(&self, run: &Run, error: UploadError) -> Result<(), MergerError> {
        let is_final = match &error {
            UploadError::Read(ReadError::Missing(_) | ReadError::Changed(_)) => true,
            UploadError::Port(failed) | UploadError::Read(ReadError::Port(failed)) => {
                failed.fault == Fault::Permanent
            }
            UploadError::Gone(_) => false,
        };
        if !is_final {
            return Err(error.into());
        }
        let reason = format!("the output cannot be assembled: {error}");
        Ok(give_up(&self.ports, &run.id, RunState::Failed, &reason).await?)
    }
}

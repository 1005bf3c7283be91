//! Assembling and publishing the output.

use fanfold_domain::{
    Grouping, ObjectName, Run, RunId, RunState, Stamp, Standing,
    message::{FoldMessage, encode},
};
use fanfold_engine::publish::{Assembled, Assembly, go_on};
use fanfold_lifecycle::{LifecycleError, change, fence_formers, give_up, succeed};
use fanfold_ports::{
    Queue, Until,
    ledger::StageId,
    objects::{Condition, Upload, UploadError, Written},
    queues::Outgoing,
};

use crate::{Merger, MergerError, errors::Listed};

/// How often publication is tried against others who write there.
const TRIES: usize = 5;
const TAKEN_OVER: &str = "another run took over the output";

/// How an assembly ended.
enum End {
    /// The output is there.
    Published,
    /// A newer run's output is there, or a newer run owns it.
    Newer,
    /// For this reason nothing can be published, however often it is tried.
    Failed(String),
    /// The run ended otherwise meanwhile.
    Over,
    /// Not yet: another message goes on with it.
    GoesOn,
}

/// How one try at publication ended.
enum Published {
    /// For good.
    End(End),
    /// Someone else wrote there meanwhile: look again.
    Refused,
    /// The upload cannot be completed as it was: list its parts anew, or begin another.
    Spent,
}

impl Merger {
    pub(crate) async fn assemble(&self, run: &Run, until: Until<'_>) -> Result<(), MergerError> {
        if run.state == RunState::Failed {
            return self.report(run).await;
        }
        let last = run.pipeline.stages.len() - 1;
        let (Some(grouping), RunState::Completing) = (run.grouping_at(last), run.state) else {
            return Ok(());
        };
        let (ports, id) = (&self.ports, &run.id);
        let end = match self.try_to_assemble(run, grouping, until).await {
            Ok(end) => end,
            Err(error) if is_final(&error) => End::Failed(format!("the output cannot be assembled: {error}")),
            Err(error) => return Err(error),
        };
        match end {
            End::Published => succeed(ports, id).await?,
            End::Newer => give_up(ports, id, RunState::Superseded, TAKEN_OVER).await?,
            End::Failed(reason) => give_up(ports, id, RunState::Failed, &reason).await?,
            End::GoesOn => self.go_on_later(run).await?,
            End::Over => {}
        }
        Ok(())
    }

    /// Has another message go on with the assembly. Its place is the recorded upload and the parts that it has.
    async fn go_on_later(&self, run: &Run) -> Result<(), MergerError> {
        let (ports, now) = (&self.ports, self.ports.clock.now());
        // It gets on, so that the sweeper has no reason to begin it once more.
        change(&*ports.ledger, &run.id, |run| {
            let is_under_way = run.state == RunState::Completing;
            Ok(is_under_way.then(|| Run { updated_at: now, ..run.clone() }))
        })
        .await?;
        let message = FoldMessage::Assemble { run: run.id.clone(), generation: run.generation };
        Ok(ports.queues.send(Queue::Folds, vec![Outgoing::now(encode(&message))]).await?)
    }

    async fn try_to_assemble(
        &self,
        run: &Run,
        grouping: Grouping,
        until: Until<'_>,
    ) -> Result<End, MergerError> {
        let written = self.ports.ledger.root(&StageId::last_of(run)).await?.sums;
        // What all stages came to, since the run is `completing`.
        let sums = run.sums.unwrap_or(written);
        let mut assembled: Option<Assembled> = None;
        for tries in 0..TRIES {
            if assembled.is_none() && !self.is_settled(run).await? {
                // Before anything is written under a name that is another's by now, the list of bad records too.
                if !self.owns_output(run).await? {
                    return Ok(End::Newer);
                }
                fence_formers(&self.ports, run).await?;
                let Some(open) = self.open_upload(run, tries > 0).await? else {
                    return Ok(End::Over);
                };
                let (objects, groups) = (&*self.ports.objects, grouping.groups());
                match go_on(objects, run, &self.work_bucket, groups, &written, open, until).await {
                    Ok(Assembly::Whole(whole)) => assembled = Some(whole),
                    Ok(Assembly::Partly { parts, of }) => {
                        tracing::info!(run_id = %run.id, parts, of, "output partly assembled");
                        return Ok(End::GoesOn);
                    }
                    // Completed by another assembly of this run, or aborted by whoever ended it: look again.
                    Err(UploadError::Gone(_)) => continue,
                    Err(error) => return Err(error.into()),
                }
                match self.list_bad_records(run, &sums).await? {
                    Listed::Yes => {}
                    Listed::Newer => return Ok(End::Newer),
                    Listed::OfAnother(other) => return Ok(End::Failed(shared(&run.errors, &other))),
                }
            }
            match self.publish(run, assembled.as_ref()).await? {
                Published::End(end) => return Ok(end),
                Published::Refused => {}
                Published::Spent => assembled = None,
            }
        }
        Err(MergerError::Contended(run.id.clone()))
    }

    /// Whether the output's name already decides how the run ends, so that nothing is to be assembled.
    async fn is_settled(&self, run: &Run) -> Result<bool, MergerError> {
        let head = self.ports.objects.head(&run.output, None).await?;
        let standing = Stamp::of(run, &run.output).judge(head.as_ref().map(|head| &head.metadata));
        Ok(standing != Standing::Replaceable)
    }

    /// Whether the run still owns its output.
    pub(crate) async fn owns_output(&self, run: &Run) -> Result<bool, MergerError> {
        let owner = self.ports.ledger.owner(&run.output).await?;
        Ok(owner.is_some_and(|owner| owner.run == run.id && owner.epoch == run.epoch))
    }

    async fn publish(&self, run: &Run, assembled: Option<&Assembled>) -> Result<Published, MergerError> {
        let head = self.ports.objects.head(&run.output, None).await?;
        let metadata = head.as_ref().map(|head| &head.metadata);
        match Stamp::of(run, &run.output).judge(metadata) {
            Standing::Ours => return Ok(Published::End(End::Published)),
            Standing::Newer => return Ok(Published::End(End::Newer)),
            Standing::OfAnother(other) => {
                return Ok(Published::End(End::Failed(shared(&run.output, &other))));
            }
            Standing::Replaceable => {}
        }
        let Some(Assembled { upload, parts, expected, is_resumed }) = assembled else {
            return Ok(Published::Spent);
        };
        if !self.owns_output(run).await? {
            return Ok(Published::End(End::Newer));
        }
        let condition = head.map_or(Condition::Absent, |head| Condition::Matches(head.etag));
        let completed = self.ports.objects.complete_upload(upload, parts, condition, *expected).await;
        match completed {
            Ok(Written::Stored(_)) => Ok(Published::End(End::Published)),
            Ok(Written::Refused) => Ok(Published::Refused),
            Err(UploadError::Gone(_) | UploadError::OtherParts(_)) => Ok(Published::Spent),
            // It may or may not be left, and is not to be gone on with.
            Ok(Written::Conflict) => self.discard(upload).await,
            // Perhaps it was begun by another version, which cut it otherwise.
            Err(error) if *is_resumed && error.is_final() => {
                tracing::warn!(run_id = %run.id, %error, "an upload that was gone on with is not what it should be");
                self.discard(upload).await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn discard(&self, upload: &Upload) -> Result<Published, MergerError> {
        self.ports.objects.abort_upload(upload).await?;
        Ok(Published::Spent)
    }
}

/// Whether no further try would mend it. What a service refuses for good (a bucket that does not exist, a permission
/// that was never given) it refuses at every delivery, and the run would only stand until its deadline.
pub(crate) fn is_final(error: &MergerError) -> bool {
    match error {
        MergerError::Upload(error) => error.is_final(),
        MergerError::Port(failed) | MergerError::Lifecycle(LifecycleError::Port(failed)) => {
            failed.is_permanent()
        }
        _ => false,
    }
}

/// Why a run ends that finds another output's object under a name of its own.
fn shared(name: &ObjectName, other: &RunId) -> String {
    format!(
        "{name} was written by run {other} for another output: give each pipeline a merge.errors_key of its own"
    )
}

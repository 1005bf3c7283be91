//! Uploads under the output's name and that of the list, recorded before they are used.

use fanfold_domain::{ObjectName, Run, RunState};
use fanfold_engine::publish::{Open, list_metadata, metadata};
use fanfold_lifecycle::{change, read};
use fanfold_ports::objects::{Metadata, Upload, UploadError};

use crate::{Merger, MergerError};

/// What an upload will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The output.
    Output,
    /// The list of bad records.
    List,
}

impl Target {
    fn object(self, run: &Run) -> &ObjectName {
        match self {
            Self::Output => &run.output,
            Self::List => &run.errors,
        }
    }

    fn metadata(self, run: &Run) -> Metadata {
        match self {
            Self::Output => metadata(run),
            Self::List => list_metadata(run),
        }
    }

    /// The uploads that a run has recorded.
    fn recorded(self, run: &mut Run) -> &mut Vec<String> {
        match self {
            Self::Output => &mut run.uploads,
            Self::List => &mut run.list_uploads,
        }
    }

    /// Whether a run may still write it: the list also when it failed.
    fn may_be_written(self, run: &Run) -> bool {
        match run.state {
            RunState::Completing => true,
            RunState::Failed => self == Self::List && !run.is_fenced,
            _ => false,
        }
    }
}

impl Merger {
    /// The upload of the output that this run recorded last, with what it holds, if it is still open; else another,
    /// recorded before it is used. `None` if the run may write no more.
    ///
    /// So an assembly goes on where another left off, or fills the same upload at the same time as another that hangs.
    /// Both send the same bytes under the same numbers; who completes it names the parts that it saw, and looks again if
    /// the other replaced one since ([`UploadError::OtherParts`]).
    pub(crate) async fn open_upload(&self, run: &Run, has_begun: bool) -> Result<Option<Open>, MergerError> {
        // Most often none was begun before, and nothing is to be asked.
        if has_begun || !run.uploads.is_empty() {
            let now = read(&*self.ports.ledger, &run.id).await?;
            if !Target::Output.may_be_written(&now) || now.generation != run.generation {
                return Ok(None);
            }
            if let Some(id) = now.uploads.last() {
                let upload = Upload { object: now.output.clone(), id: id.clone() };
                match self.ports.objects.upload_parts(&upload).await {
                    Ok(held) => return Ok(Some(Open { upload, held })),
                    Err(UploadError::Gone(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let begun = self.begin_upload(run, Target::Output).await?;
        Ok(begun.map(|upload| Open { upload, held: Vec::new() }))
    }

    /// Begins an upload and records it in the run before it is used, so that whoever ends the run, or owns the
    /// output after it, can abort it. `None` if the run may write no more.
    pub(crate) async fn begin_upload(
        &self,
        run: &Run,
        target: Target,
    ) -> Result<Option<Upload>, MergerError> {
        let upload = self.ports.objects.create_upload(target.object(run), &target.metadata(run)).await?;
        let now = self.ports.clock.now();
        let recorded = change(&*self.ports.ledger, &run.id, |run| {
            let mut recorded = run.clone();
            if !target.may_be_written(run) || target.recorded(&mut recorded).contains(&upload.id) {
                return Ok(None);
            }
            target.recorded(&mut recorded).push(upload.id.clone());
            if !run.state.has_ended() {
                recorded.updated_at = now;
            }
            Ok(Some(recorded))
        })
        .await?;
        if target.may_be_written(&recorded) && recorded.generation == run.generation {
            return Ok(Some(upload));
        }
        self.ports.objects.abort_upload(&upload).await?;
        Ok(None)
    }
}

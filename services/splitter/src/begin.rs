//! The beginning of a run: which pipeline, which identity, which source, whose output.

use fanfold_domain::{
    ETag, ObjectName, Origin, Ownership, Run, RunId, RunState, Sequencer, SourcePin, Stamp, TickTime,
    message::{Submission, Tick, Upload, truncate},
    pipeline::{Claim, Format, KeyTooLong, Pipeline, select},
};
use fanfold_lifecycle::{LifecycleError, supersede, try_to_announce};
use fanfold_ports::{
    Fault, ItemList, PortError, UnreadableItem,
    ledger::{Created, CreatedOwner, Freshness, KeptPipeline, Taken},
    objects::ObjectHead,
};

use serde_json::json;

use crate::{Splitter, SplitterError};

impl Splitter {
    /// Creates the run of an upload, or finds it. `None` if no pipeline wants it.
    pub(crate) async fn begin_upload(&self, upload: Upload) -> Result<Option<Run>, SplitterError> {
        let pipelines = self.pipelines().await?;
        let chosen = match choose(&pipelines, &upload.object.key) {
            Ok(Some(chosen)) => Ok(chosen),
            Ok(None) => {
                tracing::info!(object = %upload.object, "no pipeline matches");
                return Ok(None);
            }
            Err(unreadable) => Err(unreadable),
        };
        let head = match self.ports.objects.head(&upload.object, upload.version.as_deref()).await {
            // Then it is not read either, and its run says so.
            Err(refused) if refused.is_permanent() => None,
            head => head?,
        };
        if let Some(run) = head.and_then(|head| writer(&head, &upload.object)) {
            tracing::info!(object = %upload.object, run_id = %run, "a run wrote this object, so that it begins none");
            return Ok(None);
        }
        // Which keys an unreadable pipeline writes itself is not known: so its outputs are told apart first.
        let chosen = chosen?;
        let Upload { object, version, etag, size_bytes, sequencer } = upload;
        let source = SourcePin { object, version, etag, size_bytes };
        let origin = Origin::Upload {
            bucket: &source.object.bucket,
            key: &source.object.key,
            version_or_etag: source.version_or_etag(),
            sequencer: &sequencer,
        };
        let id = RunId::derive(&chosen.pipeline.name, &origin);
        let begun = Begun { sequencer: Some(sequencer), ..Begun::default() };
        self.create(id, chosen, source, begun).await.map(Some)
    }

    /// Creates the run of a submission, or finds it.
    pub(crate) async fn begin_submission(
        &self,
        submission: Submission,
    ) -> Result<Option<Run>, SplitterError> {
        let Submission { pipeline, object, version, idempotency_key } = submission;
        let kept = self.pipeline(&pipeline).await?;
        let id = RunId::derive(&pipeline, &Origin::Submission { idempotency_key: &idempotency_key });
        match kept {
            Some(chosen) => self.begin_wanted(id, chosen, object, version, Begun::default()).await,
            // Whoever submitted it looks for its run, and the message alone would die where nobody looks.
            None => self.begin_nothing(id, &pipeline, object, version, Begun::default()).await,
        }
        .map(Some)
    }

    /// Creates the run of a tick, or finds it. `None` if its pipeline has no schedule any more.
    pub(crate) async fn begin_tick(&self, tick: Tick) -> Result<Option<Run>, SplitterError> {
        let Tick { pipeline, scheduled_at } = tick;
        let kept = self.pipeline(&pipeline).await?;
        let id = RunId::derive(&pipeline, &Origin::Schedule { scheduled_at: &scheduled_at });
        let begun = Begun { scheduled_at: Some(scheduled_at.clone()), ..Begun::default() };
        let Some(chosen) = kept else {
            // A schedule that goes on without its pipeline must be seen.
            return self.begin_nothing(id, &pipeline, None, None, begun).await.map(Some);
        };
        let Some(schedule) = &chosen.pipeline.schedule else {
            tracing::info!(pipeline, %scheduled_at, "a tick of a schedule that is no more");
            return Ok(None);
        };
        // Found before it is looked at: the object may be another, or gone, by the time that a tick comes again.
        if let Some(run) = self.ports.ledger.run(&id, Freshness::Consistent).await? {
            return Ok(Some(run));
        }
        let object = schedule.object.as_ref().map(|key| ObjectName::new(&self.input_bucket, key));
        self.begin_wanted(id, chosen, object, None, begun).await.map(Some)
    }

    /// Creates the run of a pipeline that there is not, which failed for that.
    async fn begin_nothing(
        &self,
        id: RunId,
        pipeline: &str,
        object: Option<ObjectName>,
        version: Option<String>,
        begun: Begun,
    ) -> Result<Run, SplitterError> {
        let wrong = Some(format!("there is no pipeline {pipeline:?}"));
        let chosen = KeptPipeline { version: 0, pipeline: stand_in(pipeline) };
        let object = object.unwrap_or_else(|| ObjectName::new("", pipeline));
        let source = SourcePin { object, version, etag: ETag::new(""), size_bytes: 0 };
        self.create(id, chosen, source, Begun { wrong, ..begun }).await
    }

    /// Creates the run of what is wanted, as the pipeline reads it, or finds it.
    async fn begin_wanted(
        &self,
        id: RunId,
        chosen: KeptPipeline,
        object: Option<ObjectName>,
        version: Option<String>,
        begun: Begun,
    ) -> Result<Run, SplitterError> {
        let refused = object.as_ref().and_then(|object| self.reach.refuses_source(object));
        let (source, wrong) = match object {
            // S3 would answer AccessDenied.
            Some(object) if refused.is_some() => (unpinned(object), refused),
            _ if !chosen.pipeline.source.is_object() => self.without_object(&chosen.pipeline, object),
            Some(object) => self.pin(object, version).await?,
            None => {
                let name = &chosen.pipeline.name;
                let wrong = format!("pipeline {name} reads an object, and the submission names none");
                (unpinned(ObjectName::new("", name)), Some(wrong))
            }
        };
        self.create(id, chosen, source, Begun { wrong, ..begun }).await
    }

    /// An object as it is now, or what is wrong with it.
    async fn pin(
        &self,
        object: ObjectName,
        version: Option<String>,
    ) -> Result<(SourcePin, Option<String>), SplitterError> {
        let (head, wrong) = match self.ports.objects.head(&object, version.as_deref()).await {
            Ok(Some(head)) => (Some(head), None),
            Ok(None) => (None, Some(missing(&object, version.as_deref()))),
            Err(refused) if refused.is_permanent() => (None, Some(refused.to_string())),
            Err(error) => return Err(error.into()),
        };
        let (etag, size_bytes) =
            head.as_ref().map_or((ETag::new(""), 0), |head| (head.etag.clone(), head.size_bytes));
        let version = version.or(head.and_then(|head| head.version));
        Ok((SourcePin { object, version, etag, size_bytes }, wrong))
    }

    /// What stands for the source of a run that reads no object: the prefix that it lists, which a submission may
    /// narrow, or nothing but its pipeline's name. What it reads is pinned as it is planned.
    fn without_object(&self, pipeline: &Pipeline, wanted: Option<ObjectName>) -> (SourcePin, Option<String>) {
        let own = &pipeline.source.prefix;
        let (object, wrong) = match (pipeline.source.format, wanted) {
            (Format::Objects, Some(wanted)) if !wanted.key.starts_with(own.as_str()) => {
                let wrong = format!("{wanted} is not under the pipeline's prefix, {own:?}");
                (wanted, Some(wrong))
            }
            (Format::Objects, Some(wanted)) => (wanted, None),
            (Format::Objects, None) => (ObjectName::new(&self.input_bucket, own), None),
            (_, None) => (ObjectName::new("", &pipeline.name), None),
            (_, Some(wanted)) => {
                let wrong =
                    format!("pipeline {} reads no object, and the submission names {wanted}", pipeline.name);
                (wanted, Some(wrong))
            }
        };
        (unpinned(object), wrong)
    }

    /// All pipelines: those of the table, and the stack's own unless the table has one of its name.
    async fn pipelines(&self) -> Result<ItemList<KeptPipeline>, SplitterError> {
        let mut pipelines = self.ports.ledger.pipelines().await?;
        for UnreadableItem { name, reason, .. } in &pipelines.unreadable {
            tracing::error!(pipeline = name, reason, "pipeline cannot be read");
        }
        if let Some(own) = &self.default_pipeline
            && pipelines.items.iter().all(|kept| kept.pipeline.name != own.name)
            && pipelines.unreadable.iter().all(|item| item.name != own.name)
        {
            pipelines.items.push(KeptPipeline { version: 0, pipeline: own.clone() });
        }
        Ok(pipelines)
    }

    /// The pipeline of that name, if there is one.
    async fn pipeline(&self, name: &str) -> Result<Option<KeptPipeline>, SplitterError> {
        let ItemList { items, unreadable } = self.pipelines().await?;
        match unreadable.into_iter().find(|item| item.name == name) {
            Some(UnreadableItem { name, reason, .. }) => {
                Err(SplitterError::UnreadablePipeline { pipeline: name, reason })
            }
            None => Ok(items.into_iter().find(|kept| kept.pipeline.name == name)),
        }
    }

    /// Creates a run as the owner of its output, or finds it.
    async fn create(
        &self,
        id: RunId,
        chosen: KeptPipeline,
        source: SourcePin,
        begun: Begun,
    ) -> Result<Run, SplitterError> {
        let wrong = begun.wrong.or_else(|| self.out_of_reach(&chosen.pipeline));
        let run = self.new_run(id, chosen, source, Begun { wrong, ..begun })?;
        if run.state.has_ended() {
            return self.create_ended(run).await;
        }
        match self.ports.ledger.create_run_as_owner(&run).await? {
            CreatedOwner::Now(run) => {
                tracing::info!(run_id = %run.id, source = %run.source.object, epoch = run.epoch.0, state = %run.state, "run created");
                Ok(*run)
            }
            CreatedOwner::Before(run) => {
                if run.state == RunState::Failed {
                    try_to_announce(&self.ports, &run).await;
                }
                Ok(*run)
            }
            CreatedOwner::Outdated(owner) => {
                let reason = Some(truncate(outdated(&run, &owner)));
                let ended = run.advanced(RunState::Superseded, self.ports.clock.now());
                self.create_ended(Run { reason, ..ended.map_err(LifecycleError::from)? }).await
            }
        }
    }

    /// Creates a run that ends before it begins, and takes no output, or finds it.
    async fn create_ended(&self, run: Run) -> Result<Run, SplitterError> {
        let run = match self.ports.ledger.create_run(&run).await? {
            Created::Now => {
                tracing::info!(run_id = %run.id, source = %run.source.object, state = %run.state, "run created");
                run
            }
            Created::Before(run) => *run,
        };
        if run.state.has_ended() {
            try_to_announce(&self.ports, &run).await;
        }
        Ok(run)
    }

    /// What the pipeline names that no role of the stack may reach: the run fails for it before any work is done.
    fn out_of_reach(&self, pipeline: &Pipeline) -> Option<String> {
        let refused = self.reach.check(pipeline).err()?;
        let all: Vec<String> = refused.mistakes.iter().map(ToString::to_string).collect();
        Some(format!(
            "pipeline {} names what no role of the stack may reach: {}",
            pipeline.name,
            all.join("; ")
        ))
    }

    /// The run as it is created: in `planning`, or failed for what is wrong from the first.
    fn new_run(
        &self,
        id: RunId,
        chosen: KeptPipeline,
        source: SourcePin,
        begun: Begun,
    ) -> Result<Run, LifecycleError> {
        let Begun { sequencer, scheduled_at, wrong } = begun;
        let KeptPipeline { version: pipeline_version, pipeline } = chosen;
        let bucket = pipeline.merge.bucket.as_deref().unwrap_or(&self.output_bucket);
        let ([output, errors], reason) = match result_keys(&pipeline, &source, &id) {
            Ok(keys) => (keys, wrong),
            Err(too_long) => (Default::default(), Some(too_long.to_string())),
        };
        let [output, errors] = [output, errors].map(|key| ObjectName::new(bucket, key));
        let now = self.ports.clock.now();
        let run = Run {
            pipeline_version,
            sequencer,
            scheduled_at,
            reason: reason.map(truncate),
            ..Run::new(id, pipeline, source, output, errors, now)
        };
        if run.reason.is_some() { Ok(run.advanced(RunState::Failed, now)?) } else { Ok(run) }
    }

    /// Makes sure that a run in `planning` owns its output, and ends the run that it took it from. `None` if another
    /// run took the output: then this one is superseded. A run takes its output as it is created; only one that an
    /// earlier version created takes it here.
    pub(crate) async fn hold_output(&self, run: &Run) -> Result<Option<Run>, SplitterError> {
        let run = match self.ports.ledger.take_output(run).await? {
            Taken::Owned(run) => *run,
            Taken::Lost(owner) => return self.supersede_self(run, &taken_over(&owner.run)).await,
            Taken::Outdated(owner) => return self.supersede_self(run, &outdated(run, &owner)).await,
            Taken::Stale => {
                let detail = "the run was changed while it took its output";
                return Err(PortError::new(Fault::Transient, "take_output", &run.id, detail).into());
            }
        };
        if let Some(former) = &run.former {
            self.supersede_former(former, &run.id).await?;
        }
        Ok(Some(run))
    }

    async fn supersede_self(&self, run: &Run, reason: &str) -> Result<Option<Run>, SplitterError> {
        supersede(&self.ports, &run.id, run.generation, reason).await?;
        Ok(None)
    }

    async fn supersede_former(&self, former: &RunId, by: &RunId) -> Result<(), SplitterError> {
        let reason = taken_over(by);
        match fanfold_lifecycle::read(&*self.ports.ledger, former).await {
            Ok(former) => {
                supersede(&self.ports, &former.id, former.generation, &reason).await?;
                Ok(())
            }
            // Gone by its lifetime: nothing is left to end.
            Err(fanfold_lifecycle::LifecycleError::Unknown(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The pipeline that an object of this key starts, if any.
fn choose(pipelines: &ItemList<KeptPipeline>, key: &str) -> Result<Option<KeptPipeline>, SplitterError> {
    let ItemList { items, unreadable } = pipelines;
    let claim = |item: &UnreadableItem| Claim::of(&item.name, item.document.as_deref()?);
    let claims: Vec<Claim> = unreadable.iter().filter_map(claim).collect();
    match select(items.iter().map(|kept| &kept.pipeline), &claims, key) {
        Ok(chosen) => {
            Ok(chosen.and_then(|chosen| items.iter().find(|kept| kept.pipeline.name == chosen.name).cloned()))
        }
        Err(claim) => {
            let why = unreadable.iter().find(|item| item.name == claim.pipeline);
            let reason = why.map(|item| item.reason.clone()).unwrap_or_default();
            Err(SplitterError::UnreadablePipeline { pipeline: claim.pipeline.clone(), reason })
        }
    }
}

/// What `{key}` of an output's template is: the source's key; of a listing its prefix without the slash at its end, or
/// the pipeline's name if there is none.
fn output_stem<'a>(pipeline: &'a Pipeline, source: &'a SourcePin) -> &'a str {
    match (pipeline.source.format, source.object.key.trim_end_matches('/')) {
        (Format::Objects, "") => &pipeline.name,
        (Format::Objects, prefix) => prefix,
        _ => &source.object.key,
    }
}

/// The keys of a run's output and of its list of bad records.
fn result_keys(pipeline: &Pipeline, source: &SourcePin, run: &RunId) -> Result<[String; 2], KeyTooLong> {
    let stem = output_stem(pipeline, source);
    Ok([pipeline.output_key(stem, run)?, pipeline.errors_key(stem, run)?])
}

fn taken_over(by: &RunId) -> String {
    format!("run {by} took over the output")
}

fn outdated(run: &Run, owner: &Ownership) -> String {
    format!("a newer upload of {} came before; run {} owns the output", run.source.object, owner.run)
}

fn unpinned(object: ObjectName) -> SourcePin {
    SourcePin { object, version: None, etag: ETag::new(""), size_bytes: 0 }
}

/// What is known of a run from what began it.
#[derive(Default)]
struct Begun {
    /// The event's place among those of its object.
    sequencer: Option<Sequencer>,
    /// The tick.
    scheduled_at: Option<TickTime>,
    /// Why it fails from the first.
    wrong: Option<String>,
}

/// A pipeline for a run that asks for one that there is not: of that name, if it can be one.
fn stand_in(name: &str) -> Pipeline {
    let called = |name: &str| {
        let stages = json!([{ "name": "none", "process": "copy" }]);
        Pipeline::from_value(&json!({ "pipeline": name, "source": { "format": "lines" }, "stages": stages }))
    };
    called(name).or_else(|_| called("unknown")).expect("the document is a pipeline")
}

fn missing(object: &ObjectName, version: Option<&str>) -> String {
    match version {
        None => format!("{object} does not exist"),
        Some(version) => format!("{object} has no version {version}"),
    }
}

/// The run that wrote this very object, if one did: then it is no source, for its own output would start it again, for
/// ever. A copy of an output, which has the output's metadata, is a source like any other.
fn writer(head: &ObjectHead, object: &ObjectName) -> Option<RunId> {
    Stamp::read(&head.metadata).filter(|stamp| stamp.object == object.digest()).map(|stamp| stamp.run)
}

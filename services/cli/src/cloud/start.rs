//! `fanfold run`: uploads a file, or submits an object that is there.

use std::{fs::File, io::Read, path::Path};

use anyhow::{Context, anyhow};
use fanfold_domain::{
    ETag, ObjectName, Origin, RunId,
    message::{Submission, encode},
    pipeline::{Pipeline, select},
};
use fanfold_engine::part::PartWriter;
use fanfold_ports::{
    Queue,
    objects::{Condition, Metadata, Written},
    queues::Outgoing,
};
use serde_json::{json, value::RawValue};

use super::{Stack, watch};
use crate::{Failed, arguments::StartArguments, say};

/// How long an uploaded object may take to become a run, in milliseconds, and how often that is looked for.
const APPEARS_WITHIN_MS: u64 = 60_000;
const LOOK_EVERY_MS: u64 = 250;

pub(super) async fn start(stack: &Stack, arguments: &StartArguments) -> Result<(), Failed> {
    let id = match arguments.source.strip_prefix("s3://") {
        Some(rest) => submit(stack, arguments, rest).await?,
        None => upload(stack, arguments).await?,
    };
    if arguments.watch {
        return watch::watch(stack, &id, arguments.json).await;
    }
    if arguments.json { Ok(say::json(&json!({ "run": id }))?) } else { Ok(say::line(id.as_str())?) }
}

/// Submits an object; the pipeline must be named, since its source's prefix is not matched.
async fn submit(stack: &Stack, arguments: &StartArguments, rest: &str) -> Result<RunId, Failed> {
    let usage = |text: String| Failed::Usage(anyhow!(text));
    let (bucket, key) = rest
        .split_once('/')
        .filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
        .ok_or_else(|| usage(format!("{:?} is not s3://BUCKET/KEY", arguments.source)))?;
    let pipeline = arguments
        .pipeline
        .clone()
        .ok_or_else(|| usage("name the pipeline of an s3:// source with --pipeline".to_owned()))?;
    if let Some(file) = &arguments.key {
        return Err(usage(format!("--as {file:?} names an upload, and an s3:// source is not uploaded")));
    }
    let idempotency_key =
        arguments.idempotency_key.clone().unwrap_or_else(|| format!("{:016x}", stack.ports.clock.random()));
    let id = RunId::derive(&pipeline, &Origin::Submission { idempotency_key: &idempotency_key });
    let object = ObjectName::new(bucket, key);
    let submission = encode(&Submission { pipeline, object, version: None, idempotency_key });
    let detail = RawValue::from_string(submission).context("a submission is JSON")?;
    let event = json!({ "source": "fanfold", "detail-type": "Run Submitted", "detail": detail });
    stack.ports.queues.send(Queue::Intake, vec![Outgoing::now(event.to_string())]).await?;
    Ok(id)
}

/// Uploads a file under the pipeline's prefix, and waits for the run that the upload starts.
async fn upload(stack: &Stack, arguments: &StartArguments) -> Result<RunId, Failed> {
    let path = Path::new(&arguments.source);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| Failed::Usage(anyhow!("{} is not a file", path.display())))?;
    let key = match (&arguments.key, &arguments.pipeline) {
        (Some(key), _) => key.clone(),
        (None, Some(pipeline)) => match named(stack, pipeline).await? {
            Some(pipeline) => format!("{}{name}", pipeline.source.prefix),
            // It may be the stack's own pipeline, which is not in the table.
            None => name,
        },
        (None, None) => name,
    };
    if let Some(wanted) = &arguments.pipeline {
        warn_of_another(stack, wanted, &key).await?;
    }
    let object = ObjectName::new(&stack.input_bucket, key);
    let etag = send(stack, path, &object).await?;
    say::note(&format!("uploaded {object}"));
    await_run(stack, &object, &etag).await
}

async fn named(stack: &Stack, name: &str) -> Result<Option<Pipeline>, Failed> {
    let kept = stack.ports.ledger.pipelines().await?;
    Ok(kept.into_iter().map(|kept| kept.pipeline).find(|pipeline| pipeline.name == name))
}

async fn warn_of_another(stack: &Stack, wanted: &str, key: &str) -> Result<(), Failed> {
    let kept = stack.ports.ledger.pipelines().await?;
    match select(kept.iter().map(|kept| &kept.pipeline), key) {
        Some(chosen) if chosen.name != wanted => Err(Failed::Usage(anyhow!(
            "an upload to {key:?} starts the pipeline {:?}, not {wanted:?}; choose another key with --as",
            chosen.name
        ))),
        _ => Ok(()),
    }
}

async fn send(stack: &Stack, path: &Path, object: &ObjectName) -> Result<ETag, Failed> {
    let named = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(named)?;
    let mut writer = PartWriter::new(&*stack.ports.objects, object.clone(), Metadata::new());
    loop {
        let read = Read::by_ref(&mut file).take(1 << 20).read_to_end(writer.buffer()).with_context(named)?;
        writer.flush().await?;
        if read == 0 {
            break;
        }
    }
    match writer.create(Condition::Always).await? {
        Written::Stored(stored) => Ok(stored.etag),
        other => Err(anyhow!("{object} could not be written: {other:?}").into()),
    }
}

async fn await_run(stack: &Stack, object: &ObjectName, etag: &ETag) -> Result<RunId, Failed> {
    let clock = &stack.ports.clock;
    let since = clock.now();
    while clock.now().ms_since(since) < APPEARS_WITHIN_MS {
        let recent = stack.ports.ledger.recent_runs(50).await?;
        if let Some(run) = recent.iter().find(|run| run.source.object == *object && run.source.etag == *etag)
        {
            return Ok(run.id.clone());
        }
        clock.sleep_ms(LOOK_EVERY_MS).await;
    }
    Err(anyhow!(
        "{object} was uploaded, and no run of it began within {} s: does any pipeline match its key?",
        APPEARS_WITHIN_MS / 1000
    )
    .into())
}

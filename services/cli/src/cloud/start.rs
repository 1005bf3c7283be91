//! `fanfold run`: uploads a file, or submits an object that is there.

use anyhow::{Context, anyhow};
use fanfold_domain::{
    ObjectName, Origin, RunId,
    message::{Submission, encode},
};
use fanfold_ports::{Queue, queues::Outgoing};
use serde_json::{json, value::RawValue};

use super::{Stack, upload::upload, watch};
use crate::{Failed, arguments::StartArguments, say};

pub(super) async fn start(stack: &Stack, arguments: &StartArguments) -> Result<(), Failed> {
    let id = match &arguments.source {
        None => submit(stack, arguments, None).await?,
        Some(source) => match source.strip_prefix("s3://") {
            Some(rest) => submit(stack, arguments, Some(object_of(source, rest)?)).await?,
            None => upload(stack, arguments, source).await?,
        },
    };
    if arguments.watch {
        return watch::watch(stack, &id, arguments.json).await;
    }
    if arguments.json { Ok(say::json(&json!({ "run": id }))?) } else { Ok(say::line(id.as_str())?) }
}

fn usage(text: String) -> Failed {
    Failed::Usage(anyhow!(text))
}

fn object_of(source: &str, rest: &str) -> Result<ObjectName, Failed> {
    match rest.split_once('/') {
        Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => Ok(ObjectName::new(bucket, key)),
        _ => Err(usage(format!("{source:?} is not s3://BUCKET/KEY"))),
    }
}

/// Submits an object, a prefix or nothing, as the pipeline reads it, which must be named: its source's prefix is not
/// matched.
async fn submit(
    stack: &Stack,
    arguments: &StartArguments,
    object: Option<ObjectName>,
) -> Result<RunId, Failed> {
    let pipeline = arguments
        .pipeline
        .as_ref()
        .ok_or_else(|| usage("name the pipeline of what is no file with --pipeline".to_owned()))?;
    if let Some(file) = &arguments.key {
        return Err(usage(format!("--as {file:?} names an upload, and nothing is uploaded here")));
    }
    let pipeline = stack.pipeline(pipeline).await?;
    if let Some(refused) = object.as_ref().and_then(|object| stack.reach.refuses_source(object)) {
        return Err(usage(refused));
    }
    if pipeline.source.is_object() && object.is_none() {
        return Err(usage(format!("the pipeline {:?} reads an object: name it", pipeline.name)));
    }
    let pipeline = pipeline.name;
    let idempotency_key =
        arguments.idempotency_key.clone().unwrap_or_else(|| format!("{:016x}", stack.ports.clock.random()));
    let id = RunId::derive(&pipeline, &Origin::Submission { idempotency_key: &idempotency_key });
    let submission = encode(&Submission { pipeline, object, version: None, idempotency_key });
    let detail = RawValue::from_string(submission).context("a submission is JSON")?;
    let event = json!({ "source": "fanfold", "detail-type": "Run Submitted", "detail": detail });
    stack.ports.queues.send(Queue::Intake, vec![Outgoing::now(event.to_string())]).await?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use fanfold_ports::{contract::sample_pipeline, memory::memory_ports};

    use super::*;

    fn arguments(pipeline: &str) -> StartArguments {
        StartArguments {
            source: Some("s3://in/a.csv".to_owned()),
            pipeline: Some(pipeline.to_owned()),
            key: None,
            idempotency_key: Some("k".to_owned()),
            watch: false,
            json: false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_submission_names_a_pipeline_of_the_table_or_the_stacks_own() {
        let (world, ports) = memory_ports();
        ports.ledger.put_pipeline(&sample_pipeline("kept", 0)).await.unwrap();
        let own = sample_pipeline("own", 0).to_document().to_string();
        let mut stack = Stack {
            ports,
            fleet: world.fleet.clone(),
            schedules: None,
            namespace: "fanfold".to_owned(),
            reach: fanfold_domain::Reach::default(),
            input_bucket: "in".to_owned(),
            work_bucket: "work".to_owned(),
            default_pipeline: Some(own),
        };
        for name in ["kept", "own"] {
            assert!(submit(&stack, &arguments(name), Some(ObjectName::new("in", "a.csv"))).await.is_ok());
            assert_eq!(world.queues.drain(Queue::Intake).len(), 1, "{name}");
        }
        let refused = async |stack: &Stack, name| match submit(
            stack,
            &arguments(name),
            Some(ObjectName::new("in", "a.csv")),
        )
        .await
        {
            Err(Failed::Usage(error)) => error.to_string(),
            _ => panic!("{name} was not refused"),
        };
        assert_eq!(refused(&stack, "nosuch").await, "there is no pipeline \"nosuch\"; there are: kept, own");
        stack.reach.source_buckets = Some(vec!["other".to_owned()]);
        let unread = refused(&stack, "kept").await;
        assert!(unread.contains("may read the bucket \"in\"; allowed: other"), "{unread}");
        stack.reach.source_buckets = None;
        stack.default_pipeline = None;
        let unknown = refused(&stack, "own").await;
        assert!(unknown.ends_with("since FANFOLD_DEFAULT_PIPELINE is not set"), "{unknown}");
        assert_eq!(world.queues.drain(Queue::Intake).len(), 0);
    }
}

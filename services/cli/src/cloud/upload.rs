//! Uploading a file, and finding the run that the upload starts.

use std::{collections::BTreeSet, fs::File, io::Read, path::Path};

use anyhow::{Context, anyhow};
use fanfold_domain::{
    ObjectName, Run, RunId,
    pipeline::{Claim, select},
};
use fanfold_engine::part::PartWriter;
use fanfold_ports::{
    ItemList, UnreadableItem,
    objects::{Condition, Metadata, Stored, Written},
};

use super::Stack;
use crate::{Failed, arguments::StartArguments, say};

/// How long an uploaded object may take to become a run, in milliseconds, and how often that is looked for.
const APPEARS_WITHIN_MS: u64 = 60_000;
const LOOK_EVERY_MS: u64 = 250;
/// Among how many of the latest runs it is looked for.
const RECENT: usize = 50;

/// Uploads a file under the pipeline's prefix, and waits for the run that the upload starts.
pub(super) async fn upload(stack: &Stack, arguments: &StartArguments, file: &str) -> Result<RunId, Failed> {
    let path = Path::new(file);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| Failed::Usage(anyhow!("{} is not a file", path.display())))?;
    let key = match &arguments.pipeline {
        Some(wanted) => key_of(stack, wanted, arguments.key.as_deref(), &name).await?,
        None => arguments.key.clone().unwrap_or(name),
    };
    let object = ObjectName::new(&stack.input_bucket, key);
    let before = runs_of(stack, &object).await?.into_iter().map(|run| run.id).collect();
    let stored = send(stack, path, &object).await?;
    say::note(&format!("uploaded {object}"));
    await_run(stack, &object, &stored, &before).await
}

/// The key to upload a file of this name to, which must start the pipeline that is wanted and no other.
async fn key_of(stack: &Stack, wanted: &str, given: Option<&str>, name: &str) -> Result<String, Failed> {
    let pipeline = stack.pipeline(wanted).await?;
    let key = given.map_or_else(|| format!("{}{name}", pipeline.source.prefix), ToOwned::to_owned);
    let ItemList { items, unreadable } = stack.pipelines().await?;
    let claim = |item: &UnreadableItem| Claim::of(&item.name, item.document.as_deref()?);
    let claims: Vec<Claim> = unreadable.iter().filter_map(claim).collect();
    let starts = match select(items.iter().map(|kept| &kept.pipeline), &claims, &key) {
        Ok(Some(chosen)) if chosen.name == wanted => return Ok(key),
        Ok(Some(chosen)) => format!("the pipeline {:?}", chosen.name),
        Ok(None) => "none".to_owned(),
        Err(claim) => format!("perhaps the pipeline {:?}, which cannot be read", claim.pipeline),
    };
    Err(Failed::Usage(anyhow!(
        "an upload to {key:?} starts {starts}, and {wanted:?} is wanted, which takes {:?}; choose another key \
         with --as",
        format!("{}*{}", pipeline.source.prefix, pipeline.source.suffix)
    )))
}

async fn send(stack: &Stack, path: &Path, object: &ObjectName) -> Result<Stored, Failed> {
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
        Written::Stored(stored) => Ok(stored),
        other => Err(anyhow!("{object} could not be written: {other:?}").into()),
    }
}

/// Waits for the run of this very upload: of its version or, where the bucket keeps none or the event told none, of
/// its tag and not there before. The same bytes may have been uploaded to the same key any number of times.
async fn await_run(
    stack: &Stack,
    object: &ObjectName,
    stored: &Stored,
    before: &BTreeSet<RunId>,
) -> Result<RunId, Failed> {
    let is_ours = |run: &Run| match (&stored.version, &run.source.version) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => run.source.etag == stored.etag && !before.contains(&run.id),
    };
    let clock = &stack.ports.clock;
    let since = clock.now();
    while clock.now().ms_since(since) < APPEARS_WITHIN_MS {
        if let Some(run) = runs_of(stack, object).await?.into_iter().find(is_ours) {
            return Ok(run.id);
        }
        clock.sleep_ms(LOOK_EVERY_MS).await;
    }
    Err(anyhow!(
        "{object} was uploaded, and no run of it began within {} s: does any pipeline match its key?",
        APPEARS_WITHIN_MS / 1000
    )
    .into())
}

/// The latest runs of an object, whichever of its contents they are of.
async fn runs_of(stack: &Stack, object: &ObjectName) -> Result<Vec<Run>, Failed> {
    let recent = stack.ports.ledger.recent_runs(RECENT).await?;
    Ok(recent.items.into_iter().filter(|run| run.source.object == *object).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use fanfold_domain::{Origin, SourcePin, pipeline::Pipeline};
    use fanfold_ports::{
        contract::sample_run,
        memory::{Faults, MemoryClock, MemoryObjects, MemoryWorld},
    };

    use super::*;

    const KEY: &str = "orders/a.csv";

    fn pipeline(name: &str, prefix: &str, suffix: &str) -> Pipeline {
        Pipeline::parse(&format!(
            "{{pipeline: {name}, source: {{prefix: '{prefix}', suffix: '{suffix}', format: lines}}, \
             stages: [{{name: s, process: index}}]}}"
        ))
        .unwrap()
    }

    struct World {
        memory: MemoryWorld,
        stack: Stack,
        file: tempfile::NamedTempFile,
    }

    impl World {
        fn new(is_versioned: bool) -> Self {
            let clock = MemoryClock::seeded(0);
            let objects = MemoryObjects::new(clock.clone());
            let objects = if is_versioned { objects.with_versioned_bucket("in") } else { objects };
            let memory = MemoryWorld::new(objects, clock, Faults::none());
            let stack = Stack {
                ports: memory.calm_ports(),
                fleet: memory.fleet.clone(),
                schedules: None,
                namespace: "fanfold".to_owned(),
                reach: fanfold_domain::Reach::default(),
                input_bucket: "in".to_owned(),
                work_bucket: "work".to_owned(),
                default_pipeline: Some(pipeline("own", "", "").to_document().to_string()),
            };
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(b"a\n").unwrap();
            Self { memory, stack, file }
        }

        fn arguments(&self, pipeline: Option<&str>, key: Option<&str>) -> StartArguments {
            StartArguments {
                source: Some(self.file.path().to_str().unwrap().to_owned()),
                pipeline: pipeline.map(ToOwned::to_owned),
                key: key.map(ToOwned::to_owned),
                idempotency_key: None,
                watch: false,
                json: false,
            }
        }

        async fn upload(&self, arguments: &StartArguments) -> Result<RunId, Failed> {
            upload(&self.stack, arguments, arguments.source.as_deref().unwrap()).await
        }

        /// As the splitter does for an event of this content, of that sequencer.
        async fn begin(&self, stored: &Stored, sequencer: &str) -> RunId {
            let clock = &self.stack.ports.clock;
            let Stored { etag, version } = stored.clone();
            let id = RunId::derive("own", &Origin::Submission { idempotency_key: sequencer });
            let object = ObjectName::new("in", KEY);
            let source = SourcePin { object, version, etag, size_bytes: 2 };
            let run = Run { id: id.clone(), source, ..sample_run("x", clock.now()) };
            self.stack.ports.ledger.create_run(&run).await.unwrap();
            id
        }

        async fn put(&self) -> Stored {
            let object = ObjectName::new("in", KEY);
            send(&self.stack, self.file.path(), &object).await.ok().unwrap()
        }

        /// What was stored last under the key.
        async fn there(&self) -> Stored {
            let head =
                self.stack.ports.objects.head(&ObjectName::new("in", KEY), None).await.unwrap().unwrap();
            Stored { etag: head.etag, version: head.version }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_run_of_this_very_upload_is_followed_whatever_had_the_same_bytes() {
        // Whether the bucket keeps versions, and whether events tell them.
        for (keeps, tells) in [(true, true), (true, false), (false, false)] {
            let world = World::new(keeps);
            let told = |stored: Stored| Stored { version: stored.version.filter(|_| tells), ..stored };
            world.begin(&told(world.put().await), "before").await;
            let late = world.put().await;
            let arguments = world.arguments(None, Some(KEY));
            let splitter = async {
                world.stack.ports.clock.sleep_ms(1_000).await;
                if tells {
                    // An event that was slower than ours.
                    world.begin(&told(late), "late").await;
                    world.stack.ports.clock.sleep_ms(1_000).await;
                }
                world.begin(&told(world.there().await), "ours").await
            };
            let (found, ours) = tokio::join!(world.upload(&arguments), splitter);
            assert_eq!(found.ok(), Some(ours), "keeps versions: {keeps}, tells them: {tells}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_uploaded_only_where_it_starts_the_pipeline_that_was_named() {
        let world = World::new(true);
        for kept in [pipeline("orders", "orders/", ".csv"), pipeline("all", "orders/", "")] {
            world.stack.ports.ledger.put_pipeline(&kept).await.unwrap();
        }
        for (wanted, key, words) in [
            ("nosuch", None, "there is no pipeline \"nosuch\"; there are: all, orders, own"),
            ("nosuch", Some("orders/a.csv"), "there is no pipeline"),
            ("orders", None, "starts the pipeline \"all\", and \"orders\" is wanted"),
            ("orders", Some("a.csv"), "starts the pipeline \"own\", and \"orders\" is wanted"),
            ("own", Some("orders/a.csv"), "starts the pipeline \"orders\", and \"own\" is wanted"),
            ("own", Some("folder/"), "starts none, and \"own\" is wanted"),
        ] {
            match world.upload(&world.arguments(Some(wanted), key)).await {
                Err(Failed::Usage(error)) => {
                    assert!(error.to_string().contains(words), "{words}: {error}");
                }
                _ => panic!("{wanted} was not refused"),
            }
        }
        assert!(world.memory.objects.keys("in").is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_for_the_stacks_own_pipeline_is_uploaded_under_its_prefix() {
        let mut world = World::new(true);
        world.stack.default_pipeline = Some(pipeline("own", "in here/", "").to_document().to_string());
        let found = world.upload(&world.arguments(Some("own"), None)).await;
        assert!(matches!(found, Err(Failed::Run(_))), "no splitter is there");
        let name = world.file.path().file_name().unwrap().to_str().unwrap();
        assert_eq!(world.memory.objects.keys("in"), [format!("in here/{name}")]);
    }
}

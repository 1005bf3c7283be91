//! From a plan to chunks under way: the manifest, the first window, `running`.

use bytes::Bytes;
use fanfold_domain::{
    Chunk, ChunkIndex, LaunchIndex, ObjectName, Plan, Run, RunState, SCAN, Scan, key,
    launch::{Launching, TooManyLaunches},
    manifest,
    message::{ChunkMessage, encode},
    pipeline::{self, RunOn},
};
use fanfold_engine::plan::Planned;
use fanfold_lifecycle::{change, fail};
use fanfold_ports::{
    Fault, PortError, Queue,
    objects::{Condition, Metadata, Written},
    queues::Outgoing,
};

use crate::{
    Splitter, SplitterError,
    map::{MapStart, launch_message},
};

/// The fanning out of one planned run.
pub(crate) struct FanOut<'a> {
    pub(crate) splitter: &'a Splitter,
    pub(crate) run: &'a Run,
}

impl FanOut<'_> {
    /// Writes the manifest, saves the plan, sends the first window or all launches or starts a Map, and only then makes the run `running`:
    /// a crash before that leaves it in `planning`, where all of this is done again.
    pub(crate) async fn send(self, planned: Planned) -> Result<(), SplitterError> {
        let Planned { plan, chunks, bytes_read } = planned;
        let run_id = &self.run.id;
        tracing::info!(%run_id, chunks = plan.grouping.chunks, groups = plan.grouping.groups(), bytes_read, "run planned");
        self.write_manifest(&chunks).await?;
        if !self.save_plan(plan).await? {
            return Ok(());
        }
        let sent = match self.run.pipeline.fan_out {
            pipeline::FanOut::Sqs => {
                self.send_messages(u32::try_from(chunks.len()).unwrap_or(u32::MAX)).await?
            }
            pipeline::FanOut::Map { batch } => {
                let chunk_bytes: Vec<u64> = chunks.iter().map(|chunk| chunk.range.len()).collect();
                let Self { splitter, run } = self;
                MapStart { splitter, run, stage: run.stage(), batch }.send(&chunk_bytes).await?
            }
        };
        match sent {
            Ok(()) => self.begin_running().await,
            Err(too_many) => self.fail(&too_many.to_string()).await,
        }
    }

    /// Sends the first window, or all launches. `Err` within if the stage has too many chunks for its pods.
    async fn send_messages(&self, chunks: u32) -> Result<Result<(), TooManyLaunches>, SplitterError> {
        let stage = self.run.stage();
        match stage.run_on {
            RunOn::Lambda => self.send_first_window(&stage.name, chunks).await?,
            RunOn::Eks(_) => match Launching::of(chunks, stage.max_concurrency) {
                Ok(launching) => self.send_launches(launching).await?,
                Err(too_many) => return Ok(Err(too_many)),
            },
        }
        Ok(Ok(()))
    }

    /// Has the source scanned by workers, or sends what begins that once more. The run stays in `planning`; the
    /// last full group of the scan sends the splitter back to work.
    pub(crate) async fn send_scan(self, scan: Scan) -> Result<(), SplitterError> {
        let chunks = scan.grouping.chunks;
        let ledger = &*self.splitter.ports.ledger;
        let run = change(ledger, &self.run.id, |run| {
            let is_due = run.state == RunState::Planning && run.scan.is_none();
            Ok(is_due.then(|| Run { scan: Some(scan.clone()), ..run.clone() }))
        })
        .await?;
        if run.state != RunState::Planning || run.generation != self.run.generation {
            return Ok(());
        }
        tracing::info!(run_id = %run.id, chunks, "source is scanned by workers");
        self.send_first_window(SCAN, chunks).await
    }

    async fn send_first_window(&self, stage: &str, chunks: u32) -> Result<(), SplitterError> {
        let first = self.run.stage().max_concurrency.min(chunks);
        let message = |chunk| Outgoing::now(encode(&ChunkMessage::first(self.run, stage, ChunkIndex(chunk))));
        Ok(self.splitter.ports.queues.send(Queue::Chunks, (0..first).map(message).collect()).await?)
    }

    /// Sends all launches: how many pods run at once is their Jobs' matter.
    async fn send_launches(&self, launching: Launching) -> Result<(), SplitterError> {
        let message =
            |launch| Outgoing::now(encode(&launch_message(self.run, self.run.stage(), launching, launch)));
        let messages = (0..launching.launches()).map(LaunchIndex).map(message).collect();
        Ok(self.splitter.ports.queues.send(Queue::Launches, messages).await?)
    }

    async fn fail(&self, reason: &str) -> Result<(), SplitterError> {
        fail(&self.splitter.ports, &self.run.id, self.run.generation, reason).await?;
        Ok(())
    }

    /// Planning a pinned source gives the same chunks each time, so whoever is second wrote the same.
    async fn write_manifest(&self, chunks: &[Chunk]) -> Result<(), SplitterError> {
        let mut text = String::new();
        for chunk in chunks {
            chunk.write_line(&mut text);
        }
        let size = text.len() as u64;
        let name = ObjectName::new(&self.splitter.work_bucket, key::manifest(&self.run.id));
        let objects = &self.splitter.ports.objects;
        let written = objects.put(&name, Bytes::from(text), Condition::Absent, &Metadata::new()).await?;
        if let Written::Stored(_) = written {
            return Ok(());
        }
        let there = objects.head(&name, None).await?.map(|head| head.size_bytes);
        if there == Some(size) {
            return Ok(());
        }
        let expected = size / manifest::LINE_BYTES;
        let detail =
            format!("another plan stands there: {there:?} bytes, and {expected} chunks were planned");
        let fault = if there.is_none() { Fault::Transient } else { Fault::Permanent };
        Err(PortError::new(fault, "write manifest", name, detail).into())
    }

    /// Saves the plan before any chunk is sent: workers and tracker need it. Returns whether the run is still
    /// to be fanned out.
    async fn save_plan(&self, plan: Plan) -> Result<bool, SplitterError> {
        let ledger = &*self.splitter.ports.ledger;
        let run = change(ledger, &self.run.id, |run| {
            let is_due = run.state == RunState::Planning && run.plan.is_none();
            Ok(is_due.then(|| Run { plan: Some(plan.clone()), ..run.clone() }))
        })
        .await?;
        Ok(run.state == RunState::Planning && run.generation == self.run.generation)
    }

    async fn begin_running(&self) -> Result<(), SplitterError> {
        let ports = &self.splitter.ports;
        let now = ports.clock.now();
        let run = change(&*ports.ledger, &self.run.id, |run| {
            if run.state != RunState::Planning || run.generation != self.run.generation {
                return Ok(None);
            }
            Ok(Some(run.advanced(RunState::Running, now)?))
        })
        .await?;
        tracing::info!(run_id = %run.id, state = %run.state, "run fanned out");
        self.splitter.finish_if_full(&run).await
    }
}

//! From a plan to chunks under way: the manifest, the first window, `running`.

use bytes::Bytes;
use fanfold_domain::{
    Chunk, ChunkIndex, LaunchIndex, ObjectName, PLAN, Plan, Run, RunState, SCAN, Scan, key,
    launch::{Launching, StageName, TooManyLaunches},
    manifest,
    message::{ChunkMessage, Intake, LaunchMessage, encode},
    pipeline::{self, RunOn, Stage},
};
use fanfold_engine::plan::Planned;
use fanfold_lifecycle::{change, fail, finish_if_full, first_window, try_to_announce};
use fanfold_ports::{
    Fault, PortError, Queue,
    objects::{Condition, Metadata, Written},
    queues::Outgoing,
};

use crate::{Splitter, SplitterError, map::MapStart};

/// The fanning out of one planned run.
pub(crate) struct FanOut<'a> {
    pub(crate) splitter: &'a Splitter,
    pub(crate) run: &'a Run,
}

impl FanOut<'_> {
    /// Writes the manifest, saves the plan, sends the first window or all launches or starts a Map, and only then makes the run `running`:
    /// a crash before that leaves it in `planning`, where all of this is done again.
    pub(crate) async fn send(self, planned: Planned) -> Result<(), SplitterError> {
        let Planned { plan, chunks, bytes_read, .. } = planned;
        let run_id = &self.run.id;
        tracing::info!(%run_id, chunks = plan.grouping.chunks, groups = plan.grouping.groups(), bytes_read, "run planned");
        if let Some(too_many) = self.too_many_launches(&plan) {
            return self.fail(&too_many.to_string()).await;
        }
        self.write_manifest(&chunks).await?;
        let chunk_bytes: Vec<u64> = chunks.iter().map(|chunk| chunk.range.len()).collect();
        let Some(run) = self.save_plan(plan).await? else { return Ok(()) };
        let planned = FanOut { splitter: self.splitter, run: &run };
        planned.begin_stage(0, &chunk_bytes).await?;
        planned.begin_running().await
    }

    /// Sends the chunks with which a stage begins: its first window, all launches, or what a Map is given. Done again it
    /// does no harm.
    pub(crate) async fn begin_stage(&self, place: usize, chunk_bytes: &[u64]) -> Result<(), SplitterError> {
        let Self { splitter, run } = *self;
        let stage = &run.pipeline.stages[place];
        if let pipeline::FanOut::Map { batch } = run.pipeline.fan_out {
            return match (MapStart { splitter, run, stage, batch }).send(chunk_bytes).await? {
                Ok(()) => Ok(()),
                Err(too_many) => self.fail(&too_many.to_string()).await,
            };
        }
        match stage.run_on {
            RunOn::Lambda => {
                let chunks = first_window(&*splitter.ports.ledger, run, place).await?;
                self.send_chunks(&stage.name, chunks).await
            }
            RunOn::Eks(_) => {
                let chunks = run.grouping_at(place).map_or(0, |grouping| grouping.chunks);
                match Launching::of(chunks, stage.max_concurrency) {
                    Ok(launching) => self.send_launches(stage, launching).await,
                    Err(too_many) => self.fail(&too_many.to_string()).await,
                }
            }
        }
    }

    /// The bytes of each chunk of a stage behind the first, which are not known before it is: as many as its share of
    /// what the run reads.
    pub(crate) fn chunk_bytes(&self, place: usize) -> Vec<u64> {
        let chunks = self.run.grouping_at(place).map_or(0, |grouping| grouping.chunks);
        vec![self.run.input().size_bytes / u64::from(chunks.max(1)); chunks as usize]
    }

    /// The first stage on EKS, if any, that would have more launches than pods.
    fn too_many_launches(&self, plan: &Plan) -> Option<TooManyLaunches> {
        let planned = Run { plan: Some(plan.clone()), ..self.run.clone() };
        let mut stages = self.run.pipeline.stages.iter().enumerate();
        stages.find_map(|(place, stage)| {
            let chunks = planned.grouping_at(place)?.chunks;
            let is_on_eks = matches!(stage.run_on, RunOn::Eks(_));
            is_on_eks.then(|| Launching::of(chunks, stage.max_concurrency).err()).flatten()
        })
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
        let first = self.run.pipeline.scan_window().min(chunks);
        self.send_chunks(SCAN, (0..first).map(ChunkIndex).collect()).await
    }

    /// Has the plan step run by a worker, whose completion sends the splitter back to work.
    pub(crate) async fn send_plan_step(self) -> Result<(), SplitterError> {
        tracing::info!(run_id = %self.run.id, "the plan step writes the list");
        self.send_chunks(PLAN, vec![ChunkIndex(0)]).await
    }

    /// Has another message go on with the planning, which left in the work bucket how far it is.
    pub(crate) async fn go_on_later(self) -> Result<(), SplitterError> {
        let ports = &self.splitter.ports;
        let now = ports.clock.now();
        // It gets on, so that the sweeper has no reason to have it planned beside that.
        let run = change(&*ports.ledger, &self.run.id, |run| {
            Ok((run.state == RunState::Planning).then(|| Run { updated_at: now, ..run.clone() }))
        })
        .await?;
        if run.state != RunState::Planning || run.generation != self.run.generation {
            return Ok(());
        }
        tracing::info!(run_id = %run.id, "planning goes on by another message");
        let again = encode(&Intake::Resume { run: run.id });
        Ok(ports.queues.send(Queue::Intake, vec![Outgoing::now(again)]).await?)
    }

    async fn send_chunks(&self, stage: &str, chunks: Vec<ChunkIndex>) -> Result<(), SplitterError> {
        if chunks.is_empty() {
            return Ok(());
        }
        let message = |chunk| Outgoing::now(encode(&ChunkMessage::first(self.run, stage, chunk)));
        Ok(self.splitter.ports.queues.send(Queue::Chunks, chunks.into_iter().map(message).collect()).await?)
    }

    /// Sends all launches: how many pods run at once is their Jobs' matter.
    async fn send_launches(&self, stage: &Stage, launching: Launching) -> Result<(), SplitterError> {
        let name = StageName::of(self.run, &stage.name);
        let message = |launch| Outgoing::now(encode(&LaunchMessage::first(&name, launching, launch)));
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

    /// Saves the plan before any chunk is sent: workers and tracker need it. Returns the run if it is still
    /// to be fanned out, with its plan.
    async fn save_plan(&self, plan: Plan) -> Result<Option<Run>, SplitterError> {
        let ledger = &*self.splitter.ports.ledger;
        let run = change(ledger, &self.run.id, |run| {
            let is_due = run.state == RunState::Planning && run.plan.is_none();
            Ok(is_due.then(|| Run { plan: Some(plan.clone()), ..run.clone() }))
        })
        .await?;
        Ok(Some(run).filter(|run| run.state == RunState::Planning && run.generation == self.run.generation))
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
        try_to_announce(ports, &run).await;
        // All chunks may be done before the run is running, and whoever marked the last group found it planning.
        Ok(finish_if_full(ports, &run.id, run.generation).await?)
    }
}

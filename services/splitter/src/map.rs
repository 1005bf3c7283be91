//! The fan-out of a stage by a Distributed Map: its batch list in the work bucket, and the start of its execution.
//!
//! Both are there once, however often they are made: the list is of a stage in a generation, and so is the execution's
//! name.

use bytes::Bytes;
use fanfold_domain::{
    LaunchIndex, ObjectName, Run,
    launch::{Launching, StageName, TooManyLaunches},
    map::{BatchLimits, BatchMessage, MapInput},
    message::{LaunchMessage, encode},
    pipeline::{RunOn, Stage},
};
use fanfold_ports::{
    Fault, PortError,
    objects::{Condition, Metadata, Written},
};

use crate::{Splitter, SplitterError};

/// A stage that is to be fanned out.
pub(crate) struct MapStart<'a> {
    pub(crate) splitter: &'a Splitter,
    pub(crate) run: &'a Run,
    pub(crate) stage: &'a Stage,
    /// Chunks of a batch, where the pipeline says how many.
    pub(crate) batch: Option<u32>,
}

impl MapStart<'_> {
    /// Writes the list of what the execution's children do with chunks of these bytes, and starts it. `Err` within
    /// if the stage has too many chunks for its pods.
    pub(crate) async fn send(
        &self,
        chunk_bytes: &[u64],
    ) -> Result<Result<(), TooManyLaunches>, SplitterError> {
        let items = match self.items(chunk_bytes) {
            Ok(items) => items,
            Err(too_many) => return Ok(Err(too_many)),
        };
        let chunks = u32::try_from(chunk_bytes.len()).unwrap_or(u32::MAX);
        let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        let input = MapInput::new(self.run, self.stage, &self.splitter.work_bucket, chunks, count);
        self.write_list(&input, &items).await?;
        self.splitter.maps.start(&input).await?;
        tracing::info!(run_id = %self.run.id, stage = self.stage.name, items = count, children = ?input.children, "map started");
        Ok(Ok(()))
    }

    /// What the children are given: one message a child, as the worker or the launcher reads it.
    fn items(&self, chunk_bytes: &[u64]) -> Result<Vec<String>, TooManyLaunches> {
        let Self { run, stage, batch, .. } = self;
        let chunks = u32::try_from(chunk_bytes.len()).unwrap_or(u32::MAX);
        match stage.run_on {
            RunOn::Lambda => {
                let bytes = chunk_bytes.iter().fold(0u64, |sum, bytes| sum.saturating_add(*bytes));
                let limits = BatchLimits::of(chunks, bytes, stage.max_concurrency, *batch);
                let batches = limits.batches(chunk_bytes.iter().copied());
                Ok(batches.into_iter().map(|batch| encode(&BatchMessage::new(run, stage, batch))).collect())
            }
            RunOn::Eks(_) => {
                let launching = Launching::of(chunks, stage.max_concurrency)?;
                let name = StageName::of(run, &stage.name);
                let message = |launch| encode(&LaunchMessage::first(&name, launching, launch));
                Ok((0..launching.launches()).map(LaunchIndex).map(message).collect())
            }
        }
    }

    /// Whoever is second finds a list of the same chunks, and that is the one that counts: a newer splitter may divide
    /// them otherwise.
    async fn write_list(&self, input: &MapInput, items: &[String]) -> Result<(), SplitterError> {
        let text: String = items.iter().flat_map(|item| [item, "\n"]).collect();
        let name = ObjectName::new(&input.bucket, &input.key);
        let objects = &self.splitter.ports.objects;
        let written = objects.put(&name, Bytes::from(text), Condition::Absent, &Metadata::new()).await?;
        if matches!(written, Written::Stored(_)) || objects.head(&name, None).await?.is_some() {
            return Ok(());
        }
        Err(PortError::new(Fault::Transient, "write batch list", name, "it is being written by another")
            .into())
    }
}

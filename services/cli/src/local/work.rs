//! What the worker's threads do: one chunk after the other, each as often as the pipeline says.

use std::{
    ffi::OsString,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use fanfold_domain::{ByteRange, Chunk, ChunkIndex, Plan, Run, Sums, message::Failure};
use fanfold_engine::{
    chunk::{Attempt, ChunkError},
    processor::Inherited,
};
use fanfold_local::{LocalClock, LocalObjects};
use fanfold_ports::Clock;
use tokio::sync::mpsc;

use super::{drive::WORK, setup::Folders};
use crate::say;

/// How a chunk ended, as a thread tells it.
pub(super) enum End {
    Done(Sums),
    Failed(Failure),
}

/// What the threads share.
pub(super) struct Work {
    objects: Arc<LocalObjects>,
    folders: Arc<Folders>,
    run: Run,
    plan: Plan,
    chunks: Vec<Chunk>,
    next: AtomicUsize,
    inherited: Inherited,
}

impl Work {
    pub(super) fn new(
        objects: Arc<LocalObjects>,
        folders: Arc<Folders>,
        run: Run,
        plan: Plan,
        chunks: Vec<Chunk>,
    ) -> Self {
        let inherited = std::env::vars_os().filter_map(utf8).collect();
        Self { objects, folders, run, plan, chunks, next: AtomicUsize::new(0), inherited }
    }

    /// The bytes of a chunk.
    pub(super) fn range(&self, chunk: ChunkIndex) -> ByteRange {
        self.chunks[chunk.0 as usize].range
    }

    /// Does one chunk after the other until there are none, or nobody listens any more.
    pub(super) async fn do_chunks(self: Arc<Self>, ends: mpsc::Sender<(ChunkIndex, End)>) {
        while let Some(chunk) = self.chunks.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let end = self.do_chunk(*chunk).await;
            if ends.send((chunk.index, end)).await.is_err() {
                return;
            }
        }
    }

    /// Tries a chunk as often as the pipeline says.
    async fn do_chunk(&self, chunk: Chunk) -> End {
        let retry = self.run.stage().retry;
        let objects = fanfold_local::Folders::new(&self.objects, &self.folders);
        let mut tries = 1;
        loop {
            let name = tries.to_string();
            let attempt = Attempt {
                objects: &objects,
                run: &self.run,
                plan: &self.plan,
                chunk,
                work_bucket: WORK,
                name: &name,
                inherited: &self.inherited,
                tables: None,
            };
            match attempt.run().await {
                Ok(sums) => return End::Done(sums),
                Err(ChunkError::Permanent(failure)) => return End::Failed(failure),
                Err(ChunkError::Process(error)) if tries < retry.attempts => {
                    say::note(&format!("chunk {}, try {tries}: {error}; trying again", chunk.index));
                    LocalClock.sleep_ms(retry.backoff_ms).await;
                    tries += 1;
                }
                Err(error) => return End::Failed(Failure::of_chunk(error.to_string())),
            }
        }
    }
}

fn utf8((name, value): (OsString, OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

//! What the worker's threads do: one chunk after the other, each as often as the pipeline says.

use std::{
    ffi::OsString,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, anyhow};
use fanfold_domain::{Chunk, ChunkIndex, PLAN, Plan, Run, Sums, message::Failure, pipeline::Stage};
use fanfold_engine::{
    chunk::{Attempt, ChunkError, Input},
    processor::{Inherited, Outside, PACKAGE},
};
use fanfold_local::{LocalClock, LocalObjects};
use fanfold_ports::{Clock, objects::UploadError, pacer::MemoryPacer};
use fanfold_web::{Reach, WebClient};
use tokio::sync::mpsc;

use super::{drive::WORK, setup::Folders};
use crate::say;

/// How a chunk ended, as a thread tells it.
pub(super) enum End {
    Done(Sums),
    Failed(Failure),
}

/// A chunk to be done, and where what it reads is told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Task {
    /// Of the first stage, with the number of its records where planning counted them.
    Source(Chunk, Option<u64>),
    /// Of a later one, which reads parts.
    Parts(ChunkIndex),
}

impl Task {
    fn chunk(self) -> ChunkIndex {
        match self {
            Self::Source(chunk, _) => chunk.index,
            Self::Parts(chunk) => chunk,
        }
    }

    fn counted(self) -> Option<u64> {
        match self {
            Self::Source(_, counted) => counted,
            Self::Parts(_) => None,
        }
    }
}

/// What the threads share: the chunks of one stage.
pub(super) struct Work {
    objects: Arc<LocalObjects>,
    folders: Arc<Folders>,
    run: Run,
    plan: Plan,
    stage: Stage,
    tasks: Vec<Task>,
    next: AtomicUsize,
    inherited: Inherited,
    outside: Outside,
}

impl Work {
    pub(super) fn new(
        objects: Arc<LocalObjects>,
        folders: Arc<Folders>,
        run: Run,
        plan: Plan,
        stage: Stage,
        tasks: Vec<Task>,
        inherited: Inherited,
    ) -> Self {
        let outside = Outside {
            web: Arc::new(WebClient::new(Reach::Anywhere)),
            pacer: Arc::new(MemoryPacer::default()),
            functions: None,
            clock: Arc::new(LocalClock),
            ends_at: None,
        };
        Self { objects, folders, run, plan, stage, tasks, next: AtomicUsize::new(0), inherited, outside }
    }

    /// Where a chunk is, for a person.
    pub(super) fn place(&self, chunk: ChunkIndex) -> String {
        match self.tasks.iter().find(|task| task.chunk() == chunk) {
            Some(Task::Source(Chunk { range, .. }, _)) => format!("chunk {chunk} (bytes {range})"),
            _ => format!("chunk {chunk} of stage {}", self.stage.name),
        }
    }

    /// Does one chunk after the other until there are none, or nobody listens any more.
    pub(super) async fn do_chunks(self: Arc<Self>, ends: mpsc::Sender<(ChunkIndex, End)>) {
        while let Some(task) = self.tasks.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let end = self.do_chunk(*task).await;
            if ends.send((task.chunk(), end)).await.is_err() {
                return;
            }
        }
    }

    /// Tries a chunk as often as the pipeline says.
    async fn do_chunk(&self, task: Task) -> End {
        let (retry, chunk) = (self.stage.retry, task.chunk());
        let objects = fanfold_local::Folders::new(&self.objects, &self.folders);
        let mut tries = 1;
        loop {
            let name = tries.to_string();
            let input = match self.input(task).await {
                Ok(input) => input,
                Err(error) => return End::Failed(Failure::of_chunk(error.to_string())),
            };
            let attempt = Attempt {
                objects: &objects,
                run: &self.run,
                plan: &self.plan,
                stage: &self.stage,
                chunk,
                input,
                counted: task.counted(),
                work_bucket: WORK,
                name: &name,
                number: tries,
                inherited: &self.inherited,
                tables: None,
                outside: Some(&self.outside),
            };
            match attempt.run().await {
                Ok(attempted) => return End::Done(attempted.sums),
                Err(ChunkError::Permanent(failure)) => return End::Failed(failure),
                // A local run has no deadline of its own, but waits for nobody longer than it would have.
                Err(ChunkError::Process(error))
                    if tries < retry.attempts && error.wait_ms() < self.run.pipeline.deadline_ms =>
                {
                    say::note(&format!("chunk {chunk}, try {tries}: {error}; trying again"));
                    LocalClock.sleep_ms(error.wait_ms().saturating_add(retry.backoff_ms)).await;
                    tries += 1;
                }
                Err(error) => return End::Failed(Failure::of_chunk(error.to_string())),
            }
        }
    }

    async fn input(&self, task: Task) -> Result<Input, UploadError> {
        match task {
            _ if self.stage.name == PLAN => Ok(Input::of_plan_step(&self.run)),
            Task::Source(chunk, _) => Ok(Input::of_first(&self.run, &chunk)),
            Task::Parts(chunk) => Input::of_parts(&*self.objects, &self.run, WORK, &self.stage, chunk).await,
        }
    }
}

/// The environment that commands inherit from, with the folder of a package as Lambda names it.
pub(super) fn inherited(package: Option<&Path>) -> anyhow::Result<Inherited> {
    let mut inherited: Inherited = std::env::vars_os().filter_map(utf8).collect();
    // Where this process runs on Lambda, it is not in the worker's package.
    inherited.remove(PACKAGE);
    if let Some(package) = package {
        let named = || format!("the package {}", package.display());
        let folder = package.canonicalize().with_context(named)?;
        anyhow::ensure!(folder.is_dir(), "the package {} is not a folder", package.display());
        let folder = folder.into_os_string().into_string();
        let folder = folder.map_err(|_| anyhow!("the package {} is not UTF-8", package.display()))?;
        inherited.insert(PACKAGE.to_owned(), folder);
    }
    Ok(inherited)
}

fn utf8((name, value): (OsString, OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

//! The services, each invocation with ports and a container of its own, as the driver starts them.

use std::{
    future::Future,
    sync::{Arc, Mutex},
};

use fanfold_domain::{Generation, RunId, StackId, pipeline::Pipeline};
use fanfold_engine::plan::ScanLimits;
use fanfold_launcher::{Launcher, spec::Surroundings};
use fanfold_lifecycle::{RunCache, cancel};
use fanfold_merger::Merger;
use fanfold_ports::{Ports, Web, memory::Invocation};
use fanfold_splitter::{Share, Splitter};
use fanfold_sweeper::{DeadQueue, LeftOff, Sweeper, WatchLeftOff, Watcher};
use fanfold_tracker::{Notes, Tracker};
use fanfold_worker::{Delivered, Worker, WorkerError, pod::Assignment};
use tokio::sync::oneshot;

use crate::{
    ports::{World, lock},
    scenario::{INPUT, Legs, OUTPUT, WORK},
};

/// How long a sweep may begin with other runs.
const SWEEP_MS: u64 = 40_000;

/// What an invocation is given.
#[derive(Debug, Clone)]
pub(crate) enum Job {
    Split(String),
    Work {
        body: String,
        id: u64,
        receive_count: u32,
    },
    Launch(String),
    /// A batch of a Map.
    Batch(String),
    Track(Vec<String>),
    Merge(String),
    Sweep,
    /// What a person asks for.
    Cancel(RunId),
    /// A chunk's message that died.
    DeadChunk(String),
    /// A launch's message that died.
    DeadLaunch(String),
    /// Another message that died.
    Dead(DeadQueue, String),
}

/// Why a person ends a run.
pub(crate) const CANCELLED: &str = "seen enough of it";
/// How the text of an error begins that no further try would mend.
pub(crate) const IN_VAIN: &str = "in vain: ";

/// How each message of an invocation fared: whether it may be deleted, or why not.
pub(crate) type Fared = Vec<Result<(), String>>;

/// Containers that are idle, with what they remember.
#[derive(Debug, Default)]
pub(crate) struct Containers<T>(Mutex<Vec<T>>);

impl<T: Default> Containers<T> {
    fn take(&self) -> T {
        lock(&self.0).pop().unwrap_or_default()
    }

    fn give_back(&self, memory: T) {
        lock(&self.0).push(memory);
    }
}

/// What invocations are given to do at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) scan: ScanLimits,
    pub(crate) function_ms: Option<u64>,
    pub(crate) legs: Legs,
}

/// Where workers, launchers and trackers leave their memory between invocations.
#[derive(Debug, Default, Clone)]
pub(crate) struct Fleet {
    workers: Arc<Containers<RunCache>>,
    launchers: Arc<Containers<RunCache>>,
    trackers: Arc<Containers<(RunCache, Notes)>>,
}

impl Fleet {
    fn tracker(&self, ports: Ports) -> Tracker {
        let (runs, notes) = self.trackers.take();
        Tracker { ports, work_bucket: WORK.to_owned(), runs, notes }
    }

    /// Does a job until its end, or until the invocation crashes: then `None`.
    pub(crate) async fn run(
        self,
        job: Job,
        World { ports, kube, maps, web, begins_at }: World,
        invocation: Invocation,
        stack: Pipeline,
        Limits { scan: scan_limits, function_ms, legs }: Limits,
    ) -> Option<Fared> {
        match job {
            Job::Split(body) => {
                let splitter = Splitter {
                    ports,
                    maps,
                    work_bucket: WORK.to_owned(),
                    input_bucket: INPUT.to_owned(),
                    output_bucket: OUTPUT.to_owned(),
                    default_pipeline: Some(stack),
                    scan_limits,
                    reach: fanfold_domain::Reach::default(),
                };
                let until = legs.ms.map(|ms| begins_at.plus_ms(ms));
                let share = Share { until, strides: legs.strides };
                or_crash(&invocation, async { one(splitter.handle_until(&body, share).await) }).await
            }
            job @ (Job::Work { .. } | Job::Batch(_)) => {
                let ends_at = function_ms.map(|ms| begins_at.plus_ms(ms));
                let runs = self.workers.take();
                let worker = Worker {
                    ports,
                    web,
                    functions: None,
                    work_bucket: WORK.to_owned(),
                    inherited: std::collections::BTreeMap::new(),
                    runs,
                };
                let work = async {
                    match &job {
                        Job::Batch(body) => vec![named(worker.handle_batch(body, ends_at).await)],
                        Job::Work { body, id, receive_count } => {
                            let id = &id.to_string();
                            let delivered = Delivered { id, body, receive_count: *receive_count };
                            one(worker.handle(delivered, ends_at).await)
                        }
                        _ => unreachable!("it is a worker's"),
                    }
                };
                let fared = or_crash(&invocation, work).await;
                if fared.is_some() {
                    self.workers.give_back(worker.runs);
                }
                fared
            }
            Job::Launch(body) => {
                let (runs, surroundings) = (self.launchers.take(), surroundings());
                let launcher = Launcher { ports, kube, stack: stack_id(), surroundings, runs };
                let fared = or_crash(&invocation, async { one(launcher.handle(&body).await) }).await;
                if fared.is_some() {
                    self.launchers.give_back(launcher.runs);
                }
                fared
            }
            Job::Track(bodies) => {
                let tracker = self.tracker(ports);
                let fared = or_crash(&invocation, async {
                    let mut fared: Fared = bodies.iter().map(|_| Ok(())).collect();
                    for (place, error) in tracker.handle(&bodies).await {
                        fared[place] = Err(error.to_string());
                    }
                    fared
                })
                .await;
                if fared.is_some() {
                    self.trackers.give_back((tracker.runs, tracker.notes));
                }
                fared
            }
            Job::DeadChunk(body) => {
                let tracker = self.tracker(ports);
                or_crash(&invocation, async { one(tracker.handle_dead(&body).await) }).await
            }
            Job::DeadLaunch(body) => {
                let tracker = self.tracker(ports);
                or_crash(&invocation, async { one(tracker.handle_dead_launch(&body).await) }).await
            }
            Job::Merge(body) => {
                let merger = Merger { ports, work_bucket: WORK.to_owned() };
                let until = legs.ms.map(|ms| begins_at.plus_ms(ms));
                or_crash(&invocation, async { one(merger.handle_until(&body, until).await) }).await
            }
            Job::Sweep => {
                let until = begins_at.plus_ms(SWEEP_MS);
                let work_bucket = WORK.to_owned();
                let watcher = Watcher {
                    ports: ports.clone(),
                    kube,
                    stack: stack_id(),
                    work_bucket: work_bucket.clone(),
                    left_off: WatchLeftOff::default(),
                };
                let sweeper = Sweeper { ports, maps, work_bucket, left_off: LeftOff::default() };
                or_crash(&invocation, async {
                    let (swept, watched) = tokio::join!(sweeper.sweep(until), watcher.watch(until));
                    one(swept.and(watched))
                })
                .await
            }
            Job::Cancel(run) => {
                let cancel = cancel(&ports, &run, Generation(0), CANCELLED);
                or_crash(&invocation, async { one(cancel.await.map(drop)) }).await
            }
            Job::Dead(queue, body) => {
                let sweeper =
                    Sweeper { ports, maps, work_bucket: WORK.to_owned(), left_off: LeftOff::default() };
                or_crash(&invocation, async { one(sweeper.handle_dead(queue, &body).await) }).await
            }
        }
    }
}

/// Does what a pod is there for; its exit code, or none if it was killed.
pub(crate) async fn run_pod(
    assignment: Assignment,
    (ports, web): (Ports, Arc<dyn Web>),
    invocation: Invocation,
    stopped: oneshot::Receiver<()>,
) -> Option<u8> {
    let worker = Worker {
        ports,
        web,
        functions: None,
        work_bucket: WORK.to_owned(),
        inherited: std::collections::BTreeMap::new(),
        runs: RunCache::default(),
    };
    let stop = async {
        if stopped.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = invocation.crashed() => None,
        end = worker.run_pod(&assignment, stop) => Some(end.exit_code()),
    }
}

/// The stack that all these services are of.
pub(crate) fn stack_id() -> StackId {
    StackId::of_ledger("arn:aws:dynamodb:us-east-1:000000000000:table/ledger")
}

/// What pods are told that no pod of a simulation reads.
fn surroundings() -> Surroundings {
    Surroundings {
        region: "us-east-1".to_owned(),
        ledger_table: "ledger".to_owned(),
        work_bucket: WORK.to_owned(),
        completions_queue_url: "http://queue".to_owned(),
        whole_checksum: true,
    }
}

async fn or_crash(invocation: &Invocation, work: impl Future<Output = Fared>) -> Option<Fared> {
    tokio::select! {
        biased;
        () = invocation.crashed() => None,
        fared = work => Some(fared),
    }
}

fn one<E: std::fmt::Display>(result: Result<(), E>) -> Fared {
    vec![result.map_err(|error| error.to_string())]
}

/// How a batch fared: as Step Functions is told it.
fn named(result: Result<(), WorkerError>) -> Result<(), String> {
    result.map_err(|error| if error.is_permanent() { format!("{IN_VAIN}{error}") } else { error.to_string() })
}

//! The wiring of a pod: a part of main.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

use fanfold_aws::{Aws, QueueUrls, Settings};
use fanfold_domain::{ChunkSet, Generation};
use fanfold_lifecycle::RunCache;
use fanfold_runtime::{
    Error, Variables,
    config::{
        FANFOLD_CHUNKS, FANFOLD_CHUNKS_PER_POD, FANFOLD_COMPLETIONS_QUEUE_URL, FANFOLD_FAILED_TRIES,
        FANFOLD_GENERATION, FANFOLD_LEDGER_TABLE, FANFOLD_RUN, FANFOLD_S3_WHOLE_CHECKSUM, FANFOLD_STAGE,
        FANFOLD_WORK_BUCKET, Function, JOB_COMPLETION_INDEX,
    },
};
use fanfold_worker::{Worker, pod::Assignment};
use tokio::signal::unix::{SignalKind, signal};

/// `EX_CONFIG` of sysexits.h: no other pod would do better.
const MISCONFIGURED: u8 = 78;

/// The authorities whose certificates count: the image's own, since the user's may have none.
const CERTIFICATES: &str = "ca-certificates.crt";

struct Config {
    aws: Settings,
    table: String,
    queues: QueueUrls,
    work_bucket: String,
    assignment: Option<Assignment>,
}

fn read(variables: &mut Variables<'_>) -> Config {
    Config {
        aws: Settings { endpoint: None, whole_checksum: variables.switch(FANFOLD_S3_WHOLE_CHECKSUM, true) },
        table: variables.required(FANFOLD_LEDGER_TABLE),
        queues: QueueUrls {
            completions: Some(variables.url(FANFOLD_COMPLETIONS_QUEUE_URL)),
            ..QueueUrls::default()
        },
        work_bucket: variables.required(FANFOLD_WORK_BUCKET),
        assignment: assignment(variables),
    }
}

fn assignment(variables: &mut Variables<'_>) -> Option<Assignment> {
    let run = variables.needed(FANFOLD_RUN, str::parse);
    let stage = variables.required(FANFOLD_STAGE);
    let generation = variables.needed(FANFOLD_GENERATION, str::parse::<u32>);
    let chunks = variables.needed(FANFOLD_CHUNKS, str::parse::<ChunkSet>);
    let size = variables.needed(FANFOLD_CHUNKS_PER_POD, str::parse::<u32>);
    let index = variables.needed(JOB_COMPLETION_INDEX, str::parse::<u32>);
    // Kubernetes says it from an index's second pod on.
    let failed_tries = variables.parsed(FANFOLD_FAILED_TRIES, str::parse::<u32>).unwrap_or(0);
    Some(Assignment {
        run: run?,
        stage,
        generation: Generation(generation?),
        chunks: chunks?.page(index?, size?),
        failed_tries,
    })
}

/// Does what the pod's variables say; the exit code.
pub(crate) async fn run() -> Result<u8, Error> {
    let config = match Variables::from_environment(Function::Pod, read) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(%error, "pod is misconfigured");
            return Ok(MISCONFIGURED);
        }
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let Config { aws, table, queues, work_bucket, assignment } = config;
    let assignment = assignment.ok_or("an assignment is read or refused")?;
    let aws = Aws::connect(aws).await;
    let (ports, web) = (aws.ports(table, queues), crate::web(&aws));
    let (inherited, runs) = (crate::inherited(), RunCache::default());
    let worker = Worker { ports, web, functions: None, work_bucket, inherited, runs };
    let chunks = assignment.chunks.len();
    tracing::info!(run_id = %assignment.run, chunks, failed_tries = assignment.failed_tries, "pod began");
    let stop = async {
        terminate.recv().await;
    };
    let end = worker.run_pod(&assignment, stop).await;
    tracing::info!(run_id = %assignment.run, ?end, resident_kib = resident_kib(), "pod ended");
    Ok(end.exit_code())
}

/// The most memory that this process had resident, as Linux counts it: what `resources.memory` must leave room for.
fn resident_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Puts this program, and the certificates beside it, into a folder, for a container of another image.
pub(crate) fn install(folder: &str) -> Result<u8, Error> {
    let program = std::env::current_exe()?;
    copy(&program, &Path::new(folder).join("fanfold-worker"), 0o755)?;
    let certificates = program.with_file_name(CERTIFICATES);
    copy(&certificates, &Path::new(folder).join(CERTIFICATES), 0o644)?;
    Ok(0)
}

fn copy(from: &Path, to: &Path, mode: u32) -> io::Result<()> {
    let copied = fs::copy(from, to).and_then(|_| fs::set_permissions(to, fs::Permissions::from_mode(mode)));
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("{} to {}: {error}", from.display(), to.display()))
    };
    copied.map_err(named)
}

//! Job specs as they are sent, compared with files beside this one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use fanfold_domain::{
    ByteRange, Grouping, Launch, LaunchIndex, LineEnd, Plan, Run, StackId,
    cluster::Cluster,
    pipeline::{Pipeline, RunOn},
};
use fanfold_launcher::spec::{Request, Surroundings};
use fanfold_ports::{contract::sample_run, memory::MEMORY_EPOCH};
use serde_json::Value;

fn surroundings() -> Surroundings {
    Surroundings {
        region: "eu-central-1".into(),
        ledger_table: "fanfold-LedgerTable".into(),
        work_bucket: "fanfold-workbucket".into(),
        completions_queue_url: "https://sqs.eu-central-1.amazonaws.com/123456789012/completions".into(),
        whole_checksum: true,
    }
}

fn run(pipeline: &str) -> Run {
    let mut run = sample_run("launched", MEMORY_EPOCH);
    run.pipeline = Pipeline::parse(pipeline).unwrap();
    run.plan = Some(Plan {
        grouping: Grouping { chunks: 100, group_chunks: 8 },
        preamble: ByteRange::new(0, 0),
        header: None,
        line_end: LineEnd::Lf,
    });
    run
}

fn job(pipeline: &str, chunks: &str, pods: u32) -> Value {
    let cluster = "{cluster: one, region: eu-central-1, worker_image: 'registry.example/fanfold-worker:1'}";
    let cluster = Cluster::parse(cluster).unwrap();
    let run = run(pipeline);
    let stage = run.first_stage();
    let RunOn::Eks(eks) = &stage.run_on else { panic!("it runs on EKS") };
    let stack =
        Some(StackId::of_ledger("arn:aws:dynamodb:eu-central-1:123456789012:table/fanfold-LedgerTable"));
    let launch = Launch { stack, ..Launch::new(LaunchIndex(3), chunks.parse().unwrap(), MEMORY_EPOCH) };
    let now = MEMORY_EPOCH.plus_ms(1_500);
    let request = Request { run: &run, stage, eks, launch: &launch, cluster: &cluster, pods, now };
    let job = request.kube_job(&surroundings());
    assert_eq!(job.manifest["metadata"]["name"], job.name);
    job.manifest
}

/// Compares a Job with its file; the difference is in what the assertion prints.
fn assert_is(job: &Value, file: &str, text: &str) {
    let wanted: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    let found = serde_json::to_string_pretty(job).unwrap();
    assert_eq!(*job, wanted, "tests/specs/{file} is to be:\n{found}\n");
}

#[test]
fn a_builtin_runs_in_the_workers_own_image() {
    let pipeline = "pipeline: p\nsource: {prefix: in/, format: lines}\n\
                    stages: [{name: s, run_on: eks, process: copy}]\n";
    assert_is(&job(pipeline, "10-19", 4), "builtin.json", include_str!("specs/builtin.json"));
}

#[test]
fn a_command_runs_in_the_users_image_with_all_that_the_pipeline_says() {
    let pipeline = "
        pipeline: p
        source: {prefix: in/, format: lines}
        stages:
          - name: s
            run_on: eks
            image: registry.example/tools:2
            command: [tr, a-z, A-Z]
            retry: {attempts: 5}
            resources: {cpu: 250m, memory: 64MiB}
            chunks_per_pod: 3
            kubernetes:
              queue: gpu
              service_account: upper
              node_selector: {disk: fast}
              tolerations: [{key: spot, effect: NoSchedule}]
              run_as_user: 1000
        on_error: {tolerate_failed_chunks: 2%}";
    assert_is(&job(pipeline, "0-9,50", 2), "command.json", include_str!("specs/command.json"));
}

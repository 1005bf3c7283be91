//! The merger on memory ports: folds, assemblies, lists of bad records.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

#[path = "service/pauses.rs"]
mod pauses;

use fanfold_domain::{
    ByteRange, ChunkIndex, Generation, GroupIndex, Grouping, LineEnd, Mark, ObjectName, Plan, Run, RunState,
    Stamp, Sums,
    message::{FoldMessage, decode, encode},
};
use fanfold_merger::Merger;
use fanfold_ports::{
    Ledger, Objects, Queue,
    contract::sample_run,
    ledger::{CreatedOwner, Freshness, StageId},
    memory::{Invocation, MEMORY_EPOCH, MemoryWorld, memory_ports},
    objects::{Condition, Expected, Metadata, Upload, UploadError, UploadedPart, Written},
};

const HEADER: &str = "orderid,confirmationid\n";

/// A world with a running run of two chunks, both done, each a group, and its merger. Chunk 1 has a bad record.
async fn done() -> (MemoryWorld, Merger, Run) {
    let (world, ports) = memory_ports();
    let run = done_in(&world, "merged").await;
    (world, Merger { ports, work_bucket: "work".into() }, run)
}

/// Such a run of another name, which takes the output.
async fn done_in(world: &MemoryWorld, name: &str) -> Run {
    let mut run = sample_run(name, MEMORY_EPOCH).renamed(&sample_run("merged", MEMORY_EPOCH));
    run.plan = Some(Plan {
        grouping: Grouping { chunks: 2, group_chunks: 1 },
        preamble: ByteRange::new(0, 0),
        header: None,
        line_end: LineEnd::Lf,
    });
    run.state = RunState::Running;
    let run = create(world, &run).await;
    make_part(world, &run, 0, "one\n", 0).await;
    make_part(world, &run, 1, "two\n", 1).await;
    run
}

/// Creates a run, which takes the output.
async fn create(world: &MemoryWorld, run: &Run) -> Run {
    match world.ledger.create_run_as_owner(run).await.unwrap() {
        CreatedOwner::Now(run) => *run,
        other => panic!("{other:?}"),
    }
}

async fn make_part(world: &MemoryWorld, run: &Run, chunk: u32, body: &'static str, bad_records: u64) {
    let (keys, index) = (run.keys(&run.last_stage().name), ChunkIndex(chunk));
    let sums = Sums { records: 5, bad_records, bytes_in: 50, bytes_out: body.len() as u64, failed_chunks: 0 };
    let statistics = serde_json::json!({ "sums": sums }).to_string();
    world.objects.insert("work", keys.statistics(index, "a"), statistics);
    if bad_records > 0 {
        let line = "{\"record\":2,\"offset\":60,\"reason\":\"odd\",\"text\":\"x\"}\n";
        world.objects.insert("work", keys.bad_records(index, "a"), line);
    }
    let named = Metadata::from([("fanfold-attempt".to_owned(), "a".to_owned())]);
    let name = ObjectName::new("work", keys.part(index));
    world.objects.put(&name, body.into(), Condition::Always, &named).await.unwrap();
    let mark = [(index, Mark::Done(sums))];
    world.ledger.mark(&StageId::last_of(run), GroupIndex(chunk), &mark, &[]).await.unwrap();
}

fn fold(run: &Run, group: u32) -> String {
    let StageId { run, stage, generation } = StageId::last_of(run);
    encode(&FoldMessage::Fold { run, stage, generation, group: GroupIndex(group) })
}

fn assemble(run: &Run) -> String {
    encode(&FoldMessage::Assemble { run: run.id.clone(), generation: run.generation })
}

fn report(run: &Run) -> String {
    encode(&FoldMessage::Report { run: run.id.clone(), generation: run.generation })
}

async fn now(world: &MemoryWorld, run: &Run) -> Run {
    world.ledger.run(&run.id, Freshness::Consistent).await.unwrap().unwrap()
}

async fn folded(world: &MemoryWorld, merger: &Merger, run: &Run) {
    merger.handle(&fold(run, 1)).await.unwrap();
    assert_eq!(now(world, run).await.state, RunState::Running);
    merger.handle(&fold(run, 0)).await.unwrap();
    assert_eq!(now(world, run).await.state, RunState::Completing);
}

/// Something under the output's name (or the list's), by a run of another epoch or by a stranger.
async fn write(world: &MemoryWorld, name: &ObjectName, epoch: Option<u64>) {
    let other = sample_run("other", MEMORY_EPOCH);
    let other = other.renamed(&sample_run("merged", MEMORY_EPOCH));
    let stamp = Stamp { epoch: fanfold_domain::Epoch(epoch.unwrap_or(0)), ..Stamp::of(&other, name) };
    let metadata = if epoch.is_some() { stamp.to_metadata() } else { Metadata::new() };
    world.objects.put(name, "other".into(), Condition::Always, &metadata).await.unwrap();
}

#[tokio::test]
async fn folds_in_any_order_become_the_output_in_order() {
    let (world, merger, run) = done().await;
    folded(&world, &merger, &run).await;
    merger.handle(&assemble(&run)).await.unwrap();
    assert_eq!(world.objects.contents(&run.output).unwrap(), format!("{HEADER}one\ntwo\n"));
    let run = now(&world, &run).await;
    assert_eq!(run.state, RunState::Succeeded);
    assert_eq!(run.sums.unwrap().bytes_out, HEADER.len() as u64 + 8);
    let errors = world.objects.contents(&run.errors).unwrap();
    assert!(errors.starts_with(b"{\"record\":7,\"offset\":60"), "{errors:?}");
    assert!(!world.objects.open_uploads().iter().any(|upload| upload.object == run.output));
}

#[tokio::test]
async fn everything_twice_is_the_same_as_once() {
    let (world, merger, run) = done().await;
    folded(&world, &merger, &run).await;
    merger.handle(&fold(&run, 0)).await.unwrap();
    merger.handle(&assemble(&run)).await.unwrap();
    let etag = world.objects.head(&run.output, None).await.unwrap();
    for message in [fold(&run, 0), assemble(&run), report(&run)] {
        merger.handle(&message).await.unwrap();
    }
    assert_eq!(world.objects.head(&run.output, None).await.unwrap(), etag);
    assert_eq!(now(&world, &run).await.sums.unwrap().records, 10);
}

#[tokio::test]
async fn a_published_output_whose_run_was_not_ended_is_not_published_again() {
    let (world, merger, run) = done().await;
    folded(&world, &merger, &run).await;
    let metadata = Stamp::of(&run, &run.output).to_metadata();
    world.objects.put(&run.output, "published".into(), Condition::Always, &metadata).await.unwrap();
    merger.handle(&assemble(&run)).await.unwrap();
    assert_eq!(world.objects.contents(&run.output).unwrap(), "published");
    assert_eq!(now(&world, &run).await.state, RunState::Succeeded);
}

#[tokio::test]
async fn an_older_or_foreign_output_is_replaced() {
    for epoch in [None, Some(0)] {
        let (world, merger, run) = done().await;
        write(&world, &run.output, epoch).await;
        folded(&world, &merger, &run).await;
        merger.handle(&assemble(&run)).await.unwrap();
        assert_eq!(world.objects.contents(&run.output).unwrap(), format!("{HEADER}one\ntwo\n"));
    }
}

#[tokio::test]
async fn a_newer_output_is_never_replaced() {
    let (world, merger, run) = done().await;
    folded(&world, &merger, &run).await;
    write(&world, &run.output, Some(9)).await;
    merger.handle(&assemble(&run)).await.unwrap();
    assert_eq!(world.objects.contents(&run.output).unwrap(), "other");
    assert_eq!(now(&world, &run).await.state, RunState::Superseded);
    assert_eq!(world.objects.open_uploads(), []);
}

#[tokio::test]
async fn a_run_that_lost_its_output_publishes_nothing() {
    let (world, merger, run) = done().await;
    folded(&world, &merger, &run).await;
    create(&world, &sample_run("newer", MEMORY_EPOCH).renamed(&run)).await;
    merger.handle(&assemble(&run)).await.unwrap();
    assert_eq!((world.objects.contents(&run.output), world.objects.contents(&run.errors)), (None, None));
    assert_eq!(now(&world, &run).await.state, RunState::Superseded);
    assert_eq!(world.objects.open_uploads(), []);
}

#[tokio::test]
async fn a_run_that_lost_its_output_before_its_last_fold_is_superseded() {
    let (world, merger, run) = done().await;
    create(&world, &sample_run("newer", MEMORY_EPOCH).renamed(&run)).await;
    merger.handle(&fold(&run, 0)).await.unwrap();
    merger.handle(&fold(&run, 1)).await.unwrap();
    assert_eq!(now(&world, &run).await.state, RunState::Superseded);
}

trait Renamed {
    /// A run with the same output.
    fn renamed(self, like: &Run) -> Run;
}

impl Renamed for Run {
    fn renamed(self, like: &Run) -> Run {
        Run { output: like.output.clone(), errors: like.errors.clone(), ..self }
    }
}

#[tokio::test]
async fn a_stale_list_of_bad_records_is_replaced_by_an_empty_one() {
    let (world, merger, run) = done().await;
    write(&world, &run.errors, Some(0)).await;
    let clean = Sums { records: 5, bytes_out: 4, ..Sums::default() };
    // Both groups are marked folded with clean sums: nothing is to be listed.
    for group in [0, 1] {
        let bytes_out = if group == 0 { HEADER.len() as u64 + 4 } else { 4 };
        let body = if group == 0 { format!("{HEADER}one\n") } else { "two\n".to_owned() };
        world.objects.insert("work", run.keys(&run.last_stage().name).group(GroupIndex(group)), body);
        let sums = Sums { bytes_out, ..clean };
        world.ledger.mark_folded(&StageId::last_of(&run), GroupIndex(group), sums).await.unwrap();
    }
    let run = now(&world, &run).await;
    let sums = Some(world.ledger.root(&StageId::last_of(&run)).await.unwrap().sums);
    world.ledger.save_run(&Run { state: RunState::Completing, sums, ..run.clone() }).await.unwrap();
    merger.handle(&assemble(&run)).await.unwrap();
    assert_eq!(now(&world, &run).await.state, RunState::Succeeded);
    assert_eq!(world.objects.contents(&run.errors).unwrap(), "");
}

#[tokio::test]
async fn two_outputs_with_one_errors_key_do_not_replace_each_others_lists() {
    // Whichever came first, and whichever epoch is higher: epochs are those of one output.
    for epoch in [0, 9] {
        let (world, merger, run) = done().await;
        let other = Run {
            output: ObjectName::new("output", "another_Output"),
            epoch: fanfold_domain::Epoch(epoch),
            ..sample_run("other", MEMORY_EPOCH).renamed(&run)
        };
        let metadata = Stamp::of(&other, &run.errors).to_metadata();
        world.objects.put(&run.errors, "theirs".into(), Condition::Always, &metadata).await.unwrap();
        folded(&world, &merger, &run).await;
        merger.handle(&assemble(&run)).await.unwrap();
        let ended = now(&world, &run).await;
        assert_eq!(ended.state, RunState::Failed);
        let reason = ended.reason.unwrap();
        assert!(reason.contains("merge.errors_key") && reason.contains(other.id.as_str()), "{reason}");
        assert_eq!(world.objects.contents(&run.errors).unwrap(), "theirs");
        assert_eq!(world.objects.contents(&run.output), None);
        assert_eq!(world.objects.open_uploads(), []);
        // The report of a run that failed leaves it alone too.
        merger.handle(&report(&run)).await.unwrap();
        assert_eq!(world.objects.contents(&run.errors).unwrap(), "theirs");
    }
}

#[tokio::test]
async fn a_copy_of_another_output_under_the_outputs_name_is_replaced_like_any_foreign_object() {
    let (world, merger, run) = done().await;
    let elsewhere = ObjectName::new("output", "another_Output");
    let other = Run {
        output: elsewhere.clone(),
        epoch: fanfold_domain::Epoch(9),
        ..sample_run("other", MEMORY_EPOCH)
    };
    let metadata = Stamp::of(&other, &elsewhere).to_metadata();
    world.objects.put(&run.output, "a copy".into(), Condition::Always, &metadata).await.unwrap();
    folded(&world, &merger, &run).await;
    merger.handle(&assemble(&run)).await.unwrap();
    assert_eq!(now(&world, &run).await.state, RunState::Succeeded);
    assert_eq!(world.objects.contents(&run.output).unwrap(), format!("{HEADER}one\ntwo\n"));
}

#[tokio::test]
async fn what_is_refused_for_good_fails_the_run_at_once_with_the_reason() {
    // A bucket that does not exist or may not be written, and a list that may not.
    for refused in ["s3://output/", "s3://output/orders/merged.csv_Errors"] {
        let (world, merger, run) = done().await;
        folded(&world, &merger, &run).await;
        world.faults.refuse(refused);
        let merger = Merger { ports: world.ports(&Invocation::new("merger")), ..merger };
        merger.handle(&assemble(&run)).await.unwrap();
        let run = now(&world, &run).await;
        assert_eq!(run.state, RunState::Failed, "{refused}");
        let reason = run.reason.unwrap();
        assert!(reason.contains("cannot be assembled") && reason.contains("AccessDenied"), "{reason}");
        assert_eq!(world.objects.open_uploads(), []);
    }
}

#[tokio::test]
async fn a_part_that_may_not_be_read_fails_the_run_at_once_with_the_reason() {
    let (world, merger, run) = done().await;
    world
        .faults
        .refuse(ObjectName::new("work", run.keys(&run.last_stage().name).part(ChunkIndex(0))).to_string());
    let merger = Merger { ports: world.ports(&Invocation::new("merger")), ..merger };
    merger.handle(&fold(&run, 0)).await.unwrap();
    let run = now(&world, &run).await;
    assert_eq!(run.state, RunState::Failed);
    assert!(run.reason.unwrap().contains("group 0 cannot be folded"));
}

#[tokio::test]
async fn parts_of_another_size_than_was_counted_fail_the_run() {
    let (world, merger, run) = done().await;
    world.objects.insert(
        "work",
        run.keys(&run.last_stage().name).part(ChunkIndex(0)),
        "longer than it was\n",
    );
    merger.handle(&fold(&run, 0)).await.unwrap();
    let run = now(&world, &run).await;
    assert_eq!(run.state, RunState::Failed);
    assert!(run.reason.unwrap().contains("parts of 19 bytes, and 4 were counted"));
}

#[tokio::test]
async fn groups_of_another_size_than_was_counted_are_not_published() {
    let (world, merger, run) = done().await;
    folded(&world, &merger, &run).await;
    world.objects.insert(
        "work",
        run.keys(&run.last_stage().name).group(GroupIndex(1)),
        "longer than it was\n",
    );
    merger.handle(&assemble(&run)).await.unwrap();
    assert_eq!(world.objects.contents(&run.output), None);
    assert_eq!(now(&world, &run).await.state, RunState::Failed);
    assert_eq!(world.objects.open_uploads(), []);
    let reports = world.queues.drain(Queue::Folds);
    assert!(reports.iter().any(|message| matches!(decode(&message.body), Ok(FoldMessage::Report { .. }))));
}

#[tokio::test]
async fn an_expired_part_fails_the_run_and_names_it() {
    let (world, merger, run) = done().await;
    world.objects.remove(&ObjectName::new("work", run.keys(&run.last_stage().name).part(ChunkIndex(1))));
    merger.handle(&fold(&run, 1)).await.unwrap();
    let reason = now(&world, &run).await.reason.unwrap();
    assert!(
        reason.contains("group 1 cannot be folded") && reason.contains("/0000001 does not exist"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_group_that_is_not_full_is_not_folded() {
    let (world, merger, mut run) = done().await;
    run = now(&world, &run).await;
    run.plan.as_mut().unwrap().grouping = Grouping { chunks: 4, group_chunks: 2 };
    world.ledger.save_run(&run).await.unwrap();
    merger.handle(&fold(&run, 0)).await.unwrap();
    assert_eq!(
        world
            .objects
            .contents(&ObjectName::new("work", run.keys(&run.last_stage().name).group(GroupIndex(0)))),
        None
    );
}

#[tokio::test]
async fn sums_out_of_bounds_fail_the_run_before_anything_is_assembled() {
    let (world, merger, mut run) = done().await;
    run = now(&world, &run).await;
    run.pipeline.on_error.max_bad_records = 0;
    world.ledger.save_run(&run).await.unwrap();
    merger.handle(&fold(&run, 0)).await.unwrap();
    merger.handle(&fold(&run, 1)).await.unwrap();
    let failed = now(&world, &run).await;
    assert_eq!(failed.state, RunState::Failed);
    merger.handle(&report(&run)).await.unwrap();
    let errors = world.objects.contents(&run.errors).unwrap();
    assert!(errors.starts_with(b"{\"record\":7,"), "{errors:?}");
    assert_eq!(world.objects.contents(&run.output), None);
}

#[tokio::test]
async fn messages_of_other_generations_and_of_ended_runs_do_nothing() {
    let (world, merger, run) = done().await;
    let other = Run { generation: Generation(3), ..run.clone() };
    merger.handle(&fold(&other, 0)).await.unwrap();
    let ended = Run { state: RunState::Cancelled, ..now(&world, &run).await };
    world.ledger.save_run(&ended).await.unwrap();
    for message in [fold(&run, 0), assemble(&run), report(&run)] {
        merger.handle(&message).await.unwrap();
    }
    assert_eq!(world.objects.keys("output"), Vec::<String>::new());
}

#[tokio::test]
async fn a_message_of_another_version_is_delivered_again() {
    let (_, merger, run) = done().await;
    assert!(merger.handle(&fold(&run, 0).replacen("\"v\":1", "\"v\":7", 1)).await.is_err());
}

/// An upload of a run under one of its names, recorded and filled, as a merger leaves it that hangs just before
/// it completes it.
async fn hanging(world: &MemoryWorld, run: &Run, object: &ObjectName) -> (Upload, UploadedPart) {
    let upload = world.objects.create_upload(object, &Stamp::of(run, object).to_metadata()).await.unwrap();
    let part = world.objects.upload_part(&upload, 1, "older".into()).await.unwrap();
    let mut recorded = now(world, run).await;
    if *object == run.output { &mut recorded.uploads } else { &mut recorded.list_uploads }
        .push(upload.id.clone());
    world.ledger.save_run(&recorded).await.unwrap();
    (upload, part)
}

async fn complete(
    world: &MemoryWorld,
    (upload, part): (Upload, UploadedPart),
) -> Result<Written, UploadError> {
    // Whatever it saw there before: equal bytes have equal entity tags.
    let head = world.objects.head(&upload.object, None).await.unwrap().unwrap();
    let expected = Expected { size_bytes: 5, crc64: None };
    world.objects.complete_upload(&upload, &[part], Condition::Matches(head.etag), expected).await
}

#[tokio::test]
async fn a_former_owner_that_hangs_before_it_writes_never_writes_again() {
    let (world, merger, oldest) = done().await;
    let lists = hanging(&world, &oldest, &oldest.errors).await;
    world.ledger.save_run(&Run { state: RunState::Failed, ..now(&world, &oldest).await }).await.unwrap();
    let former = done_in(&world, "former").await;
    folded(&world, &merger, &former).await;
    let hangs = hanging(&world, &former, &former.output).await;
    let lists_too = hanging(&world, &former, &former.errors).await;

    let newest = done_in(&world, "newest").await;
    folded(&world, &merger, &newest).await;
    merger.handle(&assemble(&newest)).await.unwrap();
    assert_eq!(now(&world, &newest).await.state, RunState::Succeeded);
    for hung in [lists, hangs, lists_too] {
        assert!(matches!(complete(&world, hung).await, Err(UploadError::Gone(_))));
    }
    assert_eq!(now(&world, &former).await.state, RunState::Superseded);
    // Nor does it begin anew.
    for (run, message) in [(&former, assemble(&former)), (&oldest, report(&oldest))] {
        let head = world.objects.head(&run.errors, None).await.unwrap();
        merger.handle(&message).await.unwrap();
        assert_eq!(world.objects.head(&run.errors, None).await.unwrap(), head);
    }
    let (oldest, former) = (now(&world, &oldest).await, now(&world, &former).await);
    assert!(oldest.is_fenced && former.is_fenced);
    assert_eq!(world.objects.open_uploads(), []);
}

/// A run that took the output and died there, before it superseded the one that it took it from.
#[tokio::test]
async fn an_owner_that_died_as_it_took_the_output_is_no_gap_in_the_chain() {
    let (world, merger, oldest) = done().await;
    folded(&world, &merger, &oldest).await;
    let hangs = hanging(&world, &oldest, &oldest.output).await;
    let lists = hanging(&world, &oldest, &oldest.errors).await;
    let between = sample_run("between", MEMORY_EPOCH).renamed(&oldest);
    create(&world, &between).await;

    let newest = done_in(&world, "newest").await;
    assert_eq!(newest.former.as_ref(), Some(&between.id));
    folded(&world, &merger, &newest).await;
    merger.handle(&assemble(&newest)).await.unwrap();
    assert_eq!(now(&world, &newest).await.state, RunState::Succeeded);
    for hung in [hangs, lists] {
        assert!(matches!(complete(&world, hung).await, Err(UploadError::Gone(_))));
    }
    for former in [&oldest, &between] {
        let former = now(&world, former).await;
        assert_eq!((former.state, former.is_fenced), (RunState::Superseded, true));
    }
}

/// Each fold of a failed run once read all groups of all stages.
#[tokio::test]
async fn the_report_of_a_failed_run_is_made_once_however_many_messages_come() {
    let (world, merger, run) = done().await;
    let merger = Merger { ports: world.ports(&Invocation::new("merger")), ..merger };
    let calls = async |message: String| {
        let before = world.faults.points();
        merger.handle(&message).await.unwrap();
        (world.faults.points() - before) / 2
    };
    let failed = Run { state: RunState::Failed, reason: Some("so".into()), ..now(&world, &run).await };
    world.ledger.save_run(&failed).await.unwrap();
    assert_eq!(calls(fold(&run, 0)).await, 1, "the run is read, and that is all");
    assert!(!now(&world, &run).await.is_settled());
    assert!(calls(report(&run)).await > 5);
    assert!(world.objects.contents(&run.errors).unwrap().starts_with(b"{\"record\":"));
    assert!(now(&world, &run).await.is_settled());
    for message in [report(&run), assemble(&run), fold(&run, 1)] {
        assert_eq!(calls(message).await, 1);
    }
}

//! The merger on memory ports: what it removes after a run, and what it leaves.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use fanfold_domain::{
    ByteRange, ChunkIndex, Cleaning, GroupIndex, Grouping, LineEnd, Mark, ObjectName, Plan, Run, RunState,
    Sums,
    message::{FoldMessage, encode},
    pipeline::CleanupOn,
};
use fanfold_merger::Merger;
use fanfold_ports::{
    Ledger, Objects, Queue,
    contract::sample_run,
    ledger::{CreatedOwner, Freshness, StageId},
    memory::{Faults, Invocation, MEMORY_EPOCH, MemoryWorld},
    objects::{Condition, Metadata},
};

/// A run of one chunk that ended in `state`, with a part that has a bad record and with temporaries, cleaned as `cleaning`
/// says.
async fn ended(state: RunState, cleaning: Cleaning) -> (MemoryWorld, Merger, Run) {
    let world = MemoryWorld::seeded(0, Faults::none());
    let mut run = Run { state, cleaning, ..sample_run("cleaned", MEMORY_EPOCH) };
    run.pipeline.cleanup.on = CleanupOn::Always;
    run.pipeline.cleanup.temporaries = vec!["tmp/{run}/".parse().unwrap(), "tmp-{run}".parse().unwrap()];
    run.plan = Some(Plan {
        grouping: Grouping { chunks: 1, group_chunks: 1 },
        preamble: ByteRange::new(0, 0),
        header: None,
        line_end: LineEnd::Lf,
    });
    let CreatedOwner::Now(run) = world.ledger.create_run_as_owner(&run).await.unwrap() else {
        panic!("it was there")
    };
    let run = *run;
    make_part(&world, &run).await;
    for key in ["tmp/ID/a", "tmp/ID/b/c", "tmp-ID", "tmp-ID-of-another", "tmp/another/a", "runs/another/a"] {
        world.objects.insert("work", key.replace("ID", run.id.as_str()), "x");
    }
    let ports = world.ports(&Invocation::new("merger"));
    (world, Merger { ports, work_bucket: "work".into() }, run)
}

async fn make_part(world: &MemoryWorld, run: &Run) {
    let (keys, index) = (run.keys(&run.last_stage().name), ChunkIndex(0));
    let sums = Sums { records: 5, bad_records: 1, bytes_in: 50, bytes_out: 2, failed_chunks: 0 };
    world.objects.insert(
        "work",
        keys.statistics(index, "a"),
        serde_json::json!({ "sums": sums }).to_string(),
    );
    let line = "{\"record\":2,\"offset\":60,\"reason\":\"odd\",\"text\":\"x\"}\n";
    world.objects.insert("work", keys.bad_records(index, "a"), line);
    let named = Metadata::from([("fanfold-attempt".to_owned(), "a".to_owned())]);
    let name = ObjectName::new("work", keys.part(index));
    world.objects.put(&name, "1\n".into(), Condition::Always, &named).await.unwrap();
    world
        .ledger
        .mark(&StageId::last_of(run), GroupIndex(0), &[(index, Mark::Done(sums))], &[])
        .await
        .unwrap();
}

fn cleanup(run: &Run) -> String {
    encode(&FoldMessage::Cleanup { run: run.id.clone(), generation: run.generation })
}

async fn now(world: &MemoryWorld, run: &Run) -> Run {
    world.ledger.run(&run.id, Freshness::Consistent).await.unwrap().unwrap()
}

/// What is nobody's business.
fn others(run: &Run) -> Vec<String> {
    let near = format!("tmp-{}-of-another", run.id);
    ["runs/another/a".to_owned(), near, "tmp/another/a".to_owned()].into()
}

const ASKED: Cleaning = Cleaning::Asked(MEMORY_EPOCH);

#[tokio::test(start_paused = true)]
async fn all_of_a_run_is_removed_and_nothing_else() {
    let (world, merger, run) = ended(RunState::Succeeded, ASKED).await;
    for _ in 0..2 {
        merger.handle(&cleanup(&run)).await.unwrap();
        assert_eq!(world.objects.keys("work"), others(&run));
        let Cleaning::Done(_) = now(&world, &run).await.cleaning else { panic!("it is done") };
    }
    assert_eq!(world.queues.pending(), []);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_removed_that_nobody_asked_for() {
    for (state, cleaning) in [(RunState::Running, ASKED), (RunState::Failed, Cleaning::NotBegun)] {
        let (world, merger, run) = ended(state, cleaning).await;
        let before = world.objects.keys("work");
        merger.handle(&cleanup(&run)).await.unwrap();
        assert_eq!((world.objects.keys("work"), now(&world, &run).await), (before, run));
    }
}

#[tokio::test(start_paused = true)]
async fn the_bad_records_of_a_failed_run_are_listed_before_they_go() {
    let (world, merger, run) = ended(RunState::Failed, ASKED).await;
    merger.handle(&cleanup(&run)).await.unwrap();
    let list = world.objects.contents(&run.errors).unwrap();
    assert!(list.starts_with(b"{\"record\":2,\"offset\":60"), "{list:?}");
    assert_eq!(world.objects.keys("work"), others(&run));
    // A report that comes late finds nothing to make a list of, and leaves the one that is there.
    let report = FoldMessage::Report { run: run.id.clone(), generation: run.generation };
    merger.handle(&encode(&report)).await.unwrap();
    assert_eq!(world.objects.contents(&run.errors), Some(list));
}

#[tokio::test(start_paused = true)]
async fn bad_records_that_can_never_be_listed_keep_no_work_object() {
    let (world, merger, run) = ended(RunState::Failed, ASKED).await;
    world.faults.refuse(run.errors.to_string());
    merger.handle(&cleanup(&run)).await.unwrap();
    assert_eq!(world.objects.keys("work"), others(&run));
}

#[tokio::test(start_paused = true)]
async fn many_objects_are_removed_page_by_page() {
    let (world, merger, run) = ended(RunState::Succeeded, ASKED).await;
    for number in 0..2_500 {
        world.objects.insert("work", format!("runs/{}/more/{number}", run.id), "");
    }
    merger.handle(&cleanup(&run)).await.unwrap();
    assert_eq!(world.objects.keys("work"), others(&run));
    let requests = world.objects.requests();
    assert_eq!((requests["list"], requests["delete"]), (4, 5), "pages of a thousand");
    assert_eq!(world.queues.drain(Queue::Folds).len(), 0);
}

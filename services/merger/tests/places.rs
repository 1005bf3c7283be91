//! The merger on memory ports: an output that takes longer to assemble than one invocation has.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use fanfold_domain::{
    ByteRange, GroupIndex, Grouping, LineEnd, ObjectName, Plan, Run, RunState, Stamp, Sums,
    assembly::MIN_UPLOAD_PART,
    message::{FoldMessage, encode},
};
use fanfold_merger::{Merger, MergerError};
use fanfold_ports::{
    Ledger, Objects, Queue,
    contract::sample_run,
    ledger::{CreatedOwner, Freshness, StageId},
    memory::{Faults, Invocation, MEMORY_EPOCH, MemoryWorld, Rates},
};

const GROUPS: u32 = 3;
/// Large enough to be copied, and each of another size.
const GROUP_BYTES: usize = 5 << 20;

/// A run that is completing, whose groups are all folded and each a part of the upload.
async fn folded(world: &MemoryWorld) -> Run {
    let mut run = Run { state: RunState::Completing, ..sample_run("long", MEMORY_EPOCH) };
    run.plan = Some(Plan {
        grouping: Grouping { chunks: GROUPS, group_chunks: 1 },
        preamble: ByteRange::new(0, 0),
        header: None,
        line_end: LineEnd::Lf,
    });
    let CreatedOwner::Now(run) = world.ledger.create_run_as_owner(&run).await.unwrap() else {
        panic!("it was there")
    };
    let run = *run;
    for group in 0..GROUPS {
        let body = body_of(group);
        let sums = Sums { records: 1, bytes_in: 1, bytes_out: body.len() as u64, ..Sums::default() };
        world.objects.insert("work", run.keys(&run.last_stage().name).group(GroupIndex(group)), body);
        world.ledger.mark_folded(&StageId::last_of(&run), GroupIndex(group), sums).await.unwrap();
    }
    run
}

fn body_of(group: u32) -> Vec<u8> {
    vec![b'a' + u8::try_from(group).unwrap(); GROUP_BYTES + group as usize]
}

fn whole() -> Vec<u8> {
    (0..GROUPS).flat_map(body_of).collect()
}

fn merger(world: &MemoryWorld) -> Merger {
    Merger { ports: world.ports(&Invocation::new("merger")), work_bucket: "work".into() }
}

fn assemble(run: &Run) -> String {
    encode(&FoldMessage::Assemble { run: run.id.clone(), generation: run.generation })
}

async fn now(world: &MemoryWorld, run: &Run) -> Run {
    world.ledger.run(&run.id, Freshness::Consistent).await.unwrap().unwrap()
}

/// One invocation that has time for no more than a copy.
async fn leg(merger: &Merger, body: &str) -> Result<(), MergerError> {
    merger.handle_until(body, Some(MEMORY_EPOCH)).await
}

fn copies(world: &MemoryWorld) -> u64 {
    world.objects.requests().get("copy_part").copied().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn an_assembly_out_of_time_goes_on_where_it_was_and_copies_nothing_twice() {
    let world = MemoryWorld::seeded(0, Faults::none());
    let (run, merger) = (folded(&world).await, merger(&world));
    let mut message = assemble(&run);
    for copied in 1..GROUPS {
        tokio::time::advance(std::time::Duration::from_mins(1)).await;
        let before = now(&world, &run).await;
        leg(&merger, &message).await.unwrap();
        assert_eq!(copies(&world), u64::from(copied));
        let after = now(&world, &run).await;
        assert_eq!((after.state, after.uploads.len()), (RunState::Completing, 1));
        assert!(after.updated_at > before.updated_at, "the sweeper sees that it gets on");
        let mut sent = world.queues.drain(Queue::Folds);
        assert_eq!(sent.len(), 1);
        message = sent.remove(0).body;
    }
    leg(&merger, &message).await.unwrap();
    assert_eq!((copies(&world), world.queues.pending()), (u64::from(GROUPS), vec![]));
    assert_eq!(now(&world, &run).await.state, RunState::Succeeded);
    assert!(world.objects.contents(&run.output).unwrap() == whole(), "the bytes differ");
    assert_eq!(world.objects.open_uploads(), []);
}

#[tokio::test]
async fn a_redelivery_goes_on_where_a_merger_died_that_sent_no_other_message() {
    let world = MemoryWorld::seeded(0, Faults::none());
    let (run, merger) = (folded(&world).await, merger(&world));
    for _ in 0..2 {
        leg(&merger, &assemble(&run)).await.unwrap();
        world.queues.drain(Queue::Folds);
    }
    merger.handle(&assemble(&run)).await.unwrap();
    assert_eq!(copies(&world), u64::from(GROUPS));
    assert!(world.objects.contents(&run.output).unwrap() == whole(), "the bytes differ");
}

/// Each may replace the other's parts, between when that saw them and when it names them.
#[tokio::test]
async fn two_assemblies_of_one_upload_at_once_publish_the_output_and_neither_fails_the_run() {
    for seed in 0..6 {
        let world = MemoryWorld::seeded(seed, Faults::seeded(seed, Rates::NONE));
        let run = folded(&world).await;
        let (one, other) = (merger(&world), merger(&world));
        leg(&one, &assemble(&run)).await.unwrap();
        let body = assemble(&run);
        let (one_ended, other_ended) = tokio::join!(one.handle(&body), other.handle(&body));
        for ended in [one_ended, other_ended] {
            assert!(matches!(ended, Ok(()) | Err(MergerError::Contended(_))), "seed {seed}: {ended:?}");
        }
        assert_eq!(now(&world, &run).await.state, RunState::Succeeded, "seed {seed}");
        assert!(world.objects.contents(&run.output).unwrap() == whole(), "seed {seed}: the bytes differ");
        assert_eq!(world.objects.open_uploads(), [], "seed {seed}");
    }
}

#[tokio::test]
async fn an_upload_with_other_bytes_under_a_right_size_is_begun_anew() {
    let world = MemoryWorld::seeded(0, Faults::none());
    let run = folded(&world).await;
    let output: &ObjectName = &run.output;
    let upload = world.objects.create_upload(output, &Stamp::of(&run, output).to_metadata()).await.unwrap();
    let other = vec![b'?'; usize::try_from(MIN_UPLOAD_PART).unwrap()];
    world.objects.upload_part(&upload, 1, other.into()).await.unwrap();
    let recorded = Run { uploads: vec![upload.id.clone()], ..run.clone() };
    world.ledger.save_run(&recorded).await.unwrap();

    merger(&world).handle(&assemble(&run)).await.unwrap();
    let ended = now(&world, &run).await;
    assert_eq!((ended.state, ended.uploads.len()), (RunState::Succeeded, 2));
    assert!(world.objects.contents(output).unwrap() == whole(), "the bytes differ");
    assert_eq!(world.objects.open_uploads(), []);
}

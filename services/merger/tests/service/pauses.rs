//! A merger that pauses between its look and its write, while another writes there: each guard of a publication by itself,
//! where the others would cover for it.

use super::*;
use fanfold_ports::memory::{Call, Faults};

/// A world under this plan, with a run that is to be assembled.
async fn completing(faults: Faults) -> (MemoryWorld, Run) {
    let world = MemoryWorld::seeded(0, faults);
    let run = done_in(&world, "merged").await;
    let merger = Merger { ports: world.calm_ports(), work_bucket: "work".into() };
    folded(&world, &merger, &run).await;
    (world, run)
}

async fn assembled(world: &MemoryWorld, run: &Run) {
    let ports = world.ports(&Invocation::new("merger"));
    let merger = Merger { ports, work_bucket: "work".into() };
    merger.handle(&assemble(run)).await.unwrap();
}

/// The assembly of a run, which pauses before one of its calls until something else was done: of all that it makes, the
/// one that is wanted.
async fn paused(
    wanted: impl Fn(&[Call]) -> u64,
    meanwhile: impl AsyncFnOnce(&MemoryWorld, &Run),
) -> (MemoryWorld, Run) {
    let (world, run) = completing(Faults::noted()).await;
    assembled(&world, &run).await;
    let call = wanted(&world.faults.made());
    let (world, run) = completing(Faults::hold_at(call, 1)).await;
    let other = async {
        meanwhile(&world, &run).await;
        let ports = world.ports(&Invocation::new("another"));
        let bell = ObjectName::new("work", "bell");
        ports.objects.put(&bell, "x".into(), Condition::Always, &Metadata::new()).await.unwrap();
    };
    tokio::join!(assembled(&world, &run), other);
    let run = now(&world, &run).await;
    (world, run)
}

fn number_of(calls: &[Call], operation: &str, from_behind: usize) -> u64 {
    calls.iter().rev().filter(|call| call.operation == operation).nth(from_behind).unwrap().number
}

#[tokio::test(start_paused = true)]
async fn an_output_that_a_newer_run_wrote_since_the_look_is_not_overwritten() {
    let completion = |calls: &[Call]| number_of(calls, "complete_upload", 0);
    let (world, run) = paused(completion, async |world, run| write(world, &run.output, Some(9)).await).await;
    assert_eq!(world.objects.contents(&run.output).unwrap(), "other");
    assert_eq!(run.state, RunState::Superseded);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_a_newer_run_wrote_since_the_look_is_not_overwritten() {
    let completion = |calls: &[Call]| number_of(calls, "complete_upload", 1);
    let (world, run) = paused(completion, async |world, run| write(world, &run.errors, Some(9)).await).await;
    assert_eq!(world.objects.contents(&run.errors).unwrap(), "other");
    assert_eq!((run.state, world.objects.contents(&run.output)), (RunState::Superseded, None));
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_output_another_took_since_it_was_assembled_publishes_nothing() {
    let last_look = |calls: &[Call]| number_of(calls, "head", 0);
    let (world, run) = paused(last_look, async |world, _| drop(done_in(world, "newer").await)).await;
    assert_eq!((run.state, world.objects.contents(&run.output)), (RunState::Superseded, None));
}

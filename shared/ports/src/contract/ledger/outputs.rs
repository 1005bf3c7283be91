//! Who may write an output.

use fanfold_domain::{Ownership, RunId};
use futures::future::join_all;

use super::{CreatedOwner, Epoch, LedgerUnderTest, ObjectName, Run, Saved, Sequencer, Taken};

async fn create(t: &LedgerUnderTest, run: &Run) -> CreatedOwner {
    t.ledger.create_run_as_owner(run).await.expect("the creation was answered")
}

/// Creates a run that must come to own its output; the run as it stands.
async fn owner_of(t: &LedgerUnderTest, run: &Run) -> Run {
    match create(t, run).await {
        CreatedOwner::Now(run) => *run,
        other => panic!("{} is not created: {other:?}", run.id),
    }
}

async fn take(t: &LedgerUnderTest, run: &Run) -> Taken {
    t.ledger.take_output(run).await.expect("the taking was answered")
}

/// A run of this output that began by hand.
fn of(t: &LedgerUnderTest, output: &ObjectName, name: &str) -> Run {
    Run { output: output.clone(), ..t.run(name) }
}

/// A run of this output that an event of the source `key` began.
fn event(t: &LedgerUnderTest, output: &ObjectName, name: &str, (key, sequencer): (&str, &str)) -> Run {
    let mut run = of(t, output, name);
    run.source.object = ObjectName::new("input", key);
    run.sequencer = Some(Sequencer::new(sequencer));
    run
}

async fn owner(t: &LedgerUnderTest, output: &ObjectName) -> Option<Ownership> {
    t.ledger.owner(output).await.expect("the read was answered")
}

fn former(run: &Run) -> (Epoch, Option<&RunId>) {
    (run.epoch, run.former.as_ref())
}

/// As before the first run of a source.
pub async fn an_output_that_nobody_took_has_no_owner(t: &LedgerUnderTest) {
    assert_eq!(owner(t, &t.run("nobody").output).await, None);
}

/// From 1; the run knows its epoch and whom it took the output from, and the owner is read back whole.
pub async fn each_taking_raises_the_epoch(t: &LedgerUnderTest) {
    let output = t.run("first").output;
    let first = owner_of(t, &of(t, &output, "first")).await;
    assert_eq!(former(&first), (Epoch(1), None));
    let second = owner_of(t, &of(t, &output, "second")).await;
    assert_eq!(former(&second), (Epoch(2), Some(&first.id)));
    assert_eq!([&t.stored(&first).await, &t.stored(&second).await], [&first, &second]);
    let (run, newest) = (second.id, Vec::new());
    let wanted = Ownership { run, epoch: Epoch(2), former: Some(first.id), newest };
    assert_eq!(owner(t, &output).await, Some(wanted));
}

/// A creation that is repeated finds the run as it stands, and changes neither it nor its output.
pub async fn a_run_is_created_as_owner_once(t: &LedgerUnderTest) {
    let output = t.run("again").output;
    let run = event(t, &output, "again", ("a.csv", "05"));
    let created = t.save(&owner_of(t, &run).await).await;
    let owner_before = owner(t, &output).await;
    assert_eq!(create(t, &run).await, CreatedOwner::Before(Box::new(created.clone())));
    owner_of(t, &of(t, &output, "later")).await;
    assert_eq!(create(t, &run).await, CreatedOwner::Before(Box::new(created)));
    assert_ne!(owner(t, &output).await, owner_before);
}

/// A step that is repeated changes nothing.
pub async fn an_owner_that_takes_again_keeps_its_epoch(t: &LedgerUnderTest) {
    let output = t.run("taker").output;
    owner_of(t, &of(t, &output, "before it")).await;
    let run = owner_of(t, &event(t, &output, "taker", ("a.csv", "05"))).await;
    for _ in 0..3 {
        assert_eq!(take(t, &run).await, Taken::Owned(Box::new(run.clone())));
    }
    assert_eq!(t.stored(&run).await, run);
    let newest = owner(t, &output).await.expect("it was taken").newest;
    assert_eq!(newest.first().map(|newest| &newest.sequencer), run.sequencer.as_ref());
}

/// However often it tries: it had its turn.
pub async fn a_run_that_lost_its_output_never_takes_it_back(t: &LedgerUnderTest) {
    let output = t.run("loser").output;
    let loser = owner_of(t, &event(t, &output, "loser", ("a.csv", "05"))).await;
    let second = owner_of(t, &of(t, &output, "second")).await;
    let wanted = owner(t, &output).await.expect("it was taken");
    assert_eq!(wanted.run, second.id);
    for _ in 0..3 {
        assert_eq!(take(t, &loser).await, Taken::Lost(wanted.clone()));
    }
    assert_eq!(owner(t, &output).await, Some(wanted));
}

/// As earlier versions created it; in one step with its ownership it knows its epoch then.
pub async fn a_run_that_never_owned_its_output_takes_it(t: &LedgerUnderTest) {
    let output = t.run("created").output;
    let first = owner_of(t, &of(t, &output, "first")).await;
    let run = Run { output: output.clone(), ..t.run("created") };
    t.ledger.create_run(&run).await.expect("the creation was answered");
    let Taken::Owned(taken) = take(t, &run).await else { panic!("it took nothing") };
    assert_eq!((former(&taken), taken.revision), ((Epoch(2), Some(&first.id)), run.revision + 1));
    assert_eq!(t.stored(&run).await, *taken);
}

/// Neither the ownership nor the run is written then.
pub async fn a_run_that_was_changed_meanwhile_takes_nothing(t: &LedgerUnderTest) {
    let run = t.created("changed").await;
    let changed = t.save(&run).await;
    assert_eq!(take(t, &run).await, Taken::Stale);
    assert_eq!((owner(t, &run.output).await, t.stored(&run).await), (None, changed.clone()));
    assert!(matches!(take(t, &changed).await, Taken::Owned(_)));
    assert_eq!(t.ledger.save_run(&changed).await.expect("the save was answered"), Saved::Stale);
}

/// There is no run of it then, and the owner stays; sequencers are padded on the right to be compared.
pub async fn an_older_event_of_the_same_source_is_turned_away(t: &LedgerUnderTest) {
    let output = t.run("newer").output;
    let newer = event(t, &output, "newer", ("a.csv", "0055AED7"));
    let older = event(t, &output, "older", ("a.csv", "0055AED6DCD90281E5"));
    owner_of(t, &newer).await;
    let owner_before = owner(t, &output).await.expect("it was taken");
    assert_eq!(create(t, &older).await, CreatedOwner::Outdated(owner_before.clone()));
    assert_eq!(t.ledger.run(&older.id, super::Freshness::Consistent).await.expect("it was read"), None);
    t.ledger.create_run(&older).await.expect("the creation was answered");
    assert_eq!(take(t, &older).await, Taken::Outdated(owner_before.clone()));
    assert_eq!(owner(t, &output).await, Some(owner_before));
}

/// A submission, or an event of another key, opens the door to no event that was turned away before it.
pub async fn an_older_event_is_turned_away_whoever_took_the_output_since(t: &LedgerUnderTest) {
    let output = t.run("newest").output;
    owner_of(t, &event(t, &output, "newest", ("a.csv", "05"))).await;
    let others = [
        of(t, &output, "submission"),
        event(t, &output, "of another key", ("b.csv", "01")),
        of(t, &output, "another submission"),
    ];
    for (i, other) in (0..).zip(&others) {
        owner_of(t, other).await;
        let late = event(t, &output, &format!("late {i}"), ("a.csv", "04"));
        assert!(matches!(create(t, &late).await, CreatedOwner::Outdated(owner) if owner.run == other.id));
    }
}

/// A newer event, an event of another key, a manual start.
pub async fn any_other_newcomer_takes_over(t: &LedgerUnderTest) {
    let output = t.run("first of all").output;
    let runs = [
        event(t, &output, "first of all", ("a.csv", "05")),
        event(t, &output, "newer", ("a.csv", "06")),
        event(t, &output, "of another key", ("b.csv", "01")),
        of(t, &output, "manual"),
        event(t, &output, "newer after a manual one", ("a.csv", "07")),
    ];
    for (run, epoch) in runs.iter().zip(1..) {
        assert_eq!(owner_of(t, run).await.epoch, Epoch(epoch));
    }
}

/// No epoch is given twice, the last is the owner's, and the chain of former owners has no gap.
pub async fn of_racing_takers_each_has_an_epoch_of_its_own(t: &LedgerUnderTest) {
    let output = t.run("raced for").output;
    let takers: Vec<_> = (0..16).map(|i| of(t, &output, &format!("taker {i}"))).collect();
    let mut runs: Vec<Run> = join_all(takers.iter().map(|run| owner_of(t, run))).await;
    runs.sort_by_key(|run| run.epoch);
    let numbers: Vec<_> = runs.iter().map(|run| run.epoch.0).collect();
    assert_eq!(numbers, (1..=16).collect::<Vec<_>>());
    assert_eq!(owner(t, &output).await.map(|owner| owner.epoch), Some(Epoch(16)));
    for pair in runs.windows(2) {
        assert_eq!(pair[1].former.as_ref(), Some(&pair[0].id));
    }
}

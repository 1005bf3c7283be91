//! Who may write an output.

use fanfold_domain::{Ownership, RunId};
use futures::future::join_all;

use super::{Epoch, LedgerUnderTest, ObjectName, Run, Sequencer, Taken};

async fn take(t: &LedgerUnderTest, output: &ObjectName, run: &Run) -> Taken {
    let taken = t.ledger.take_output(output, &run.id, &run.source.object, run.sequencer.as_ref()).await;
    taken.expect("the taking was answered")
}

/// Takes an output that must be had; with which epoch, and from whom.
async fn owned(t: &LedgerUnderTest, output: &ObjectName, run: &Run) -> (Epoch, Option<RunId>) {
    match take(t, output, run).await {
        Taken::Owned(ownership) => (ownership.epoch, ownership.former),
        Taken::Newer(owner) => panic!("{owner:?} is newer than {}", run.id),
    }
}

/// A run of an event of the source `key`.
fn event(t: &LedgerUnderTest, name: &str, key: &str, sequencer: &str) -> Run {
    let mut run = t.run(name);
    run.source.object = ObjectName::new("input", key);
    run.sequencer = Some(Sequencer::new(sequencer));
    run
}

async fn owner(t: &LedgerUnderTest, output: &ObjectName) -> Option<Ownership> {
    t.ledger.owner(output).await.expect("the read was answered")
}

/// As before the first run of a source.
pub async fn an_output_that_nobody_took_has_no_owner(t: &LedgerUnderTest) {
    assert_eq!(owner(t, &t.run("nobody").output).await, None);
}

/// From 1; the answer says from whom, and the owner is read back whole.
pub async fn each_taking_raises_the_epoch(t: &LedgerUnderTest) {
    let [first, second] = ["first", "second"].map(|name| t.run(name));
    let output = &first.output;
    assert_eq!(owned(t, output, &first).await, (Epoch(1), None));
    assert_eq!(owned(t, output, &second).await, (Epoch(2), Some(first.id.clone())));
    assert_eq!(owned(t, output, &first).await, (Epoch(3), Some(second.id.clone())));
    let wanted =
        Ownership { run: first.id.clone(), epoch: Epoch(3), former: Some(second.id), newest: Vec::new() };
    assert_eq!(owner(t, output).await, Some(wanted));
}

/// A step that is repeated changes nothing.
pub async fn an_owner_that_takes_again_keeps_its_epoch(t: &LedgerUnderTest) {
    let run = event(t, "again", "a.csv", "05");
    let former = t.run("before it");
    owned(t, &run.output, &former).await;
    for _ in 0..3 {
        assert_eq!(owned(t, &run.output, &run).await, (Epoch(2), Some(former.id.clone())));
    }
    let newest = owner(t, &run.output).await.expect("it was taken").newest;
    assert_eq!(newest.first().map(|newest| &newest.sequencer), run.sequencer.as_ref());
}

/// It is superseded at birth, and the owner stays; sequencers are padded on the right to be compared.
pub async fn an_older_event_of_the_same_source_is_turned_away(t: &LedgerUnderTest) {
    let newer = event(t, "newer", "a.csv", "0055AED7");
    let older = event(t, "older", "a.csv", "0055AED6DCD90281E5");
    owned(t, &newer.output, &newer).await;
    let owner_before = owner(t, &newer.output).await.expect("it was taken");
    assert_eq!(take(t, &newer.output, &older).await, Taken::Newer(owner_before.clone()));
    assert_eq!(owner(t, &newer.output).await, Some(owner_before));
}

/// A submission, or an event of another key, opens the door to no event that was turned away before it.
pub async fn an_older_event_is_turned_away_whoever_took_the_output_since(t: &LedgerUnderTest) {
    let newer = event(t, "newest", "a.csv", "05");
    let output = newer.output.clone();
    owned(t, &output, &newer).await;
    let others =
        [t.run("submission"), event(t, "of another key", "b.csv", "01"), t.run("another submission")];
    for (i, other) in (0..).zip(&others) {
        owned(t, &output, other).await;
        let late = event(t, &format!("late {i}"), "a.csv", "04");
        assert!(matches!(take(t, &output, &late).await, Taken::Newer(owner) if owner.run == other.id));
    }
}

/// A newer event, an event of another key, a manual start.
pub async fn any_other_newcomer_takes_over(t: &LedgerUnderTest) {
    let mut runs = vec![
        event(t, "first", "a.csv", "05"),
        event(t, "newer", "a.csv", "06"),
        event(t, "of another key", "b.csv", "01"),
    ];
    runs.push(t.run("manual"));
    runs.push(event(t, "newer after a manual one", "a.csv", "07"));
    let output = runs[0].output.clone();
    for (run, epoch) in runs.iter().zip(1..) {
        assert_eq!(owned(t, &output, run).await.0, Epoch(epoch));
    }
}

/// No epoch is given twice, and the last is the owner's.
pub async fn of_racing_takers_each_has_an_epoch_of_its_own(t: &LedgerUnderTest) {
    let runs: Vec<_> = (0..16).map(|i| t.run(&format!("taker {i}"))).collect();
    let output = t.run("raced for").output;
    let mut epochs: Vec<_> = join_all(runs.iter().map(|run| owned(t, &output, run))).await;
    epochs.sort();
    let numbers: Vec<_> = epochs.iter().map(|(epoch, _)| epoch.0).collect();
    assert_eq!(numbers, (1..=16).collect::<Vec<_>>());
    assert_eq!(owner(t, &output).await.map(|owner| owner.epoch), Some(Epoch(16)));
}

//! Runs: created once, saved by whoever saw them last.

use fanfold_domain::{ByteRange, Grouping, LineEnd, Plan, RunState, Scan};
use futures::future::join_all;

use super::{
    CREATED_AT, Created, Epoch, Freshness, Generation, LedgerUnderTest, Run, Saved, Sequencer, Sums, Taken,
    sums_of,
};

/// A duplicate event finds the run as it stands, however many come at once.
pub async fn a_run_is_created_once(t: &LedgerUnderTest) {
    let run = t.run("once");
    let answers = join_all((0..8).map(|_| t.ledger.create_run(&run))).await;
    let is_new = |answer: &Result<Created, _>| matches!(answer, Ok(Created::Now));
    assert_eq!(answers.iter().filter(|answer| is_new(answer)).count(), 1, "{answers:?}");
    let before = Created::Before(Box::new(run.clone()));
    let repeated = |answer: &Result<Created, _>| answer.as_ref().is_ok_and(|created| *created == before);
    assert!(answers.iter().all(|answer| is_new(answer) || repeated(answer)), "{answers:?}");

    let later = t.save(&Run { state: RunState::Running, ..run.clone() }).await;
    let again = t.ledger.create_run(&run).await.expect("the creation was answered");
    assert_eq!(again, Created::Before(Box::new(later)));
}

/// Nothing is lost between an item and a run.
pub async fn a_run_is_read_back_with_every_field(t: &LedgerUnderTest) {
    let run = t.created("fields").await;
    assert_eq!(t.stored(&run).await, run);
    let full = Run {
        sequencer: Some(Sequencer::new("0055AED6DCD90281E5")),
        state: RunState::Failed,
        generation: Generation(2),
        epoch: Epoch(7),
        scan: Some(Scan::new(ByteRange::new(20, 126_000_020), 16 << 20).expect("8 ranges fit")),
        plan: Some(Plan {
            grouping: Grouping::choose(34, 126_000_000).expect("34 chunks fit"),
            preamble: ByteRange::new(0, 20),
            header: Some(ByteRange::new(3, 18)),
            line_end: LineEnd::CrLf,
        }),
        former: Some(t.run("former").id),
        uploads: vec!["one".to_owned(), "two".to_owned()],
        list_uploads: vec!["three".to_owned()],
        is_fenced: true,
        sums: Some(Sums { failed_chunks: 1, ..sums_of(9) }),
        reason: Some("“30 bad records”, and\nmore".to_owned()),
        updated_at: CREATED_AT.plus_ms(1),
        ..run
    };
    assert_eq!(t.stored(&full).await.plan, None);
    let saved = t.save(&full).await;
    assert_eq!(t.stored(&full).await, saved);
}

/// A message may outlive its run's item.
pub async fn an_unknown_run_is_none(t: &LedgerUnderTest) {
    let id = t.run("unknown").id;
    for freshness in [Freshness::Eventual, Freshness::Consistent] {
        assert_eq!(t.ledger.run(&id, freshness).await.expect("the read was answered"), None);
    }
}

/// By one, whatever else changes.
pub async fn a_save_raises_the_revision(t: &LedgerUnderTest) {
    let run = t.created("revision").await;
    let first = t.save(&run).await;
    t.save(&first).await;
    assert_eq!(t.stored(&run).await.revision, run.revision + 2);
}

/// Whoever saw an older revision must read again.
pub async fn a_stale_save_changes_nothing(t: &LedgerUnderTest) {
    let run = t.created("stale").await;
    let now = t.save(&Run { state: RunState::Running, ..run.clone() }).await;
    let stale = Run { state: RunState::Failed, ..run };
    assert_eq!(t.ledger.save_run(&stale).await.expect("the save was answered"), Saved::Stale);
    assert_eq!(t.stored(&now).await, now);
}

/// Two invocations that saw the same revision.
pub async fn of_racing_saves_exactly_one_is_written(t: &LedgerUnderTest) {
    let run = t.created("race").await;
    let versions: Vec<_> =
        (0..16).map(|i| Run { reason: Some(format!("writer {i}")), ..run.clone() }).collect();
    let answers = join_all(versions.iter().map(|run| t.ledger.save_run(run))).await;
    let is_saved = |answer: &Result<Saved, _>| matches!(answer, Ok(Saved::Now));
    assert_eq!(answers.iter().filter(|answer| is_saved(answer)).count(), 1, "{answers:?}");
    let winner = answers.iter().position(is_saved).expect("one was saved");
    assert_eq!(t.stored(&run).await.reason, versions[winner].reason);
}

/// A save is no creation.
pub async fn a_run_that_was_never_created_is_not_saved(t: &LedgerUnderTest) {
    let run = t.run("never created");
    assert_eq!(t.ledger.save_run(&run).await.expect("the save was answered"), Saved::Stale);
    assert_eq!(t.ledger.run(&run.id, Freshness::Consistent).await.expect("the read was answered"), None);
}

/// The run as it stands once it took its output.
async fn taken(t: &LedgerUnderTest, run: &Run) -> Run {
    match t.ledger.take_output(run).await.expect("the taking was answered") {
        Taken::Owned(run) => *run,
        other => panic!("{} took nothing: {other:?}", run.id),
    }
}

async fn save_as_owner(t: &LedgerUnderTest, run: &Run) -> Saved {
    t.ledger.save_run_as_owner(run).await.expect("the save was answered")
}

/// The arrow to `completing`.
pub async fn the_owner_saves_as_owner(t: &LedgerUnderTest) {
    let run = t.created("owner").await;
    assert_eq!(save_as_owner(t, &run).await, Saved::Stale, "nobody owns the output yet");
    let run = taken(t, &run).await;
    let completing = Run { state: RunState::Completing, ..run };
    assert_eq!(save_as_owner(t, &completing).await, Saved::Now);
    assert_eq!(t.stored(&completing).await, Run { revision: completing.revision + 1, ..completing });
}

/// Neither after another run took it nor with another epoch than its own.
pub async fn a_run_that_lost_its_output_does_not_save_as_owner(t: &LedgerUnderTest) {
    let run = t.created("first").await;
    let first = taken(t, &run).await;
    let earlier = Run { epoch: Epoch(first.epoch.0 + 1), ..first.clone() };
    assert_eq!(save_as_owner(t, &earlier).await, Saved::Stale);
    let second = Run { output: run.output.clone(), ..t.run("second") };
    t.ledger.create_run_as_owner(&second).await.expect("the creation was answered");
    assert_eq!(save_as_owner(t, &first).await, Saved::Stale);
    assert_eq!(t.stored(&run).await, first);
}

/// Ownership does not replace the revision.
pub async fn a_stale_owner_does_not_save(t: &LedgerUnderTest) {
    let run = t.created("stale owner").await;
    let owner = taken(t, &run).await;
    let now = t.save(&owner).await;
    assert_eq!(save_as_owner(t, &owner).await, Saved::Stale);
    assert_eq!(t.stored(&run).await, now);
}

//! Lists, which may lag behind: of runs, of pipelines.

use fanfold_domain::{Cleaning, RunId, RunState, pipeline::CleanupOn};

use super::{ALL_RUNS, CREATED_AT, LedgerUnderTest, Run, eventually, sample_pipeline};
use crate::ledger::KeptPipeline;

async fn unfinished(t: &LedgerUnderTest, limit: usize) -> Vec<RunId> {
    let runs = t.ledger.unfinished_runs(None, limit).await.expect("the list was answered");
    runs.into_iter().map(|run| run.id).collect()
}

/// In every state that ends a run, and in no other.
pub async fn an_ended_run_leaves_the_unfinished(t: &LedgerUnderTest) {
    let mut run = t.created("ending").await;
    eventually("the new run is listed", async || unfinished(t, ALL_RUNS).await.contains(&run.id)).await;
    for state in [RunState::Running, RunState::Completing] {
        run = t.save(&Run { state, ..run }).await;
        let is_listed = async || unfinished(t, ALL_RUNS).await.contains(&run.id);
        eventually("the unfinished run is listed", is_listed).await;
    }
    let ends = [
        RunState::Succeeded,
        RunState::SucceededPartial,
        RunState::Failed,
        RunState::Cancelled,
        RunState::Superseded,
    ];
    for state in ends {
        run = t.save(&Run { state, ..run }).await;
        let is_gone = async || !unfinished(t, ALL_RUNS).await.contains(&run.id);
        eventually("the ended run is not listed", is_gone).await;
        run = t.save(&Run { state: RunState::Planning, ..run }).await;
        let is_back = async || unfinished(t, ALL_RUNS).await.contains(&run.id);
        eventually("the redriven run is listed again", is_back).await;
    }
}

/// Whose end is not announced, or who is to be cleaned, is still looked at.
pub async fn an_ended_run_stays_unfinished_until_it_is_settled(t: &LedgerUnderTest) {
    let mut run = t.created("unsettled").await;
    run.pipeline.cleanup.on = CleanupOn::Always;
    run = t.save(&run.advanced(RunState::Failed, CREATED_AT).expect("there is such an arrow")).await;
    let is_listed = async |run: &Run| unfinished(t, ALL_RUNS).await.contains(&run.id);
    eventually("an end that is not announced is listed", async || is_listed(&run).await).await;
    run = t.save(&Run { unannounced: Vec::new(), ..run }).await;
    eventually("a run that is to be cleaned is listed", async || is_listed(&run).await).await;
    run = t.save(&Run { cleaning: Cleaning::Done(CREATED_AT), ..run }).await;
    eventually("the settled run is not listed", async || !is_listed(&run).await).await;
}

/// The sweeper looks at the most urgent first.
pub async fn unfinished_runs_come_by_deadline(t: &LedgerUnderTest) {
    let mut wanted = Vec::new();
    for (name, due_in_ms) in [("second", 2_000), ("third", 3_000), ("first", 1_000)] {
        let run = Run { deadline_at: CREATED_AT.plus_ms(due_in_ms), ..t.run(name) };
        t.ledger.create_run(&run).await.expect("the creation was answered");
        wanted.push((run.deadline_at, run.id));
    }
    wanted.sort();
    let wanted: Vec<_> = wanted.into_iter().map(|(_, id)| id).collect();
    let is_in_order = async || {
        let mut listed = unfinished(t, ALL_RUNS).await;
        listed.retain(|id| wanted.contains(id));
        listed == wanted
    };
    eventually("the runs are listed by deadline", is_in_order).await;
    assert_eq!(unfinished(t, 2).await.len(), 2);
}

/// However many there are, and though some end meanwhile: each page begins behind the last run of the one before.
pub async fn unfinished_runs_come_page_by_page(t: &LedgerUnderTest) {
    let mut wanted = Vec::new();
    for i in 0..7 {
        // Some are due at the same moment.
        let run = Run { deadline_at: CREATED_AT.plus_ms(5_000 + i / 3), ..t.run(&format!("page {i}")) };
        t.ledger.create_run(&run).await.expect("the creation was answered");
        wanted.push(run.id);
    }
    wanted.sort();
    let all = async || {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = t.ledger.unfinished_runs(after.as_ref(), 2).await.expect("the list was answered");
            assert!(page.len() <= 2);
            after = page.last().cloned();
            listed.extend(page.into_iter().map(|run| run.id));
            if after.is_none() {
                return listed;
            }
        }
    };
    let is_whole = async || {
        let mut listed = all().await;
        listed.retain(|id| wanted.contains(id));
        listed.sort();
        listed == wanted
    };
    eventually("each run is listed once", is_whole).await;

    let page = t.ledger.unfinished_runs(None, ALL_RUNS).await.expect("the list was answered");
    let (first, second) = {
        let mut own = page.into_iter().filter(|run| wanted.contains(&run.id));
        (own.next().expect("seven are there"), own.next().expect("seven are there"))
    };
    let run =
        t.ledger.run(&first.id, crate::ledger::Freshness::Consistent).await.expect("the read was answered");
    t.save(&Run { state: RunState::Failed, ..run.expect("it was created") }).await;
    let begins_there = async || {
        let behind = t.ledger.unfinished_runs(Some(&first), ALL_RUNS).await.expect("the list was answered");
        behind.iter().find(|run| wanted.contains(&run.id)) == Some(&second)
    };
    eventually("a page begins behind a run that has ended", begins_there).await;
}

/// What a person looks at, ended runs included.
pub async fn recent_runs_come_newest_first(t: &LedgerUnderTest) {
    let mut wanted = Vec::new();
    for (name, age_ms, state) in
        [("old", 0, RunState::Planning), ("new", 2, RunState::Failed), ("mid", 1, RunState::Running)]
    {
        let run = Run { created_at: CREATED_AT.plus_ms(age_ms), state, ..t.run(name) };
        t.ledger.create_run(&run).await.expect("the creation was answered");
        wanted.push(run);
    }
    wanted.sort_by_key(|run| std::cmp::Reverse(run.created_at));
    let is_in_order = async || {
        let mut listed = t.ledger.recent_runs(ALL_RUNS).await.expect("the list was answered").items;
        listed.retain(|run| wanted.iter().any(|own| own.id == run.id));
        listed == wanted
    };
    eventually("the runs are listed newest first", is_in_order).await;
    assert_eq!(t.ledger.recent_runs(2).await.expect("the list was answered").items.len(), 2);
}

/// A name of this test's that a pipeline may have.
fn pipeline_name(t: &LedgerUnderTest, name: &str) -> String {
    format!("p-{}", t.run(name).id)
}

/// The same document again is the same version.
pub async fn a_pipeline_changes_version_only_with_its_document(t: &LedgerUnderTest) {
    let name = pipeline_name(t, "versions");
    let [strict, lax] = [0, 100].map(|max_bad_records| sample_pipeline(&name, max_bad_records));
    for (pipeline, version) in [(&strict, 1), (&strict, 1), (&lax, 2), (&lax, 2), (&strict, 3)] {
        let put = t.ledger.put_pipeline(pipeline).await;
        assert_eq!(put.expect("the pipeline was kept"), version);
    }
    let kept = t.ledger.pipelines().await.expect("the list was answered").items;
    let own: Vec<_> = kept.into_iter().filter(|kept| kept.pipeline.name == name).collect();
    assert_eq!(own, [KeptPipeline { version: 3, pipeline: strict }]);
}

/// Each once.
pub async fn pipelines_come_by_name(t: &LedgerUnderTest) {
    let mut wanted = Vec::new();
    for name in ["x", "y", "z"] {
        let pipeline = sample_pipeline(&pipeline_name(t, name), 0);
        t.ledger.put_pipeline(&pipeline).await.expect("the pipeline was kept");
        wanted.push(pipeline.name);
    }
    wanted.sort();
    let kept = t.ledger.pipelines().await.expect("the list was answered").items;
    let listed = kept.into_iter().map(|kept| kept.pipeline.name);
    assert_eq!(listed.filter(|name| wanted.contains(name)).collect::<Vec<_>>(), wanted);
}

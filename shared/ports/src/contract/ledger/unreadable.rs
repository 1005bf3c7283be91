//! Items that this version cannot read: each affects itself alone.

use fanfold_domain::message::Failure;

use super::{
    ALL_RUNS, CREATED_AT, ChunkIndex, Created, Fault, Freshness, LedgerUnderTest, Run, before, eventually,
    sample_pipeline,
};
use crate::contract::Spoiled;

const NEWER: &str = r#"{"source":{"prefix":"newer/"},"of_a_newer_version":true}"#;

/// A caller is told that the run is there: it must not be created anew, and its state is not known.
pub async fn an_unreadable_run_is_a_permanent_error(t: &LedgerUnderTest) {
    let run = t.created("unreadable").await;
    t.spoiler.spoil(Spoiled::Run(&run.id), NEWER).await;
    for freshness in [Freshness::Eventual, Freshness::Consistent] {
        let is_refused = async || {
            let read = t.ledger.run(&run.id, freshness).await;
            read.is_err_and(|error| error.fault == Fault::Permanent)
        };
        eventually("the read is refused", is_refused).await;
    }
    let created = t.ledger.create_run(&run).await;
    assert_eq!(created.expect_err("it is there, and cannot be answered").fault, Fault::Permanent);
}

/// The sweeper lists keys alone; a list for a person names what it cannot show.
pub async fn an_unreadable_run_hides_no_other(t: &LedgerUnderTest) {
    // Older than the runs of other tests, which may ask for the latest two.
    let older = |name: &str| Run { created_at: before(CREATED_AT), ..t.run(name) };
    let (unreadable, other) = (older("spoiled"), older("sound"));
    for run in [&unreadable, &other] {
        assert_eq!(t.ledger.create_run(run).await.expect("the creation was answered"), Created::Now);
    }
    t.spoiler.spoil(Spoiled::Run(&unreadable.id), NEWER).await;
    let are_listed = async || {
        let unfinished = t.ledger.unfinished_runs(None, ALL_RUNS).await.expect("the list was answered");
        [&unreadable.id, &other.id].iter().all(|id| unfinished.iter().any(|run| run.id == **id))
    };
    eventually("both are among the unfinished", are_listed).await;
    let are_told_apart = async || {
        let recent = t.ledger.recent_runs(ALL_RUNS).await.expect("the list was answered");
        let unread = recent.unreadable.iter().find(|item| item.name == unreadable.id.to_string());
        recent.items.iter().any(|run| run.id == other.id)
            && recent.items.iter().all(|run| run.id != unreadable.id)
            && unread.is_some_and(|item| !item.reason.is_empty())
    };
    eventually("the one is listed and the other named", are_told_apart).await;
}

/// With its document, by which a caller finds out what it may affect.
pub async fn an_unreadable_pipeline_hides_no_other(t: &LedgerUnderTest) {
    let [sound, unreadable] =
        ["a", "b"].map(|name| sample_pipeline(&format!("p-{}", t.run(&format!("list {name}")).id), 0));
    for pipeline in [&sound, &unreadable] {
        assert_eq!(t.ledger.put_pipeline(pipeline).await.expect("the pipeline was kept"), 1);
    }
    t.spoiler.spoil(Spoiled::Pipeline(&unreadable.name), NEWER).await;
    let kept = t.ledger.pipelines().await.expect("the list was answered");
    assert!(kept.items.iter().any(|kept| kept.pipeline == sound));
    assert!(kept.items.iter().all(|kept| kept.pipeline.name != unreadable.name));
    let item = kept.unreadable.iter().find(|item| item.name == unreadable.name).expect("it is named");
    assert_eq!(item.document.as_deref(), Some(NEWER));
    assert!(!item.reason.is_empty());
}

/// That is how a person repairs it.
pub async fn an_unreadable_pipeline_is_replaced_as_another_version(t: &LedgerUnderTest) {
    let pipeline = sample_pipeline(&format!("p-{}", t.run("replaced").id), 0);
    t.ledger.put_pipeline(&pipeline).await.expect("the pipeline was kept");
    t.spoiler.spoil(Spoiled::Pipeline(&pipeline.name), NEWER).await;
    for _ in 0..2 {
        assert_eq!(t.ledger.put_pipeline(&pipeline).await.expect("the pipeline was kept"), 2);
    }
    let kept = t.ledger.pipelines().await.expect("the list was answered");
    assert!(kept.items.iter().any(|kept| kept.pipeline == pipeline && kept.version == 2));
    assert!(kept.unreadable.iter().all(|item| item.name != pipeline.name));
}

/// The chunk failed all the same, and the others' reasons are told.
pub async fn an_unreadable_failure_says_so(t: &LedgerUnderTest) {
    let stage = t.stage();
    for chunk in [1, 2] {
        let failure = Failure::of_chunk(format!("chunk {chunk}"));
        t.ledger.note_failure(&stage, ChunkIndex(chunk), &failure).await.expect("the note was answered");
    }
    t.spoiler.spoil(Spoiled::Failure(&stage, ChunkIndex(1)), NEWER).await;
    let failures = t.ledger.failures(&stage, 10).await.expect("the list was answered");
    let [(first, unread), (second, read)] = &failures[..] else { panic!("two: {failures:?}") };
    assert_eq!((*first, *second), (ChunkIndex(1), ChunkIndex(2)));
    assert!(unread.reason.contains("cannot be read"), "{unread:?}");
    assert_eq!(read.reason, "chunk 2");
}

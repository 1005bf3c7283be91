//! Counting groups, and why chunks failed.

use fanfold_domain::{Grouping, RootCount, message::Failure};
use futures::future::join_all;

use super::{ChunkIndex, Generation, GroupIndex, LedgerUnderTest, StageId, sums_of};

async fn root(t: &LedgerUnderTest, stage: &StageId) -> RootCount {
    t.ledger.root(stage).await.expect("the read was answered")
}

async fn fold(t: &LedgerUnderTest, stage: &StageId, group: u32) -> RootCount {
    let folded = t.ledger.mark_folded(stage, GroupIndex(group), sums_of(group)).await;
    folded.expect("the fold was marked")
}

/// Not an error: the first fold makes the item.
pub async fn an_unfolded_stage_is_empty(t: &LedgerUnderTest) {
    assert_eq!(root(t, &t.stage()).await, RootCount::default());
}

/// A repeated fold adds nothing, and is answered like the first.
pub async fn a_group_is_folded_once(t: &LedgerUnderTest) {
    let stage = t.stage();
    let wanted = RootCount { folded: [GroupIndex(4)].into(), sums: sums_of(4) };
    for _ in 0..3 {
        assert_eq!(fold(t, &stage, 4).await, wanted);
        assert_eq!(root(t, &stage).await, wanted);
    }
    let other = StageId { generation: Generation(1), ..stage };
    assert_eq!(root(t, &other).await, RootCount::default());
}

/// Every fold twice, all at once: whoever fills the root learns the final sums.
pub async fn racing_folds_fill_the_root_with_the_final_sums(t: &LedgerUnderTest) {
    let stage = t.stage();
    let grouping = Grouping { chunks: 40, group_chunks: 2 };
    let folds = (0..grouping.groups()).flat_map(|group| [fold(t, &stage, group), fold(t, &stage, group)]);
    let answers = join_all(folds).await;
    let filled: Vec<_> = answers.iter().filter(|root| root.is_full(grouping)).collect();
    assert!(!filled.is_empty(), "nobody filled the root");
    let wanted = (0..grouping.groups()).map(sums_of).sum();
    assert!(filled.iter().all(|root| root.sums == wanted), "{filled:?}");
    assert_eq!(root(t, &stage).await, *filled[0]);
}

async fn note(t: &LedgerUnderTest, stage: &StageId, chunk: u32, failure: &Failure) {
    let noted = t.ledger.note_failure(stage, ChunkIndex(chunk), failure).await;
    noted.expect("the failure was noted");
}

/// A dead letter does not replace what the worker said.
pub async fn the_first_reason_of_a_failure_stays(t: &LedgerUnderTest) {
    let stage = t.stage();
    let first = Failure {
        record: Some(7),
        offset: Some(1 << 40),
        bad_records: Some("runs/0af/confirm/0/0000005-7.errors".to_owned()),
        ..Failure::of_chunk("exit code 3 “…”")
    };
    note(t, &stage, 5, &first).await;
    note(t, &stage, 5, &Failure::of_chunk("received too often")).await;
    let failures = t.ledger.failures(&stage, 10).await.expect("the list was answered");
    assert_eq!(failures, [(ChunkIndex(5), first)]);
}

/// As numbers, not as text; at most as many as asked for; of this stage and generation only.
pub async fn failures_come_by_index(t: &LedgerUnderTest) {
    let stage = t.stage();
    let other = StageId { generation: Generation(1), ..stage.clone() };
    for chunk in [100_000, 9, 999_999, 10] {
        note(t, &stage, chunk, &Failure::of_chunk(format!("chunk {chunk}"))).await;
    }
    note(t, &other, 11, &Failure::of_chunk("of the next generation")).await;
    let listed = async |limit| {
        let failures = t.ledger.failures(&stage, limit).await.expect("the list was answered");
        failures.into_iter().map(|(chunk, _)| chunk.0).collect::<Vec<_>>()
    };
    assert_eq!(listed(10).await, [9, 10, 100_000, 999_999]);
    assert_eq!(listed(2).await, [9, 10]);
}

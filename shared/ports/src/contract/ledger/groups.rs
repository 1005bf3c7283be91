//! Counting chunks.

use fanfold_domain::group::MAX_MARKS;
use futures::future::join_all;

use super::{
    ChunkIndex, Fault, Generation, GroupCount, GroupIndex, LedgerUnderTest, Mark, Marked, Note, StageId,
    chunks, done, sums_of,
};

/// Not an error: the first mark makes the item.
pub async fn an_unmarked_group_is_empty(t: &LedgerUnderTest) {
    assert_eq!(t.group(&t.stage()).await, GroupCount::default());
}

/// The answer is the group as it stands after, and so is a read.
pub async fn a_group_counts_what_was_done_and_what_failed(t: &LedgerUnderTest) {
    let stage = t.stage();
    let mut marks = done([0, 2]);
    marks.push((ChunkIndex(1), Mark::Failed));
    let Marked::Now(count) = t.mark(&stage, &marks).await else { panic!("nothing was marked before") };
    let wanted = GroupCount {
        done: chunks([0, 2]).into_iter().collect(),
        failed: chunks([1]).into_iter().collect(),
        sums: [sums_of(0), sums_of(2), Mark::Failed.sums()].into_iter().sum(),
        ..GroupCount::default()
    };
    assert_eq!(count, wanted);
    assert_eq!(t.group(&stage).await, wanted);
}

/// What ended before, either way, holds the others back.
pub async fn a_mark_is_all_or_nothing(t: &LedgerUnderTest) {
    let stage = t.stage();
    t.mark(&stage, &done([1])).await;
    t.mark(&stage, &[(ChunkIndex(2), Mark::Failed)]).await;
    let before = t.group(&stage).await;
    for again in [done([0, 1]), done([2, 3]), vec![(ChunkIndex(1), Mark::Failed)]] {
        assert_eq!(t.mark(&stage, &again).await, Marked::Before(before.clone()), "{again:?}");
    }
    assert_eq!(t.group(&stage).await, before);
}

/// `DynamoDB` takes no more operators; none at all is a mistake.
pub async fn sixty_four_chunks_are_marked_at_once_and_no_more(t: &LedgerUnderTest) {
    let stage = t.stage();
    let most = u32::try_from(MAX_MARKS).expect("it is 64");
    for marks in [done(0..=most), done([])] {
        let error = t.ledger.mark(&stage, GroupIndex(0), &marks, &[]).await;
        assert_eq!(error.expect_err("so many are refused").fault, Fault::Permanent);
    }
    assert_eq!(t.group(&stage).await, GroupCount::default());
    let Marked::Now(count) = t.mark(&stage, &done(0..most)).await else {
        panic!("nothing was marked before")
    };
    assert_eq!((count.ended(), count.sums), (MAX_MARKS, (0..most).map(sums_of).sum()));
}

/// Its sums would be added twice.
pub async fn a_chunk_is_marked_once_in_one_call(t: &LedgerUnderTest) {
    let stage = t.stage();
    let error = t.ledger.mark(&stage, GroupIndex(0), &done([3, 4, 3]), &[]).await;
    assert_eq!(error.expect_err("a chunk twice is refused").fault, Fault::Permanent);
    assert_eq!(t.group(&stage).await, GroupCount::default());
}

/// Batches of completions overlap, and come to many trackers at once.
pub async fn of_racing_marks_each_chunk_is_counted_once(t: &LedgerUnderTest) {
    const CHUNKS: u32 = 1_024;
    let stage = t.stage();
    let trackers = (0..16).map(|tracker| mark_overlapping(t, &stage, CHUNKS, tracker * CHUNKS / 16));
    let counted: usize = join_all(trackers).await.into_iter().sum();
    assert_eq!(counted, CHUNKS as usize);
    let count = t.group(&stage).await;
    assert_eq!(count.done, chunks(0..CHUNKS).into_iter().collect());
    assert_eq!(count.sums, (0..CHUNKS).map(sums_of).sum());
}

/// Marks all chunks from `start` on, round the end, in batches of 64 that each overlap the next by half. How
/// many it marked itself.
async fn mark_overlapping(t: &LedgerUnderTest, stage: &StageId, chunks: u32, start: u32) -> usize {
    let mut counted = 0;
    for first in (start..start + chunks).step_by(32) {
        counted += mark_the_absent(t, stage, done((first..first + 64).map(|index| index % chunks))).await;
    }
    counted
}

/// Marks what of a batch is not marked yet, as the tracker does. How many it marked itself.
async fn mark_the_absent(t: &LedgerUnderTest, stage: &StageId, mut batch: Vec<(ChunkIndex, Mark)>) -> usize {
    while !batch.is_empty() {
        let Marked::Before(count) = t.mark(stage, &batch).await else { return batch.len() };
        let before = batch.len();
        batch.retain(|(chunk, _)| !count.has(*chunk));
        assert!(batch.len() < before, "what held the mark back is in the answer: {count:?}");
    }
    0
}

/// Nothing that is counted in one place is seen in another.
pub async fn stages_generations_and_groups_are_counted_apart(t: &LedgerUnderTest) {
    let stage = t.stage();
    t.mark(&stage, &done([5])).await;
    let others = [
        StageId { stage: "other".to_owned(), ..stage.clone() },
        StageId { generation: Generation(1), ..stage.clone() },
        StageId { run: t.run("other").id, ..stage.clone() },
    ];
    for other in others {
        assert_eq!(t.group(&other).await, GroupCount::default());
    }
    let of_next = t.ledger.group(&stage, GroupIndex(1)).await;
    assert_eq!(of_next.expect("the read was answered"), GroupCount::default());
}

/// Also of chunks that were not marked, and of none.
pub async fn handing_is_noted_beside_the_marks_and_idempotent(t: &LedgerUnderTest) {
    let stage = t.stage();
    t.mark(&stage, &done([0, 1])).await;
    for handed in [vec![], chunks([0]), chunks([0, 1]), chunks([0, 1])] {
        t.ledger.hand(&stage, GroupIndex(0), &handed).await.expect("the handing was noted");
    }
    let count = t.group(&stage).await;
    assert_eq!((count.done.len(), count.sums), (2, [0, 1].map(sums_of).into_iter().sum()));
    assert_eq!(count.handed, chunks([0, 1]).into_iter().collect());

    let Marked::Before(again) = t.mark(&stage, &done([0])).await else { panic!("it was marked before") };
    assert_eq!(again, count);
    t.ledger.hand(&stage, GroupIndex(1), &chunks([1_024])).await.expect("the handing was noted");
    let of_next = t.ledger.group(&stage, GroupIndex(1)).await.expect("the read was answered");
    assert_eq!((of_next.ended(), of_next.handed.len()), (0, 1));
}

/// A note costs no write of its own where it can wait for the next marks: it is made with them, and not without.
pub async fn notes_are_made_with_marks_or_not_at_all(t: &LedgerUnderTest) {
    let stage = t.stage();
    let mark = async |marks: Vec<(ChunkIndex, Mark)>, notes: &[(u32, Note)]| {
        let notes: Vec<(ChunkIndex, Note)> =
            notes.iter().map(|(chunk, note)| (ChunkIndex(*chunk), *note)).collect();
        t.ledger.mark(&stage, GroupIndex(0), &marks, &notes).await.expect("the mark was answered")
    };
    let Marked::Now(first) = mark(done([0, 1]), &[(1, Note::Handed), (0, Note::SentNext)]).await else {
        panic!("nothing was marked before")
    };
    assert_eq!(first.handed, chunks([1]).into_iter().collect());
    assert_eq!(first.sent_next, chunks([0]).into_iter().collect());
    let refused = mark(done([1, 2]), &[(0, Note::Handed), (2, Note::SentReader(1))]).await;
    assert_eq!(refused, Marked::Before(first));
    let notes = [(0, Note::Handed), (1, Note::Handed), (2, Note::SentReader(1)), (1, Note::SentReader(12))];
    let Marked::Now(second) = mark(done([2]), &notes).await else { panic!("it was not marked before") };
    assert_eq!(second.handed, chunks([0, 1]).into_iter().collect());
    let sent = |chunk| chunks([chunk]).into_iter().collect();
    assert_eq!(second.sent_readers, [(1, sent(2)), (12, sent(1))].into());
    assert_eq!(t.group(&stage).await, second);
}

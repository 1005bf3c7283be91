//! What follows from ended chunks: pure.

use fanfold_domain::{ChunkIndex, GroupCount, GroupIndex, Plan};

/// The chunks to be sent because these ended: for chunk i, chunk i + `window`. A function of i and not a
/// count, so that a repetition sends the same chunk again and nothing leaks.
pub(crate) fn released(plan: &Plan, window: u32, ended: &[ChunkIndex]) -> Vec<ChunkIndex> {
    let next = ended.iter().filter_map(|chunk| chunk.0.checked_add(window));
    next.filter(|next| *next < plan.grouping.chunks).map(ChunkIndex).collect()
}

/// Whether a group with these counters is full: to be folded.
pub(crate) fn is_full(plan: &Plan, group: GroupIndex, count: &GroupCount) -> bool {
    count.ended() == plan.grouping.size_of(group)
}

#[cfg(test)]
mod tests {
    use fanfold_domain::{ByteRange, Grouping, LineEnd};

    use super::*;

    #[test]
    fn every_chunk_is_sent_by_the_window_or_by_exactly_one_other() {
        let grouping = Grouping { chunks: 103, group_chunks: 8 };
        let preamble = ByteRange::new(0, 0);
        let plan = Plan { grouping, preamble, header: None, line_end: LineEnd::Lf };
        for window in [1, 2, 7, 102, 103, 500, u32::MAX] {
            let first = (0..window.min(103)).map(ChunkIndex);
            let all: Vec<ChunkIndex> = (0..103).map(ChunkIndex).collect();
            let mut sent: Vec<ChunkIndex> = first.chain(released(&plan, window, &all)).collect();
            sent.sort_unstable();
            assert_eq!(sent, all, "window {window}");
        }
    }
}

//! What follows from ended chunks: pure.

use fanfold_domain::{
    ChunkIndex, GroupCount, GroupIndex, Grouping, Run, SCAN, Sums,
    pipeline::{FanOut, RunOn},
};

/// The chunks to be sent because these ended: for chunk i, chunk i + `window`. A function of i and not a
/// count, so that a repetition sends the same chunk again and nothing leaks.
pub(crate) fn released(grouping: Grouping, window: u32, ended: &[ChunkIndex]) -> Vec<ChunkIndex> {
    let next = ended.iter().filter_map(|chunk| chunk.0.checked_add(window));
    next.filter(|next| *next < grouping.chunks).map(ChunkIndex).collect()
}

/// The window of a stage. Of one on EKS all was launched at once, and a Map keeps to a number of its own: no end releases
/// anything.
pub(crate) fn window(run: &Run, stage: &str) -> u32 {
    match (run.pipeline.fan_out, &run.stage().run_on) {
        _ if stage == SCAN => run.stage().max_concurrency,
        (FanOut::Map { .. }, _) | (_, RunOn::Eks(_)) => u32::MAX,
        (FanOut::Sqs, RunOn::Lambda) => run.stage().max_concurrency,
    }
}

/// Whether a group with these counters is full: to be folded.
pub(crate) fn is_full(grouping: Grouping, group: GroupIndex, count: &GroupCount) -> bool {
    count.ended() == grouping.size_of(group)
}

/// Why sums like these of a group end the run, if they do. No chunk of a scan may fail: nothing would know where
/// the records are.
pub(crate) fn verdict(run: &Run, stage: &str, sums: &Sums) -> Option<String> {
    if stage != SCAN {
        return run.verdict(sums);
    }
    (sums.failed_chunks > 0).then(|| "the source could not be scanned".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_is_sent_by_the_window_or_by_exactly_one_other() {
        let grouping = Grouping { chunks: 103, group_chunks: 8 };
        for window in [1, 2, 7, 102, 103, 500, u32::MAX] {
            let first = (0..window.min(103)).map(ChunkIndex);
            let all: Vec<ChunkIndex> = (0..103).map(ChunkIndex).collect();
            let mut sent: Vec<ChunkIndex> = first.chain(released(grouping, window, &all)).collect();
            sent.sort_unstable();
            assert_eq!(sent, all, "window {window}");
        }
    }
}

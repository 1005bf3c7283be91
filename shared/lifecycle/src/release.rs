//! What the end of a chunk releases.

use fanfold_domain::{
    ChunkIndex, Run,
    message::Released,
    pipeline::{Depends, FanOut, RunOn, Upstream},
};

/// The window of a stage: how many of its chunks may be outstanding. Of one on EKS all are launched at once,
/// and a Map keeps to a number of its own, so that no end releases anything.
pub fn window(run: &Run, stage: usize) -> u32 {
    let stage = &run.pipeline.stages[stage];
    match (run.pipeline.fan_out, &stage.run_on) {
        (FanOut::Map { .. }, _) | (_, RunOn::Eks(_)) => u32::MAX,
        (FanOut::Sqs, RunOn::Lambda) => stage.max_concurrency,
    }
}

/// A chunk that the end of another releases, and what else it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The chunk.
    pub released: Released,
    /// What else must have come about.
    pub besides: Besides,
}

/// What a chunk waits for besides the end that releases it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Besides {
    /// Nothing.
    Nothing,
    /// The part that it reads: of the stage at this place, this chunk's.
    Part(usize, ChunkIndex),
    /// The end of the chunk of its own stage that opens its window.
    End(ChunkIndex),
    /// All that it reads has ended: none of that may have failed.
    NoFailure,
}

/// The chunks that may be sent once this one has ended: the one that is a window further on, and if it is done the ones
/// that read its part index by index. A function of the chunk and not a count, so that a repetition releases the same
/// ones and nothing leaks.
pub fn releases(run: &Run, stage: &str, chunk: ChunkIndex) -> Vec<Release> {
    let mut releases = Vec::new();
    let place = run.pipeline.stage_index(stage);
    // An internal stage is done under the first one's settings.
    let window = place.map_or_else(|| run.pipeline.scan_window(), |place| window(run, place));
    let chunks = run.grouping_of(stage).map_or(0, |grouping| grouping.chunks);
    if let Some(next) = chunk.0.checked_add(window).filter(|next| *next < chunks).map(ChunkIndex) {
        let upstream = place.and_then(|place| run.pipeline.stages[place].upstream);
        let besides = match upstream {
            None => Besides::Nothing,
            Some(Upstream { by: Depends::All, .. }) => Besides::NoFailure,
            Some(Upstream { by: Depends::NToN, stage, .. }) => Besides::Part(stage, next),
        };
        releases.push(Release { released: Released { stage: stage.to_owned(), chunk: next }, besides });
    }
    let Some(place) = place else { return releases };
    for (reader, upstream) in run.pipeline.readers_of(place) {
        let stage = &run.pipeline.stages[reader];
        if upstream.by == Depends::NToN && stage.run_on == RunOn::Lambda {
            let opener = chunk.0.checked_sub(self::window(run, reader)).map(ChunkIndex);
            let besides = opener.map_or(Besides::Nothing, Besides::End);
            releases.push(Release { released: Released { stage: stage.name.clone(), chunk }, besides });
        }
    }
    releases
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fanfold_domain::{ByteRange, Grouping, LineEnd, Plan, pipeline::Pipeline};
    use fanfold_ports::{contract::sample_run, memory::MEMORY_EPOCH};

    use super::*;

    const CHUNKS: u32 = 103;

    fn run(stages: &str) -> Run {
        let pipeline = format!("{{pipeline: p, source: {{format: lines}}, stages: [{stages}]}}");
        let grouping = Grouping { chunks: CHUNKS, group_chunks: 8 };
        let plan = Plan { grouping, preamble: ByteRange::new(0, 0), header: None, line_end: LineEnd::Lf };
        let pipeline = Pipeline::parse(&pipeline).expect("a pipeline");
        Run { pipeline, plan: Some(plan), ..sample_run("releases", MEMORY_EPOCH) }
    }

    /// How often each chunk of a stage is released by all of another.
    fn released(run: &Run, stage: &str, by: &str) -> BTreeMap<u32, usize> {
        let mut times = BTreeMap::new();
        for release in (0..CHUNKS).flat_map(|chunk| releases(run, by, ChunkIndex(chunk))) {
            if release.released.stage == stage {
                *times.entry(release.released.chunk.0).or_default() += 1;
            }
        }
        times
    }

    #[test]
    fn each_chunk_is_of_the_first_window_or_released_by_exactly_one_other() {
        for window in [2, 7, 102, 103, 500] {
            let run = run(&format!("{{name: s, process: index, max_concurrency: {window}}}"));
            let wanted: BTreeMap<u32, usize> = (window.min(CHUNKS)..CHUNKS).map(|chunk| (chunk, 1)).collect();
            assert_eq!(released(&run, "s", "s"), wanted, "window {window}");
            assert!(releases(&run, "s", ChunkIndex(0)).iter().all(|next| next.besides == Besides::Nothing));
        }
    }

    /// Each of the two names the other as what the chunk waits for besides.
    #[test]
    fn a_chunk_that_reads_one_index_is_released_by_what_it_reads_and_by_what_opens_its_window() {
        let run = run(
            "{name: a, process: index, max_concurrency: 3}, {name: b, process: index, max_concurrency: 5, depends: n_to_n}",
        );
        assert_eq!(released(&run, "b", "a").len(), CHUNKS as usize);
        let by = |stage: &str, chunk| {
            let releases = releases(&run, stage, ChunkIndex(chunk)).into_iter();
            let of_b = releases.filter(|next| next.released.stage == "b");
            of_b.map(|next| (next.released.chunk.0, next.besides)).collect::<Vec<_>>()
        };
        assert_eq!(by("a", 4), [(4, Besides::Nothing)]);
        assert_eq!(by("a", 9), [(9, Besides::End(ChunkIndex(4)))]);
        assert_eq!(by("b", 4), [(9, Besides::Part(0, ChunkIndex(9)))]);
        assert_eq!(by("b", 98), []);
    }

    #[test]
    fn a_stage_that_waits_for_all_of_another_is_released_by_itself_alone() {
        let run =
            run("{name: a, process: index}, {name: b, process: index, max_concurrency: 5, depends: all}");
        assert_eq!(released(&run, "b", "a").len(), 0);
        let [next] = &releases(&run, "b", ChunkIndex(4))[..] else { panic!("one") };
        assert_eq!((next.released.chunk, next.besides), (ChunkIndex(9), Besides::NoFailure));
    }
}

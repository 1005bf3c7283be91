//! What a seed draws.

use fanfold_domain::pipeline::FanOut;
use fanfold_engine::plan::{ScanLimits, Strides};
use fanfold_ports::memory::Rates;

use super::{
    KubeScenario, Legs, MINUTE, MapScenario, SECOND, Scenario, Sickness,
    acts::{acts, cancel_acts, kube_acts, rate_acts, submitted},
    pipeline::{pipeline, retry, set_window},
};
use crate::{
    chance::Chance,
    shape::{Reads, Shape, items, objects},
    source::Content,
    third_party::ThirdParty,
    triggers,
};

impl Scenario {
    pub(crate) fn of(seed: u64) -> Self {
        let chance = Chance::of(seed, "scenario");
        let content = match chance.within(0..100) {
            0 => Content::Large,
            1..20 => Content::Sales { bad_percent: chance.one_of(&[0, 0, 5, 30]) },
            _ => Content::Any,
        };
        let is_rough = content != Content::Large && chance.percent(80);
        let of_kube = Chance::of(seed, "clusters");
        let kube = (content != Content::Large && of_kube.percent(25)).then(|| kube(&of_kube, is_rough));
        let per_pod = of_kube.one_of(&[None, Some(1), Some(1), Some(2), Some(5)]);
        let stage = match (&kube, per_pod) {
            (None, _) => String::new(),
            (Some(_), None) => "run_on: eks, ".to_owned(),
            (Some(_), Some(chunks)) => format!("run_on: eks, chunks_per_pod: {chunks}, "),
        };
        let of_map = Chance::of(seed, "maps");
        let map = of_map.percent(if kube.is_some() { 15 } else { 35 }).then(|| map(&of_map, is_rough));
        let of_shape = Chance::of(seed, "shape");
        let shape = Shape::of(&of_shape, content, kube.is_some(), map.is_some());
        let mut pipeline = pipeline(&chance, content, &stage, &shape);
        if map.is_some() {
            let batch = of_map.one_of(&[None, Some(1), Some(1), Some(2), Some(5)]);
            pipeline.fan_out = FanOut::Map { batch: batch.filter(|_| kube.is_none()) };
            pipeline.stages[0].timeout_ms = of_map.one_of(&[10 * SECOND, 5 * MINUTE]);
        }
        for stage in &mut pipeline.stages[1..] {
            set_window(stage, of_shape.within(2..8));
            stage.retry = retry(&of_shape);
        }
        // Several uploads, and mergers that hang: who publishes last, and over what?
        let is_duel = is_rough && chance.percent(20);
        let mut acts = acts(&chance, &pipeline, content, is_rough, is_duel);
        if shape.reads != Reads::Object {
            acts = submitted(acts);
        }
        if let Some(kube) = &kube
            && is_rough
        {
            acts.extend(kube_acts(&of_kube, kube));
            acts.sort_by_key(|(at, _)| *at);
        }
        let of_requests = Chance::of(seed, "requests");
        if is_rough {
            acts.extend(rate_acts(&of_requests, &pipeline));
            acts.extend(cancel_acts(&Chance::of(seed, "cancelling")));
            acts.sort_by_key(|(at, _)| *at);
        }
        let is_paced = pipeline.stages.iter().any(|stage| stage.rate.is_some());
        let of_triggers = Chance::of(seed, "triggers");
        let pipeline = triggers::with_triggers(&of_triggers, pipeline);
        if is_rough {
            acts.extend(triggers::ticks(&of_triggers, &pipeline));
            acts.sort_by_key(|(at, _)| *at);
        }
        let fails_alone = kube.as_ref().is_some_and(|kube| kube.fails_alone);
        let often = |percent, choices: &[u64]| {
            let often = if is_rough && chance.percent(percent) { chance.one_of(choices) } else { 0 };
            if fails_alone { 0 } else { often }
        };
        let of_skew = Chance::of(seed, "skew");
        let skew_ms = if is_rough && of_skew.percent(25) {
            of_skew.one_of(&[2 * SECOND, 2 * SECOND, 30 * SECOND, 5 * MINUTE])
        } else {
            0
        };
        // By an answer that comes hours after its question no clock can be told.
        let zombies = |permille| if skew_ms == 0 { permille } else { 0 };
        Self {
            seed,
            scan_limits: if chance.percent(30) {
                ScanLimits { alone_bytes: chance.within(0..600), range_bytes: chance.within(20..400) }
            } else {
                ScanLimits::DEFAULT
            },
            legs: legs(&Chance::of(seed, "legs")),
            group_chunks: chance.one_of(&[1, 2, 2, 4, 8]),
            is_versioned: chance.percent(50),
            rates: if is_rough && !fails_alone {
                chance.one_of(&[Rates::NONE, Rates::ROUGH, Rates::ROUGH, HARSH])
            } else {
                Rates::NONE
            },
            calm_at_ms: chance.within(if fails_alone { 20 } else { 1 } * MINUTE..40 * MINUTE),
            doubles_percent: often(50, &[5, 20, 60]),
            delays_percent: often(50, &[10, 40]),
            throttled_percent: throttled(&Chance::of(seed, "throttles"), is_rough && !fails_alone),
            zombies_permille: zombies(often(50, &[10, 50, 300])),
            zombie_mergers_permille: zombies(if is_duel && !fails_alone {
                chance.one_of(&[200, 500])
            } else {
                0
            }),
            odd_attempts_percent: often(20, &[10, 50]),
            third_party: ThirdParty {
                troubles_percent: if is_rough && !fails_alone && of_requests.percent(60) {
                    of_requests.one_of(&[5, 20, 50])
                } else {
                    0
                },
                answer_ms: of_requests.one_of(&[0, 10, 100, 500]),
            },
            sick_chunk: (is_rough && chance.percent(15))
                .then(|| {
                    let dies =
                        Sickness::Dies { at_call: u32::try_from(chance.within(0..14)).expect("small") };
                    (
                        u32::try_from(chance.within(0..6)).expect("small"),
                        chance.one_of(&[dies, Sickness::Unreadable]),
                    )
                })
                .or_else(|| {
                    (map.is_some() && kube.is_none() && is_rough).then(|| sick_in_map(&of_map)).flatten()
                }),
            lagging_reads: u32::try_from(often(50, &[1, 3, 10])).expect("small"),
            refused: (is_rough && chance.percent(3)).then(|| {
                let name = chance.one_of(&["input/", "work/", "output/", "output/in/a file.csv_Errors"]);
                format!("s3://{name}")
            }),
            has_sweeper: is_rough || chance.percent(30),
            visibility_ms: chance.one_of(&[40 * SECOND, 2 * MINUTE, 6 * MINUTE]),
            // At a rate a chunk takes as long as others ask as well.
            function_ms: chance.percent(50).then_some(40 * SECOND).filter(|_| !is_paced),
            skew_ms,
            concurrency: usize::try_from(chance.within(1..9)).expect("small"),
            call_ms: None,
            is_in_order: false,
            completions_batch: chance.one_of(&[1, 3, 10, 100]),
            piece_bytes: if content == Content::Large {
                256 << 10
            } else {
                chance.one_of(&[7, 100, 64 << 10])
            },
            others: Vec::new(),
            corrupts: None,
            loses: None,
            acts,
            objects: if shape.reads == Reads::Objects { objects(&of_shape) } else { Vec::new() },
            items: (shape.reads == Reads::Items).then(|| items(&of_shape)),
            pipeline,
            kube,
            map,
        }
    }
}

/// An account that may run as many functions as are wanted, or fewer, or far fewer.
fn throttled(chance: &Chance, is_rough: bool) -> u64 {
    if is_rough && chance.percent(40) { chance.one_of(&[20, 60, 90]) } else { 0 }
}

/// More goes wrong than any service would do.
pub(crate) const HARSH: Rates = Rates {
    transient: 200,
    lost_request: 100,
    lost_answer: 150,
    crash_before: 150,
    crash_after: 150,
    conflict: 300,
    broken_stream: 100,
};

/// Splitters and mergers that have little time.
fn legs(chance: &Chance) -> Legs {
    if chance.percent(40) {
        return Legs::WHOLE;
    }
    let few = || usize::try_from(chance.within(1..6)).expect("small");
    let strides = Strides {
        ranges: few(),
        stretches: few(),
        cuts: few(),
        list_bytes: chance.within(1..400),
        page: few(),
    };
    Legs { ms: chance.one_of(&[None, Some(0), Some(0), Some(50), Some(2 * SECOND)]), strides }
}

/// Two or three clusters.
fn kube(chance: &Chance, is_rough: bool) -> KubeScenario {
    let often = |percent, choices: &[u64]| {
        if is_rough && chance.percent(percent) { chance.one_of(choices) } else { 0 }
    };
    let clusters = (0..chance.within(2..4))
        .map(|number| {
            let weight = u32::try_from(chance.within(1..5)).expect("small");
            (format!("c{number}"), weight, chance.one_of(&[1, 3, 100]))
        })
        .collect();
    KubeScenario {
        clusters,
        start_ms: chance.one_of(&[500, 20 * SECOND, 2 * MINUTE, 5 * MINUTE]),
        evictions_percent: often(40, &[10, 50]),
        doubles_percent: often(40, &[10, 50]),
        pendings_percent: often(50, &[10, 40]),
        fails_alone: is_rough && chance.percent(40),
    }
}

/// Children of a Map die at every try more often than workers do that messages come to again and again.
fn sick_in_map(chance: &Chance) -> Option<(u32, Sickness)> {
    let at_call = u32::try_from(chance.within(0..14)).expect("small");
    let sick = u32::try_from(chance.within(0..3)).expect("small");
    chance.percent(60).then_some((sick, Sickness::Dies { at_call }))
}

fn map(chance: &Chance, is_rough: bool) -> MapScenario {
    let often = |percent, choices: &[u64]| {
        if is_rough && chance.percent(percent) { chance.one_of(choices) } else { 0 }
    };
    MapScenario {
        silent_percent: often(50, &[30, 100]),
        doubles_percent: often(40, &[10, 50]),
        stops_percent: often(40, &[60, 100]),
        stops_within_ms: chance.one_of(&[20, 200, SECOND]),
        lost_ends_percent: often(50, &[50, 100]),
    }
}

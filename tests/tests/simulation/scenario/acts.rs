//! What happens to the world, as a seed draws it.

use fanfold_domain::pipeline::Pipeline;
use fanfold_ports::{Queue, clusters::ClusterFault};

use super::{Act, KubeScenario, MINUTE, SECOND};
use crate::{
    chance::Chance,
    source::{Content, source},
};

pub(super) fn kube_acts(chance: &Chance, kube: &KubeScenario) -> Vec<(u64, Act)> {
    let mut acts = Vec::new();
    let soon = || {
        let most = chance.one_of(&[10 * SECOND, MINUTE, 5 * MINUTE]);
        chance.within(0..most)
    };
    let clusters = kube.clusters.len();
    for _ in 0..3 {
        if chance.percent(25) {
            acts.push((soon(), Act::DeleteJob));
        }
        if chance.percent(25) {
            let fault =
                chance.one_of(&[ClusterFault::Unreachable, ClusterFault::Refused, ClusterFault::Full]);
            let ms = chance.one_of(&[30 * SECOND, 3 * MINUTE, 20 * MINUTE]);
            let loses_pods = fault == ClusterFault::Unreachable && chance.percent(50);
            acts.push((soon(), Act::ClusterFails { cluster: chance.index(clusters), fault, ms, loses_pods }));
        }
    }
    if chance.percent(20) {
        acts.push((soon(), Act::ClusterGone { cluster: 1 + chance.index(clusters - 1) }));
    }
    if chance.percent(20) {
        acts.push((soon(), Act::Weight { cluster: 1 + chance.index(clusters - 1), weight: 0 }));
    }
    if chance.percent(15) {
        // For a while no cluster takes anything.
        let (from, ms) = (soon(), chance.one_of(&[MINUTE, 10 * MINUTE, 40 * MINUTE]));
        for (cluster, (_, weight, _)) in kube.clusters.iter().enumerate() {
            acts.push((from, Act::Weight { cluster, weight: 0 }));
            acts.push((from + ms, Act::Weight { cluster, weight: *weight }));
        }
    }
    acts
}

/// The same where nothing is uploaded: what came as events comes as submissions.
pub(super) fn submitted(acts: Vec<(u64, Act)>) -> Vec<(u64, Act)> {
    let mut submitted = Vec::new();
    for (number, (at, act)) in acts.into_iter().enumerate() {
        match act {
            Act::Upload { event_delays_ms, .. } => {
                let idempotency_key = format!("upload {number}");
                let submit =
                    |delay| (at + delay, Act::Submit { idempotency_key: idempotency_key.clone(), times: 1 });
                submitted.extend(event_delays_ms.into_iter().map(submit));
            }
            act => submitted.push((at, act)),
        }
    }
    submitted.sort_by_key(|(at, _)| *at);
    submitted
}

pub(super) fn acts(
    chance: &Chance,
    pipeline: &Pipeline,
    content: Content,
    is_rough: bool,
    is_duel: bool,
) -> Vec<(u64, Act)> {
    let bytes = || source(chance, pipeline.source.format, content);
    let soon =
        || if chance.percent(60) { chance.within(0..4 * SECOND) } else { chance.within(0..10 * MINUTE) };
    // Some come long after what other uploads and submissions of the key began.
    let when = || if is_duel && chance.percent(20) { chance.within(0..40 * MINUTE) } else { soon() };
    let events = || {
        let doubles = if is_rough && chance.percent(30) { chance.within(1..3) } else { 0 };
        (0..=doubles).map(|_| if is_rough { when() } else { 0 }).collect::<Vec<_>>()
    };
    let first = bytes();
    let mut acts = vec![(0, Act::Upload { bytes: first.clone(), event_delays_ms: events() })];
    let mut sometimes = |percent, act: &dyn Fn() -> Act| {
        if is_rough && chance.percent(percent) {
            acts.push((soon(), act()));
        }
    };
    let again = if is_duel { 70 } else { 15 };
    sometimes(if is_duel { 70 } else { 25 }, &|| Act::Upload { bytes: bytes(), event_delays_ms: events() });
    sometimes(10, &|| Act::Upload { bytes: bytes(), event_delays_ms: events() });
    // The same bytes again: the same entity tags, another run.
    sometimes(again, &|| Act::Upload { bytes: first.clone(), event_delays_ms: events() });
    sometimes(again / 2, &|| Act::Upload { bytes: first.clone(), event_delays_ms: events() });
    sometimes(8, &|| Act::Upload { bytes: bytes(), event_delays_ms: Vec::new() });
    for key in ["one", "two"] {
        sometimes(if is_duel { 40 } else { 8 }, &|| Act::Submit {
            idempotency_key: key.to_owned(),
            times: u32::try_from(chance.within(1..4)).expect("small"),
        });
    }
    for _ in 0..2 {
        sometimes(12, &|| Act::ForeignWrite);
    }
    sometimes(6, &|| Act::Expire);
    sometimes(10, &|| Act::Outage {
        queue: chance.one_of(&[Queue::Intake, Queue::Chunks, Queue::Completions, Queue::Folds]),
        ms: chance.one_of(&[MINUTE, 20 * MINUTE, 6 * 60 * MINUTE]),
    });
    acts.sort_by_key(|(at, _)| *at);
    acts
}

/// What a person ends who has seen enough: most runs take moments, those on clusters minutes.
pub(super) fn cancel_acts(chance: &Chance) -> Vec<(u64, Act)> {
    let times = if chance.percent(25) { chance.within(1..4) } else { 0 };
    let most = chance.one_of(&[SECOND, 10 * SECOND, 2 * MINUTE]);
    (0..times).map(|_| (chance.within(0..most), Act::Cancel)).collect()
}

/// Changes of the rates that a pipeline keeps.
pub(super) fn rate_acts(chance: &Chance, pipeline: &Pipeline) -> Vec<(u64, Act)> {
    let destinations = pipeline.stages.iter().filter_map(|stage| stage.destination(&pipeline.name));
    let change = |(destination, _)| {
        let rate = chance.one_of(&["10/s", "25/s", "3000/m", "200/s"]);
        let rate = rate.parse().expect("it is a rate");
        (chance.within(0..10 * SECOND), Act::Rate { destination, rate })
    };
    destinations.filter(|_| chance.percent(50)).map(change).collect()
}

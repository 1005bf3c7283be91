//! How often each kind of ending came about: a simulation that never meets one proves nothing of it.

use std::collections::BTreeMap;

use fanfold_domain::{
    Cleaning, Run,
    pipeline::{Depends, Format, Order, Process, RunOn, Upstream},
};

use crate::{
    driver::Driver,
    ports::lock,
    record::{is_by_map, is_on_clusters},
    requests,
};

/// Endings of runs by kind, and what happened to their Jobs and pods.
#[derive(Debug, Default)]
pub(crate) struct Tally(pub(crate) BTreeMap<String, usize>);

impl Tally {
    pub(crate) fn add(&mut self, driver: &Driver) {
        let record = lock(&driver.record);
        for (what, count) in &record.counts {
            *self.0.entry((*what).to_owned()).or_default() += count;
        }
        *self.0.entry("requests made again".to_owned()).or_default() +=
            usize::from(requests::asked_again(&record).is_some());
        let announced = driver.world.events.all();
        let ids: std::collections::BTreeSet<&str> =
            announced.iter().map(|event| event.detail.as_str()).collect();
        if ids.len() < announced.len() {
            *self.0.entry("announced again".to_owned()).or_default() += 1;
        }
        for run in record.runs.values() {
            let reason = run.reason.as_deref().map_or("", kind);
            if is_on_clusters(run) && run.plan.is_some() {
                *self.0.entry(format!("on clusters: {} {reason}", run.state)).or_default() += 1;
            }
            if is_by_map(run) && run.plan.is_some() {
                let place = if is_on_clusters(run) { "by map on clusters" } else { "by map" };
                *self.0.entry(format!("{place}: {} {reason}", run.state)).or_default() += 1;
            }
            *self.0.entry(format!("{} {reason}", run.state)).or_default() += 1;
            if run.scheduled_at.is_some() && run.plan.is_some() {
                *self.0.entry("begun by a tick".to_owned()).or_default() += 1;
            }
            match run.cleaning {
                Cleaning::Done(_) => *self.0.entry(format!("cleaned: {}", run.state)).or_default() += 1,
                Cleaning::GivenUp(_) => *self.0.entry("cleaning given up".to_owned()).or_default() += 1,
                _ => {}
            }
            if run.plan.is_some() {
                self.add_shape(run);
            }
            if run.scan.is_some() && run.plan.is_some() {
                *self.0.entry("scanned by workers".to_owned()).or_default() += 1;
            }
        }
    }

    fn add_shape(&mut self, run: &Run) {
        let mut count = |what: String| *self.0.entry(what).or_default() += 1;
        let reads = match run.pipeline.source.format {
            Format::Ids(_) => "ids",
            Format::Objects => "objects",
            Format::Items => "items",
            _ => "an object",
        };
        count(format!("of {reads}: {}", run.state));
        let asking = run.pipeline.stages.iter().filter(|stage| matches!(stage.process, Process::Http(_)));
        for stage in asking {
            count(format!("asking: {}", run.state));
            if stage.order == Order::Sequential {
                count(format!("asking in order: {}", run.state));
            }
            if stage.rate.is_some() {
                count(format!("asking at a rate: {}", run.state));
            }
        }
        let later = &run.pipeline.stages[1..];
        if later.is_empty() {
            return;
        }
        count(format!("of stages: {}", run.state));
        for upstream in later.iter().filter_map(|stage| stage.upstream) {
            let how = match upstream {
                Upstream { fan_in: 2.., .. } => "aggregated",
                Upstream { by: Depends::NToN, .. } => "n_to_n",
                Upstream { by: Depends::All, .. } => "all",
            };
            count(format!("stage {how}: {}", run.state));
        }
        if later.iter().any(|stage| matches!(stage.run_on, RunOn::Eks(_))) {
            count(format!("later on clusters: {}", run.state));
        }
    }

    /// Some of these come about in any few hundred seeds; if not, the simulation has become too tame.
    pub(crate) fn check(&self) {
        for ending in [
            "succeeded ",
            "succeeded_partial ",
            "cancelled seen enough",
            "on clusters: cancelled seen enough",
            "of stages: cancelled",
            "cleaned: cancelled",
            "superseded newer upload",
            "superseded took over",
            "failed tries",
            "scanned by workers",
            "failed AccessDenied",
            "on clusters: succeeded ",
            "on clusters: superseded took over",
            "on clusters: failed chunks failed",
            "launched anew",
            "anew: job gone",
            "anew: not taken",
            "anew: untold",
            "indexes failed",
            "jobs failed",
            "jobs deleted by hand",
            "jobs deleted",
            "pods evicted",
            "pods doubled",
            "pods lost",
            "begun by a tick",
            "cleaned: succeeded",
            "cleaned: failed",
            "cleaned: superseded",
            "announced again",
            "by map: succeeded ",
            "by map on clusters: succeeded ",
            "maps succeeded",
            "maps failed",
            "maps stopped",
            "map ends untold",
            "children failed",
            "children died silently",
            "chunks sent for a map",
            "of ids: succeeded",
            "of objects: succeeded",
            "of items: succeeded",
            "of stages: succeeded",
            "of stages: succeeded_partial",
            "of stages: failed",
            "of stages: superseded",
            "stage aggregated: succeeded",
            "stage n_to_n: succeeded",
            "stage all: succeeded",
            "later on clusters: succeeded",
            "released by workers",
            "tombstones",
            "requests",
            "requests made again",
            "rates changed",
            "asking: succeeded",
            "asking: succeeded_partial",
            "asking: failed",
            "asking in order: succeeded",
            "asking in order: failed",
            "asking at a rate: succeeded",
        ] {
            assert!(self.0.contains_key(ending), "no run ended as {ending:?}: {self:?}");
        }
    }
}

fn kind(reason: &str) -> &'static str {
    let kinds = [
        "AccessDenied",
        "bad records in this chunk",
        "bad records of",
        "worker died",
        "could not be planned in",
        "tries",
        "chunks failed",
        "source was replaced",
        "at its deadline",
        "cannot be folded",
        "cannot be assembled",
        "could not be folded",
        "could not be assembled",
        "took over",
        "newer upload",
        "could not be scanned",
        "must keep what the scan",
        "seen enough",
    ];
    kinds.into_iter().find(|kind| reason.contains(kind)).unwrap_or("for another reason")
}

//! Which cluster a launch is given to: pure, and the same for the same launch.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::{LaunchIndex, RunId, cluster::Cluster};

/// Steps around a circle that no whole number of turns brings back to where it began, and that are independent of
/// each other: whatever a step's places have in common, those of another are spread evenly over it. The golden ratio
/// first, which spreads few launches best; then the roots of primes.
const STEPS: [f64; 6] = [
    0.618_033_988_749_894_9,
    std::f64::consts::SQRT_2,
    1.732_050_807_568_877_2,
    2.645_751_311_064_590_7,
    3.316_624_790_355_4,
    3.605_551_275_463_989,
];

/// Chooses the cluster of a launch among those that take its queue, have a weight and are not left out; none if
/// there is none.
///
/// Shares follow the weights, of a few launches as of many: each launch has its place on a circle, a step from that of
/// the one before, and each cluster an arc as long as its weight. Where a run begins depends on its id. When a cluster
/// is left out only its own share moves: a launch on its arc takes its place on another circle, of the others.
pub fn place<'a>(
    run: &RunId,
    launch: LaunchIndex,
    queue: &str,
    clusters: &'a [Cluster],
    left_out: &BTreeSet<String>,
) -> Option<&'a Cluster> {
    let takes = |cluster: &&Cluster| cluster.weight > 0 && cluster.queues.iter().any(|taken| taken == queue);
    let mut candidates: Vec<&Cluster> = clusters.iter().filter(takes).collect();
    candidates.sort_by(|one, other| one.name.cmp(&other.name));
    for circle in 0.. {
        let step = STEPS[circle % STEPS.len()];
        let at = (beginning(run, circle) + f64::from(launch.0) * step).fract();
        let chosen = arc_at(&candidates, at)?;
        if !left_out.contains(&candidates[chosen].name) {
            return Some(candidates[chosen]);
        }
        candidates.remove(chosen);
    }
    None
}

/// Whose arc a place from 0 to 1 is on; none if there is nobody.
fn arc_at(candidates: &[&Cluster], at: f64) -> Option<usize> {
    let total: f64 = candidates.iter().map(|cluster| f64::from(cluster.weight)).sum();
    let mut end = 0.0;
    let ends_after = |cluster: &&Cluster| {
        end += f64::from(cluster.weight) / total;
        at < end
    };
    // Rounding may leave the last arc a little short.
    candidates.iter().position(ends_after).or_else(|| candidates.len().checked_sub(1))
}

/// Where a run begins on a circle: a number from 0 to 1 that looks drawn, and is the same for the same run.
fn beginning(run: &RunId, circle: usize) -> f64 {
    let digest = Sha256::digest(format!("{run}/{circle}"));
    let bits = digest.iter().take(4).fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte));
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Origin;
    use proptest::prelude::*;

    fn cluster(name: &str, weight: u32) -> Cluster {
        let text = format!("{{cluster: {name}, region: us-east-1, weight: {weight}, worker_image: w}}");
        Cluster::parse(&text).unwrap()
    }

    fn run(key: &str) -> RunId {
        RunId::derive("p", &Origin::Submission { idempotency_key: key })
    }

    /// How many of 10,000 launches each cluster gets.
    fn shares(key: &str, clusters: &[Cluster], left_out: &BTreeSet<String>) -> Vec<u32> {
        let mut shares = vec![0; clusters.len()];
        for launch in 0..10_000 {
            let chosen = place(&run(key), LaunchIndex(launch), "default", clusters, left_out).unwrap();
            let place = clusters.iter().position(|cluster| cluster.name == chosen.name).unwrap();
            shares[place] += 1;
        }
        shares
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn shares_follow_weights(weights in proptest::collection::vec(1_u32..10, 2..6), key in "[a-z]{8}") {
            let clusters: Vec<Cluster> =
                weights.iter().enumerate().map(|(i, weight)| cluster(&format!("c{i}"), *weight)).collect();
            let total: u32 = weights.iter().sum();
            for (share, weight) in shares(&key, &clusters, &BTreeSet::new()).iter().zip(&weights) {
                let wanted = f64::from(*weight) / f64::from(total);
                let got = f64::from(*share) / 10_000.0;
                prop_assert!((got - wanted).abs() < 0.05 * wanted.max(0.3), "{} of {}", got, wanted);
            }
        }

        #[test]
        fn only_the_share_of_a_cluster_that_is_left_out_moves(key in "[a-z]{8}", out in 0_usize..4) {
            let clusters: Vec<Cluster> = (1..=4).map(|w| cluster(&format!("c{w}"), w)).collect();
            let left_out = BTreeSet::from([clusters[out].name.clone()]);
            for launch in (0..500).map(LaunchIndex) {
                let before = place(&run(&key), launch, "default", &clusters, &BTreeSet::new()).unwrap();
                let after = place(&run(&key), launch, "default", &clusters, &left_out).unwrap();
                prop_assert_ne!(&after.name, &clusters[out].name);
                prop_assert!(before.name == clusters[out].name || before.name == after.name);
            }
            let shares = shares(&key, &clusters, &left_out);
            let rest: u32 = (1..=4).sum::<u32>() - clusters[out].weight;
            for (place, cluster) in clusters.iter().enumerate().filter(|(place, _)| *place != out) {
                let wanted = f64::from(cluster.weight) / f64::from(rest);
                prop_assert!((f64::from(shares[place]) / 10_000.0 - wanted).abs() < 0.025);
            }
        }
    }

    #[test]
    fn a_few_launches_are_shared_by_weight_too() {
        let clusters = [cluster("one", 1), cluster("two", 3)];
        for key in 0..500 {
            let run = run(&key.to_string());
            let chosen = (0..16)
                .map(|launch| place(&run, LaunchIndex(launch), "default", &clusters, &BTreeSet::new()));
            let of_one = chosen.filter(|cluster| cluster.unwrap().name == "one").count();
            assert!((3..=5).contains(&of_one), "{of_one} of 16");
        }
    }

    #[test]
    fn the_same_launch_is_placed_the_same_whatever_the_order_of_the_clusters() {
        let clusters: Vec<Cluster> = (1..=5).map(|w| cluster(&format!("c{w}"), w)).collect();
        let reversed: Vec<Cluster> = clusters.iter().rev().cloned().collect();
        let none = BTreeSet::new();
        for launch in (0..1_000).map(LaunchIndex) {
            let one = place(&run("k"), launch, "default", &clusters, &none).unwrap();
            let other = place(&run("k"), launch, "default", &reversed, &none).unwrap();
            assert_eq!(one, other);
        }
    }

    #[test]
    fn a_drained_cluster_and_one_of_another_queue_get_nothing() {
        let drained = cluster("drained", 0);
        let other = Cluster { queues: vec!["gpu".into()], ..cluster("other", 5) };
        let clusters = [drained, other];
        assert_eq!(place(&run("k"), LaunchIndex(0), "default", &clusters, &BTreeSet::new()), None);
        let chosen = place(&run("k"), LaunchIndex(0), "gpu", &clusters, &BTreeSet::new());
        assert_eq!(chosen.map(|cluster| cluster.name.as_str()), Some("other"));
    }
}

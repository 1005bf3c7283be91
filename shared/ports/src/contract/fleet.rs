//! What every fleet keeps to.

use std::sync::Arc;

use fanfold_domain::{ChunkIndex, Launch, LaunchIndex, Outage, Timestamp, cluster::Cluster};

use super::{Spoiled, Spoiler, sample_run};
use crate::{
    Fault, Fleet,
    ledger::{Saved, StageId},
};

/// A fleet under test.
#[derive(Clone)]
pub struct FleetUnderTest {
    /// The fleet. Others may use it too.
    pub fleet: Arc<dyn Fleet>,
    /// From this all ids and names of the test are derived; of no other test's.
    pub unique: String,
    /// Who makes its items unreadable.
    pub spoiler: Arc<dyn Spoiler>,
}

impl FleetUnderTest {
    fn stage(&self) -> StageId {
        StageId::first_of(&sample_run(&self.unique, Timestamp(0)))
    }

    /// A cluster's name of this test's.
    fn name(&self, name: &str) -> String {
        let hash = self.stage().run.to_string();
        format!("c-{}-{name}", &hash[..16])
    }

    fn cluster(&self, name: &str, weight: u32) -> Cluster {
        let text =
            format!("{{cluster: {}, region: us-east-1, weight: {weight}, worker_image: w}}", self.name(name));
        Cluster::parse(&text).expect("it is a cluster")
    }

    async fn save(&self, launch: &Launch) -> Saved {
        self.fleet.save_launch(&self.stage(), launch).await.expect("the save was answered")
    }

    async fn launches(&self) -> Vec<Launch> {
        self.fleet.launches(&self.stage()).await.expect("the list was answered").items
    }
}

fn launch(index: u32) -> Launch {
    Launch::new(LaunchIndex(index), (0..5).map(ChunkIndex).collect(), Timestamp(7))
}

/// The last declaration counts.
pub async fn a_cluster_is_kept_under_its_name(t: &FleetUnderTest) {
    for cluster in [t.cluster("b", 1), t.cluster("a", 2), t.cluster("b", 3)] {
        t.fleet.put_cluster(&cluster).await.expect("the cluster was kept");
    }
    let mut kept = t.fleet.clusters().await.expect("the list was answered").items;
    kept.retain(|cluster| [t.name("a"), t.name("b")].contains(&cluster.name));
    assert_eq!(kept, [t.cluster("a", 2), t.cluster("b", 3)]);
}

/// And is gone once the cluster answers.
pub async fn an_outage_stays_until_it_is_over(t: &FleetUnderTest) {
    let outage = Outage::after(None, Timestamp(5), "timed out".into());
    let name = t.name("out");
    for (noted, kept) in [(Some(&outage), Some(outage.clone())), (None, None), (None, None)] {
        t.fleet.note_outage(&name, noted).await.expect("the outage was kept");
        let outages = t.fleet.outages().await.expect("the outages were answered");
        assert_eq!(outages.get(&name), kept.as_ref());
    }
}

/// A revision is written once.
pub async fn a_stale_launch_changes_nothing(t: &FleetUnderTest) {
    assert_eq!(t.fleet.launch(&t.stage(), LaunchIndex(3)).await.expect("the read was answered"), None);
    assert_eq!(t.save(&launch(3)).await, Saved::Now);
    assert_eq!(t.save(&launch(3)).await, Saved::Stale);
    let moved = Launch { revision: 1, generation: 1, cluster: Some("one".into()), ..launch(3) };
    assert_eq!(t.save(&moved).await, Saved::Now);
    assert_eq!(t.save(&Launch { note: Some("late".into()), ..moved.clone() }).await, Saved::Stale);
    let kept = t.fleet.launch(&t.stage(), LaunchIndex(3)).await.expect("the read was answered");
    assert_eq!(kept, Some(Launch { revision: 2, ..moved }));
}

/// Of racing saves exactly one is written.
pub async fn a_launch_is_given_to_one_cluster(t: &FleetUnderTest) {
    let racers = (0..8).map(|racer| {
        let placed = Launch { cluster: Some(format!("c{racer}")), ..launch(0) };
        async move { t.save(&placed).await }
    });
    let saved = futures::future::join_all(racers).await;
    assert_eq!(saved.iter().filter(|saved| **saved == Saved::Now).count(), 1);
}

/// Those of this stage alone.
pub async fn launches_come_by_index(t: &FleetUnderTest) {
    for index in [10, 2, 0] {
        assert_eq!(t.save(&launch(index)).await, Saved::Now);
    }
    let indexes: Vec<u32> = t.launches().await.into_iter().map(|launch| launch.index.0).collect();
    assert_eq!(indexes, [0, 2, 10]);
}

const NEWER: &str = r#"{"of_a_newer_version":true}"#;

/// It is named, so that what it was given is left alone; the others go on.
pub async fn an_unreadable_cluster_hides_no_other(t: &FleetUnderTest) {
    for cluster in [t.cluster("sound", 1), t.cluster("spoiled", 1)] {
        t.fleet.put_cluster(&cluster).await.expect("the cluster was kept");
    }
    t.spoiler.spoil(Spoiled::Cluster(&t.name("spoiled")), NEWER).await;
    let list = t.fleet.clusters().await.expect("the list was answered");
    assert!(list.items.contains(&t.cluster("sound", 1)));
    assert!(list.unreadable.iter().any(|item| item.name == t.name("spoiled")));
    t.fleet.put_cluster(&t.cluster("spoiled", 2)).await.expect("the cluster was kept");
    let list = t.fleet.clusters().await.expect("the list was answered");
    assert!(list.items.contains(&t.cluster("spoiled", 2)), "one that is declared anew is read again");
    assert!(list.unreadable.iter().all(|item| item.name != t.name("spoiled")));
}

/// It is neither read nor written; the others are.
pub async fn an_unreadable_launch_hides_no_other(t: &FleetUnderTest) {
    for index in [0, 1] {
        assert_eq!(t.save(&launch(index)).await, Saved::Now);
    }
    t.spoiler.spoil(Spoiled::Launch(&t.stage(), LaunchIndex(0)), NEWER).await;
    let list = t.fleet.launches(&t.stage()).await.expect("the list was answered");
    assert_eq!(list.items.iter().map(|launch| launch.index.0).collect::<Vec<_>>(), [1]);
    assert_eq!(list.unreadable.len(), 1);
    let read = t.fleet.launch(&t.stage(), LaunchIndex(0)).await;
    assert_eq!(read.expect_err("it is there, and cannot be answered").fault, Fault::Permanent);
    assert_eq!(t.save(&launch(0)).await, Saved::Stale, "it is not made anew");
}

/// Tests a fleet: the argument names an `async fn() -> FleetUnderTest`.
#[macro_export]
macro_rules! fleet_contract {
    ($instance:path) => {
        $crate::contract_tests!(
            fleet,
            $instance,
            [
                a_cluster_is_kept_under_its_name,
                an_outage_stays_until_it_is_over,
                a_stale_launch_changes_nothing,
                a_launch_is_given_to_one_cluster,
                launches_come_by_index,
                an_unreadable_cluster_hides_no_other,
                an_unreadable_launch_hides_no_other,
            ]
        );
    };
}

//! The contract suite of clusters on the memory twin: bare, and through the layer that deals faults, with none dealt
//! but all calls taking turns.

use std::sync::Arc;

use fanfold_domain::cluster::Cluster;
use fanfold_ports::{
    Clusters,
    contract::ClustersUnderTest,
    memory::{Faults, Faulty, Invocation, MemoryClock, MemoryClusters, Rates},
};

fn cluster(name: &str) -> Cluster {
    let text = format!("{{cluster: {name}, region: us-east-1, worker_image: w}}");
    Cluster::parse(&text).expect("it is a cluster")
}

fn memory() -> Arc<MemoryClusters> {
    let clusters = MemoryClusters::new(MemoryClock::seeded(0));
    for name in ["one", "two"] {
        clusters.add(name);
    }
    Arc::new(clusters)
}

fn under_test(clusters: Arc<dyn Clusters>) -> ClustersUnderTest {
    ClustersUnderTest { clusters, here: cluster("one"), there: cluster("two"), unique: "test".to_owned() }
}

mod bare {
    use super::*;

    async fn clusters() -> ClustersUnderTest {
        under_test(memory())
    }

    fanfold_ports::clusters_contract!(clusters);
}

mod interleaved {
    use super::*;

    async fn clusters() -> ClustersUnderTest {
        let faults = Faults::seeded(7, Rates::NONE);
        under_test(Arc::new(Faulty::new(memory(), faults, Invocation::new("contract"))))
    }

    fanfold_ports::clusters_contract!(clusters);
}

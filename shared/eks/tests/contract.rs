//! The contract suite on real Kubernetes: the clusters of `FANFOLD_TEST_CLUSTERS`, described at
//! `AWS_ENDPOINT_URL_EKS`. `eval "$(scripts/cluster env)"` sets both.
//!
//! Region and credentials are the SDK's variables. Without the clusters nothing is tested, and that is said.

mod real;

use std::sync::Arc;

use fanfold_eks::EksClusters;
use fanfold_ports::contract::ClustersUnderTest;

async fn instance() -> ClustersUnderTest {
    let [here, there] = real::clusters();
    let clusters = Arc::new(EksClusters::connect().await);
    ClustersUnderTest { clusters, here, there, unique: real::unique() }
}

fanfold_ports::clusters_contract!(instance);

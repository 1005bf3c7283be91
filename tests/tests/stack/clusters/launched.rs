//! The stack as whoever launches sees it.

use fanfold_aws::{Aws, DynamoLedger, Settings};
use fanfold_domain::{Launch, Run, cluster::Cluster};
use fanfold_ports::{Fleet, ledger::StageId};

use crate::stack::{Stack, variable};

impl Stack {
    pub(crate) async fn declare(&self, cluster: &Cluster) {
        fleet().await.put_cluster(cluster).await.expect("the cluster was kept");
    }

    pub(crate) async fn launches(&self, run: &Run) -> Vec<Launch> {
        fleet().await.launches(&StageId::last_of(run)).await.expect("the table answered").items
    }

    /// Waits for a note of one of the run's launches that has all these words.
    pub(crate) async fn note(&self, run: &Run, words: &[&str]) -> String {
        self.until(&format!("a note with {words:?}"), async || {
            let mut notes = self.launches(run).await.into_iter().filter_map(|launch| launch.note);
            notes.find(|note| words.iter().all(|word| note.contains(word)))
        })
        .await
    }
}

async fn fleet() -> DynamoLedger {
    let aws = Aws::connect(Settings { endpoint: None, whole_checksum: false }).await;
    aws.ledger(variable("FANFOLD_LEDGER_TABLE"))
}

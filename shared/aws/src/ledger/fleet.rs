//! Clusters, their outages, and launches.
//!
//! Keys: `pk` = `cluster`, `sk` = its name; `pk` = `outage`, `sk` = the cluster's name; `pk` =
//! `launches#{run}#{stage}#{generation}`, `sk` = the launch's index in four digits.
//! Value: each as JSON in `document`; of a launch also `revision` and `writer`.
//! Lifetime: a cluster stays until it is replaced; the others have `expires_at`, 60 days after they were written.
//!
//! A launch is saved on the condition that the revision is the one that was read. As of a run, `writer` is a random
//! number of each save, by which a repetition inside the SDK knows its own.

use std::collections::BTreeMap;

use async_trait::async_trait;
use fanfold_domain::{Launch, LaunchIndex, Outage, cluster::Cluster};
use fanfold_ports::ledger::{Saved, StageId};
use fanfold_ports::{Fleet, ItemList, PortError};
use serde::{Serialize, de::DeserializeOwned};

use super::item::{IS_NEW, Item, document, key, named, number, read_document, read_text, text};
use super::table::Put;
use super::{DynamoLedger, lifetime};
use crate::error::{causes, write_error};

const CLUSTER: &str = "cluster";
const OUTAGE: &str = "outage";

#[async_trait]
impl Fleet for DynamoLedger {
    async fn put_cluster(&self, cluster: &Cluster) -> Result<(), PortError> {
        self.put_document("put_cluster", key(CLUSTER.to_owned(), &cluster.name), cluster).await
    }

    async fn clusters(&self) -> Result<ItemList<Cluster>, PortError> {
        self.documents("clusters", CLUSTER).await
    }

    async fn note_outage(&self, cluster: &str, outage: Option<&Outage>) -> Result<(), PortError> {
        let mut item = key(OUTAGE.to_owned(), cluster);
        if let Some(outage) = outage {
            item.insert("expires_at".to_owned(), number(lifetime::of_counters()));
            return self.put_document("note_outage", item, outage).await;
        }
        let delete = self.client.delete_item().table_name(&self.table).set_key(Some(item));
        delete.send().await.map_err(|error| write_error("note_outage", cluster, error))?;
        Ok(())
    }

    async fn outages(&self) -> Result<BTreeMap<String, Outage>, PortError> {
        let items = self.query_partition("outages", OUTAGE, None).await?;
        let read = |item: &Item| {
            let cluster = read_text(item, "sk").ok()?.to_owned();
            match read_document(item) {
                Ok(outage) => Some((cluster, outage)),
                Err(error) => {
                    tracing::warn!(cluster, error = causes(&error), "outage cannot be read");
                    None
                }
            }
        };
        Ok(items.iter().filter_map(read).collect())
    }

    async fn save_launch(&self, stage: &StageId, launch: &Launch) -> Result<Saved, PortError> {
        let writer = format!("{:016x}", rand::random::<u64>());
        let raised = Launch { revision: launch.revision + 1, ..launch.clone() };
        let mut item = key(pk(stage), sk(launch.index));
        item.insert("document".to_owned(), document(&raised));
        item.insert("revision".to_owned(), number(raised.revision));
        item.insert("writer".to_owned(), text(&writer));
        item.insert("expires_at".to_owned(), number(lifetime::of_counters()));
        let put = self.client.put_item().set_item(Some(item));
        let put = if launch.revision == 0 {
            put.condition_expression(IS_NEW)
        } else {
            put.condition_expression("#revision = :revision")
                .expression_attribute_names("#revision", "revision")
                .expression_attribute_values(":revision", number(launch.revision))
        };
        Ok(match self.put("save_launch", pk(stage), put).await? {
            Put::Now => Saved::Now,
            Put::Refused(Some(old)) if read_text(&old, "writer").is_ok_and(|it| it == writer) => Saved::Now,
            Put::Refused(_) => Saved::Stale,
        })
    }

    async fn launch(&self, stage: &StageId, index: LaunchIndex) -> Result<Option<Launch>, PortError> {
        let item = self.get("launch", key(pk(stage), sk(index)), true).await?;
        item.as_ref().map(read_document).transpose().map_err(|error| error.error("launch", pk(stage)))
    }

    async fn launches(&self, stage: &StageId) -> Result<ItemList<Launch>, PortError> {
        self.documents("launches", &pk(stage)).await
    }
}

impl DynamoLedger {
    async fn put_document(
        &self,
        operation: &'static str,
        mut item: Item,
        value: &impl Serialize,
    ) -> Result<(), PortError> {
        let subject = read_text(&item, "sk").unwrap_or_default().to_owned();
        item.insert("document".to_owned(), document(value));
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        put.send().await.map_err(|error| write_error(operation, subject, error))?;
        Ok(())
    }

    async fn documents<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        pk: &str,
    ) -> Result<ItemList<T>, PortError> {
        let items = self.query_partition(operation, pk, None).await?;
        Ok(items.iter().map(|item| read_document(item).map_err(|error| named(item, &error))).collect())
    }
}

fn pk(stage: &StageId) -> String {
    format!("launches#{}#{}#{}", stage.run, stage.stage, stage.generation)
}

fn sk(index: LaunchIndex) -> String {
    format!("{:04}", index.0)
}

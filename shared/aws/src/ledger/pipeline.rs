//! Pipelines that were applied.
//!
//! Key: `pk` = `pipeline`, `sk` = its name: few items, read together.
//! Value: the pipeline's document as JSON in `document`, and `version`, from 1.
//! Lifetime: none; a pipeline stays until it is replaced.
//!
//! Replaced on the condition that the version is the one that was read. A repetition inside the SDK finds its
//! own document there and answers its version.

use fanfold_domain::pipeline::Pipeline;
use fanfold_ports::ledger::KeptPipeline;
use fanfold_ports::{Fault, ItemList, PortError};

use super::DynamoLedger;
use super::item::{IS_NEW, Item, Malformed, document, key, named, number, read_document, read_number};
use super::table::Put;

/// How many times a pipeline is put anew when another version comes in between.
const TRIES: usize = 8;
const PK: &str = "pipeline";

impl DynamoLedger {
    pub(super) async fn replace_pipeline(&self, pipeline: &Pipeline) -> Result<u32, PortError> {
        for _ in 0..TRIES {
            let old = self.get("put_pipeline", pipeline_key(pipeline), true).await?;
            let version = old.as_ref().map(read_version).transpose();
            let old_version = version.map_err(|error| error.error("put_pipeline", &pipeline.name))?;
            // A document that cannot be read is another one, and is replaced.
            match old.as_ref().and_then(|old| read_pipeline(old).ok()) {
                Some(old) if old.pipeline == *pipeline => return Ok(old.version),
                _ => {
                    let old = old_version;
                    let new = KeptPipeline { version: old.unwrap_or(0) + 1, pipeline: pipeline.clone() };
                    if self.put_version(&new, old).await? {
                        return Ok(new.version);
                    }
                }
            }
        }
        let detail = format!("it was replaced {TRIES} times meanwhile");
        Err(PortError::new(Fault::Transient, "put_pipeline", &pipeline.name, detail))
    }

    pub(super) async fn query_pipelines(&self) -> Result<ItemList<KeptPipeline>, PortError> {
        let items = self.query_partition("pipelines", PK, None).await?;
        Ok(items.iter().map(|item| read_pipeline(item).map_err(|error| named(item, &error))).collect())
    }

    /// Puts a version in place of the old one; false if another did.
    async fn put_version(&self, new: &KeptPipeline, old: Option<u32>) -> Result<bool, PortError> {
        let mut item = pipeline_key(&new.pipeline);
        item.insert("version".to_owned(), number(new.version));
        item.insert("document".to_owned(), document(&new.pipeline));
        let put = self.client.put_item().set_item(Some(item));
        let put = match old {
            None => put.condition_expression(IS_NEW),
            Some(version) => put
                .condition_expression("#version = :version")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":version", number(version)),
        };
        Ok(matches!(self.put("put_pipeline", &new.pipeline.name, put).await?, Put::Now))
    }
}

fn pipeline_key(pipeline: &Pipeline) -> Item {
    key(PK.to_owned(), &pipeline.name)
}

pub(super) fn read_pipeline(item: &Item) -> Result<KeptPipeline, Malformed> {
    Ok(KeptPipeline { version: read_version(item)?, pipeline: read_document(item)? })
}

fn read_version(item: &Item) -> Result<u32, Malformed> {
    read_number(item, "version")
}

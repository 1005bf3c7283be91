//! Why a chunk failed.
//!
//! Key: `pk` = `failures#{run}#{stage}#{generation}`, `sk` = the chunk's index in seven digits, so that a query
//! gives them in order.
//! Value: the failure as JSON in `document`.
//! Lifetime: `expires_at`, 60 days after it was written. The first reason stays.

use fanfold_domain::{ChunkIndex, message::Failure};
use fanfold_ports::PortError;
use fanfold_ports::ledger::StageId;

use super::item::{IS_NEW, Item, document, key, number, read_document, read_text};
use super::{DynamoLedger, lifetime};
use crate::error::causes;

impl DynamoLedger {
    pub(super) async fn put_failure(
        &self,
        stage: &StageId,
        chunk: ChunkIndex,
        failure: &Failure,
    ) -> Result<(), PortError> {
        let name = pk(stage);
        let mut item = key(name.clone(), sk(chunk));
        item.insert("document".to_owned(), document(failure));
        item.insert("expires_at".to_owned(), number(lifetime::of_counters()));
        let put = self.client.put_item().set_item(Some(item)).condition_expression(IS_NEW);
        self.put("note_failure", name, put).await?;
        Ok(())
    }

    pub(super) async fn query_failures(
        &self,
        stage: &StageId,
        limit: usize,
    ) -> Result<Vec<(ChunkIndex, Failure)>, PortError> {
        let name = pk(stage);
        let items = self.query_partition("failures", &name, Some(limit)).await?;
        // Of a sort key that names no chunk nothing can be told.
        Ok(items.iter().filter_map(|item| Some((read_chunk(item)?, read_failure(item)))).collect())
    }
}

fn pk(stage: &StageId) -> String {
    format!("failures#{}#{}#{}", stage.run, stage.stage, stage.generation)
}

fn sk(chunk: ChunkIndex) -> String {
    format!("{:07}", chunk.0)
}

fn read_chunk(item: &Item) -> Option<ChunkIndex> {
    read_text(item, "sk").ok()?.parse().ok().map(ChunkIndex)
}

fn read_failure(item: &Item) -> Failure {
    read_document(item).unwrap_or_else(|error| Failure::unreadable(&causes(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_kept_in_the_order_of_chunks() {
        assert!(sk(ChunkIndex(9)) < sk(ChunkIndex(10)));
        assert!(sk(ChunkIndex(99_999)) < sk(ChunkIndex(1_000_000)));
        let failure = Failure::of_chunk("why");
        let mut item = key("failures#x".into(), sk(ChunkIndex(12)));
        item.insert("document".into(), document(&failure));
        assert_eq!((read_chunk(&item), read_failure(&item)), (Some(ChunkIndex(12)), failure));
        item.insert("document".into(), document(&7));
        assert!(read_failure(&item).reason.contains("cannot be read"));
    }
}

//! Tables that fail by plan, often half way.

use async_trait::async_trait;

use super::{Faulty, Kind};
use crate::{
    PortError,
    memory::faults::Outcome,
    tables::{Row, Tables},
};

#[async_trait]
impl<T: Tables + ?Sized> Tables for Faulty<T> {
    async fn put_rows(&self, table: &str, rows: Vec<Row>) -> Result<(), PortError> {
        let outcome = self.deal("put rows", &table).await;
        if matches!(outcome, Outcome::Transient | Outcome::LostRequest | Outcome::CrashBefore) {
            // Some rows of a request may be written and others not.
            let written = self.faults.accepted(rows.len());
            self.inner.put_rows(table, rows[..written].to_vec()).await?;
        }
        self.perform(Kind::Write, "put rows", table, outcome, self.inner.put_rows(table, rows)).await
    }
}

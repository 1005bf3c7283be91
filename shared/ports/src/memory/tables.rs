//! Tables in memory.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::{
    Fault, PortError,
    tables::{MAX_ROWS, Row, Tables, Value},
};

type Key = Vec<String>;

/// Tables in memory: all of one key, by the columns it was made with.
#[derive(Debug)]
pub struct MemoryTables {
    key: Vec<String>,
    tables: Mutex<BTreeMap<String, BTreeMap<Key, Row>>>,
}

impl MemoryTables {
    /// Tables whose rows are told apart by these columns.
    pub fn keyed(columns: &[&str]) -> Self {
        Self { key: columns.iter().map(|&column| column.to_owned()).collect(), tables: Mutex::default() }
    }

    /// All rows of a table, by key.
    pub fn rows(&self, table: &str) -> Vec<Row> {
        self.tables().get(table).map(|rows| rows.values().cloned().collect()).unwrap_or_default()
    }

    fn tables(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<Key, Row>>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key_of(&self, table: &str, row: &Row) -> Result<Key, PortError> {
        let part = |column: &String| match row.get(column) {
            Some(Value::Text(text) | Value::Number(text)) if !text.is_empty() => Ok(text.clone()),
            _ => Err(refused(table, format!("a row without the key's column {column:?}"))),
        };
        self.key.iter().map(part).collect()
    }
}

#[async_trait]
impl Tables for MemoryTables {
    async fn put_rows(&self, table: &str, rows: Vec<Row>) -> Result<(), PortError> {
        if rows.len() > MAX_ROWS {
            return Err(refused(table, format!("{} rows at once, and {MAX_ROWS} are the most", rows.len())));
        }
        let count = rows.len();
        let keyed: Result<BTreeMap<Key, Row>, PortError> =
            rows.into_iter().map(|row| Ok((self.key_of(table, &row)?, row))).collect();
        let keyed = keyed?;
        if keyed.len() < count {
            return Err(refused(table, "two rows of the same key".to_owned()));
        }
        self.tables().entry(table.to_owned()).or_default().extend(keyed);
        Ok(())
    }
}

fn refused(table: &str, detail: String) -> PortError {
    PortError::new(Fault::Permanent, "put rows", table, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(order: &str) -> Row {
        [("orderid".to_owned(), Value::Text(order.to_owned()))].into()
    }

    #[tokio::test]
    async fn the_same_row_twice_is_one_and_two_of_a_key_at_once_are_refused() {
        let tables = MemoryTables::keyed(&["orderid"]);
        tables.put_rows("t", vec![row("1"), row("2")]).await.unwrap();
        tables.put_rows("t", vec![row("2")]).await.unwrap();
        assert_eq!(tables.rows("t"), [row("1"), row("2")]);
        assert!(tables.put_rows("t", vec![row("3"), row("3")]).await.is_err());
        assert!(tables.put_rows("t", vec![Row::new()]).await.is_err());
        assert!(tables.put_rows("t", (0..26).map(|n| row(&n.to_string())).collect()).await.is_err());
    }
}

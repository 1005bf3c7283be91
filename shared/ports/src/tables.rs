//! The users' own tables: rows that processors write beside their output.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::PortError;

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// Text; not empty where it is part of the key.
    Text(String),
    /// A decimal number of at most 38 digits, as it was written.
    Number(String),
}

impl Value {
    /// The text or the number, as it was written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(text) | Self::Number(text) => text,
        }
    }
}

/// A row: values by the names of their columns, the key's among them.
pub type Row = BTreeMap<String, Value>;

/// The most rows written at once.
pub const MAX_ROWS: usize = 25;

/// Writing rows.
#[async_trait]
pub trait Tables: Send + Sync {
    /// Writes all rows, each whole, over whatever has its key; returns once all are written. No two have the
    /// same key, and there are at most [`MAX_ROWS`].
    ///
    /// # Errors
    /// Some may have been written. The caller writes all again: the same rows change nothing.
    async fn put_rows(&self, table: &str, rows: Vec<Row>) -> Result<(), PortError>;
}

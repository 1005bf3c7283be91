//! The rows of confirmed orders.

use std::sync::Arc;

use fanfold_domain::pipeline::Encoding;
use fanfold_ports::{
    PortError,
    tables::{MAX_ROWS, Row, Tables, Value},
};
use fanfold_records::Field;
use futures::{StreamExt, TryStreamExt, stream};

use super::columns::{COLUMNS, ORDER_ID, value};
use crate::processor::Reason;

/// The columns of the table's key: the order's id as it stands in the record, and what is derived for it. Two
/// records of the same order are two rows, and no write ever changes what another one wrote.
const KEY: [&str; 2] = ["orderid", "confirmationid"];

/// Requests at once: enough to hide the time that one takes, few enough for a table that has just been made.
const REQUESTS: usize = 8;

/// The most bytes of a row, names of columns included (DynamoDB, item size: 400 KB).
const MAX_ROW_BYTES: usize = 400 << 10;

/// Rows on their way into a table, in batches.
pub(super) struct Rows {
    tables: Arc<dyn Tables>,
    table: String,
    waiting: Vec<Row>,
}

impl Rows {
    pub(super) fn new(tables: Arc<dyn Tables>, table: &str) -> Self {
        Self { tables, table: table.to_owned(), waiting: Vec::new() }
    }

    /// Takes the row of an order whose columns were checked.
    ///
    /// # Errors
    /// It is larger than a row may be.
    pub(super) fn add<'a>(
        &mut self,
        fields: impl Iterator<Item = Field<'a>>,
        encoding: Encoding,
        confirmation_id: &str,
    ) -> Result<(), Reason> {
        let mut row = Row::new();
        for (column, (field, (name, kind))) in fields.zip(COLUMNS).enumerate() {
            let text = decode(&value(&field), encoding);
            if column == ORDER_ID {
                row.insert(KEY[0].to_owned(), Value::Text(text.clone()));
            }
            row.insert(
                name.to_owned(),
                if kind.is_number() { Value::Number(text) } else { Value::Text(text) },
            );
        }
        row.insert(KEY[1].to_owned(), Value::Text(confirmation_id.to_owned()));
        let bytes = row.iter().map(|(name, value)| name.len() + value.as_str().len()).sum::<usize>();
        if bytes > MAX_ROW_BYTES {
            return Err(format!("{bytes} bytes as a row, and a table takes at most {MAX_ROW_BYTES}").into());
        }
        self.waiting.push(row);
        Ok(())
    }

    /// Writes what fills requests; keeps the rest waiting.
    pub(super) async fn write_full(&mut self) -> Result<(), PortError> {
        let full = self.waiting.len() / MAX_ROWS * MAX_ROWS;
        self.write(full).await
    }

    /// Writes all.
    pub(super) async fn write_all(&mut self) -> Result<(), PortError> {
        self.write(self.waiting.len()).await
    }

    async fn write(&mut self, count: usize) -> Result<(), PortError> {
        let mut rows = self.waiting.drain(..count);
        let requests = std::iter::from_fn(|| {
            let request: Vec<Row> = rows.by_ref().take(MAX_ROWS).collect();
            (!request.is_empty()).then(|| self.tables.put_rows(&self.table, request))
        });
        stream::iter(requests).buffer_unordered(REQUESTS).try_collect().await
    }
}

/// The text of a value that is in the source's encoding, as was checked.
fn decode(value: &[u8], encoding: Encoding) -> String {
    match encoding {
        // ISO 8859-1 is the first 256 characters of Unicode.
        Encoding::Latin1 => value.iter().map(|&byte| char::from(byte)).collect(),
        Encoding::Utf8 | Encoding::Ascii => String::from_utf8_lossy(value).into_owned(),
    }
}

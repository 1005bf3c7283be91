//! The users' tables on DynamoDB.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, PutRequest, WriteRequest},
};
use fanfold_ports::{
    Fault, PortError,
    tables::{Row, Tables, Value},
};

use crate::error::write_error;

/// How often rows are written that DynamoDB did not process.
const TRIES: u32 = 8;
/// The wait before the second try; each later one is twice as long.
const FIRST_WAIT_MS: u64 = 50;

/// The tables port on DynamoDB.
#[derive(Debug, Clone)]
pub struct DynamoTables {
    client: Client,
}

impl DynamoTables {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Writes once; what was not processed.
    async fn try_write(&self, table: &str, rows: Vec<WriteRequest>) -> Result<Vec<WriteRequest>, PortError> {
        let answer = self
            .client
            .batch_write_item()
            .request_items(table, rows)
            .send()
            .await
            .map_err(|error| write_error("put rows", table, error))?;
        Ok(answer.unprocessed_items.and_then(|mut tables| tables.remove(table)).unwrap_or_default())
    }
}

#[async_trait]
impl Tables for DynamoTables {
    async fn put_rows(&self, table: &str, rows: Vec<Row>) -> Result<(), PortError> {
        let mut left: Vec<WriteRequest> = rows.into_iter().map(request).collect();
        for tried in 0..TRIES {
            if left.is_empty() {
                return Ok(());
            }
            if tried > 0 {
                let longest = FIRST_WAIT_MS << tried;
                let wait_ms = longest / 2 + rand::random::<u64>() % (longest / 2);
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            }
            left = self.try_write(table, left).await?;
        }
        if left.is_empty() {
            return Ok(());
        }
        let detail =
            format!("{} rows were not processed in {TRIES} tries: the table is throttled", left.len());
        Err(PortError::new(Fault::Transient, "put rows", table, detail))
    }
}

fn request(row: Row) -> WriteRequest {
    let item: HashMap<String, AttributeValue> =
        row.into_iter().map(|(column, value)| (column, attribute(value))).collect();
    let put = PutRequest::builder().set_item(Some(item)).build().expect("the item is set");
    WriteRequest::builder().put_request(put).build()
}

fn attribute(value: Value) -> AttributeValue {
    match value {
        Value::Text(text) => AttributeValue::S(text),
        Value::Number(number) => AttributeValue::N(number),
    }
}

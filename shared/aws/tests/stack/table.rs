//! A table to test with, as template.yaml declares it, made once.

use std::sync::Arc;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use fanfold_aws::DynamoLedger;
use fanfold_ports::contract::{FleetUnderTest, LedgerUnderTest, PacerUnderTest};
use tokio::sync::OnceCell;

use crate::stack::{Stack, unique};

pub(crate) async fn under_test(stack: &Stack) -> LedgerUnderTest {
    LedgerUnderTest { ledger: Arc::new(ledger(stack).await), unique: unique() }
}

pub(crate) async fn fleet_under_test(stack: &Stack) -> FleetUnderTest {
    FleetUnderTest { fleet: Arc::new(ledger(stack).await), unique: unique() }
}

pub(crate) async fn pacer_under_test(stack: &Stack) -> PacerUnderTest {
    PacerUnderTest { pacer: Arc::new(ledger(stack).await), unique: unique() }
}

async fn ledger(stack: &Stack) -> DynamoLedger {
    static TABLE: OnceCell<String> = OnceCell::const_new();
    let table = TABLE.get_or_init(|| make_table(stack)).await;
    stack.aws.ledger(table)
}

async fn make_table(stack: &Stack) -> String {
    use ScalarAttributeType::{N, S};
    let name = format!("ledger-{}", unique());
    let attributes =
        [("pk", S), ("sk", S), ("unfinished", S), ("deadline_at", N), ("kind", S), ("created_at", N)];
    let attributes = attributes.map(|(name, kind)| {
        let attribute = AttributeDefinition::builder().attribute_name(name).attribute_type(kind);
        attribute.build().expect("name and type are set")
    });
    let client = aws_sdk_dynamodb::Client::new(&stack.sdk);
    let table = client
        .create_table()
        .table_name(&name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_attribute_definitions(Some(attributes.into()))
        .set_key_schema(Some(keys("pk", "sk")))
        .global_secondary_indexes(index("unfinished", "unfinished", "deadline_at", ProjectionType::KeysOnly))
        .global_secondary_indexes(index("recent", "kind", "created_at", ProjectionType::KeysOnly));
    table.send().await.expect("the table is made");
    name
}

fn keys(partition: &str, sort: &str) -> Vec<KeySchemaElement> {
    let key = |name: &str, kind| {
        let key = KeySchemaElement::builder().attribute_name(name).key_type(kind);
        key.build().expect("name and type are set")
    };
    vec![key(partition, KeyType::Hash), key(sort, KeyType::Range)]
}

fn index(name: &str, partition: &str, sort: &str, projection: ProjectionType) -> GlobalSecondaryIndex {
    GlobalSecondaryIndex::builder()
        .index_name(name)
        .set_key_schema(Some(keys(partition, sort)))
        .projection(Projection::builder().projection_type(projection).build())
        .build()
        .expect("name and keys are set")
}

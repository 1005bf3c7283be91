//! A table to test with, as template.yaml declares it, made once.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
    Projection, ProjectionType, ScalarAttributeType,
};
use fanfold_aws::DynamoLedger;
use fanfold_ports::contract::{FleetUnderTest, LedgerUnderTest, PacerUnderTest, Spoiled, Spoiler};
use fanfold_ports::ledger::StageId;
use tokio::sync::OnceCell;

use crate::stack::{Stack, unique};

pub(crate) async fn under_test(stack: &Stack) -> LedgerUnderTest {
    let (ledger, spoiler) = (Arc::new(ledger(stack).await), spoiler(stack).await);
    LedgerUnderTest { ledger, unique: unique(), spoiler }
}

pub(crate) async fn fleet_under_test(stack: &Stack) -> FleetUnderTest {
    let (fleet, spoiler) = (Arc::new(ledger(stack).await), spoiler(stack).await);
    FleetUnderTest { fleet, unique: unique(), spoiler }
}

pub(crate) async fn pacer_under_test(stack: &Stack) -> PacerUnderTest {
    PacerUnderTest { pacer: Arc::new(ledger(stack).await), unique: unique() }
}

async fn ledger(stack: &Stack) -> DynamoLedger {
    stack.aws.ledger(table(stack).await)
}

async fn table(stack: &Stack) -> &'static String {
    static TABLE: OnceCell<String> = OnceCell::const_new();
    TABLE.get_or_init(|| make_table(stack)).await
}

/// Writes documents into the table behind the adapter's back.
struct Newer {
    client: Client,
    table: String,
}

async fn spoiler(stack: &Stack) -> Arc<Newer> {
    Arc::new(Newer { client: Client::new(&stack.sdk), table: table(stack).await.clone() })
}

#[async_trait]
impl Spoiler for Newer {
    async fn spoil(&self, item: Spoiled<'_>, document: &str) {
        let of_stage = |kind: &str, StageId { run, stage, generation }: &StageId| {
            format!("{kind}#{run}#{stage}#{generation}")
        };
        let (pk, sk) = match item {
            Spoiled::Run(id) => (format!("run#{id}"), "run".to_owned()),
            Spoiled::Pipeline(name) => ("pipeline".to_owned(), name.to_owned()),
            Spoiled::Failure(stage, chunk) => (of_stage("failures", stage), format!("{:07}", chunk.0)),
            Spoiled::Cluster(name) => ("cluster".to_owned(), name.to_owned()),
            Spoiled::Launch(stage, index) => (of_stage("launches", stage), format!("{:04}", index.0)),
        };
        let update = self.client.update_item().table_name(&self.table);
        let update = update.key("pk", AttributeValue::S(pk)).key("sk", AttributeValue::S(sk));
        let update = update
            .condition_expression("attribute_exists(pk)")
            .update_expression("SET #document = :document")
            .expression_attribute_names("#document", "document")
            .expression_attribute_values(":document", AttributeValue::S(document.to_owned()));
        update.send().await.expect("the item is there");
    }
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
    let client = Client::new(&stack.sdk);
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

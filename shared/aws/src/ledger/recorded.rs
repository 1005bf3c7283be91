//! Items as older versions wrote them, which every later one reads: those of the recordings in tests/fixtures.

use std::{collections::BTreeMap, fs};

use aws_sdk_dynamodb::types::AttributeValue;
use fanfold_domain::{Launch, Outage, Ownership, Run, cluster::Cluster, message::Failure};
use serde_json::Value;

use super::{
    group::read_group,
    item::{Item, Malformed, read_document, read_number},
    pace, pipeline,
    root::read_root,
    run::read_unfinished,
};

const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures");

/// An item from DynamoDB's JSON.
fn item(recorded: &Value) -> Item {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let attribute = |value: &Value| match value.as_object().and_then(|one| one.iter().next()) {
        Some((kind, value)) if kind == "S" => AttributeValue::S(text(value)),
        Some((kind, value)) if kind == "N" => AttributeValue::N(text(value)),
        Some((kind, value)) if kind == "NS" => {
            AttributeValue::Ns(value.as_array().into_iter().flatten().map(text).collect())
        }
        _ => panic!("an attribute {value}"),
    };
    let attributes = recorded.as_object().expect("an item").iter();
    attributes.map(|(name, value)| (name.clone(), attribute(value))).collect()
}

/// Reads an item as the ledger does.
fn read(kind: &str, item: &Item) -> Result<(), Malformed> {
    match kind {
        "run" => {
            let run: Run = read_document(item)?;
            assert_eq!(read_number::<u64>(item, "revision")?, run.revision);
            if item.contains_key("unfinished") {
                assert_eq!(read_unfinished(item)?.id, run.id);
            }
        }
        "output" => {
            let owner: Ownership = read_document(item)?;
            assert_eq!(read_number::<u64>(item, "epoch")?, owner.epoch.0);
        }
        "group" => assert!(read_group(item)?.ended() > 0),
        "root" => assert!(!read_root(item)?.folded.is_empty()),
        "failures" => drop(read_document::<Failure>(item)?),
        "pipeline" => drop(pipeline::read_pipeline(item)?),
        "cluster" => drop(read_document::<Cluster>(item)?),
        "outage" => drop(read_document::<Outage>(item)?),
        "pace" => drop(pace::read(item)?),
        "launches" => {
            let launch: Launch = read_document(item)?;
            assert_eq!(read_number::<u64>(item, "revision")?, launch.revision);
        }
        other => panic!("an item of {other:?}"),
    }
    Ok(())
}

#[test]
fn every_item_of_every_older_version_is_read() {
    for recording in fs::read_dir(RECORDINGS).unwrap() {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for file in fs::read_dir(recording.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let snapshot: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            for recorded in snapshot["items"].as_array().unwrap() {
                let pk = recorded["pk"]["S"].as_str().unwrap();
                let kind = pk.split('#').next().unwrap_or_default();
                *kinds.entry(kind.to_owned()).or_default() += 1;
                let is_read = read(kind, &item(recorded));
                is_read.unwrap_or_else(|error| panic!("{}: {pk}: {error}", path.display()));
            }
        }
        assert_eq!(kinds.len(), 10, "{kinds:?}");
    }
}

//! The contract of objects, kept by files: but for what only a service checks.

use std::sync::Arc;

use fanfold_domain::{ETag, ObjectName, SourcePin};
use fanfold_local::{LocalObjects, Places};
use fanfold_ports::contract::{ObjectsUnderTest, Rule};

async fn local() -> ObjectsUnderTest {
    let directory = tempfile::tempdir().expect("a directory");
    let source = directory.path().join("source");
    std::fs::write(&source, "").expect("a file");
    let pin = SourcePin {
        object: ObjectName::new("local", "source"),
        version: None,
        etag: ETag::new("local"),
        size_bytes: 0,
    };
    let places = Places { source, pin, outputs: [].into() };
    // Nothing of the directory is needed any more: work objects are in a file without a name.
    let objects = LocalObjects::open(places, &directory.path().join("output")).expect("a store");
    ObjectsUnderTest {
        objects: Arc::new(objects),
        bucket: "work".to_owned(),
        versioned_bucket: None,
        prefix: "test/".to_owned(),
        lacks: &[
            Rule::FiveMebibytes,
            Rule::PartNumbers,
            Rule::WholeChecksum,
            Rule::CopyChecksum,
            Rule::KeyLength,
        ],
    }
}

fanfold_ports::objects_contract!(local);

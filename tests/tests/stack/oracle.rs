//! What `orders` must write, by the `csv` and `uuid` crates alone.

use fanfold_domain::Run;
use uuid::Uuid;

/// The namespace of the namespaces of pipelines, as ARCHITECTURE.md names it.
const FANFOLD: Uuid = Uuid::from_u128(0x6f1d_2c0a_94b7_5e53_8a41_c3d0_7be9_12f6);
const ORDER_ID: usize = 6;

/// The output for `source`, without the records whose numbers (from 1) are `bad`.
pub(crate) fn confirmations(source: &[u8], run: &Run, bad: &[u64]) -> Vec<u8> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(source);
    let namespace = Uuid::new_v5(&FANFOLD, run.pipeline.name.as_bytes());
    let object = &run.source.object;
    let prefix = format!("{}/{}@{}", object.bucket, object.key, run.source.version_or_etag());
    let mut out = b"orderid,confirmationid\n".to_vec();
    for (number, record) in (1..).zip(reader.byte_records()) {
        let record = record.expect("the csv crate reads it");
        if bad.contains(&number) {
            continue;
        }
        let offset = record.position().expect("a record that was read has a position").byte();
        let id = Uuid::new_v5(&namespace, format!("{prefix}:{offset}").as_bytes());
        out.extend_from_slice(&record[ORDER_ID]);
        out.extend_from_slice(format!(",{id}\n").as_bytes());
    }
    out
}

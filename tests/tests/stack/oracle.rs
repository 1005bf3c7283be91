//! What `orders` must write, by the `csv` and `uuid` crates alone.

use csv::ByteRecord;
use fanfold_domain::Run;
use uuid::Uuid;

/// The namespace of the namespaces of pipelines, as ARCHITECTURE.md names it.
const FANFOLD: Uuid = Uuid::from_u128(0x6f1d_2c0a_94b7_5e53_8a41_c3d0_7be9_12f6);
const ORDER_ID: usize = 6;

const FIRST_NUMBER: usize = 8;

/// The output for `source`, without the records whose numbers (from 1) are `bad`.
pub(crate) fn confirmations(source: &[u8], run: &Run, bad: &[u64]) -> Vec<u8> {
    let mut out = b"orderid,confirmationid\n".to_vec();
    for (number, (record, id)) in (1..).zip(confirmed(source, run)) {
        if !bad.contains(&number) {
            out.extend_from_slice(&record[ORDER_ID]);
            out.extend_from_slice(format!(",{id}\n").as_bytes());
        }
    }
    out
}

/// The columns of all records and the ids of their confirmations, numbers as DynamoDB keeps them.
pub(crate) fn order_rows(source: &[u8], run: &Run) -> Vec<Vec<String>> {
    let text = |(column, field): (usize, &[u8])| {
        let text = String::from_utf8(field.to_vec()).expect("sales are UTF-8");
        if column < FIRST_NUMBER { text } else { shortest(&text) }
    };
    let row = |(record, id): (ByteRecord, Uuid)| {
        record.iter().enumerate().map(text).chain([id.to_string()]).collect()
    };
    confirmed(source, run).map(row).collect()
}

/// A decimal number without zeros at the end of its fraction.
fn shortest(number: &str) -> String {
    match number.split_once('.') {
        Some((whole, fraction)) => match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            rest => format!("{whole}.{rest}"),
        },
        None => number.to_owned(),
    }
}

fn confirmed<'a>(source: &'a [u8], run: &Run) -> impl Iterator<Item = (ByteRecord, Uuid)> + use<'a> {
    let reader = csv::ReaderBuilder::new().flexible(true).from_reader(source);
    let namespace = Uuid::new_v5(&FANFOLD, run.pipeline.name.as_bytes());
    let object = &run.source.object;
    let prefix = format!("{}/{}@{}", object.bucket, object.key, run.source.version_or_etag());
    reader.into_byte_records().map(move |record| {
        let record = record.expect("the csv crate reads it");
        let offset = record.position().expect("a record that was read has a position").byte();
        let id = Uuid::new_v5(&namespace, format!("{prefix}:{offset}").as_bytes());
        (record, id)
    })
}

//! `orders` against independent readings of the same bytes.

use std::sync::Arc;

use fanfold_domain::pipeline::Split;
use fanfold_engine::{bad::BadRecord, chunk::ChunkError};
use fanfold_ports::{
    memory::{Faults, Faulty, Invocation, MemoryTables, Rates},
    tables::{Row, Value},
};
use fanfold_tests::sales::{self, Style};
use proptest::prelude::*;
use uuid::Uuid;

use crate::world::{KEY, Outcome, WHOLE, WORK, World, block_on, lines_in, pipeline};

/// Documented in the engine, and never to be changed.
const FANFOLD: Uuid = Uuid::from_u128(0x6f1d_2c0a_94b7_5e53_8a41_c3d0_7be9_12f6);

fn sales(style: Style, count: u64, seed: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    sales::write(&mut bytes, style, count, seed).unwrap();
    bytes
}

fn finish(bytes: &[u8], split: Split) -> (Outcome, String) {
    let mut world =
        World::with_pieces(pipeline("format: csv, header: true", "process: orders"), bytes.to_vec(), 777);
    world.group_chunks = Some(4);
    let etag = world.run.source.etag.as_str().to_owned();
    (block_on(world.finish(split)).unwrap(), etag)
}

#[test]
fn each_order_of_the_csv_crates_reading_has_its_uuid_of_version_5() {
    for style in [Style::Plain, Style::Quoted] {
        let bytes = sales(style, 2_000, 7);
        let (outcome, etag) = finish(&bytes, Split::SizeBytes(10_000));
        let namespace = Uuid::new_v5(&FANFOLD, b"test");
        let mut reader = csv::Reader::from_reader(&bytes[..]);
        let mut wanted = Vec::new();
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).unwrap() {
            let offset = record.position().unwrap().byte();
            let id = Uuid::new_v5(&namespace, format!("in/{KEY}@{etag}:{offset}").as_bytes());
            wanted.push(format!("{},{id}\n", &record[6]));
        }
        assert_eq!((outcome.records, outcome.bad_records), (2_000, 0));
        assert!(outcome.output == wanted.concat(), "{style:?}");
    }
}

#[test]
fn bad_orders_are_told_apart() {
    let good = "Asia,Chad,Baby Food,Online,C,1/31/2017,100,2/28/2017,5,1.00,0.50,5.00,2.50,2.50";
    let mut lines = vec![sales::HEADER.to_owned(), good.to_owned()];
    for (from, to) in
        [("Asia", ""), ("Online", "online"), ("1/31", "2/30"), ("100", "x"), ("0.50", "1e5"), (",C,", ",")]
    {
        lines.push(good.replacen(from, to, 1));
    }
    lines.extend([good.replacen(",C,", ",\"C\",", 1), good.to_owned()]);
    let (outcome, _) = finish(lines.join("\n").as_bytes(), Split::Records(2));
    let bad: Vec<BadRecord> = outcome
        .errors
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let reasons: Vec<_> = bad.iter().map(|bad| (bad.record.unwrap(), bad.reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            (2, "Region is \"\", and must be text in the source's encoding, and not empty"),
            (3, "Sales Channel is \"online\", and must be one of Online, Offline"),
            (4, "Order Date is \"2/30/2017\", and must be a date as month/day/year"),
            (5, "Order ID is \"x\", and must be 1 to 20 decimal digits"),
            (6, "Unit Cost is \"1e5\", and must be a decimal number of at most 38 digits"),
            (7, "13 columns, and orders has 14"),
        ]
    );
    assert_eq!((outcome.records, lines_in(&outcome.output)), (9, 3));
}

#[test]
fn text_must_be_in_the_sources_encoding() {
    let line =
        |name: &[u8]| [b"Asia,", name, b",Baby Food,Online,C,1/31/2017,100,2/28/2017,5,1,1,5,2,2\n"].concat();
    for (encoding, bad) in [("utf-8", 1), ("ascii", 2), ("latin-1", 0)] {
        let bytes = [line(b"Chad"), line("C\u{f4}te".as_bytes()), line(b"C\xf4te")].concat();
        let source = format!("format: csv, encoding: {encoding}");
        let mut world = World::new(pipeline(&source, "process: orders"), bytes);
        let outcome = block_on(world.finish(WHOLE)).unwrap();
        assert_eq!(outcome.bad_records, bad, "{encoding}");
    }
}

#[test]
fn a_header_of_other_columns_fails_every_chunk_for_good() {
    let mut world = World::new(pipeline("format: csv, header: true", "process: orders"), &b"a,b\n1,2\n"[..]);
    let error = block_on(world.finish(Split::Records(1))).unwrap_err();
    assert_eq!(error, "the header has 2 columns, and orders has 14");
}

/// A world whose orders are also written to the table `t`, and that table.
fn with_table(source: &str, bytes: Vec<u8>, faults: Faults) -> (World, Arc<MemoryTables>) {
    let process = "process: orders, with: {table: ttt}";
    let mut world = World::with_pieces(pipeline(source, process), bytes, 777);
    let tables = Arc::new(MemoryTables::keyed(&["orderid", "confirmationid"]));
    world.tables = Arc::new(Faulty::new(tables.clone(), faults, Invocation::new("worker")));
    (world, tables)
}

#[test]
fn each_order_is_a_row_with_all_columns_under_their_names() {
    let bytes = sales(Style::Quoted, 333, 3);
    let (mut world, tables) = with_table("format: csv, header: true", bytes.clone(), Faults::none());
    let outcome = block_on(world.finish(Split::Records(100))).unwrap();
    let mut lines = outcome.output.split(|byte| *byte == b'\n');
    let mut wanted = Vec::new();
    let mut reader = csv::Reader::from_reader(&bytes[..]);
    let names = reader.headers().unwrap().clone();
    for record in reader.records() {
        let line = std::str::from_utf8(lines.next().unwrap()).unwrap();
        let (order, confirmation) = line.split_once(',').unwrap();
        let mut row = Row::from([
            ("orderid".to_owned(), Value::Text(order.to_owned())),
            ("confirmationid".to_owned(), Value::Text(confirmation.to_owned())),
        ]);
        for (column, (name, text)) in names.iter().zip(&record.unwrap()).enumerate() {
            let kind = if column < 8 { Value::Text } else { Value::Number };
            row.insert(name.to_owned(), kind(text.to_owned()));
        }
        wanted.push(row);
    }
    wanted.sort_by_key(|row| [row["orderid"].clone(), row["confirmationid"].clone()]);
    assert_eq!(tables.rows("ttt"), wanted);
}

#[test]
fn a_bad_order_is_no_row_and_one_that_is_too_large_for_a_row_is_bad() {
    let good = "Asia,Chad,Baby Food,Online,C,1/31/2017,100,2/28/2017,5,1.00,0.50,5.00,2.50,2.50\n";
    let large = good.replacen("Chad", &"x".repeat(400 << 10), 1);
    let bytes = [good, &good.replacen("Online", "online", 1), &large].concat().into_bytes();
    let (mut world, tables) = with_table("format: csv", bytes, Faults::none());
    let outcome = block_on(world.finish(WHOLE)).unwrap();
    assert_eq!((lines_in(&outcome.output), outcome.bad_records, tables.rows("ttt").len()), (1, 2, 1));
    assert!(String::from_utf8_lossy(&outcome.errors).contains("bytes as a row"), "{:?}", outcome.errors);
}

#[test]
fn text_of_every_encoding_is_the_same_text_in_a_row() {
    let line = |country: &[u8]| {
        [b"Asia,", country, b",Baby Food,Online,C,1/31/2017,100,2/28/2017,5,1,1,5,2,2\n"].concat()
    };
    for (encoding, country) in [("utf-8", "C\u{f4}te".as_bytes()), ("latin-1", &b"C\xf4te"[..])] {
        let source = format!("format: csv, encoding: {encoding}");
        let (mut world, tables) = with_table(&source, line(country), Faults::none());
        block_on(world.finish(WHOLE)).unwrap();
        assert_eq!(tables.rows("ttt")[0]["Country"], Value::Text("C\u{f4}te".to_owned()));
    }
}

#[test]
fn an_attempt_whose_rows_could_not_be_written_makes_no_part_and_the_next_one_writes_them_all() {
    let bytes = sales(Style::Plain, 120, 3);
    let (mut rows_before, mut failed) = (0, 0);
    for seed in 0..40 {
        let rates = Rates { transient: 3_000, lost_answer: 2_000, ..Rates::NONE };
        let (mut world, tables) =
            with_table("format: csv, header: true", bytes.clone(), Faults::seeded(seed, rates));
        let chunk = block_on(world.plan(WHOLE)).unwrap().chunks[0];
        let mut tries = 0;
        while let Err(error) = block_on(world.attempt(chunk, &tries.to_string())) {
            assert!(matches!(error, ChunkError::Process(_)), "{error}");
            assert!(
                !world
                    .objects
                    .keys(WORK)
                    .contains(&world.run.keys(&world.run.last_stage().name).part(chunk.index))
            );
            rows_before += tables.rows("ttt").len();
            tries += 1;
        }
        failed += tries;
        assert_eq!(tables.rows("ttt").len(), 120);
    }
    assert!(failed > 40 && rows_before > 0, "{failed} {rows_before}");
}

#[test]
fn a_table_that_refuses_a_row_fails_the_chunk_for_good() {
    let (mut world, _) = with_table("format: csv, header: true", sales(Style::Plain, 5, 3), Faults::none());
    world.tables = Arc::new(MemoryTables::keyed(&["another key"]));
    let error = block_on(world.finish(WHOLE)).unwrap_err();
    assert!(error.contains("put rows of ttt"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Broken here and there, so that columns go wrong, quotes stay open and records run into each other.
    #[test]
    fn any_split_of_broken_sales_gives_what_one_pass_gives(
        seed in 0u64..1000,
        edits in prop::collection::vec((0usize..60_000, prop::sample::select(b"\"\",\n\r\xffx".to_vec())), 0..30),
        split in prop_oneof![(1u64..20_000).prop_map(Split::SizeBytes), (1u64..90).prop_map(Split::Records)],
    ) {
        let mut bytes = sales(Style::Quoted, 100, seed);
        let header = sales::HEADER.len() + 1;
        for (place, byte) in edits {
            let place = header + place % (bytes.len() - header);
            bytes[place] = byte;
        }
        let (parallel, _) = finish(&bytes, split);
        let (sequential, _) = finish(&bytes, WHOLE);
        prop_assert_eq!(parallel, sequential);
    }
}

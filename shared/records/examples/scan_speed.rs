//! Measures the scan and the framer in memory, in CPU time: `cargo run --release --example scan_speed`.
//!
//! Time is what the kernel charged this thread (`/proc/thread-self/schedstat`), so that a busy machine does
//! not count; the best of five rounds is printed.
#![expect(clippy::print_stdout, reason = "an example that measures prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "figures are printed with three digits")]

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;

use fanfold_records::{BLOCK, Dialect, Frame, Framer, RangeScan, Scanner, fields};

const SIZE: usize = 256 << 20;
const WARM: usize = 256 << 10;
const ROUNDS: usize = 5;

fn main() {
    let plain = Dialect::Csv { delimiter: b',', quote: None };
    let unquoted = sales(record_unquoted);
    let quoted = sales(record_quoted);
    let stray = sales(record_stray_quotes);
    for (name, dialect, data) in [
        ("csv, no quotes in it", Dialect::CSV, &unquoted),
        ("csv, every field quoted", Dialect::CSV, &quoted),
        ("csv, stray quotes", Dialect::CSV, &stray),
        ("csv, quote: none", plain, &unquoted),
        ("lines", Dialect::Lines, &unquoted),
        ("jsonl", Dialect::Jsonl, &unquoted),
    ] {
        report(name, dialect, data);
    }
}

fn report(name: &str, dialect: Dialect, data: &[u8]) {
    let scanner = Scanner::new(dialect).expect("a line format");
    let scan = best(|| {
        let mut scan = RangeScan::new(scanner, 0);
        scan.feed(data);
        let _ = black_box(scan.finish());
    });
    let worst = best(|| {
        for block in data.chunks(BLOCK) {
            let _ = black_box(scanner.summarize(&block[block.len() / 2..]));
        }
    });
    let records = frame(dialect, data, |_| {});
    let framing = best(|| {
        let _ = black_box(frame(dialect, data, |_| {}));
    });
    // As in the engine, whose buffer has just been filled from the network and is still in the cache.
    let warm = &data[..data.len().min(WARM)];
    let warm_records = frame_lines(dialect, warm) * (SIZE / WARM);
    let warm_framing = best(|| {
        for _ in 0..SIZE / WARM {
            let _ = black_box(frame_lines(dialect, black_box(warm)));
        }
    });
    let fielding = best(|| {
        let mut count = 0;
        frame(dialect, data, |body| count += fields(body, b',', Some(b'"')).count());
        let _ = black_box(count);
    });
    let rate = |seconds: f64, bytes: usize| bytes as f64 / seconds / 1e9;
    let each = |seconds: f64| seconds * 1e9 / records as f64;
    println!(
        "{name:24} scan {:5.2} GB/s (half blocks {:5.2}); framer {:5.1} ns a record of {} bytes \
         ({:5.2} GB/s), {:4.1} ns in cache; with fields {:5.1} ns",
        rate(scan, data.len()),
        rate(worst, data.len() / 2),
        each(framing),
        data.len() / records,
        rate(framing, data.len()),
        warm_framing * 1e9 / warm_records as f64,
        each(fielding),
    );
}

fn frame_lines(dialect: Dialect, data: &[u8]) -> usize {
    let end = data.iter().rposition(|byte| *byte == b'\n').expect("a line end");
    // A quoted field may be torn at the end; its record is then counted by neither.
    let mut framer = Framer::new(dialect, 0, 1 << 24);
    let (mut rest, mut records) = (&data[..=end], 0);
    while let Frame::Record { raw_len, .. } = framer.next(rest, false) {
        records += 1;
        rest = &rest[raw_len..];
    }
    records
}

fn frame<'a>(dialect: Dialect, data: &'a [u8], mut each: impl FnMut(&'a [u8])) -> usize {
    let mut framer = Framer::new(dialect, 0, 1 << 24);
    let mut rest = data;
    let mut records = 0;
    loop {
        match framer.next(rest, true) {
            Frame::Record { body_len, raw_len, .. } => {
                each(&rest[..body_len]);
                records += 1;
                rest = &rest[raw_len..];
            }
            Frame::Blank { raw_len } => rest = &rest[raw_len..],
            Frame::End => return records,
            bad => panic!("{bad:?}"),
        }
    }
}

fn best(mut run: impl FnMut()) -> f64 {
    let time = |_| {
        let before = cpu_seconds();
        run();
        cpu_seconds() - before
    };
    (0..ROUNDS).map(time).fold(f64::INFINITY, f64::min)
}

fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux, with scheduler statistics");
    let nanoseconds = stat.split(' ').next().expect("a first field");
    nanoseconds.parse::<f64>().expect("nanoseconds") / 1e9
}

fn sales(record: fn(&mut String, u64)) -> Vec<u8> {
    let mut text = String::with_capacity(SIZE + 1024);
    let mut seed = 1u64;
    while text.len() < SIZE {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        record(&mut text, seed >> 20);
    }
    text.into_bytes()
}

const REGIONS: [&str; 4] = ["Sub-Saharan Africa", "Europe", "Middle East and North Africa", "Asia"];
const COUNTRIES: [&str; 4] = ["South Africa", "Morocco", "Papua New Guinea", "Djibouti"];
const ITEMS: [&str; 4] = ["Fruits", "Office Supplies", "Cosmetics", "Baby Food"];

fn values(n: u64) -> [String; 14] {
    let pick =
        |list: [&str; 4], shift: u32| list[usize::try_from((n >> shift) % 4).expect("below 4")].to_string();
    let money = |scale: u64| format!("{}.{:02}", n % scale, n % 100);
    let date = |shift: u32| format!("{}/{}/201{}", (n >> shift) % 12 + 1, (n >> shift) % 28 + 1, n % 8);
    [
        pick(REGIONS, 3),
        pick(COUNTRIES, 5),
        pick(ITEMS, 7),
        if n.is_multiple_of(2) { "Offline" } else { "Online" }.to_string(),
        pick(["C", "H", "L", "M"], 9),
        date(11),
        format!("{:09}", n % 1_000_000_000),
        date(13),
        format!("{}", n % 10_000),
        money(700),
        money(600),
        money(6_000_000),
        money(5_000_000),
        money(2_000_000),
    ]
}

fn record_unquoted(text: &mut String, n: u64) {
    text.push_str(&values(n).join(","));
    text.push('\n');
}

fn record_quoted(text: &mut String, n: u64) {
    let mut values = values(n);
    if n.is_multiple_of(16) {
        values[1].push_str("\nsecond line, with \"\"quotes\"\"");
    }
    for (index, value) in values.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(text, "{comma}\"{value}\"").expect("a string takes all");
    }
    text.push('\n');
}

fn record_stray_quotes(text: &mut String, n: u64) {
    let mut values = values(n);
    values[2].push_str(" 5\" pipe, 3\" wide");
    text.push_str(&values.join(","));
    text.push_str("\r\n");
}

//! Sources: small, and as hostile as their format allows.

use fanfold_domain::pipeline::Format;

use crate::chance::Chance;

/// The columns that `orders` reads.
const SALES_HEADER: &str = "Region,Country,Item Type,Sales Channel,Order Priority,Order Date,Order ID,Ship Date,\
     Units Sold,Unit Price,Unit Cost,Total Revenue,Total Cost,Total Profit";

/// What a source holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Sales records, of which this many in a hundred are bad.
    Sales { bad_percent: u64 },
    /// Whatever the format allows.
    Any,
    /// A few MiB of long lines, for the ways that only large objects go.
    Large,
}

/// A source of the format, a different one for each draw.
pub(crate) fn source(chance: &Chance, format: Format, content: Content) -> Vec<u8> {
    match content {
        Content::Sales { bad_percent } => sales(chance, bad_percent),
        Content::Large => large(chance),
        Content::Any => match format {
            Format::Csv { header, quote, .. } => csv(chance, header, quote.is_some()),
            Format::Lines | Format::Jsonl => lines(chance, format == Format::Jsonl),
            Format::Fixed { length_bytes } => fixed(chance, length_bytes),
            Format::Objects | Format::Items | Format::Ids(_) => Vec::new(),
        },
    }
}

fn records(chance: &Chance) -> u64 {
    match chance.within(0..10) {
        0 => chance.within(0..2),
        1 => chance.within(40..70),
        _ => chance.within(2..30),
    }
}

fn sales(chance: &Chance, bad_percent: u64) -> Vec<u8> {
    let mut text = format!("{SALES_HEADER}\n");
    for number in 0..records(chance) {
        let country = chance.one_of(&["Chad", "\"Korea, South\"", "\"a \"\"b\"\"\nc\"", "Tuvalu"]);
        let channel = if chance.percent(bad_percent) { "Carrier pigeon" } else { "Online" };
        let id = 100_000_000 + number;
        text.push_str(&format!(
            "Asia,{country},Fruits,{channel},M,1/31/2017,{id},2/27/2017,{},9.33,6.92,1,2,3\n",
            chance.within(1..10_000)
        ));
    }
    text.into_bytes()
}

fn csv(chance: &Chance, header: bool, quoted: bool) -> Vec<u8> {
    let end = chance.one_of(&["\n", "\r\n"]);
    let mut text = String::new();
    if chance.percent(10) {
        text.push('\u{feff}');
    }
    if header {
        text.push_str(if quoted { "name,\"a,b\nc\",x" } else { "name,b,x" });
        text.push_str(end);
    }
    let fields: &[&str] = if quoted {
        &[
            "plain",
            "\"with, comma\"",
            "\"line\nend\"",
            "\"crlf\r\nin it\"",
            "5\" pipe",
            "\"\"",
            "\"a\"\"b\"",
            "",
            "\"x\"y",
        ]
    } else {
        &["plain", "5\" pipe", "\"", "", "z z z", "lone\rcr"]
    };
    let count = records(chance);
    for number in 0..count {
        let record: Vec<&str> = (0..chance.within(1..5)).map(|_| chance.one_of(fields)).collect();
        text.push_str(&format!("r{number},{}", record.join(",")));
        if number + 1 < count || chance.percent(80) {
            text.push_str(end);
        }
        if chance.percent(5) {
            text.push_str(end);
        }
    }
    text.into_bytes()
}

fn lines(chance: &Chance, json: bool) -> Vec<u8> {
    let end = chance.one_of(&["\n", "\r\n"]);
    let mut text = String::new();
    let count = records(chance);
    for number in 0..count {
        let filling = "q".repeat(usize::try_from(chance.within(0..30)).expect("small"));
        if json {
            text.push_str(&format!("{{\"n\":{number},\"t\":\"{filling}\"}}"));
        } else if !chance.percent(10) {
            text.push_str(&format!("line {number} {filling}"));
        }
        if number + 1 < count || chance.percent(80) {
            text.push_str(end);
        }
    }
    text.into_bytes()
}

fn fixed(chance: &Chance, length: u64) -> Vec<u8> {
    let short = if chance.percent(20) { chance.within(0..length) } else { 0 };
    let bytes = records(chance) * length + short;
    (0..bytes).map(|_| chance.one_of(b"abcdefgh\n\"")).collect()
}

fn large(chance: &Chance) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < 13 << 20 {
        let length = usize::try_from(chance.within(1 << 16..1 << 19)).expect("small");
        bytes.resize(bytes.len() + length, b'a' + u8::try_from(chance.within(0..26)).expect("a letter"));
        bytes.push(b'\n');
    }
    bytes
}

//! Sales records as the pipeline `orders` reads them: generated, the same for the same seed.

use std::io::{self, Write};

use crate::chance::Chance;

/// The 14 columns.
pub const HEADER: &str = "Region,Country,Item Type,Sales Channel,Order Priority,Order Date,Order ID,Ship Date,\
                          Units Sold,Unit Price,Unit Cost,Total Revenue,Total Cost,Total Profit";

const PLACES: [(&str, &str); 8] = [
    ("Sub-Saharan Africa", "Chad"),
    ("Europe", "Latvia"),
    ("Middle East and North Africa", "Pakistan"),
    ("Asia", "Kyrgyzstan"),
    ("Central America and the Caribbean", "Honduras"),
    ("Australia and Oceania", "Tuvalu"),
    ("Europe", "Bosnia and Herzegovina"),
    ("North America", "Canada"),
];
/// Item types with their unit price and cost in cents.
const ITEMS: [(&str, u64, u64); 6] = [
    ("Office Supplies", 65_121, 52_496),
    ("Beverages", 4_745, 3_179),
    ("Vegetables", 15_406, 9_093),
    ("Household", 66_827, 50_254),
    ("Baby Food", 25_528, 15_942),
    ("Cosmetics", 43_720, 26_333),
];
const PRIORITIES: [char; 4] = ['C', 'H', 'L', 'M'];

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// CSV without quotes.
    Plain,
    /// CSV with quotes: some fields hold commas, doubled quotes, line ends, and what looks like records.
    Quoted,
    /// JSON Lines with the same fields.
    Jsonl,
}

/// Writes `count` records, after a header where the style has one.
///
/// # Errors
/// The writer's own.
pub fn write(out: &mut impl Write, style: Style, count: u64, seed: u64) -> io::Result<()> {
    let mut chance = Chance::new(seed);
    if style != Style::Jsonl {
        writeln!(out, "{HEADER}")?;
    }
    for number in 0..count {
        let record = Record::draw(&mut chance, number);
        match style {
            Style::Plain => record.write_csv(out, record.country)?,
            Style::Quoted => record.write_csv(out, &hostile(&mut chance, record.country, number))?,
            Style::Jsonl => record.write_json(out)?,
        }
    }
    Ok(())
}

struct Record {
    region: &'static str,
    country: &'static str,
    item: &'static str,
    channel: &'static str,
    priority: char,
    order_date: String,
    order_id: u64,
    ship_date: String,
    units: u64,
    price: u64,
    cost: u64,
}

impl Record {
    fn draw(chance: &mut Chance, number: u64) -> Self {
        let (region, country) = chance.of(&PLACES);
        let (item, price, cost) = chance.of(&ITEMS);
        let mut date =
            || format!("{}/{}/{}", 1 + chance.below(12), 1 + chance.below(28), 2010 + chance.below(8));
        let (order_date, ship_date) = (date(), date());
        Self {
            region,
            country,
            item,
            channel: chance.of(&["Online", "Offline"]),
            priority: chance.of(&PRIORITIES),
            order_date,
            order_id: 100_000_000 + number,
            ship_date,
            units: 1 + chance.below(10_000),
            price,
            cost,
        }
    }

    fn write_csv(&self, out: &mut impl Write, country: &str) -> io::Result<()> {
        let (revenue, cost) = (self.units * self.price, self.units * self.cost);
        write!(out, "{},{country},{},{},{},", self.region, self.item, self.channel, self.priority)?;
        write!(out, "{},{},{},{},", self.order_date, self.order_id, self.ship_date, self.units)?;
        let totals = [self.price, self.cost, revenue, cost, revenue - cost].map(money);
        writeln!(out, "{}", totals.join(","))
    }

    fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { region, country, item, channel, priority, order_date, order_id, .. } = self;
        write!(out, r#"{{"region":"{region}","country":"{country}","item":"{item}","channel":"{channel}","#)?;
        write!(out, r#""priority":"{priority}","ordered":"{order_date}","order":{order_id},"#)?;
        writeln!(
            out,
            r#""shipped":"{}","units":{},"price":{}}}"#,
            self.ship_date,
            self.units,
            money(self.price)
        )
    }
}

/// A quoted country field that makes splitting hard in one of several ways.
fn hostile(chance: &mut Chance, country: &str, number: u64) -> String {
    match chance.below(8) {
        0 => format!("\"{country}, the\""),
        1 => format!("\"\"\"{country}\"\"\""),
        2 => format!("\"{country}\nsecond line\""),
        3 => format!("\"{country}\r\n\r\nfourth\""),
        4 if number.is_multiple_of(97) => {
            // Text that looks like a run of records of the usual width.
            let fake =
                "Europe,Latvia,Baby Food,Online,C,1/1/2015,999999999,1/2/2015,1,1.00,1.00,1.00,1.00,0.00\n";
            format!("\"{}\"", fake.repeat(1 + usize::try_from(chance.below(40)).expect("small")))
        }
        5 => format!("{country} 5\" pipe"),
        _ => format!("\"{country}\""),
    }
}

fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let make = |seed| {
            let mut out = Vec::new();
            write(&mut out, Style::Quoted, 100, seed).unwrap();
            out
        };
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
    }
}

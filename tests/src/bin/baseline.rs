//! What a user would write without Fanfold: one pass with the `csv` crate, `orderid,confirmationid` out. It checks
//! nothing, and its ids are of the record's number.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
};

use clap::Parser;
use uuid::Uuid;

#[derive(Parser)]
struct Arguments {
    /// Sales records with a header.
    input: PathBuf,
    /// The file to write.
    output: PathBuf,
}

const ORDER_ID: usize = 6;

fn main() -> anyhow::Result<()> {
    let Arguments { input, output } = Arguments::parse();
    let mut reader = csv::Reader::from_path(input)?;
    let mut out = BufWriter::with_capacity(1 << 20, File::create(output)?);
    let mut record = csv::ByteRecord::new();
    writeln!(out, "orderid,confirmationid")?;
    for number in 0u64.. {
        if !reader.read_byte_record(&mut record)? {
            break;
        }
        out.write_all(record.get(ORDER_ID).unwrap_or_default())?;
        writeln!(out, ",{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_be_bytes()))?;
    }
    out.flush()?;
    Ok(())
}

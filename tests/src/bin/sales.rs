//! Writes generated sales records to a file: `fanfold-sales --records 1000000 --style plain OUT`.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
};

use clap::{Parser, ValueEnum};
use fanfold_tests::sales;

#[derive(Parser)]
struct Arguments {
    /// The file to write.
    output: PathBuf,
    /// Number of records, without the header.
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// How they are written.
    #[arg(long, value_enum, default_value_t = Style::Plain)]
    style: Style,
    /// The same seed gives the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Style {
    Plain,
    Quoted,
    Jsonl,
}

fn main() -> anyhow::Result<()> {
    let Arguments { output, records, style, seed } = Arguments::parse();
    let style = match style {
        Style::Plain => sales::Style::Plain,
        Style::Quoted => sales::Style::Quoted,
        Style::Jsonl => sales::Style::Jsonl,
    };
    let mut out = BufWriter::with_capacity(1 << 20, File::create(output)?);
    sales::write(&mut out, style, records, seed)?;
    out.flush()?;
    Ok(())
}

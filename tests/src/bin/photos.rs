//! Writes generated photographs to a folder, and a list of them as `process: resize` reads it:
//! `fanfold-photos --count 500 OUT` makes `OUT/images/0000.jpg` and so on, and `OUT/images.jsonl`.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    thread,
};

use anyhow::anyhow;
use clap::Parser;
use fanfold_tests::{chance::Chance, photos::Photo};
use serde_json::json;

#[derive(Parser)]
struct Arguments {
    /// The folder to write to; made if it is not there.
    output: PathBuf,
    /// Number of photographs.
    #[arg(long, default_value_t = 500)]
    count: usize,
    /// The same seed gives the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let Arguments { output, count, seed } = Arguments::parse();
    fs::create_dir_all(output.join("images"))?;
    let mut chance = Chance::new(seed);
    let photos: Vec<(usize, Photo)> = (0..count).map(|at| (at, Photo::draw(&mut chance))).collect();
    let threads = thread::available_parallelism()?.get();
    thread::scope(|scope| {
        let shares: Vec<_> = photos.chunks(count.div_ceil(threads).max(1)).collect();
        let working: Vec<_> =
            shares.into_iter().map(|share| scope.spawn(|| write_all(&output, share))).collect();
        working.into_iter().try_for_each(|work| work.join().map_err(|_| anyhow!("a thread panicked"))?)
    })?;
    let mut list = Vec::new();
    for (at, _) in &photos {
        let size = fs::metadata(output.join(key(*at)))?.len();
        writeln!(list, "{}", json!({ "key": key(*at), "size": size }))?;
    }
    Ok(fs::write(output.join("images.jsonl"), list)?)
}

fn key(at: usize) -> String {
    format!("images/{at:04}.jpg")
}

fn write_all(output: &Path, photos: &[(usize, Photo)]) -> anyhow::Result<()> {
    for (at, photo) in photos {
        fs::write(output.join(key(*at)), photo.to_jpeg()?)?;
    }
    Ok(())
}

//! Resizes all images of a folder, one after the other, for `scripts/bench --images`:
//! `resize FOLDER OUT WIDTHxHEIGHT QUALITY`. Prints the files, the pixels and the most memory that was lent, as JSON.

use std::{env, error::Error, fs, path::Path};

use fanfold_domain::pipeline::{Pipeline, Process};
use fanfold_images::{resize, working_bytes};

const ALLOWED_BYTES: u64 = 1 << 30;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, out, size, quality] = &arguments[..] else {
        return Err("usage: resize FOLDER OUT WIDTHxHEIGHT QUALITY".into());
    };
    let document = format!(
        "{{pipeline: p, source: {{format: jsonl}}, \
          stages: [{{name: s, process: resize, with: {{size: {size}, quality: {quality}}}}}]}}"
    );
    let Process::Resize(wanted) = Pipeline::parse(&document)?.stages.remove(0).process else {
        return Err("the document names another process".into());
    };
    let mut files: Vec<_> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    fs::create_dir_all(out)?;
    let (mut bytes, mut most) = (0, 0);
    for file in &files {
        let read = fs::read(file)?;
        most = most.max(working_bytes(&read, &wanted, ALLOWED_BYTES)?);
        let resized = resize(&read, &wanted, ALLOWED_BYTES)?;
        bytes += resized.bytes.len();
        fs::write(Path::new(out).join(file.file_name().ok_or("a file has a name")?), resized.bytes)?;
    }
    fs::write(
        Path::new(out).with_extension("json"),
        format!("{{\"files\": {}, \"bytes\": {bytes}, \"most_lent_bytes\": {most}}}\n", files.len()),
    )?;
    Ok(())
}

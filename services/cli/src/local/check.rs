//! `--check`: whether one sequential pass gives the same bytes.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, anyhow};
use tempfile::TempDir;

use super::{Target, run_once, setup::directory_of};
use crate::{Failed, arguments, say};

/// Bytes compared at once.
const BLOCK_BYTES: usize = 256 << 10;

/// Runs again in one pass, and compares. What differs is left beside the output, to be looked at.
pub(super) fn check(arguments: &arguments::Local, errors: &Path) -> Result<(), Failed> {
    let again = again_beside(&arguments.output)?;
    let compared = compare_with(arguments, errors, again.path());
    if compared.is_err() && has_any(again.path()) {
        let _left = again.keep();
    }
    compared?;
    say::note("one sequential pass gives the same bytes");
    Ok(())
}

/// A folder of our own for the second run's files: no name in it is anybody else's.
fn again_beside(output: &Path) -> anyhow::Result<TempDir> {
    let mut prefix = output.file_name().unwrap_or_default().to_owned();
    prefix.push(".sequential-");
    let named = || format!("a folder beside output {}", output.display());
    let place = fanfold_local::followed(output);
    tempfile::Builder::new().prefix(&prefix).tempdir_in(directory_of(&place)).with_context(named)
}

fn compare_with(arguments: &arguments::Local, errors: &Path, folder: &Path) -> Result<(), Failed> {
    let (output_again, errors_again) = (folder.join("output"), folder.join("errors"));
    run_once(arguments, &Target { output: &output_again, errors: &errors_again, jobs: None })?;
    compare(&arguments.output, &output_again)?;
    compare(errors, &errors_again)
}

/// Whether there is anything to look at.
fn has_any(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// Says where two files first differ. One that is missing is as good as an empty one.
fn compare(parallel: &Path, sequential: &Path) -> Result<(), Failed> {
    let (mut left, mut right) = (open(parallel)?, open(sequential)?);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let mut offset = 0;
    loop {
        read_block(&mut left, &mut a).with_context(|| format!("reading {}", parallel.display()))?;
        read_block(&mut right, &mut b).with_context(|| format!("reading {}", sequential.display()))?;
        if a != b {
            let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
            let (parallel, sequential) = (parallel.display(), sequential.display());
            return Err(anyhow!(
                "the program is not record-wise: {parallel} and one sequential pass, {sequential}, \
                 differ from byte {} on",
                offset + same
            )
            .into());
        }
        if a.is_empty() {
            return Ok(());
        }
        offset += a.len();
    }
}

fn open(path: &Path) -> anyhow::Result<Box<dyn Read>> {
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Box::new(io::empty())),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

fn read_block(reader: &mut dyn Read, block: &mut Vec<u8>) -> io::Result<()> {
    block.clear();
    reader.take(BLOCK_BYTES as u64).read_to_end(block)?;
    Ok(())
}

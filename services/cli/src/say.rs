//! What the command line prints: results on stdout, everything else on stderr.

use std::io::{Write, stderr, stdout};

use serde::Serialize;

/// Prints a result as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    Ok(writeln!(out)?)
}

/// Prints a result's line.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(stdout().lock(), "{text}")?)
}

/// Says why it failed, with all causes.
pub(crate) fn failure(error: &anyhow::Error) {
    // Where even stderr is closed, only the exit status is left to tell.
    writeln!(stderr().lock(), "fanfold: {error:#}").ok();
}

/// Tells something that is no failure.
pub(crate) fn note(text: &str) {
    writeln!(stderr().lock(), "fanfold: {text}").ok();
}

//! The examples of `scripts/demo`, on the deployed stack: each generates its data, and checks its own result.

use std::{
    path::Path,
    process::{Command, Output},
};

fn demo(words: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/demo");
    // The programs that these tests were built with.
    let done = Command::new(script).env("FANFOLD_PROFILE", "tested").arg("--deployed").args(words).output();
    let Output { status, stdout, stderr } = done.expect("scripts/demo runs");
    let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(status.success(), "{words:?}: {status}\n{said}");
}

#[test]
fn orders() {
    demo(&["--rows", "20000"]);
}

#[test]
fn images() {
    demo(&["--example", "images", "--count", "12"]);
}

#[test]
fn n_to_n() {
    demo(&["--example", "n-to-n", "--count", "200"]);
}

#[test]
fn third_party() {
    demo(&["--example", "third-party", "--count", "240"]);
}

#[test]
fn python() {
    demo(&["--example", "python", "--count", "12000"]);
}

#[test]
fn schedule() {
    demo(&["--example", "schedule"]);
}

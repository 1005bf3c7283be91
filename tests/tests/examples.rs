//! The documents of examples/, which are meant to be read first.

use std::{fs, path::Path};

use fanfold_domain::pipeline::Pipeline;

const MOST_LINES: usize = 20;

#[test]
fn every_example_is_a_pipeline_of_a_page_and_no_two_have_a_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let entries = fs::read_dir(folder).expect("there are examples");
    // What their programs are stands in folders.
    let files = entries.map(|entry| entry.expect("it can be read").path());
    let files: Vec<_> = files.filter(|path| !path.is_dir()).collect();
    let mut names: Vec<String> = files
        .iter()
        .map(|file| {
            let text = fs::read_to_string(file).expect("it can be read");
            let lines = text.lines().count();
            assert!(lines <= MOST_LINES, "{} has {lines} lines", file.display());
            Pipeline::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display())).name
        })
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), files.len());
}

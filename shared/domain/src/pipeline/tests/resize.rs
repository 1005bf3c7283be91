//! The options of `process: resize`, and what they are refused with.

use super::super::*;
use super::{document, mistakes};

fn text(with: &str) -> String {
    let stage = format!("name: s, process: resize, with: {{{with}}}");
    document("format: jsonl, prefix: lists/", &stage, "")
}

fn parsed(with: &str) -> Resize {
    let mut pipeline = Pipeline::parse(&text(with)).unwrap();
    match pipeline.stages.remove(0).process {
        Process::Resize(resize) => *resize,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_size_is_a_box_or_the_longer_edge() {
    let boxed = parsed("size: 800x600");
    assert_eq!((boxed.width, boxed.height), (800, 600));
    let edge = parsed("size: 1024");
    assert_eq!((edge.width, edge.height), (1024, 1024));
    let allowed =
        "WIDTHxHEIGHT such as 800x600, or a number for the longer edge; each from 1 to 16383 pixels";
    for (size, found) in [
        ("0", "the number 0"),
        ("16384", "the number 16384"),
        ("800x0", "\"800x0\""),
        ("800X600", "\"800X600\""),
        ("800x", "\"800x\""),
        ("800x+600", "\"800x+600\""),
        ("[800]", "a list of 1"),
    ] {
        let expected = format!("stages[0].with.size: found {found}; allowed: {allowed}");
        assert_eq!(mistakes(&text(&format!("size: {size}"))), expected);
    }
    assert_eq!(mistakes(&text("")), format!("stages[0].with.size: found no such field; allowed: {allowed}"));
}

#[test]
fn what_is_left_out_has_its_default() {
    let key = "resized/{key}".parse().unwrap();
    let expected = Resize {
        width: 8,
        height: 6,
        fit: Fit::Inside,
        enlarge: false,
        quality: 82,
        format: None,
        key,
        bucket: None,
        at_once: 4,
        memory_bytes: 256 << 20,
    };
    assert_eq!(parsed("size: 8x6"), expected);
}

#[test]
fn a_key_made_for_another_format_ends_in_it() {
    assert_eq!(parsed("size: 9, format: webp").key.as_str(), "resized/{key}.webp");
    assert_eq!(parsed("size: 9, format: webp, key: 'x/{key}'").key.as_str(), "x/{key}");
}

#[test]
fn wrong_options_are_refused_all_at_once() {
    let with = "size: 9, fit: fill, quality: 0, format: gif, key: 'x/{run}', bucket: B, at_once: 0, memory: 1MiB, x: 1";
    let found = mistakes(&text(with));
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines.len(), 8, "{found}");
    assert!(lines[0].starts_with("stages[0].with.x: found an unknown field; allowed: size, fit,"), "{found}");
    assert_eq!(lines[1], "stages[0].with.fit: found \"fill\"; allowed: inside, cover");
    assert_eq!(lines[2], "stages[0].with.format: found \"gif\"; allowed: same, jpeg, png, webp");
    assert_eq!(lines[3], "stages[0].with.quality: found the number 0; allowed: a whole number from 1 to 100");
    assert!(lines[4].starts_with("stages[0].with.key: found \"x/{run}\"; allowed: a text with"), "{found}");
    assert!(lines[4].ends_with("and {key} in any case"), "{found}");
    assert!(lines[5].starts_with("stages[0].with.bucket: found \"B\""), "{found}");
    assert!(lines[6].starts_with("stages[0].with.at_once: found the number 0"), "{found}");
    assert!(
        lines[7].starts_with("stages[0].with.memory: found \"1MiB\"; allowed: a size from 16MiB to 8GiB")
    );
}

#[test]
fn a_quality_of_what_loses_nothing_is_refused() {
    assert_eq!(
        mistakes(&text("size: 9, format: png, quality: 80")),
        "stages[0].with.quality: found the number 80; allowed: nothing: png has no quality, it loses nothing"
    );
}

#[test]
fn only_lists_of_images_are_read() {
    assert_eq!(
        mistakes(&document("format: lines", "name: s, process: resize, with: {size: 9}", "")),
        "stages[0].process: found resize on a source that lists no objects; allowed: resize with `source.format: objects`, jsonl or items"
    );
}

#[test]
fn results_never_start_a_run_of_the_pipeline_that_made_them() {
    let source = "format: jsonl, prefix: resized/lists/";
    let found = mistakes(&document(source, "name: s, process: resize, with: {size: 9}", ""));
    assert_eq!(
        found,
        "stages[0].with.key: found `resized/{key}`, which every key that the source matches looks like; allowed: a \
         template whose text before or after the placeholders no key of the source must have"
    );
    let all =
        Pipeline::parse(&document("format: jsonl", "name: s, process: resize, with: {size: 9}", "")).unwrap();
    assert!(all.matches("lists/a.jsonl"));
    assert!(!all.matches("resized/a.jpg"));
}

//! `fanfold local` on images: those that a list names, beside it, and those of a folder; results beside the output.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path, process::Command};

const RESIZE: &str = r"
pipeline: thumbnails
source: { format: jsonl }
split: { records: 2 }
stages: [ { name: resize, process: resize, with: { size: 40x30, format: png } } ]
on_error: { max_bad_records: 9 }
";

/// A PNG of one grey pixel.
const PIXEL: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00,
    0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x00, 0x00, 0x00, 0x00, 0x3a, 0x7e, 0x9b, 0x55, 0x00,
    0x00, 0x00, 0x0a, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0x68, 0x00, 0x00, 0x00, 0x82, 0x00, 0x81,
    0x77, 0xcd, 0x72, 0xb6, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn images_are_read_beside_the_list_and_results_written_beside_the_output() {
    let directory = tempfile::tempdir().unwrap();
    // One folder deeper, so that `..` stays within the test's own.
    let (lists, results) = (directory.path().join("lists"), directory.path().join("there"));
    fs::create_dir_all(lists.join("pictures")).unwrap();
    fs::create_dir(&results).unwrap();
    fs::write(lists.join("p.yaml"), RESIZE).unwrap();
    let record = |key| format!("{{\"key\": \"{key}\", \"etag\": \"of S3\"}}");
    let keys = ["pictures/a.png", "none.png", "../outside.png", "pictures/b.png"];
    fs::write(lists.join("in"), keys.map(record).join("\n")).unwrap();
    for image in ["lists/pictures/a.png", "lists/pictures/b.png", "outside.png"] {
        fs::write(directory.path().join(image), PIXEL).unwrap();
    }
    // Twice: what was made before is made again.
    for _ in 0..2 {
        let arguments = ["local", "in", "--pipeline", "p.yaml", "--output", "../there/out"];
        let told =
            Command::new(env!("CARGO_BIN_EXE_fanfold")).current_dir(&lists).args(arguments).output().unwrap();
        assert!(told.status.success(), "{told:?}");
        let lines = text(&results.join("out"));
        let beginning =
            r#"{"source":"pictures/a.png","bucket":"results","key":"resized/pictures/a.png.png","width":1,"#;
        assert!(lines.starts_with(beginning), "{lines}");
        assert_eq!(lines.lines().count(), 2);
        let bad = text(&results.join("out_Errors"));
        assert_eq!(bad.lines().count(), 2);
        assert!(
            bad.contains("none.png does not exist") && bad.contains("outside.png does not exist"),
            "{bad}"
        );
        for name in ["a", "b"] {
            let made = fs::read(results.join(format!("resized/pictures/{name}.png.png"))).unwrap();
            assert!(made.starts_with(b"\x89PNG"));
        }
    }
    assert!(!lists.join("resized").exists());
}

const LISTING: &str = r"
pipeline: thumbnails
source: { prefix: pictures/, suffix: .png, format: objects }
split: { records: 2 }
stages: [ { name: resize, process: resize, with: { size: 40x30 } } ]
";

fn local(place: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut fanfold = Command::new(env!("CARGO_BIN_EXE_fanfold"));
    fanfold.current_dir(place).args(["local", "--pipeline", "p.yaml", "--output", "there/out"]);
    let told = fanfold.args(arguments).output().unwrap();
    (told.status.code(), String::from_utf8(told.stderr).unwrap())
}

#[test]
fn a_folder_stands_for_the_bucket_whose_objects_are_listed() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    fs::write(place.join("p.yaml"), LISTING).unwrap();
    for folder in ["in/pictures/b", "in/others", "there"] {
        fs::create_dir_all(place.join(folder)).unwrap();
    }
    for image in ["pictures/b/1.png", "pictures/b.png", "pictures/a.png", "pictures/a.txt", "others/c.png"] {
        fs::write(place.join("in").join(image), PIXEL).unwrap();
    }
    let told = local(place, &["in", "--check"]);
    assert_eq!(told, (Some(0), "fanfold: one sequential pass gives the same bytes\n".to_owned()));
    let lines = text(&place.join("there/out"));
    let keys: Vec<&str> = lines.lines().map(|line| line.split('"').nth(3).unwrap()).collect();
    // As a bucket orders them: '.' comes before '/'.
    assert_eq!(keys, ["pictures/a.png", "pictures/b.png", "pictures/b/1.png"]);
    for key in keys {
        assert!(fs::read(place.join("there/resized").join(key)).unwrap().starts_with(b"\x89PNG"), "{key}");
    }
}

#[test]
fn no_folder_a_file_in_its_place_or_one_without_such_objects_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    fs::write(place.join("p.yaml"), LISTING).unwrap();
    fs::create_dir_all(place.join("in/pictures")).unwrap();
    fs::create_dir(place.join("there")).unwrap();
    fs::write(place.join("a.png"), PIXEL).unwrap();
    for (input, status, reason) in [
        (&[][..], 2, "name the folder that stands for their bucket"),
        (&["a.png"], 2, "input a.png is not a folder"),
        (&["in"], 1, "there is no object under pictures/ that ends in \".png\""),
    ] {
        let (found, told) = local(place, input);
        assert!(found == Some(status) && told.contains(reason), "{input:?}: {found:?} {told}");
    }
    assert!(!place.join("there/out").exists());
}

#[test]
fn an_output_among_the_objects_that_are_listed_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    fs::create_dir(place.join("there")).unwrap();
    fs::write(place.join("there/a.png"), PIXEL).unwrap();
    let listing = |prefix: &str, suffix: &str| {
        let document = LISTING.replace("pictures/", prefix).replace("suffix: .png, ", suffix);
        fs::write(place.join("p.yaml"), document).unwrap();
        local(place, &["."])
    };
    for prefix in ["there/", "''", "th"] {
        let (found, told) = listing(prefix, "");
        let reason = "output there/out would be among the objects that the pipeline lists";
        assert!(found == Some(2) && told.contains(reason), "{prefix}: {found:?} {told}");
    }
    assert!(!place.join("there/out").exists());
    assert_eq!(listing("there/", "suffix: .png, "), (Some(0), String::new()));
}

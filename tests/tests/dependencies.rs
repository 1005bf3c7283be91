//! The directions of dependency that design and style ask for, read from `cargo metadata` and the sources.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// What each shared crate may depend on of ours. A crate that is not listed is refused, so that a new one is
/// thought about.
const SHARED: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("records", &[]),
    ("images", &["domain"]),
    ("ports", &["domain"]),
    ("engine", &["domain", "records", "images", "ports"]),
    ("lifecycle", &["domain", "ports"]),
    ("local", &["domain", "ports"]),
    ("aws", &["domain", "ports"]),
    ("eks", &["domain", "ports"]),
    ("runtime", &["domain"]),
    ("web", &["domain", "ports"]),
];

/// What only a program's main may name: adapters that need a network, and the Lambda runtime.
const ADAPTERS: &[&str] = &["fanfold_aws", "fanfold_eks", "fanfold_runtime", "fanfold_web"];

/// A member of the workspace.
struct Member {
    folder: PathBuf,
    /// Normal dependencies, those of tests left out.
    dependencies: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the workspace")
}

/// The workspace's members, by their place in it: `shared/domain`.
fn members() -> BTreeMap<String, Member> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    packages.iter().map(member).collect()
}

fn member(package: &Value) -> (String, Member) {
    let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
    let folder = manifest.parent().expect("a manifest is in a folder").to_owned();
    let place = folder.strip_prefix(root()).expect("members are in the workspace").display().to_string();
    let listed = package["dependencies"].as_array().expect("a list");
    let normal = listed.iter().filter(|dependency| dependency["kind"].is_null());
    let dependencies =
        normal.map(|dependency| dependency["name"].as_str().expect("a name").to_owned()).collect();
    (place, Member { folder, dependencies })
}

fn ours(member: &Member) -> impl Iterator<Item = &str> {
    member.dependencies.iter().filter_map(|name| name.strip_prefix("fanfold-"))
}

#[test]
fn shared_crates_depend_only_on_what_lies_beneath_them() {
    let allowed: BTreeMap<&str, &[&str]> = SHARED.iter().copied().collect();
    for (place, member) in members() {
        let Some(name) = place.strip_prefix("shared/") else { continue };
        let allowed =
            allowed.get(name).unwrap_or_else(|| panic!("{name} is a crate that nobody thought about"));
        for dependency in ours(&member) {
            assert!(allowed.contains(&dependency), "{name} depends on {dependency}");
        }
    }
}

#[test]
fn services_depend_on_shared_crates_and_never_on_one_another() {
    for (place, member) in members() {
        if place.starts_with("services/") {
            for dependency in ours(&member) {
                assert!(
                    SHARED.iter().any(|(name, _)| *name == dependency),
                    "{place} depends on {dependency}"
                );
            }
        }
    }
}

#[test]
fn domain_and_records_know_no_runtime_and_no_sdk() {
    for (place, member) in members() {
        if matches!(place.as_str(), "shared/domain" | "shared/records") {
            let impure =
                member.dependencies.iter().find(|name| name.starts_with("tokio") || name.starts_with("aws"));
            assert_eq!(impure, None, "{place}");
        }
    }
}

#[test]
fn only_main_names_an_adapter() {
    let mut mains = 0;
    for (place, member) in members() {
        // The command line has no handler: it is all main.
        if !place.starts_with("services/") || place == "services/cli" {
            continue;
        }
        for file in sources(&member.folder.join("src")) {
            // `main_pod.rs` is a part of one.
            if file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("main")) {
                mains += 1;
                continue;
            }
            let text = fs::read_to_string(&file).expect("a source is text");
            for adapter in ADAPTERS {
                assert!(!text.contains(adapter), "{} names {adapter}", file.display());
            }
        }
    }
    assert!(mains > 0, "there are programs");
}

/// The Rust files beneath a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a member has sources");
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.expect("it can be listed").path()) {
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

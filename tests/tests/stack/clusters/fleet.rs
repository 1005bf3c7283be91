//! The test clusters, as those see them who run them.

use std::{path::Path, process::Command};

use fanfold_domain::cluster::Cluster;

/// Asks `scripts/cluster`; what it printed.
pub(crate) fn cluster(words: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/cluster");
    let done = Command::new(script).args(words).output().expect("scripts/cluster runs");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "scripts/cluster {}: {said}", words.join(" "));
    String::from_utf8(done.stdout).expect("it prints text")
}

/// Asks one cluster as its admin.
pub(crate) fn kubectl(name: &str, words: &[&str]) -> String {
    cluster(&[&["kubectl", name], words, &["--namespace", "fanfold"]].concat())
}

/// A declaration of test cluster `eks` under a name and a queue of the test's own.
pub(crate) fn declared(
    name: &str,
    eks: &str,
    queue: &str,
    weight: u32,
    namespace: &str,
    image: &str,
) -> Cluster {
    let text = format!(
        "cluster: {name}\neks: {eks}\nregion: us-east-1\nqueues: [{queue}]\nweight: {weight}\n\
         namespace: {namespace}\nworker_image: {image}\n"
    );
    Cluster::parse(&text).expect("it is a cluster")
}

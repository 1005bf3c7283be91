//! Real clusters, as `scripts/cluster` runs them.

use std::io::Write;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use fanfold_domain::cluster::Cluster;

/// The image that every such cluster has, a program that waits.
pub(crate) const PAUSE: &str = "fanfold.local/pause:1";

/// The first two of the clusters that `FANFOLD_TEST_CLUSTERS` names, by their names in EKS; or the end of this test
/// program, saying why, since its tests cannot be left out one by one.
///
/// # Panics
/// If what the SDK needs for them is not set: it would look outside this machine.
pub(crate) fn clusters() -> [Cluster; 2] {
    let names = lookup("FANFOLD_TEST_CLUSTERS");
    let mut names = names.split_whitespace();
    let (Some(here), Some(there)) = (names.next(), names.next()) else {
        // Not by a macro, whose output the test harness would keep to itself.
        let why = "SKIPPED, all of these tests: FANFOLD_TEST_CLUSTERS does not name two clusters";
        process::exit(i32::from(writeln!(std::io::stderr(), "{why}").is_err()));
    };
    for needed in ["AWS_ENDPOINT_URL_EKS", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        assert!(!lookup(needed).is_empty(), "FANFOLD_TEST_CLUSTERS is set, and {needed} is not");
    }
    [here, there].map(|name| {
        let text = format!("{{cluster: {name}, region: {}, worker_image: '{PAUSE}'}}", lookup("AWS_REGION"));
        Cluster::parse(&text).expect("it is a cluster")
    })
}

/// A name that no other test has, of this run of the program or of another: part of a DNS label.
#[expect(clippy::disallowed_methods, reason = "a test's names differ from those of the one before")]
pub(crate) fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    let seconds = since.expect("it is after 1970").as_secs();
    format!("test-{seconds}-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

#[expect(clippy::disallowed_methods, reason = "a test finds its clusters by variables")]
fn lookup(variable: &str) -> String {
    std::env::var(variable).unwrap_or_default()
}

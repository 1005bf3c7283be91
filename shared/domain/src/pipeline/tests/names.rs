//! Names that S3 or Kubernetes would refuse, long after the document was applied; and documents that were applied before
//! they were refused.

use super::super::{Pipeline, RunOn};
use super::mistakes;

const PODS: &str = "{pipeline: p, source: {format: lines}, stages: [{name: s, run_on: eks, process: copy, \
                    kubernetes: KUBERNETES}]}";

fn named(pipeline: &str, stage: &str) -> String {
    format!("{{pipeline: {pipeline}, source: {{format: lines}}, stages: [{{name: {stage}, process: copy}}]}}")
}

fn kubernetes(says: &str) -> String {
    mistakes(&PODS.replace("KUBERNETES", says))
}

/// They become labels of Jobs.
#[test]
fn names_begin_and_end_as_labels_do() {
    assert_eq!(mistakes(&named("a-1", "1-a")), "");
    assert_eq!(
        mistakes(&named("orders-", "confirm-")),
        "pipeline: found \"orders-\"; allowed: 1 to 63 of a-z, 0-9, `-`, the first and the last not `-`\n\
         stages[0].name: found \"confirm-\"; allowed: 1 to 32 of a-z, 0-9, `-`, the first and the last not `-`, but not \
         `scan`, `plan`"
    );
    assert!(mistakes(&named("-orders", "-confirm")).lines().count() == 2);
}

#[test]
fn buckets_are_such_as_s3_has() {
    let merged = |bucket: &str| {
        let text = format!(
            "{{pipeline: p, source: {{format: lines}}, stages: [{{name: s, process: copy}}], merge: {{bucket: '{bucket}'}}}}"
        );
        mistakes(&text)
    };
    for bucket in ["out", "a.b.c", "1.2.3", "my-bucket-1.example"] {
        assert_eq!(merged(bucket), "", "{bucket}");
    }
    for bucket in [
        "a..b",
        "192.168.5.4",
        "xn--a",
        "sthree-a",
        "amzn-s3-demo-a",
        "a-s3alias",
        "a--ol-s3",
        "a--x-s3",
        "ab-",
    ] {
        assert!(merged(bucket).starts_with("merge.bucket: found "), "{bucket}");
    }
}

#[test]
fn labels_and_taints_are_such_as_kubernetes_has() {
    for says in [
        "{node_selector: {karpenter.sh/capacity-type: spot, Disk_1: ''}}",
        "{tolerations: [{key: example.com/gpu, value: A100, effect: NoSchedule}, {}]}",
        "{run_as_user: 2147483647}",
    ] {
        assert_eq!(kubernetes(says), "", "{says}");
    }
    for (says, path) in [
        ("{node_selector: {disk-: fast}}", "node_selector.disk-"),
        ("{node_selector: {a/b/c: fast}}", "node_selector.a/b/c"),
        ("{node_selector: {Up.example/disk: fast}}", "node_selector.Up.example/disk"),
        ("{node_selector: {disk: 'very fast'}}", "node_selector.disk"),
        ("{tolerations: [{key: 'a key'}]}", "tolerations[0].key"),
        ("{tolerations: [{key: a, value: '-a'}]}", "tolerations[0].value"),
        ("{tolerations: [{value: a}]}", "tolerations[0].key"),
        ("{run_as_user: 2147483648}", "run_as_user"),
    ] {
        let found = kubernetes(says);
        assert!(found.starts_with(&format!("stages[0].kubernetes.{path}: found ")), "{says}: {found}");
        assert_eq!(found.lines().count(), 1, "{says}: {found}");
    }
}

/// One that could not be read would stop every upload of every pipeline.
#[test]
fn what_was_stored_with_such_names_is_read_still() {
    let stored =
        PODS.replace("pipeline: p", "pipeline: orders-").replace("name: s", "name: -confirm-").replace(
            "KUBERNETES",
            "{node_selector: {'my disk': very fast}, tolerations: [{value: a}], run_as_user: 4000000000}",
        );
    let stored = stored.replace("stages:", "merge: {bucket: a..b}, stages:");
    assert!(mistakes(&stored).lines().count() >= 5, "{}", mistakes(&stored));
    let pipeline = Pipeline::parse_stored(&stored).unwrap();
    assert_eq!((pipeline.name.as_str(), pipeline.stages[0].name.as_str()), ("orders-", "-confirm-"));
    let RunOn::Eks(eks) = &pipeline.stages[0].run_on else { panic!("it runs on EKS") };
    assert_eq!(eks.node_selector["my disk"], "very fast");
    let text = serde_json::to_string(&pipeline).unwrap();
    assert_eq!(serde_json::from_str::<Pipeline>(&text).unwrap(), pipeline);
    assert!(Pipeline::parse(&text).is_err(), "whoever applies it again is told");
}

/// What was never right is not read either.
#[test]
fn older_rules_hold_of_stored_documents_too() {
    for text in [named("Orders", "confirm"), named("orders", "scan"), named("-orders", "confirm")] {
        assert!(Pipeline::parse_stored(&text).is_err(), "{text}");
    }
}

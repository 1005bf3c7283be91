//! Both ways of fanning out, in both places where chunks are worked on.

use fanfold_tests::sales::Style;

use super::{CLUSTERS, stack_with};
use crate::{maps::apply_orders, oracle::confirmations, sales, succeeded};

const ON_EKS: &str = "run_on: eks, resources: { cpu: 20m, memory: 64MiB }, kubernetes: { queue: four }";

#[tokio::test(flavor = "multi_thread")]
async fn the_same_object_gives_the_same_bytes_in_all_four_ways() {
    let _shared = CLUSTERS.read().await;
    let stack = stack_with("four", &[("one", 1), ("two", 1)]).await;
    let source = sales(Style::Quoted, 10_000);
    apply_orders(&stack, "four", "sqs", "run_on: lambda").await;
    // Ids are derived of the version that a submission finds.
    succeeded(&stack.run_of("four/sales.csv", &source).await);
    let first = stack.run_of_submission_as("four", "four/sales.csv", "messages to Lambda").await;
    succeeded(&first);
    let expected = confirmations(&source, &first, &[]);
    assert!(stack.read(&first.output).await.as_ref() == Some(&expected), "the output differs");
    for (way, fan_out, stage) in [
        ("a map on Lambda", "distributed-map", "run_on: lambda"),
        ("launches on EKS", "sqs", ON_EKS),
        ("a map on EKS", "distributed-map", ON_EKS),
    ] {
        apply_orders(&stack, "four", fan_out, stage).await;
        let run = stack.run_of_submission_as("four", "four/sales.csv", way).await;
        succeeded(&run);
        assert!(stack.read(&run.output).await.as_ref() == Some(&expected), "{way}: the output differs");
        let launches = stack.launches(&run).await;
        assert_eq!(
            !launches.is_empty() && launches.iter().all(|launch| launch.is_created),
            way.ends_with("EKS"),
            "{way}"
        );
    }
}

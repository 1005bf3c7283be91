//! Buckets to test with: one that keeps versions and one that does not, made once.

use std::sync::Arc;

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use fanfold_ports::contract::{ObjectsUnderTest, Rule};
use tokio::sync::OnceCell;

use crate::stack::{Stack, unique};

pub(crate) async fn under_test(stack: &Stack, lacks: &'static [Rule]) -> ObjectsUnderTest {
    static BUCKETS: OnceCell<(String, String)> = OnceCell::const_new();
    let (bucket, versioned) = BUCKETS.get_or_init(|| make_buckets(stack)).await.clone();
    ObjectsUnderTest {
        objects: Arc::new(stack.aws.objects()),
        bucket,
        versioned_bucket: Some(versioned),
        prefix: format!("{}/", unique()),
        lacks,
    }
}

async fn make_buckets(stack: &Stack) -> (String, String) {
    let config = aws_sdk_s3::config::Builder::from(&stack.sdk).force_path_style(true).build();
    let client = aws_sdk_s3::Client::from_conf(config);
    let names = (format!("plain-{}", unique()), format!("versioned-{}", unique()));
    for name in [&names.0, &names.1] {
        client.create_bucket().bucket(name).send().await.expect("the bucket is made");
    }
    let versions = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let put = client.put_bucket_versioning().bucket(&names.1).versioning_configuration(versions);
    put.send().await.expect("the bucket keeps versions");
    names
}

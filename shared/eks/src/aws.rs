//! The AWS side of a cluster: as whom it is spoken to, where it is, and which certificates it has.

use std::time::SystemTime;

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider},
};
use aws_sdk_eks::types::{Cluster as Described, ClusterStatus};
use base64::{Engine, prelude::BASE64_STANDARD};
use fanfold_domain::{Timestamp, cluster::Cluster};
use fanfold_ports::clusters::ClusterFault::Refused;

use crate::failure::Failure;
use crate::wire::{CONNECT, WHOLE};

const CREDENTIALS: &str = "credentials";
const ASSUME: &str = "AssumeRole";
const DESCRIBE: &str = "DescribeCluster";
/// What the audit logs of a role's account call us.
const SESSION_NAME: &str = "fanfold";

/// Where a cluster is, and how it is known to be itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) url: http::Uri,
    /// The authorities that may vouch for it, each a certificate in DER.
    pub(crate) authorities: Vec<Vec<u8>>,
}

/// AWS, without retries: callers of the port have their own.
#[derive(Debug)]
pub(crate) struct Aws {
    sdk: SdkConfig,
}

impl Aws {
    /// Takes credentials and endpoints from where the SDK finds them.
    pub(crate) async fn load() -> Self {
        Self::new(&aws_config::load_defaults(BehaviorVersion::v2026_01_12()).await)
    }

    pub(crate) fn new(sdk: &SdkConfig) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .read_timeout(WHOLE)
            .operation_attempt_timeout(WHOLE);
        let sdk = sdk.to_builder().timeout_config(timeouts.build()).retry_config(RetryConfig::disabled());
        Self { sdk: sdk.build() }
    }

    /// The SDK's time, with which it signs its own requests too.
    pub(crate) fn now(&self) -> Timestamp {
        timestamp(self.sdk.time_source().unwrap_or_default().now())
    }

    /// The credentials to speak to a cluster with: its role's, or our own.
    pub(crate) async fn credentials(&self, cluster: &Cluster) -> Result<Credentials, Failure> {
        let Some(role) = &cluster.role else {
            let provider = self.sdk.credentials_provider();
            let provider = provider.ok_or_else(|| Failure::before(CREDENTIALS, Refused, "none are given"))?;
            return provider.provide_credentials().await.map_err(Failure::of_credentials);
        };
        let sdk = self.sdk.to_builder().region(Region::new(cluster.region.clone())).build();
        let assume = aws_sdk_sts::Client::new(&sdk).assume_role().role_arn(role);
        let assumed = assume.role_session_name(SESSION_NAME).send().await;
        let assumed = assumed.map_err(|error| Failure::of_aws(ASSUME, error))?.credentials;
        let given = assumed.ok_or_else(|| Failure::before(ASSUME, Refused, "it gave no credentials"))?;
        let expiry = given.expiration.try_into().ok();
        let token = Some(given.session_token);
        Ok(Credentials::new(given.access_key_id, given.secret_access_key, token, expiry, ASSUME))
    }

    /// Where a cluster is now.
    pub(crate) async fn describe(
        &self,
        cluster: &Cluster,
        credentials: &Credentials,
    ) -> Result<Endpoint, Failure> {
        let sdk = self.sdk.to_builder().region(Region::new(cluster.region.clone()));
        let sdk = sdk.credentials_provider(SharedCredentialsProvider::new(credentials.clone())).build();
        let describe = aws_sdk_eks::Client::new(&sdk).describe_cluster().name(&cluster.eks);
        let described = describe.send().await.map_err(|error| Failure::of_aws(DESCRIBE, error))?.cluster;
        endpoint(described.as_ref())
            .map_err(|detail| Failure::before(DESCRIBE, Refused, format!("cluster {} {detail}", cluster.eks)))
    }
}

/// What a description says of the endpoint, or why there is none to speak to.
fn endpoint(described: Option<&Described>) -> Result<Endpoint, String> {
    let cluster = described.ok_or("is not described")?;
    // A cluster that is updated to another version serves on.
    if let Some(status) = cluster.status()
        && !matches!(status, ClusterStatus::Active | ClusterStatus::Updating)
    {
        return Err(format!("is {status}"));
    }
    let url = cluster.endpoint().ok_or("has no endpoint")?;
    let url = url.parse().map_err(|error| format!("has the endpoint {url:?}: {error}"))?;
    let authority = cluster.certificate_authority().and_then(|authority| authority.data());
    let authorities = authorities(authority.ok_or("has no certificate authority")?)?;
    Ok(Endpoint { url, authorities })
}

/// Certificates in PEM, in base64.
fn authorities(data: &str) -> Result<Vec<Vec<u8>>, String> {
    let unusable = |what: &dyn std::fmt::Display| format!("has an unusable certificate authority: {what}");
    let pem = BASE64_STANDARD.decode(data).map_err(|error| unusable(&error))?;
    let blocks = pem::parse_many(pem).map_err(|error| unusable(&error))?;
    let certificates = blocks.into_iter().filter(|block| block.tag() == "CERTIFICATE");
    let certificates: Vec<_> = certificates.map(pem::Pem::into_contents).collect();
    if certificates.is_empty() { Err(unusable(&"no certificate in it")) } else { Ok(certificates) }
}

/// A time of the SDK's.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

//! The tokens that EKS takes: presigned requests that ask STS who is asking.
//!
//! The API server has the verifier of `aws-iam-authenticator` make the request for it; whom STS names is who asks.
//! <https://docs.aws.amazon.com/eks/latest/best-practices/identity-and-access-management.html> tells the story, the
//! verifier's source (`pkg/token/token.go`) the rules: only real hosts of STS, only these parameters, and the
//! cluster's name among what is signed, so that no other cluster can use a token that it was given.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningError, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use fanfold_domain::Timestamp;

use crate::aws::timestamp;

/// The header whose value says for which cluster a token is.
const CLUSTER_HEADER: &str = "x-k8s-aws-id";
const PREFIX: &str = "k8s-aws-v1.";
/// What the URL says of itself. The verifier does not go by it: a token is good for 15 minutes after its date.
const EXPIRES: Duration = Duration::from_mins(1);
/// When a token is replaced: well within its 15 minutes, clocks that differ included.
const RENEW_AFTER_MS: u64 = 10 * 60 * 1_000;
/// How long before its credentials expire: the verifier asks STS later than we sign.
const BEFORE_EXPIRY_MS: u64 = 60 * 1_000;

/// Signs a token for the cluster that EKS calls `name`.
pub(crate) fn token(
    credentials: &Credentials,
    region: &str,
    name: &str,
    now: Timestamp,
) -> Result<String, SigningError> {
    let url = format!("https://{}/?Action=GetCallerIdentity&Version=2011-06-15", sts_host(region));
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(EXPIRES);
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("sts")
        .time(system_time(now))
        .settings(settings)
        .build()
        .expect("all that a signature needs is given");
    let headers = [(CLUSTER_HEADER, name)].into_iter();
    let request = SignableRequest::new("GET", &url, headers, SignableBody::Bytes(&[]))?;
    let (instructions, _) = sign(request, &params.into())?.into_parts();
    let mut presigned = http::Request::new(());
    *presigned.uri_mut() = url.parse().expect("it was parsed to be signed");
    instructions.apply_to_request_http1x(&mut presigned);
    Ok(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(presigned.uri().to_string())))
}

/// When a token that was signed at `now` is to be replaced.
pub(crate) fn renew_at(credentials: &Credentials, now: Timestamp) -> Timestamp {
    let by_age = now.plus_ms(RENEW_AFTER_MS);
    let Some(expiry) = credentials.expiry() else { return by_age };
    let expiry_ms = timestamp(expiry).0;
    by_age.min(Timestamp(expiry_ms.saturating_sub(BEFORE_EXPIRY_MS)))
}

fn sts_host(region: &str) -> String {
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("sts.{region}.amazonaws.com{suffix}")
}

fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(at.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use percent_encoding::percent_decode_str;
    use sha2::{Digest, Sha256};

    /// 2026-01-02 03:04:05.678 UTC.
    const NOW: Timestamp = Timestamp(1_767_323_045_678);
    const KEY: &str = "AKIDEXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn credentials(session: Option<&str>, expiry_ms: Option<u64>) -> Credentials {
        let expiry = expiry_ms.map(|ms| system_time(Timestamp(ms)));
        Credentials::new(KEY, SECRET, session.map(str::to_owned), expiry, "test")
    }

    /// The URL within a token.
    fn url(token: &str) -> String {
        let encoded = token.strip_prefix("k8s-aws-v1.").unwrap();
        assert!(!encoded.contains(['=', '+', '/']), "{encoded}");
        String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(encoded).unwrap()).unwrap()
    }

    /// The parameters of a URL in order, decoded.
    fn parameters(url: &str) -> BTreeMap<String, String> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let pairs = url.split_once("/?").unwrap().1.split('&').map(|pair| pair.split_once('=').unwrap());
        pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
    }

    /// HMAC as RFC 2104 has it.
    fn hmac(key: &[u8], text: &str) -> Vec<u8> {
        let mut block = [0; 64];
        block[..key.len()].copy_from_slice(key);
        let pad = |with: u8| block.map(|byte| byte ^ with);
        let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
        Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
    }

    /// The signature that AWS documents, made by hand.
    fn signature(url: &str, host: &str, region: &str, cluster: &str) -> String {
        let query = url.split_once("/?").unwrap().1;
        let mut pairs: Vec<_> =
            query.split('&').filter(|pair| !pair.starts_with("X-Amz-Signature=")).collect();
        pairs.sort_unstable();
        let headers = format!("host:{host}\nx-k8s-aws-id:{cluster}\n\nhost;x-k8s-aws-id");
        let nothing = hex::encode(Sha256::digest(""));
        let request = format!("GET\n/\n{}\n{headers}\n{nothing}", pairs.join("&"));
        let request = hex::encode(Sha256::digest(request));
        let scope = format!("20260102/{region}/sts/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n20260102T030405Z\n{scope}\n{request}");
        let key = format!("AWS4{SECRET}").into_bytes();
        let key = scope.split('/').fold(key, |key, part| hmac(&key, part));
        hex::encode(hmac(&key, &text))
    }

    #[test]
    fn a_token_is_a_presigned_question_to_sts_for_one_cluster() {
        let url = url(&token(&credentials(None, None), "eu-central-1", "Prod_1", NOW).unwrap());
        assert!(url.starts_with("https://sts.eu-central-1.amazonaws.com/?"), "{url}");
        let signature = signature(&url, "sts.eu-central-1.amazonaws.com", "eu-central-1", "Prod_1");
        let wanted = [
            ("Action", "GetCallerIdentity"),
            ("Version", "2011-06-15"),
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", "AKIDEXAMPLE/20260102/eu-central-1/sts/aws4_request"),
            ("X-Amz-Date", "20260102T030405Z"),
            ("X-Amz-Expires", "60"),
            ("X-Amz-SignedHeaders", "host;x-k8s-aws-id"),
            ("X-Amz-Signature", &signature),
        ];
        let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parameters(&url), wanted.into());
    }

    #[test]
    fn a_sessions_token_is_signed_with_the_rest() {
        let session = "IQoJb3JpZ2luX2VjE/+w==";
        let url = url(&token(&credentials(Some(session), None), "us-east-1", "one", NOW).unwrap());
        let found = parameters(&url);
        assert_eq!(found["X-Amz-Security-Token"], session);
        assert_eq!(
            found["X-Amz-Signature"],
            signature(&url, "sts.us-east-1.amazonaws.com", "us-east-1", "one")
        );
        assert_eq!(found.len(), 9);
    }

    #[test]
    fn china_has_hosts_of_its_own() {
        let url = url(&token(&credentials(None, None), "cn-north-1", "one", NOW).unwrap());
        assert!(url.starts_with("https://sts.cn-north-1.amazonaws.com.cn/?Action="), "{url}");
        let host = "sts.cn-north-1.amazonaws.com.cn";
        assert_eq!(parameters(&url)["X-Amz-Signature"], signature(&url, host, "cn-north-1", "one"));
    }

    #[test]
    fn a_token_is_replaced_before_eks_or_its_credentials_let_it_expire() {
        let minutes = |minutes: u64| NOW.plus_ms(minutes * 60_000);
        assert_eq!(renew_at(&credentials(None, None), NOW), minutes(10));
        assert_eq!(renew_at(&credentials(None, Some(minutes(60).0)), NOW), minutes(10));
        assert_eq!(renew_at(&credentials(None, Some(minutes(5).0)), NOW), minutes(4));
        assert!(renew_at(&credentials(None, Some(1)), NOW) < NOW);
    }
}

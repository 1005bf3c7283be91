//! Requests to a cluster, and the connections they go over.

use std::time::Duration;

use bytes::Bytes;
use fanfold_ports::clusters::ClusterFault;
use kube::client::Body;
use tokio::time::timeout;

use crate::aws::Endpoint;
use crate::failure::{Answer, Failure};

/// A host that has not taken a connection in this time, TLS included, is not there.
pub(crate) const CONNECT: Duration = Duration::from_secs(3);
/// How long a request may take, from its connection to the last byte of its answer.
pub(crate) const WHOLE: Duration = Duration::from_secs(10);

/// A client of the cluster at `endpoint` that shows `token`. No connection is made yet.
///
/// Called within a tokio runtime, which it needs from then on.
pub(crate) fn client(endpoint: &Endpoint, token: String) -> Result<kube::Client, Failure> {
    let mut config = kube::Config::new(endpoint.url.clone());
    config.root_cert = Some(endpoint.authorities.clone());
    config.connect_timeout = Some(CONNECT);
    config.default_retry = false;
    config.auth_info.token = Some(token.into());
    kube::Client::try_from(config)
        .map_err(|error| Failure::before("connection", ClusterFault::Refused, error))
}

/// Makes one request, and reads the answer whole.
pub(crate) async fn exchange(
    client: &kube::Client,
    request: http::Request<Vec<u8>>,
) -> Result<Bytes, Failure> {
    let answered = timeout(WHOLE, async {
        let response = client.send(request.map(Body::from)).await?;
        let status = response.status();
        Ok::<_, kube::Error>((status, response.into_body().collect_bytes().await?))
    });
    let (status, body) = match answered.await {
        Ok(answered) => answered.map_err(Failure::Broken)?,
        Err(_) => return Err(Failure::TimedOut { seconds: WHOLE.as_secs() }),
    };
    if status.is_success() { Ok(body) } else { Err(Failure::Answered(Answer::read(status, &body))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Time passes as soon as all wait.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let endpoint = Endpoint { url: url.parse().unwrap(), authorities: Vec::new() };
        let began = tokio::time::Instant::now();
        let client = client(&endpoint, "token".to_owned()).unwrap();
        let request = http::Request::get("/healthz").body(Vec::new()).unwrap();
        let failure = exchange(&client, request).await.unwrap_err();
        assert!(matches!(failure, Failure::TimedOut { .. }), "{failure}");
        assert_eq!(began.elapsed(), WHOLE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_hangs_is_no_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let ca = pem::parse(include_str!("fake_ca.pem")).unwrap().into_contents();
        let endpoint = Endpoint { url: url.parse().unwrap(), authorities: vec![ca] };
        let began = tokio::time::Instant::now();
        let client = client(&endpoint, "token".to_owned()).unwrap();
        let request = http::Request::get("/healthz").body(Vec::new()).unwrap();
        let failure = exchange(&client, request).await.unwrap_err();
        assert!(matches!(failure, Failure::Broken(_)), "{failure}");
        assert_eq!(began.elapsed(), CONNECT);
    }
}

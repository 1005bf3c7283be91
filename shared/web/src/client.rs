//! The client: connections that are kept, and what their errors mean.

use std::{error::Error, io, net::IpAddr, sync::OnceLock, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use fanfold_ports::{
    Fault, PortError,
    web::{Answer, Request, Web},
};
use http_body_util::{BodyExt, Full};
use hyper::{
    Uri,
    body::{Body, Incoming},
    header::RETRY_AFTER,
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use crate::addresses::{Reach, Resolver, refusal};

/// A host that does not answer a SYN in this time is not there.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection is kept that nobody uses: less than most servers and balancers keep it, so that few requests
/// meet one that is just being closed.
const IDLE: Duration = Duration::from_secs(20);
/// What of a long answer is still read, so that its connection can be used again.
const DRAIN_BYTES: usize = 64 << 10;

type Connections = Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;

/// The web port on hyper: HTTP/1.1, TLS by the system's authorities, connections kept.
#[derive(Debug)]
pub struct WebClient {
    reach: Reach,
    /// Made when it is first needed: to read the system's authorities takes tens of milliseconds of a cold start.
    connections: OnceLock<Connections>,
}

impl WebClient {
    /// A client that asks the addresses of its reach.
    pub fn new(reach: Reach) -> Self {
        Self { reach, connections: OnceLock::new() }
    }

    /// # Errors
    /// The system has no authorities.
    fn connections(&self) -> io::Result<&Connections> {
        if let Some(made) = self.connections.get() {
            return Ok(made);
        }
        let made = connect(self.reach)?;
        Ok(self.connections.get_or_init(|| made))
    }
}

fn connect(reach: Reach) -> io::Result<Connections> {
    let mut connector = HttpConnector::new_with_resolver(Resolver(reach));
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_nodelay(true);
    connector.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_native_roots()?
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    let mut builder = Client::builder(TokioExecutor::new());
    Ok(builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).build(connector))
}

#[async_trait]
impl Web for WebClient {
    async fn send(&self, request: Request) -> Result<Answer, PortError> {
        // Without its query, which may hold what is nobody's business.
        let subject = request.url.split('?').next().unwrap_or_default().to_owned();
        let failed =
            |fault, error: &(dyn Error + 'static)| PortError::new(fault, "send", &subject, causes(error));
        let uri: Uri = request.url.parse().map_err(|error| failed(Fault::Permanent, &error))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
            let detail = "not a URL of http:// or https:// and a host";
            return Err(PortError::new(Fault::Permanent, "send", &subject, detail));
        }
        // The resolver is not asked about these.
        if let Some(address) = literal_address(&uri)
            && !self.reach.allows(address)
        {
            return Err(failed(Fault::Permanent, &refusal(address)));
        }
        let most = usize::try_from(request.max_answer_bytes).unwrap_or(usize::MAX);
        let mut builder = hyper::Request::builder().method(request.method).uri(uri);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let asked =
            builder.body(Full::new(request.body)).map_err(|error| failed(Fault::Permanent, &error))?;
        let connections = self.connections().map_err(|error| failed(Fault::Permanent, &error))?;
        let answer = connections.request(asked).await.map_err(|error| failed(fault_of(&error), &error))?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(ToOwned::to_owned);
        let (body, is_cut) =
            read(answer.into_body(), most).await.map_err(|error| failed(Fault::Indeterminate, &error))?;
        Ok(Answer { status, retry_after, body, is_cut })
    }
}

/// Reads at most so many bytes of a body, and says whether there are more.
async fn read(mut body: Incoming, most: usize) -> Result<(Bytes, bool), hyper::Error> {
    let mut read = Vec::new();
    let mut is_cut = false;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = most.saturating_sub(read.len());
        read.extend_from_slice(&data[..data.len().min(room)]);
        is_cut |= data.len() > room;
        let left = body.size_hint().upper().and_then(|left| usize::try_from(left).ok());
        if is_cut && left.is_none_or(|left| left > DRAIN_BYTES) {
            break;
        }
    }
    Ok((read.into(), is_cut))
}

/// The address that a URL's host is, if it is one.
fn literal_address(uri: &Uri) -> Option<IpAddr> {
    uri.host()?.trim_matches(['[', ']']).parse().ok()
}

/// What is known after a request without an answer.
fn fault_of(error: &hyper_util::client::legacy::Error) -> Fault {
    let is_refused = chain(error).any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    });
    match (is_refused, error.is_connect()) {
        (true, _) => Fault::Permanent,
        (false, true) => Fault::Transient,
        (false, false) => Fault::Indeterminate,
    }
}

/// An error and its causes in one line.
fn causes(error: &(dyn Error + 'static)) -> String {
    chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

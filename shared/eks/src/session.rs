//! What is kept of a cluster between calls: as whom it is spoken to, where it is, a connection to it.

use std::sync::Arc;

use aws_credential_types::Credentials;
use fanfold_domain::{Timestamp, cluster::Cluster};
use fanfold_ports::clusters::ClusterFault;
use tokio::sync::Mutex;

use crate::aws::{Aws, Endpoint};
use crate::failure::Failure;
use crate::{token, wire};

/// How long a description is believed, in milliseconds.
const DESCRIBED_MS: u64 = 15 * 60 * 1_000;
/// A connection that was not used for so long is made anew. A function that was frozen meanwhile cannot know
/// whether the other side, or a gateway in between, has forgotten it; a request over such a one would hang.
const IDLE_MS: u64 = 60 * 1_000;

/// A cluster, spoken to.
#[derive(Default)]
pub(crate) struct Session {
    /// Held while AWS is asked, so that calls at once ask it once.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    identity: Option<Identity>,
    described: Option<Described>,
    open: Option<Open>,
    /// How many connections were opened.
    opened: u64,
}

#[derive(Clone)]
struct Identity {
    credentials: Credentials,
    token: String,
    renew_at: Timestamp,
}

struct Described {
    endpoint: Arc<Endpoint>,
    at: Timestamp,
}

struct Open {
    client: kube::Client,
    used_at: Timestamp,
}

/// What a request is made with.
pub(crate) struct Connection {
    pub(crate) client: kube::Client,
    /// Which one of the session's it is: a later one has another token or goes elsewhere.
    number: u64,
    /// Whether it goes where AWS said just now.
    is_described_now: bool,
}

/// What a session asks, of whom, and when.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) aws: &'a Aws,
    pub(crate) cluster: &'a Cluster,
    pub(crate) now: Timestamp,
}

impl Session {
    /// A connection, all that is stale renewed.
    pub(crate) async fn connection(&self, asking: Asking<'_>) -> Result<Connection, Failure> {
        self.state.lock().await.connection(asking).await
    }

    /// A connection with another token than `refused` has, which the cluster did not take.
    pub(crate) async fn with_new_token(
        &self,
        asking: Asking<'_>,
        refused: &Connection,
    ) -> Result<Connection, Failure> {
        let mut state = self.state.lock().await;
        if state.opened == refused.number {
            state.identity = None;
        }
        state.connection(asking).await
    }

    /// A connection to where the cluster is now; none if `broken` went there already.
    ///
    /// # Errors
    /// AWS knows no such cluster any more.
    pub(crate) async fn where_it_moved(
        &self,
        asking: Asking<'_>,
        broken: &Connection,
    ) -> Result<Option<Connection>, Failure> {
        if broken.is_described_now {
            return Ok(None);
        }
        let mut state = self.state.lock().await;
        if state.opened != broken.number {
            return state.connection(asking).await.map(Some);
        }
        match state.locate(asking).await {
            Ok(_) if state.open.is_some() => Ok(None),
            Ok(_) => state.connection(asking).await.map(Some),
            Err(failure) if failure.fault() == ClusterFault::Refused => Err(failure),
            // That AWS does not answer either is no news of the cluster.
            Err(_) => Ok(None),
        }
    }
}

impl State {
    async fn connection(&mut self, asking: Asking<'_>) -> Result<Connection, Failure> {
        let now = asking.now;
        let identity = self.identity(asking).await?;
        let (endpoint, is_described_now) = match &self.described {
            Some(described) if now.ms_since(described.at) < DESCRIBED_MS => {
                (described.endpoint.clone(), false)
            }
            _ => (self.locate(asking).await?, true),
        };
        let client = self.client(&endpoint, identity.token, now)?;
        Ok(Connection { client, number: self.opened, is_described_now })
    }

    /// As whom the cluster is spoken to, from now on if that has to change.
    async fn identity(&mut self, asking: Asking<'_>) -> Result<Identity, Failure> {
        let Asking { aws, cluster, now } = asking;
        if let Some(identity) = self.identity.as_ref().filter(|identity| now < identity.renew_at) {
            return Ok(identity.clone());
        }
        let credentials = aws.credentials(cluster).await?;
        let token = token::token(&credentials, &cluster.region, &cluster.eks, now)
            .map_err(|error| Failure::before("token", ClusterFault::Refused, error))?;
        let renew_at = token::renew_at(&credentials, now);
        let identity = Identity { credentials, token, renew_at };
        (self.identity, self.open) = (Some(identity.clone()), None);
        Ok(identity)
    }

    /// Asks AWS where the cluster is, and closes what goes elsewhere.
    async fn locate(&mut self, asking: Asking<'_>) -> Result<Arc<Endpoint>, Failure> {
        let Asking { aws, cluster, now } = asking;
        let credentials = self.identity(asking).await?.credentials;
        let endpoint = Arc::new(aws.describe(cluster, &credentials).await?);
        if self.described.as_ref().is_none_or(|described| described.endpoint != endpoint) {
            self.open = None;
        }
        self.described = Some(Described { endpoint: endpoint.clone(), at: now });
        Ok(endpoint)
    }

    /// The open client, or a new one.
    fn client(
        &mut self,
        endpoint: &Endpoint,
        token: String,
        now: Timestamp,
    ) -> Result<kube::Client, Failure> {
        if let Some(open) = self.open.as_mut().filter(|open| now.ms_since(open.used_at) < IDLE_MS) {
            open.used_at = now;
            return Ok(open.client.clone());
        }
        let client = wire::client(endpoint, token)?;
        self.opened += 1;
        self.open = Some(Open { client: client.clone(), used_at: now });
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Fake, TestTime, aws, cluster, described};

    #[tokio::test]
    async fn a_connection_that_lay_idle_is_made_anew() {
        let fake = Fake::start(|_| (200, described("http://127.0.0.1:1").to_string())).await;
        let (time, cluster, session) = (TestTime::default(), cluster(), Session::default());
        let aws = aws(&fake, &time);
        let mut numbers = Vec::new();
        for seconds in [0, 59, 59, 60] {
            time.pass_s(seconds);
            let asking = Asking { aws: &aws, cluster: &cluster, now: aws.now() };
            numbers.push(session.connection(asking).await.unwrap().number);
        }
        assert_eq!(numbers, [1, 1, 1, 2]);
    }
}

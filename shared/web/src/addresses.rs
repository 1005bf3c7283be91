//! From a name to addresses that may be asked.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    vec::IntoIter,
};

use fanfold_domain::address::{is_link_local, is_loopback};
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

/// Which addresses may be asked; those of the machine's link never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All others. For a machine whose loopback is the user's own, and for tests.
    Anywhere,
    /// All but the machine's own: within a function there listens what gives it its events.
    Elsewhere,
}

impl Reach {
    /// Whether this address may be asked.
    pub(crate) fn allows(self, address: IpAddr) -> bool {
        !is_link_local(address) && (self == Self::Anywhere || !is_loopback(address))
    }
}

/// The system's resolver, less the addresses that may not be asked: what is resolved here is what is connected to, so
/// that no name changes its meaning in between.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resolver(pub(crate) Reach);

impl Service<Name> for Resolver {
    type Response = IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let reach = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let (allowed, refused): (Vec<_>, Vec<_>) = found.partition(|found| reach.allows(found.ip()));
            match refused.first() {
                Some(address) if allowed.is_empty() => Err(refusal(address.ip())),
                _ => Ok(allowed.into_iter()),
            }
        })
    }
}

/// The error of an address that may not be asked.
pub(crate) fn refusal(address: IpAddr) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("{address} may not be asked by a pipeline"))
}

//! The web port: requests to third parties over HTTP/1.1, with TLS.
//!
//! Architecture invariant: nothing here knows what is asked or why, waits, or tries again; and no request reaches an
//! address that hands out the machine's credentials, whatever name it was called by.

mod addresses;
mod client;

pub use addresses::Reach;
pub use client::WebClient;

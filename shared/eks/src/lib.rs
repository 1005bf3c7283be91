//! The port [`fanfold_ports::Clusters`] on clusters of EKS: Kubernetes Jobs, reached as EKS wants to be reached.
//!
//! A call finds its cluster's endpoint and certificates by `DescribeCluster`, signs a token as EKS takes it, and makes
//! one request of Kubernetes. Endpoints, tokens and connections are kept between calls; nothing is retried but a
//! request whose token was refused, or whose cluster has moved. Every failure is one of the port's four faults
//! (`failure.rs`).
//!
//! Architecture invariant: nothing here knows what a Job does, nor what a launch is: manifests are given, states are
//! handed back. No SDK's or kube's type is part of a signature, and none of our environment variables is read. (The
//! SDK reads its own: credentials, `AWS_ENDPOINT_URL_EKS`, `AWS_ENDPOINT_URL_STS`. A token is for the real STS
//! whatever they say.)

mod aws;
mod clusters;
mod failure;
#[cfg(test)]
mod fake;
mod indexes;
mod jobs;
mod pods;
mod requests;
mod session;
mod token;
mod wire;

pub use clusters::EksClusters;

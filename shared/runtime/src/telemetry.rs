//! Logs: JSON on stderr, one object a line, fields of the event at its top and the spans in a list.

use std::io;

use tracing::warn;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config;

/// What is logged unless `RUST_LOG` says otherwise: not the SDK's notes on credentials and the like.
const FILTER: &str =
    "info,aws_config=warn,aws_runtime=warn,aws_smithy_runtime=warn,hyper=warn,kube_client=off";

/// Sets up logging for the process.
///
/// # Panics
/// If it was set up before.
pub(crate) fn init() {
    let (filter, mistake) = filter(config::log_filter().as_deref());
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(true)
        .with_ansi(false)
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
    if let Some(mistake) = mistake {
        warn!(error = %mistake, "RUST_LOG is not a filter and is ignored");
    }
}

fn filter(wanted: Option<&str>) -> (EnvFilter, Option<ParseError>) {
    match wanted.map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(mistake)) => (EnvFilter::new(FILTER), Some(mistake)),
        None => (EnvFilter::new(FILTER), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_filter_is_said_and_the_default_taken() {
        assert!(filter(Some("nonsense=maximal")).1.is_some());
        let (default, mistake) = filter(None);
        assert!(mistake.is_none());
        assert!(default.to_string().contains("aws_config=warn"));
        assert_eq!(filter(Some("debug")).0.to_string(), "debug");
    }
}

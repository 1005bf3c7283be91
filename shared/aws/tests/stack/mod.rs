//! A connection to a local stack.

use std::io::Write;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_config::{BehaviorVersion, SdkConfig};
use fanfold_aws::{Aws, Settings, SystemClock};
use fanfold_ports::Clock;

/// The stack, as the adapters see it and as a test sets it up.
pub(crate) struct Stack {
    pub(crate) aws: Aws,
    pub(crate) sdk: SdkConfig,
}

impl Stack {
    /// Connects to the endpoint that a variable names.
    pub(crate) async fn connect(variable: &str, whole_checksum: bool) -> Self {
        let endpoint = endpoint(variable);
        let settings = Settings { endpoint: Some(endpoint.clone()), whole_checksum };
        let sdk = aws_config::defaults(BehaviorVersion::latest()).endpoint_url(endpoint).load().await;
        Self { aws: Aws::connect(settings).await, sdk }
    }
}

/// The endpoint; or the end of this test program, saying why, since a suite's tests cannot be left out one
/// by one.
///
/// # Panics
/// If region and credentials of the stack are not set: the SDK would look for some outside this machine.
fn endpoint(variable: &str) -> String {
    let Some(endpoint) = lookup(variable) else {
        // Not by a macro, whose output the test harness would keep to itself.
        let said = writeln!(std::io::stderr(), "SKIPPED, all of these tests: {variable} is not set");
        process::exit(i32::from(said.is_err()));
    };
    for needed in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        assert!(lookup(needed).is_some(), "{variable} is set, and {needed} is not");
    }
    endpoint
}

#[expect(clippy::disallowed_methods, reason = "a test finds its stack by variables")]
fn lookup(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

/// A name that no other test has, of this run of the program or of another.
pub(crate) fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (pid, count) = (process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    format!("{}-{pid}-{count}", SystemClock.now().0)
}

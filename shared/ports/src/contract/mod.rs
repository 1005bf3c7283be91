//! The contracts of the ports, as tests: one a guarantee, run on the memory twin and on every real service.
//!
//! An adapter crate writes a function that gives a fresh instance under test, and calls a macro with it:
//!
//! ```text
//! mod objects {
//!     async fn instance() -> ObjectsUnderTest { .. }
//!     fanfold_ports::objects_contract!(instance);
//! }
//! ```
//!
//! Tests run at once on one service: each instance has names of its own, and no test minds what others do.
//! Adapters need tokio with `macros`, `rt` and `time` among their dev-dependencies.

#![expect(clippy::missing_panics_doc, reason = "a guarantee that does not hold is a panic")]

pub mod clusters;
pub mod events;
pub mod fleet;
pub mod ledger;
pub mod maps;
pub mod objects;
pub mod pacer;
pub mod queues;
mod sample;
pub mod schedules;
mod spoiler;
pub mod web;

use std::time::Duration;

pub use clusters::ClustersUnderTest;
pub use events::{EventsUnderTest, Watcher};
pub use fleet::FleetUnderTest;
pub use ledger::LedgerUnderTest;
pub use maps::{MapsUnderTest, Stopper};
pub use objects::{ObjectsUnderTest, Rule};
pub use pacer::PacerUnderTest;
pub use queues::{QueuesUnderTest, Receiver};
pub use sample::{sample_pipeline, sample_run};
pub use schedules::{Looker, SchedulesUnderTest};
pub use spoiler::{Spoiled, Spoiler};
pub use web::WebUnderTest;

/// How often, and how many times, something that may lag is looked at.
const LOOKS: u32 = 200;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Looks again and again, for 10 s at most, until something that may lag is there.
async fn eventually(what: &str, mut is_there: impl AsyncFnMut() -> bool) {
    for _ in 0..LOOKS {
        if is_there().await {
            return;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    panic!("never came about: {what}");
}

/// Makes a test of each guarantee of a suite.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_tests {
    ($suite:ident, $instance:path, [$($guarantee:ident),* $(,)?]) => {$(
        #[tokio::test]
        async fn $guarantee() {
            $crate::contract::$suite::$guarantee(&$instance().await).await;
        }
    )*};
}

#[cfg(test)]
mod tests {
    /// The guarantees that a suite's files define, and those that its macro lists.
    fn defined_and_listed(files: &[&'static str]) -> (Vec<&'static str>, Vec<&'static str>) {
        let lines = || files.iter().flat_map(|file| file.lines());
        let name = |line: &'static str| line.strip_prefix("pub async fn ")?.split('(').next();
        let mut defined: Vec<_> = lines().filter_map(name).collect();
        let listed = lines().map(str::trim).filter_map(|line| line.strip_suffix(','));
        let is_name =
            |name: &&str| name.contains('_') && name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric());
        let mut listed: Vec<_> = listed.filter(is_name).collect();
        defined.sort_unstable();
        listed.sort_unstable();
        listed.retain(|name| defined.contains(name));
        (defined, listed)
    }

    #[test]
    fn every_guarantee_is_in_the_list_of_its_suite() {
        let objects = [
            include_str!("objects/mod.rs"),
            include_str!("objects/puts.rs"),
            include_str!("objects/reads.rs"),
            include_str!("objects/uploads.rs"),
            include_str!("objects/completions.rs"),
            include_str!("objects/lists.rs"),
        ];
        let ledger = [
            include_str!("ledger/mod.rs"),
            include_str!("ledger/runs.rs"),
            include_str!("ledger/lists.rs"),
            include_str!("ledger/outputs.rs"),
            include_str!("ledger/groups.rs"),
            include_str!("ledger/folds.rs"),
            include_str!("ledger/unreadable.rs"),
        ];
        for files in [
            &objects[..],
            &ledger,
            &[include_str!("queues.rs")],
            &[include_str!("events.rs")],
            &[include_str!("schedules.rs")],
            &[include_str!("fleet.rs")],
            &[include_str!("clusters.rs")],
            &[include_str!("pacer.rs")],
            &[include_str!("web.rs")],
            &[include_str!("maps.rs")],
        ] {
            let (defined, listed) = defined_and_listed(files);
            assert!(!defined.is_empty());
            assert_eq!(defined, listed);
        }
    }
}

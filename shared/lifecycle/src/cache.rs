//! The run's item, read once for many messages.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use fanfold_domain::{Generation, Run, RunId, Timestamp};
use fanfold_ports::{Ports, ledger::Freshness};

use crate::LifecycleError;

/// How long an answer is good for, in milliseconds. An ended run's chunks are worked on for no longer.
const GOOD_FOR_MS: u64 = 3_000;
/// Runs kept at once; one function rarely sees more within the time.
const MOST_RUNS: usize = 64;

/// Runs as they were a few seconds ago.
#[derive(Debug, Default)]
pub struct RunCache(Mutex<HashMap<RunId, (Timestamp, Run)>>);

impl RunCache {
    /// The run, at most a few seconds old, with the chunks of `stage` known, and not of an older generation than
    /// `generation`, both of which a message names: a message is never older than what it speaks of.
    ///
    /// # Errors
    /// The read failed, or there is no such run.
    pub async fn get(
        &self,
        ports: &Ports,
        id: &RunId,
        stage: &str,
        generation: Generation,
    ) -> Result<Run, LifecycleError> {
        let now = ports.clock.now();
        let is_good = |run: &Run| run.generation >= generation && run.grouping_of(stage).is_some();
        let kept = self.entries().get(id).cloned();
        if let Some((read_at, run)) = kept
            && now.ms_since(read_at) < GOOD_FOR_MS
            && is_good(&run)
        {
            return Ok(run);
        }
        let run = match ports.ledger.run(id, Freshness::Eventual).await? {
            Some(run) if is_good(&run) => run,
            _ => crate::read(&*ports.ledger, id).await?,
        };
        let mut entries = self.entries();
        if entries.len() >= MOST_RUNS {
            entries.clear();
        }
        entries.insert(id.clone(), (now, run.clone()));
        Ok(run)
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, (Timestamp, Run)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Telling the world outside what a run passed.
//!
//! What is to be told stands in the run's item since the arrow itself ([`Run::advanced`]), and is taken out once the bus
//! has it: a crash between the two tells it twice, never not at all. A bus that does not answer holds up no run: what is
//! left in the item is the sweeper's.

use fanfold_domain::{Announcement, Run};
use fanfold_ports::{Ports, ledger::Saved};

use crate::{LifecycleError, change};

/// Puts what a run has not announced on the bus, and takes it out of its item. `run` is as it was read or saved last; if
/// another took it out meanwhile, that is no error.
///
/// # Errors
/// The bus or the ledger failed; some may be on the bus, and all of it is to be announced again.
pub async fn announce(ports: &Ports, run: &Run) -> Result<(), LifecycleError> {
    announce_these(ports, run, &run.unannounced).await
}

async fn announce_these(ports: &Ports, run: &Run, these: &[Announcement]) -> Result<(), LifecycleError> {
    if these.is_empty() {
        return Ok(());
    }
    let events: Vec<_> = these.iter().map(|announcement| announcement.event(run)).collect();
    ports.events.put(&events).await?;
    let without = |run: &Run| {
        let mut left = run.clone();
        left.unannounced.retain(|announcement| !these.contains(announcement));
        left
    };
    if ports.ledger.save_run(&without(run)).await? == Saved::Now {
        return Ok(());
    }
    change(&*ports.ledger, &run.id, |now| {
        let left = without(now);
        Ok((left.unannounced.len() < now.unannounced.len()).then_some(left))
    })
    .await?;
    Ok(())
}

/// Announces what follows from an arrow that was just drawn, if the bus takes it: nothing else waits for that. What was
/// there before is for whoever noted it, who may be announcing it at this moment.
pub async fn try_to_announce(ports: &Ports, run: &Run) {
    try_to_announce_where(ports, run, |announcement| announcement.state == run.state).await;
}

/// Announces that a stage ended, which was just noted, if the bus takes it.
pub(crate) async fn try_to_announce_end(ports: &Ports, run: &Run, stage: &str) {
    try_to_announce_where(ports, run, |announcement| announcement.stage.as_deref() == Some(stage)).await;
}

async fn try_to_announce_where(ports: &Ports, run: &Run, is_own: impl Fn(&Announcement) -> bool) {
    let own: Vec<Announcement> = run.unannounced.iter().filter(|one| is_own(one)).cloned().collect();
    if let Err(error) = announce_these(ports, run, &own).await {
        tracing::warn!(run_id = %run.id, state = %run.state, %error, "not announced yet");
    }
}

//! Telling the world outside what a run passed.
//!
//! What is to be told stands in the run's item since the arrow itself ([`Run::advanced`]), and is taken out once the bus
//! has it: a crash between the two tells it twice, never not at all. A bus that does not answer holds up no run: what is
//! left in the item is the sweeper's.

use fanfold_domain::Run;
use fanfold_ports::{Ports, ledger::Saved};

use crate::{LifecycleError, change};

/// Puts what a run has not announced on the bus, and takes it out of its item. `run` is as it was read or saved last; if
/// another took it out meanwhile, that is no error.
///
/// # Errors
/// The bus or the ledger failed; some may be on the bus, and all of it is to be announced again.
pub async fn announce(ports: &Ports, run: &Run) -> Result<(), LifecycleError> {
    if run.unannounced.is_empty() {
        return Ok(());
    }
    let events: Vec<_> = run.unannounced.iter().map(|announcement| announcement.event(run)).collect();
    ports.events.put(&events).await?;
    if ports.ledger.save_run(&Run { unannounced: Vec::new(), ..run.clone() }).await? == Saved::Now {
        return Ok(());
    }
    change(&*ports.ledger, &run.id, |now| {
        let mut left = now.clone();
        left.unannounced.retain(|announcement| !run.unannounced.contains(announcement));
        Ok((left.unannounced.len() < now.unannounced.len()).then_some(left))
    })
    .await?;
    Ok(())
}

/// Announces what follows from an arrow that was just drawn, if the bus takes it: nothing else waits for that.
pub async fn try_to_announce(ports: &Ports, run: &Run) {
    if let Err(error) = announce(ports, run).await {
        tracing::warn!(run_id = %run.id, state = %run.state, %error, "not announced yet");
    }
}

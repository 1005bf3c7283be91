//! Removing what an ended run left in the work bucket.
//!
//! It goes page by page, and begins anew whenever it is delivered: what is gone stays gone, so that twice is the same as
//! once. The run's item says that it was asked for, and from then on the run cannot be redriven.

use fanfold_domain::{Cleaning, Run, key, message::FoldMessage, message::encode};
use fanfold_lifecycle::change;
use fanfold_ports::{Queue, objects::MAX_LISTED, queues::Outgoing};
use futures::future::try_join_all;

use crate::{Merger, MergerError, assemble::is_final};

/// Pages that are deleted at once.
const PAGES_AT_ONCE: usize = 4;
/// Pages that one invocation deletes, a million objects at most in a fraction of its time; the next goes on.
const MOST_PAGES: usize = 1_000;

impl Merger {
    /// Removes all work objects of a run that was asked to be cleaned, and notes that.
    pub(crate) async fn clean_up(&self, run: &Run) -> Result<(), MergerError> {
        self.clean_up_within(run, MOST_PAGES).await
    }

    /// The same with at most about so many pages; what is left is the next invocation's.
    async fn clean_up_within(&self, run: &Run, mut pages: usize) -> Result<(), MergerError> {
        if !run.is_to_be_cleaned() || !matches!(run.cleaning, Cleaning::Asked(_)) {
            return Ok(());
        }
        // The list of bad records is made of what is about to go.
        match self.report(run).await {
            Err(error) if is_final(&error) => {
                tracing::error!(run_id = %run.id, %error, "the bad records of a failed run cannot be listed");
            }
            reported => reported?,
        }
        for prefix in prefixes(run) {
            if !self.remove_beneath(&prefix, &mut pages).await? {
                let again = FoldMessage::Cleanup { run: run.id.clone(), generation: run.generation };
                return Ok(self.ports.queues.send(Queue::Folds, vec![Outgoing::now(encode(&again))]).await?);
            }
        }
        let keys: Vec<String> = temporaries(run).filter(|key| !key.ends_with('/')).collect();
        self.ports.objects.delete(&self.work_bucket, &keys).await?;
        self.note_cleaned(run).await
    }

    /// Removes objects whose keys begin with `prefix`; whether all of them, which takes no more than `pages`.
    async fn remove_beneath(&self, prefix: &str, pages: &mut usize) -> Result<bool, MergerError> {
        let (objects, bucket) = (&*self.ports.objects, self.work_bucket.as_str());
        let mut after: Option<String> = None;
        loop {
            let mut found: Vec<Vec<String>> = Vec::new();
            let mut is_last = false;
            while found.len() < PAGES_AT_ONCE && !is_last {
                let page = objects.list(bucket, prefix, after.as_deref(), MAX_LISTED).await?;
                is_last = page.len() < MAX_LISTED;
                after = page.last().map(|last| last.key.clone()).or(after);
                found.push(page.into_iter().map(|listed| listed.key).collect());
            }
            try_join_all(found.iter().map(|keys| objects.delete(bucket, keys))).await?;
            if is_last {
                return Ok(true);
            }
            *pages = pages.saturating_sub(found.len());
            if *pages == 0 {
                return Ok(false);
            }
        }
    }

    async fn note_cleaned(&self, run: &Run) -> Result<(), MergerError> {
        let now = self.ports.clock.now();
        change(&*self.ports.ledger, &run.id, |run| {
            let is_due = run.is_to_be_cleaned();
            Ok(is_due.then(|| Run { cleaning: Cleaning::Done(now), ..run.clone() }))
        })
        .await?;
        tracing::info!(run_id = %run.id, "run cleaned");
        Ok(())
    }
}

/// What the keys of a run's objects begin with: all of ours, and those of its program that have a folder.
fn prefixes(run: &Run) -> impl Iterator<Item = String> {
    std::iter::once(key::prefix(&run.id)).chain(temporaries(run).filter(|key| key.ends_with('/')))
}

/// The keys of a run's temporaries. One that would be too long to be a key names nothing.
fn temporaries(run: &Run) -> impl Iterator<Item = String> {
    let cleanup = &run.pipeline.cleanup;
    cleanup.temporaries_of(&run.source.object.key, run.id.as_str()).filter_map(Result::ok)
}

#[cfg(test)]
mod tests {
    use fanfold_domain::{RunState, pipeline::CleanupOn};
    use fanfold_ports::{
        Ledger,
        contract::sample_run,
        ledger::Freshness,
        memory::{MEMORY_EPOCH, memory_ports},
    };

    use super::*;

    #[tokio::test]
    async fn what_one_call_does_not_remove_is_the_next_ones() {
        let (world, ports) = memory_ports();
        let asked = Cleaning::Asked(MEMORY_EPOCH);
        let mut run =
            Run { state: RunState::Succeeded, cleaning: asked, ..sample_run("large", MEMORY_EPOCH) };
        run.pipeline.cleanup.on = CleanupOn::Always;
        world.ledger.create_run(&run).await.unwrap();
        let count = MAX_LISTED * PAGES_AT_ONCE + 1;
        for number in 0..count {
            world.objects.insert("work", format!("{}{number}", key::prefix(&run.id)), "");
        }
        let merger = Merger { ports, work_bucket: "work".into() };

        merger.clean_up_within(&run, 1).await.unwrap();
        assert_eq!(world.objects.keys("work").len(), 1);
        let now = async || world.ledger.run(&run.id, Freshness::Consistent).await.unwrap().unwrap().cleaning;
        assert_eq!(now().await, asked, "it is not done");
        let again = world.queues.drain(Queue::Folds);
        assert_eq!(again.len(), 1);
        merger.handle(&again[0].body).await.unwrap();
        assert_eq!(world.objects.keys("work"), Vec::<String>::new());
        assert!(matches!(now().await, Cleaning::Done(_)));
    }
}

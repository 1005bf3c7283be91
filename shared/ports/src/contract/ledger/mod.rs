//! What every ledger keeps to.

mod folds;
mod groups;
mod lists;
mod outputs;
mod runs;
mod unreadable;

use std::sync::Arc;

use fanfold_domain::{
    ChunkIndex, Epoch, Generation, GroupCount, GroupIndex, Mark, Note, ObjectName, Run, Sequencer, Sums,
    Timestamp,
};

pub use folds::*;
pub use groups::*;
pub use lists::*;
pub use outputs::*;
pub use runs::*;
pub use unreadable::*;

use super::{Spoiler, eventually, sample_pipeline, sample_run};
use crate::{
    Fault, Ledger,
    ledger::{Created, CreatedOwner, Freshness, Marked, Saved, StageId, Taken},
};

/// A ledger under test.
#[derive(Clone)]
pub struct LedgerUnderTest {
    /// The ledger. Others may use it too, if theirs are not more than some hundred runs.
    pub ledger: Arc<dyn Ledger>,
    /// From this all ids and names of the test are derived; of no other test's.
    pub unique: String,
    /// Who makes its items unreadable.
    pub spoiler: Arc<dyn Spoiler>,
}

/// When the runs of tests were created: 2026-01-01 00:00:00 UTC.
const CREATED_AT: Timestamp = Timestamp(1_767_225_600_000);

/// A second before.
fn before(at: Timestamp) -> Timestamp {
    Timestamp(at.0 - 1_000)
}

/// More runs than tests have.
const ALL_RUNS: usize = 1_000;

impl LedgerUnderTest {
    /// A run of this test that was not created yet.
    fn run(&self, name: &str) -> Run {
        sample_run(&format!("{}-{name}", self.unique), CREATED_AT)
    }

    /// A run of this test that was created.
    async fn created(&self, name: &str) -> Run {
        let run = self.run(name);
        assert_eq!(self.ledger.create_run(&run).await.expect("the creation was answered"), Created::Now);
        run
    }

    /// The run as it stands.
    async fn stored(&self, run: &Run) -> Run {
        let stored = self.ledger.run(&run.id, Freshness::Consistent).await;
        stored.expect("the read was answered").expect("the run is there")
    }

    /// Saves a run that nobody else changes; the run as it stands then.
    async fn save(&self, run: &Run) -> Run {
        assert_eq!(self.ledger.save_run(run).await.expect("the save was answered"), Saved::Now);
        Run { revision: run.revision + 1, ..run.clone() }
    }

    /// A stage of this test.
    fn stage(&self) -> StageId {
        StageId::first_of(&self.run("stage"))
    }

    /// Marks chunks of group 0.
    async fn mark(&self, stage: &StageId, marks: &[(ChunkIndex, Mark)]) -> Marked {
        self.ledger.mark(stage, GroupIndex(0), marks, &[]).await.expect("the mark was answered")
    }

    /// Group 0 as it stands.
    async fn group(&self, stage: &StageId) -> GroupCount {
        self.ledger.group(stage, GroupIndex(0)).await.expect("the read was answered")
    }
}

/// What chunk `index` adds in these tests: different sums for each.
fn sums_of(index: u32) -> Sums {
    let n = u64::from(index);
    Sums { records: n + 1, bad_records: n % 3, bytes_in: 10 * n, bytes_out: 7 * n, failed_chunks: 0 }
}

/// The marks of chunks that are done.
fn done(indexes: impl IntoIterator<Item = u32>) -> Vec<(ChunkIndex, Mark)> {
    indexes.into_iter().map(|index| (ChunkIndex(index), Mark::Done(sums_of(index)))).collect()
}

fn chunks(indexes: impl IntoIterator<Item = u32>) -> Vec<ChunkIndex> {
    indexes.into_iter().map(ChunkIndex).collect()
}

/// Tests a ledger: the argument names an `async fn() -> LedgerUnderTest`.
#[macro_export]
macro_rules! ledger_contract {
    ($instance:path) => {
        $crate::contract_tests!(
            ledger,
            $instance,
            [
                a_run_is_created_once,
                a_run_is_read_back_with_every_field,
                an_unknown_run_is_none,
                a_save_raises_the_revision,
                a_stale_save_changes_nothing,
                of_racing_saves_exactly_one_is_written,
                a_run_that_was_never_created_is_not_saved,
                the_owner_saves_as_owner,
                a_run_that_lost_its_output_does_not_save_as_owner,
                a_stale_owner_does_not_save,
                an_ended_run_leaves_the_unfinished,
                an_ended_run_stays_unfinished_until_it_is_settled,
                unfinished_runs_come_by_deadline,
                unfinished_runs_come_page_by_page,
                recent_runs_come_newest_first,
                a_pipeline_changes_version_only_with_its_document,
                pipelines_come_by_name,
                an_output_that_nobody_took_has_no_owner,
                each_taking_raises_the_epoch,
                a_run_is_created_as_owner_once,
                an_owner_that_takes_again_keeps_its_epoch,
                a_run_that_lost_its_output_never_takes_it_back,
                a_run_that_never_owned_its_output_takes_it,
                a_run_that_was_changed_meanwhile_takes_nothing,
                an_older_event_of_the_same_source_is_turned_away,
                an_older_event_is_turned_away_whoever_took_the_output_since,
                any_other_newcomer_takes_over,
                of_racing_takers_each_has_an_epoch_of_its_own,
                an_unmarked_group_is_empty,
                a_group_counts_what_was_done_and_what_failed,
                a_mark_is_all_or_nothing,
                sixty_four_chunks_are_marked_at_once_and_no_more,
                a_chunk_is_marked_once_in_one_call,
                of_racing_marks_each_chunk_is_counted_once,
                stages_generations_and_groups_are_counted_apart,
                handing_is_noted_beside_the_marks_and_idempotent,
                notes_are_made_with_marks_or_not_at_all,
                an_unfolded_stage_is_empty,
                a_group_is_folded_once,
                racing_folds_fill_the_root_with_the_final_sums,
                the_first_reason_of_a_failure_stays,
                failures_come_by_index,
                an_unreadable_run_is_a_permanent_error,
                an_unreadable_run_hides_no_other,
                an_unreadable_pipeline_hides_no_other,
                an_unreadable_pipeline_is_replaced_as_another_version,
                an_unreadable_failure_says_so,
            ]
        );
    };
}

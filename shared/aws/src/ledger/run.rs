//! Runs.
//!
//! Key: `pk` = `run#{run}`, `sk` = `run`.
//! Value: the [`Run`] as JSON in `document`, and beside it what conditions and indexes need: `revision`,
//! `state`; `unfinished` = `run` while it is not settled, with `deadline_at`; `kind` = `run` with `created_at`. Both
//! indexes have keys only: whole items would be written anew with every change of every run, in one partition.
//! Lifetime: `expires_at`, 30 days after the run's deadline: the window in which it may be redriven.
//!
//! Saved on the condition that the revision is the one that was read. `writer` is a random number of each
//! save: a repetition inside the SDK, after a lost answer, finds its own there and answers `Now`. A
//! transaction has the SDK's idempotency token for that.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    self, CancellationReason, ConditionCheck, TransactWriteItem, builders::PutBuilder,
};
use fanfold_domain::{Run, RunId, Timestamp};
use fanfold_ports::ledger::{Created, Saved, Unfinished};
use fanfold_ports::{Clock, Fault, ItemList, PortError};
use futures::{StreamExt, TryStreamExt, stream};

use super::item::{
    IS_NEW, Item, Malformed, document, key, number, read_document, read_number, read_text, text, unreadable,
};
use super::ownership::{owned_by, owner_key};
use super::table::Put;
use super::{DynamoLedger, lifetime};
use crate::SystemClock;
use crate::error::{causes, write_error};

const SK: &str = "run";
/// The value of `kind` and `unfinished`.
const KIND: &str = "run";
/// Runs of a list read at once.
const READS_AT_ONCE: usize = 16;
const SAME_REVISION: &str = "#revision = :revision";

impl DynamoLedger {
    pub(super) async fn put_new_run(&self, run: &Run) -> Result<Created, PortError> {
        let put = self.client.put_item().set_item(Some(item(run, &writer()))).condition_expression(IS_NEW);
        let old = match self.put("create_run", &run.id, put).await? {
            Put::Now => return Ok(Created::Now),
            Put::Refused(Some(old)) => {
                Some(read_document(&old).map_err(|error| error.error("create_run", &run.id))?)
            }
            Put::Refused(None) => self.get_run(&run.id, true).await?,
        };
        old.map(|old| Created::Before(Box::new(old))).ok_or_else(|| {
            PortError::new(Fault::Transient, "create_run", &run.id, "it was there, and then it was not")
        })
    }

    pub(super) async fn get_run(&self, id: &RunId, consistent: bool) -> Result<Option<Run>, PortError> {
        let item = self.get("run", key(pk(id), SK), consistent).await?;
        item.as_ref().map(read_document).transpose().map_err(|error| error.error("run", id))
    }

    pub(super) async fn replace_run(&self, run: &Run) -> Result<Saved, PortError> {
        let writer = writer();
        let put = self
            .client
            .put_item()
            .set_item(Some(item(&raised(run), &writer)))
            .condition_expression(SAME_REVISION)
            .expression_attribute_names("#revision", "revision")
            .expression_attribute_values(":revision", number(run.revision));
        match self.put("save_run", &run.id, put).await? {
            Put::Now => Ok(Saved::Now),
            Put::Refused(Some(old)) if read_text(&old, "writer").is_ok_and(|it| it == writer) => {
                Ok(Saved::Now)
            }
            Put::Refused(_) => Ok(Saved::Stale),
        }
    }

    pub(super) async fn replace_run_as_owner(&self, run: &Run) -> Result<Saved, PortError> {
        let answer = self
            .client
            .transact_write_items()
            .transact_items(self.owner_check(run))
            .transact_items(self.replacement(run))
            .send()
            .await;
        let Err(error) = answer else { return Ok(Saved::Now) };
        let end = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                end_of(cancelled.cancellation_reasons())
            }
            _ => return Err(write_error("save_run_as_owner", &run.id, error)),
        };
        let (fault, detail) = match end {
            Ok(saved) => return Ok(saved),
            Err(failed) => failed,
        };
        Err(PortError {
            source: Some(Box::new(error.into_service_error())),
            ..PortError::new(fault, "save_run_as_owner", &run.id, detail)
        })
    }

    fn owner_check(&self, run: &Run) -> TransactWriteItem {
        let (condition, names, values) = owned_by(&run.id, run.epoch);
        let check = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(owner_key(&run.output)))
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .build()
            .expect("table, key and condition are set");
        TransactWriteItem::builder().condition_check(check).build()
    }

    fn replacement(&self, run: &Run) -> TransactWriteItem {
        let put = types::Put::builder().set_item(Some(item(&raised(run), &writer())));
        let put = at_revision(put, run.revision).table_name(&self.table).build();
        TransactWriteItem::builder().put(put.expect("table and item are set")).build()
    }

    pub(super) async fn query_unfinished(
        &self,
        after: Option<&Unfinished>,
        limit: usize,
    ) -> Result<Vec<Unfinished>, PortError> {
        let query = self.index("unfinished", "unfinished").scan_index_forward(true);
        let (mut runs, mut from) = (Vec::new(), after.map(place));
        loop {
            let wanted = limit - runs.len();
            let page = query.clone().set_exclusive_start_key(from);
            let items = self.query("unfinished_runs", "unfinished", page, Some(wanted)).await?;
            runs.extend(items.iter().filter_map(known_unfinished));
            // Fewer than asked for are the last; those whose key cannot be read are made up for.
            if items.len() < wanted || runs.len() == limit {
                return Ok(runs);
            }
            from = items.into_iter().next_back();
        }
    }

    pub(super) async fn query_recent(&self, limit: usize) -> Result<ItemList<Run>, PortError> {
        let query = self.index("recent", "kind").scan_index_forward(false);
        let items = self.query("recent_runs", "recent", query, Some(limit)).await?;
        let read = async |item: Item| {
            let id = match read_id(&item) {
                Ok(id) => id,
                Err(error) => {
                    let name = read_text(&item, "pk").unwrap_or_default();
                    return Ok(Some(Err(unreadable(&item, name, &error))));
                }
            };
            // One that is in the index and not in the table is gone by its lifetime.
            let item = self.get("run", key(pk(&id), SK), false).await?;
            Ok::<_, PortError>(
                item.map(|item| read_document(&item).map_err(|error| unreadable(&item, &id, &error))),
            )
        };
        let runs: Vec<_> = stream::iter(items).map(read).buffered(READS_AT_ONCE).try_collect().await?;
        Ok(runs.into_iter().flatten().collect())
    }

    /// A query of an index whose partition key is `attribute`.
    fn index(&self, index: &str, attribute: &str) -> QueryFluentBuilder {
        self.client
            .query()
            .index_name(index)
            .key_condition_expression("#kind = :kind")
            .expression_attribute_names("#kind", attribute)
            .expression_attribute_values(":kind", text(KIND))
    }
}

const PREFIX: &str = "run#";

fn pk(id: &RunId) -> String {
    format!("{PREFIX}{id}")
}

/// Makes it a condition of a transaction's put that the run has this revision.
pub(super) fn at_revision(put: PutBuilder, revision: u64) -> PutBuilder {
    put.condition_expression(SAME_REVISION)
        .expression_attribute_names("#revision", "revision")
        .expression_attribute_values(":revision", number(revision))
}

/// A number that tells one call from another.
pub(super) fn writer() -> String {
    SystemClock.random().to_string()
}

/// The run as it will be stored.
pub(super) fn raised(run: &Run) -> Run {
    Run { revision: run.revision + 1, ..run.clone() }
}

pub(super) fn item(run: &Run, writer: &str) -> Item {
    let mut item = key(pk(&run.id), SK);
    let mut set = |name: &str, value| item.insert(name.to_owned(), value);
    set("document", document(run));
    set("revision", number(run.revision));
    set("state", text(run.state.to_string()));
    set("kind", text(KIND));
    set("created_at", number(run.created_at.0));
    set("deadline_at", number(run.deadline_at.0));
    set("expires_at", number(lifetime::of_run(run)));
    set("writer", text(writer));
    if !run.is_settled() {
        set("unfinished", text(KIND));
    }
    item
}

/// The key of a run in the index of unfinished ones; a query begins behind it whether or not it is still there.
fn place(run: &Unfinished) -> Item {
    let mut place = key(pk(&run.id), SK);
    place.insert("unfinished".to_owned(), text(KIND));
    place.insert("deadline_at".to_owned(), number(run.deadline_at.0));
    place
}

pub(super) fn read_unfinished(item: &Item) -> Result<Unfinished, Malformed> {
    Ok(Unfinished { deadline_at: Timestamp(read_number(item, "deadline_at")?), id: read_id(item)? })
}

/// A run in the index, unless its key is none that this version knows.
fn known_unfinished(item: &Item) -> Option<Unfinished> {
    let run = read_unfinished(item);
    if let Err(error) = &run {
        tracing::error!(item = ?item.get("pk"), error = causes(error), "unfinished run cannot be read");
    }
    run.ok()
}

fn read_id(item: &Item) -> Result<RunId, Malformed> {
    let id = read_text(item, "pk")?.strip_prefix(PREFIX).and_then(|id| id.parse().ok());
    id.ok_or_else(|| Malformed::of("pk"))
}

/// Why an item of a transaction may be written a moment later.
pub(super) const NOT_NOW: [&str; 3] =
    ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];

/// What a cancelled transaction means: a condition that did not hold, or one of the items being written by
/// another at that moment, or an error.
fn end_of(reasons: &[CancellationReason]) -> Result<Saved, (Fault, String)> {
    let codes: Vec<&str> = reasons.iter().filter_map(CancellationReason::code).collect();
    let detail = || format!("the transaction was cancelled: {}", codes.join(", "));
    if codes.contains(&"ConditionalCheckFailed") {
        return Ok(Saved::Stale);
    }
    let all_not_now = codes.iter().all(|code| *code == "None" || NOT_NOW.contains(code));
    Err((if all_not_now { Fault::Transient } else { Fault::Permanent }, detail()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::types::AttributeValue;
    use fanfold_domain::pipeline::Pipeline;
    use fanfold_domain::{ETag, Epoch, ObjectName, Origin, RunState, SourcePin};

    fn run(state: RunState) -> Run {
        let document = "{pipeline: p, source: {format: lines}, stages: [{name: s, process: copy}]}";
        let id = RunId::derive("p", &Origin::Submission { idempotency_key: "k" });
        let object = ObjectName::new("in", "a");
        let source = SourcePin { object, version: None, etag: ETag::new("e"), size_bytes: 1 };
        let (output, errors) = (ObjectName::new("out", "a_Output"), ObjectName::new("out", "a_Errors"));
        let run = Run::new(id, Pipeline::parse(document).unwrap(), source, output, errors, Timestamp(0));
        Run { revision: 4, state, epoch: Epoch(1), ..run }
    }

    fn reasons(codes: &[&str]) -> Vec<CancellationReason> {
        codes.iter().map(|code| CancellationReason::builder().code(*code).build()).collect()
    }

    #[test]
    fn a_run_survives_its_item() {
        let item = item(&raised(&run(RunState::Running)), "7");
        assert_eq!(item["revision"], AttributeValue::N("5".into()));
        assert_eq!(item["expires_at"], number((1 + 30) * 86_400));
        assert_eq!(read_document::<Run>(&item).unwrap(), raised(&run(RunState::Running)));
    }

    #[test]
    fn a_settled_run_is_not_in_the_index_of_unfinished_ones() {
        assert!(item(&run(RunState::Completing), "7").contains_key("unfinished"));
        assert!(!item(&run(RunState::Failed), "7").contains_key("unfinished"));
        let untold = run(RunState::Running).advanced(RunState::Failed, Timestamp(3_000)).unwrap();
        assert!(item(&untold, "7").contains_key("unfinished"), "its end is not announced");
    }

    #[test]
    fn a_cancelled_transaction_says_why() {
        assert_eq!(end_of(&reasons(&["ConditionalCheckFailed", "None"])), Ok(Saved::Stale));
        assert_eq!(end_of(&reasons(&["TransactionConflict", "ConditionalCheckFailed"])), Ok(Saved::Stale));
        let fault = |codes| end_of(&reasons(codes)).unwrap_err().0;
        assert_eq!(fault(&["None", "TransactionConflict"]), Fault::Transient);
        assert_eq!(fault(&["None", "ValidationError"]), Fault::Permanent);
    }
}

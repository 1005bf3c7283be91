//! Who may write an output key.
//!
//! Key: `pk` = `output#{bucket}/{key}`, `sk` = `owner`.
//! Value: `run` and `epoch`, which conditions name, and the [`Ownership`] as JSON in `document`.
//! Lifetime: none. An epoch must never fall back: an output names the epoch it was written at, and a run that
//! began at epoch 1 again would take every older output for a newer one's.
//!
//! Taken in one transaction with the run that takes it: the put of the ownership on the condition that the epoch is the
//! one that was read, and the put of the run on the condition that it is new, or has the revision that was read. After a
//! lost answer the SDK repeats the transaction with its idempotency token, and hears of its own success.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{CancellationReason, Put, TransactWriteItem, builders::PutBuilder};
use fanfold_domain::{Epoch, ObjectName, Ownership, Run, RunId, Taking};
use fanfold_ports::ledger::{CreatedOwner, Taken};
use fanfold_ports::{Clock, Fault, PortError};

use super::DynamoLedger;
use super::item::{IS_NEW, Item, document, key, number, read_document, text};
use super::run::{self, at_revision};
use crate::SystemClock;
use crate::error::write_error;

/// How many times an output is taken anew when another run takes it in between. Of those that try at once one
/// gets it, so that this many may.
const TRIES: u64 = 32;
/// The longest wait between two tries, in milliseconds for each that was made.
const WAIT_MS: u64 = 5;

/// How a transaction over an ownership and its run ended.
enum Transacted {
    Now,
    /// The run is not as it was read: it exists, or was changed.
    RunChanged,
    /// Another run took the output meanwhile, or writes one of the two items at this moment.
    Contended,
}

impl DynamoLedger {
    pub(super) async fn put_new_owner(&self, run: &Run) -> Result<CreatedOwner, PortError> {
        const OPERATION: &str = "create_run_as_owner";
        for tries in 0..TRIES {
            wait_a_little(tries).await;
            let old = self.get_owner(OPERATION, &run.output).await?;
            let new = match Ownership::taking(old.as_ref(), run) {
                Taking::Owned(new) | Taking::Take(new) => new,
                Taking::Outdated(owner) | Taking::Lost(owner) => return Ok(CreatedOwner::Outdated(owner)),
            };
            let owner = new.noted_in(run);
            let put = Put::builder().set_item(Some(run::item(&owner, &run::writer())));
            let put = put.condition_expression(IS_NEW);
            match self.put_both(OPERATION, &run.output, old.as_ref(), &new, put).await? {
                Transacted::Now => return Ok(CreatedOwner::Now(Box::new(owner))),
                Transacted::Contended => {}
                Transacted::RunChanged => {
                    let before = self.get_run(&run.id, true).await?;
                    let gone = || transient(OPERATION, &run.output, "the run was there, and then it was not");
                    return before.map(|before| CreatedOwner::Before(Box::new(before))).ok_or_else(gone);
                }
            }
        }
        Err(transient(OPERATION, &run.output, &format!("it changed hands {TRIES} times meanwhile")))
    }

    pub(super) async fn take(&self, run: &Run) -> Result<Taken, PortError> {
        const OPERATION: &str = "take_output";
        for tries in 0..TRIES {
            wait_a_little(tries).await;
            let old = self.get_owner(OPERATION, &run.output).await?;
            let new = match Ownership::taking(old.as_ref(), run) {
                Taking::Owned(_) => return Ok(Taken::Owned(Box::new(run.clone()))),
                Taking::Lost(owner) => return Ok(Taken::Lost(owner)),
                Taking::Outdated(owner) => return Ok(Taken::Outdated(owner)),
                Taking::Take(new) => new,
            };
            let owner = run::raised(&new.noted_in(run));
            let put = Put::builder().set_item(Some(run::item(&owner, &run::writer())));
            let put = at_revision(put, run.revision);
            match self.put_both(OPERATION, &run.output, old.as_ref(), &new, put).await? {
                Transacted::Now => return Ok(Taken::Owned(Box::new(owner))),
                Transacted::Contended => {}
                Transacted::RunChanged => return Ok(Taken::Stale),
            }
        }
        Err(transient(OPERATION, &run.output, &format!("it changed hands {TRIES} times meanwhile")))
    }

    pub(super) async fn get_owner(
        &self,
        operation: &'static str,
        output: &ObjectName,
    ) -> Result<Option<Ownership>, PortError> {
        let item = self.get(operation, owner_key(output), true).await?;
        item.as_ref().map(read_document).transpose().map_err(|error| error.error(operation, output))
    }

    /// Puts an owner in place of the old one, and with it its run.
    async fn put_both(
        &self,
        operation: &'static str,
        output: &ObjectName,
        old: Option<&Ownership>,
        new: &Ownership,
        run: PutBuilder,
    ) -> Result<Transacted, PortError> {
        let owner_put = Put::builder().set_item(Some(item(output, new)));
        let owner_put = match old {
            None => owner_put.condition_expression(IS_NEW),
            Some(old) => owner_put
                .condition_expression("#epoch = :epoch")
                .expression_attribute_names("#epoch", "epoch")
                .expression_attribute_values(":epoch", number(old.epoch)),
        };
        let put = |put: PutBuilder| {
            let put = put.table_name(&self.table).build().expect("table and item are set");
            TransactWriteItem::builder().put(put).build()
        };
        let call = self.client.transact_write_items();
        let Err(error) = call.transact_items(put(owner_put)).transact_items(put(run)).send().await else {
            return Ok(Transacted::Now);
        };
        let end = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                end_of(cancelled.cancellation_reasons())
            }
            _ => return Err(write_error(operation, output, error)),
        };
        end.map_err(|detail| PortError {
            source: Some(Box::new(error.into_service_error())),
            ..PortError::new(Fault::Permanent, operation, output, detail)
        })
    }
}

async fn wait_a_little(tries: u64) {
    SystemClock.sleep_ms(SystemClock.random() % (1 + tries * WAIT_MS)).await;
}

fn transient(operation: &'static str, output: &ObjectName, detail: &str) -> PortError {
    PortError::new(Fault::Transient, operation, output, detail)
}

/// What a cancelled transaction means, whose first item is the ownership and whose second is the run; or why no other
/// try would help.
fn end_of(reasons: &[CancellationReason]) -> Result<Transacted, String> {
    let codes: Vec<&str> = reasons.iter().filter_map(CancellationReason::code).collect();
    if codes.get(1) == Some(&REFUSED) {
        return Ok(Transacted::RunChanged);
    }
    let is_passing = |code: &&str| *code == "None" || *code == REFUSED || run::NOT_NOW.contains(code);
    if !codes.is_empty() && codes.iter().all(is_passing) {
        return Ok(Transacted::Contended);
    }
    Err(format!("the transaction was cancelled: {}", codes.join(", ")))
}

const REFUSED: &str = "ConditionalCheckFailed";

/// The key of an output's ownership.
pub(super) fn owner_key(output: &ObjectName) -> Item {
    key(format!("output#{}/{}", output.bucket, output.key), "owner")
}

/// The condition, with what its placeholders stand for, that a run owns an output at an epoch.
pub(super) fn owned_by(run: &RunId, epoch: Epoch) -> (&'static str, HashMap<String, String>, Item) {
    let names =
        HashMap::from([("#run".to_owned(), "run".to_owned()), ("#epoch".to_owned(), "epoch".to_owned())]);
    let values =
        HashMap::from([(":run".to_owned(), text(run.as_str())), (":epoch".to_owned(), number(epoch))]);
    ("#run = :run AND #epoch = :epoch", names, values)
}

fn item(output: &ObjectName, owner: &Ownership) -> Item {
    let mut item = owner_key(output);
    item.insert("run".to_owned(), text(owner.run.as_str()));
    item.insert("epoch".to_owned(), number(owner.epoch));
    item.insert("document".to_owned(), document(owner));
    item
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfold_domain::{Newest, Origin, Sequencer};

    #[test]
    fn an_ownership_survives_its_item() {
        let output = ObjectName::new("out", "a_Output");
        let [run, former] =
            ["1", "0"].map(|key| RunId::derive("p", &Origin::Submission { idempotency_key: key }));
        let newest = Newest { source: ObjectName::new("in", "a"), sequencer: Sequencer::new("05") };
        let owner = Ownership { run, epoch: Epoch(2), former: Some(former), newest: vec![newest] };
        let item = item(&output, &owner);
        assert_eq!(item["pk"], text("output#out/a_Output"));
        assert_eq!(read_document::<Ownership>(&item).unwrap(), owner);
        assert!(!item.contains_key("expires_at"));
    }

    #[test]
    fn a_cancelled_transaction_says_which_item_changed() {
        let end =
            |codes: [&str; 2]| end_of(&codes.map(|code| CancellationReason::builder().code(code).build()));
        assert!(matches!(end(["None", REFUSED]), Ok(Transacted::RunChanged)));
        assert!(matches!(end([REFUSED, REFUSED]), Ok(Transacted::RunChanged)));
        assert!(matches!(end([REFUSED, "None"]), Ok(Transacted::Contended)));
        assert!(matches!(end(["TransactionConflict", "None"]), Ok(Transacted::Contended)));
        assert!(end(["ValidationError", "None"]).is_err());
        assert!(end_of(&[]).is_err());
    }
}

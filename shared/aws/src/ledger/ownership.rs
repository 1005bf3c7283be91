//! Who may write an output key.
//!
//! Key: `pk` = `output#{bucket}/{key}`, `sk` = `owner`.
//! Value: `run` and `epoch`, which conditions name, and the [`Ownership`] as JSON in `document`.
//! Lifetime: none. An epoch must never fall back: an output names the epoch it was written at, and a run that
//! began at epoch 1 again would take every older output for a newer one's.
//!
//! Taken by a put on the condition that the epoch is the one that was read. After a repetition inside the SDK
//! the item is this run's: it was taken by this call, or by another for the same run, which is the same.

use std::collections::HashMap;

use fanfold_domain::{Epoch, ObjectName, Ownership, RunId, Sequencer, Taking};
use fanfold_ports::ledger::Taken;
use fanfold_ports::{Clock, Fault, PortError};

use super::DynamoLedger;
use super::item::{IS_NEW, Item, document, key, number, read_document, text};
use super::table::Put;
use crate::SystemClock;
/// How many times an output is taken anew when another run takes it in between. Of those that try at once one
/// gets it, so that this many may.
const TRIES: u64 = 32;
/// The longest wait between two tries, in milliseconds for each that was made.
const WAIT_MS: u64 = 5;

impl DynamoLedger {
    pub(super) async fn take(
        &self,
        output: &ObjectName,
        run: &RunId,
        source: &ObjectName,
        sequencer: Option<&Sequencer>,
    ) -> Result<Taken, PortError> {
        for tries in 0..TRIES {
            SystemClock.sleep_ms(SystemClock.random() % (1 + tries * WAIT_MS)).await;
            let old = self.get_owner("take_output", output).await?;
            let new = match Ownership::taking(old.as_ref(), run, source, sequencer) {
                Taking::Owned(ownership) => return Ok(Taken::Owned(ownership)),
                Taking::Newer(ownership) => return Ok(Taken::Newer(ownership)),
                Taking::Take(new) => new,
            };
            if self.put_owner(output, old.as_ref(), &new).await? {
                return Ok(Taken::Owned(new));
            }
        }
        let detail = format!("it changed hands {TRIES} times meanwhile");
        Err(PortError::new(Fault::Transient, "take_output", output, detail))
    }

    pub(super) async fn get_owner(
        &self,
        operation: &'static str,
        output: &ObjectName,
    ) -> Result<Option<Ownership>, PortError> {
        let item = self.get(operation, owner_key(output), true).await?;
        item.as_ref().map(read_document).transpose().map_err(|error| error.error(operation, output))
    }

    /// Puts an owner in place of the old one; false if another did.
    async fn put_owner(
        &self,
        output: &ObjectName,
        old: Option<&Ownership>,
        new: &Ownership,
    ) -> Result<bool, PortError> {
        let put = self.client.put_item().set_item(Some(item(output, new)));
        let put = match old {
            None => put.condition_expression(IS_NEW),
            Some(old) => put
                .condition_expression("#epoch = :epoch")
                .expression_attribute_names("#epoch", "epoch")
                .expression_attribute_values(":epoch", number(old.epoch)),
        };
        Ok(matches!(self.put("take_output", output, put).await?, Put::Now))
    }
}

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
    use fanfold_domain::Origin;

    fn run(key: &str) -> RunId {
        RunId::derive("p", &Origin::Submission { idempotency_key: key })
    }

    #[test]
    fn an_ownership_survives_its_item() {
        let output = ObjectName::new("out", "a_Output");
        let source = ObjectName::new("in", "a");
        let Taking::Take(owner) = Ownership::taking(None, &run("1"), &source, Some(&Sequencer::new("05")))
        else {
            panic!("nobody owned it");
        };
        let item = item(&output, &owner);
        assert_eq!(item["pk"], text("output#out/a_Output"));
        assert_eq!(read_document::<Ownership>(&item).unwrap(), owner);
        assert!(!item.contains_key("expires_at"));
    }
}

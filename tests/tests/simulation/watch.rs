//! What the store keeps otherwise than it was sent, messages that are lost, and what holds at every single write.

use bytes::Bytes;
use fanfold_domain::{ObjectName, Run, RunState, Stamp};
use fanfold_ports::{
    Ledger as _, PortError, Queue,
    objects::{Metadata, Upload},
    queues::Outgoing,
};

use crate::{
    ports::Watched,
    scenario::{Corrupts, OUTPUT, WORK},
};

impl Watched {
    /// What the store keeps of a part of an upload.
    pub(crate) fn kept_part(&self, upload: &Upload, body: Bytes) -> Bytes {
        if upload.object.bucket != OUTPUT {
            return body;
        }
        let sent = self.record().next("parts of outputs");
        match self.corrupts {
            Some(Corrupts::UploadPart(at)) if at == sent && !body.is_empty() => {
                self.record().count("bytes changed");
                let mut kept = body.to_vec();
                kept[0] ^= 1;
                kept.into()
            }
            _ => body,
        }
    }

    /// What the store keeps of an object.
    pub(crate) fn kept_object(&self, object: &ObjectName, body: Bytes) -> Bytes {
        let is_group =
            object.bucket == WORK && object.key.contains("/group-") && !object.key.ends_with(".errors");
        if !is_group {
            return body;
        }
        let sent = self.record().next("groups");
        match self.corrupts {
            Some(Corrupts::Group(at)) if at == sent && !body.is_empty() => {
                self.record().count("bytes changed");
                body.slice(..body.len() - 1)
            }
            _ => body,
        }
    }

    /// The messages that are not lost.
    pub(crate) fn kept_messages(&self, queue: Queue, mut messages: Vec<Outgoing>) -> Vec<Outgoing> {
        let is_repaired = |message: &Outgoing| match queue {
            Queue::Folds | Queue::Intake | Queue::Launches => true,
            Queue::Chunks => false,
            Queue::Completions => message.body.contains("map_ended"),
        };
        messages.retain(|message| {
            if !is_repaired(message) {
                return true;
            }
            let is_lost = self.loses == Some(self.record().next("messages that are repaired"));
            if is_lost {
                let mut record = self.record();
                record.count("messages lost");
                record.tell(format!("lost: {}", message.body));
            }
            !is_lost
        });
        messages
    }

    /// Whoever publishes an output that another has taken did so between its question whose it is, which follows its last
    /// look at the name, and its write: what the store cannot bind together.
    pub(crate) async fn check_publisher(
        &self,
        object: &ObjectName,
        metadata: &Metadata,
    ) -> Result<(), PortError> {
        let Some(stamp) = Stamp::read(metadata) else { return Ok(()) };
        let Some(owner) = self.world.ledger.owner(object).await? else { return Ok(()) };
        if owner.run != stamp.run && !self.gate.has_asked(object, &stamp.run) {
            let wrong = format!(
                "run {} published {object} and did not ask whose it is: run {}'s",
                stamp.run, owner.run
            );
            self.record().accuse(wrong);
        }
        Ok(())
    }

    /// No run completes whose output is another's at that moment: that is one transaction.
    pub(crate) async fn check_owner(&self, run: &Run) -> Result<(), PortError> {
        let owner = self.world.ledger.owner(&run.output).await?;
        if run.state == RunState::Completing
            && let Some(owner) = owner.filter(|owner| owner.run != run.id)
        {
            let wrong = format!("run {} is completing, and its output is run {}'s", run.id, owner.run);
            self.record().accuse(wrong);
        }
        Ok(())
    }

    /// Whether saving a run changes its state.
    pub(crate) fn is_arrow(&self, run: &Run) -> bool {
        self.record().runs.get(&run.id).is_some_and(|before| before.state != run.state)
    }
}

//! How a chunk that kills its workers is told from one that only waits for a worker.
//!
//! SQS counts receives. A receive that Lambda throttles is one of them though it reaches no worker, so that their number
//! says nothing of the chunk. A worker that is given a message for the second time or later therefore leaves a marker
//! first: an object by If-None-Match, under the next free number of this message. One that lives on, and yet leaves its
//! message to the queue, notes that beside its marker. The other markers are workers that died: out of memory, killed at
//! the function's timeout, or with their machine. [`MOST_DEATHS`] of them end the chunk.
//!
//! A first delivery costs no request. Between two deliveries lies the queue's visibility timeout, a minute more than the
//! function's timeout: with the usual 330 s a chunk that kills every worker ends after about 40 minutes.

use fanfold_domain::{ObjectName, key::StageKeys, message::ChunkMessage};
use fanfold_ports::{
    PortError,
    objects::{Condition, Metadata, Written},
};

use crate::{Delivered, Worker};

/// How many workers may die on a chunk before it is failed. One or two may die with their machines.
pub(crate) const MOST_DEATHS: u32 = 5;

/// How a worker begins with a message.
pub(crate) enum Begun {
    /// It is the first that is known to be given it.
    First,
    /// It has left a marker.
    Again(Marker),
    /// Too many workers died on it.
    Poison,
}

/// What a worker left as it began.
pub(crate) struct Marker {
    /// How many markers the message has, this one included.
    pub(crate) number: u32,
    /// The name of the note that the worker lived on.
    pub(crate) survived: ObjectName,
}

impl Worker {
    /// Leaves a marker if the message was delivered before.
    pub(crate) async fn begin(
        &self,
        message: &ChunkMessage,
        delivered: Delivered<'_>,
    ) -> Result<Begun, PortError> {
        if delivered.receive_count <= 1 {
            return Ok(Begun::First);
        }
        let (objects, chunk) = (&self.ports.objects, message.chunk);
        let keys = StageKeys::new(&message.run, &message.stage, message.generation);
        let (mut number, mut deaths) = (1, 0);
        while deaths < MOST_DEATHS {
            let marker = ObjectName::new(&self.work_bucket, keys.begun(chunk, delivered.id, number));
            let survived = ObjectName::new(&self.work_bucket, keys.survived(chunk, delivered.id, number));
            match objects.put(&marker, Vec::<u8>::new().into(), Condition::Absent, &Metadata::new()).await? {
                Written::Stored(_) => return Ok(Begun::Again(Marker { number, survived })),
                // Another's, or of one that creates it at this moment.
                Written::Refused | Written::Conflict => {
                    deaths += u32::from(objects.head(&survived, None).await?.is_none());
                }
            }
            number += 1;
        }
        Ok(Begun::Poison)
    }

    /// Notes that the worker lived on which left a marker, and leaves the message to the queue. What fails here counts as
    /// one death, of several that it takes.
    pub(crate) async fn note_survival(&self, survived: &ObjectName) {
        let noted = self
            .ports
            .objects
            .put(survived, Vec::<u8>::new().into(), Condition::Absent, &Metadata::new())
            .await;
        if let Err(error) = noted {
            tracing::warn!(%error, "that a worker lived on could not be noted");
        }
    }
}

/// Why a chunk failed that killed so many workers.
pub(crate) fn poison() -> String {
    format!(
        "its worker died {MOST_DEATHS} times without a word: out of memory (WorkerMemory), or killed at the function's \
         timeout (WorkerTimeout); the worker's log tells which"
    )
}

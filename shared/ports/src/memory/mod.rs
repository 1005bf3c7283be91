//! The ports in memory: what handlers run on in tests and in the simulation.
//!
//! The twins ([`MemoryObjects`], [`MemoryLedger`], [`MemoryQueues`], [`MemoryTables`],
//! [`MemoryClock`]) keep the rules of the
//! real services and never fail by themselves. Failure is a layer of its own: [`MemoryWorld::ports`] gives
//! each [`Invocation`] ports that consult one plan of [`Faults`] at every call, so that a seed replays every
//! error, crash, conflict and broken stream, and the interleaving of invocations on one thread.
//!
//! Architecture invariant: nothing here knows a handler, delivers a message or repeats a call: the driver
//! does.

mod clock;
mod clusters;
mod events;
mod faults;
mod faulty;
mod fleet;
mod functions;
mod invocation;
mod ledger;
mod maps;
mod objects;
mod queues;
mod random;
mod schedules;
mod tables;
mod web;

use std::sync::Arc;

use crate::Ports;

pub use crate::pacer::MemoryPacer;
pub use clock::{MEMORY_EPOCH, MemoryClock};
pub use clusters::{MemoryClusters, MemoryJob};
pub use events::MemoryEvents;
pub use faults::{Call, Dealt, Faults, Outcome, Rates, Released, Service};
pub use faulty::Faulty;
pub use fleet::MemoryFleet;
pub use functions::MemoryFunctions;
pub use invocation::Invocation;
pub use ledger::{LedgerContents, MemoryLedger};
pub use maps::{MemoryExecution, MemoryMaps};
pub use objects::{MemoryObjects, STREAM_PIECE_BYTES};
pub use queues::{MAX_MESSAGE_BYTES, MemoryQueues, QueuedMessage};
pub use random::Random;
pub use schedules::MemorySchedules;
pub use tables::MemoryTables;
pub use web::{MemoryWeb, Reply};

/// All that the ports stand on, for a driver to look at and to change behind the handlers' backs.
#[derive(Debug, Clone)]
pub struct MemoryWorld {
    /// Objects in buckets.
    pub objects: Arc<MemoryObjects>,
    /// What is done.
    pub ledger: Arc<MemoryLedger>,
    /// Messages that were sent.
    pub queues: Arc<MemoryQueues>,
    /// Events that were put.
    pub events: Arc<MemoryEvents>,
    /// The users' tables, of the key that the stack's own table of orders has.
    pub tables: Arc<MemoryTables>,
    /// How often third parties are asked.
    pub pacer: Arc<MemoryPacer>,
    /// Clusters as they were declared, and launches.
    pub fleet: Arc<MemoryFleet>,
    /// Executions of the Distributed Map.
    pub maps: Arc<MemoryMaps>,
    /// Time and chance.
    pub clock: MemoryClock,
    /// What goes wrong.
    pub faults: Faults,
}

impl MemoryWorld {
    /// An empty world around a store and its clock.
    pub fn new(objects: MemoryObjects, clock: MemoryClock, faults: Faults) -> Self {
        Self {
            objects: Arc::new(objects),
            ledger: Arc::default(),
            queues: Arc::new(MemoryQueues::new(clock.clone())),
            events: Arc::default(),
            tables: Arc::new(MemoryTables::keyed(&["orderid", "confirmationid"])),
            pacer: Arc::default(),
            fleet: Arc::default(),
            maps: Arc::default(),
            clock,
            faults,
        }
    }

    /// An empty world with a clock of `seed` and a store without options.
    pub fn seeded(seed: u64, faults: Faults) -> Self {
        let clock = MemoryClock::seeded(seed);
        Self::new(MemoryObjects::new(clock.clone()), clock, faults)
    }

    /// The ports as one invocation sees them: under the plan of faults.
    pub fn ports(&self, invocation: &Invocation) -> Ports {
        Ports {
            objects: Arc::new(self.faulty(&self.objects, invocation)),
            ledger: Arc::new(self.faulty(&self.ledger, invocation)),
            queues: Arc::new(self.faulty(&self.queues, invocation)),
            events: Arc::new(self.faulty(&self.events, invocation)),
            tables: Arc::new(self.faulty(&self.tables, invocation)),
            pacer: Arc::new(self.faulty(&self.pacer, invocation)),
            clock: Arc::new(self.clock.clone()),
        }
    }

    /// The ports themselves, on which nothing fails: for a driver, and for tests of one handler.
    pub fn calm_ports(&self) -> Ports {
        Ports {
            objects: self.objects.clone(),
            ledger: self.ledger.clone(),
            queues: self.queues.clone(),
            events: self.events.clone(),
            tables: self.tables.clone(),
            pacer: self.pacer.clone(),
            clock: Arc::new(self.clock.clone()),
        }
    }

    fn faulty<T>(&self, port: &Arc<T>, invocation: &Invocation) -> Faulty<T> {
        Faulty::new(port.clone(), self.faults.clone(), invocation.clone())
    }
}

/// A world without faults, and its ports.
pub fn memory_ports() -> (MemoryWorld, Ports) {
    let world = MemoryWorld::seeded(0, Faults::none());
    let ports = world.calm_ports();
    (world, ports)
}

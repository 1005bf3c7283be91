//! What the services need of the world, as traits: objects, the ledger, queues, events, users' tables and
//! functions, the clock.
//!
//! Each port is small, speaks the domain's types and no SDK's, and says of every call what it guarantees when
//! it is repeated. Under the feature `testing` each has a memory twin that can be told to fail, and a
//! contract suite that runs on the twin and on the real service alike.
//!
//! Architecture invariant: a port decides nothing. What a service does with an answer is the service's.

pub mod clock;
pub mod clusters;
pub mod error;
pub mod events;
pub mod fleet;
pub mod functions;
pub mod items;
pub mod ledger;
pub mod maps;
pub mod objects;
pub mod pacer;
pub mod queues;
pub mod schedules;
pub mod tables;
pub mod web;

#[cfg(feature = "testing")]
pub mod contract;
#[cfg(feature = "testing")]
pub mod memory;

use std::sync::Arc;

pub use clock::{Clock, SyncedClock, Until};
pub use clusters::Clusters;
pub use error::{Fault, PortError};
pub use events::Events;
pub use fleet::{Fleet, KubePorts};
pub use functions::Functions;
pub use items::{ItemList, UnreadableItem};
pub use ledger::Ledger;
pub use maps::Maps;
pub use objects::Objects;
pub use pacer::Pacer;
pub use queues::{Queue, Queues};
pub use schedules::Schedules;
pub use tables::Tables;
pub use web::Web;

/// All that a handler may use of the world.
#[derive(Clone)]
pub struct Ports {
    /// Objects in buckets.
    pub objects: Arc<dyn Objects>,
    /// What is done.
    pub ledger: Arc<dyn Ledger>,
    /// Messages to other services.
    pub queues: Arc<dyn Queues>,
    /// What is told to the world outside.
    pub events: Arc<dyn Events>,
    /// The users' tables.
    pub tables: Arc<dyn Tables>,
    /// How often third parties are asked.
    pub pacer: Arc<dyn Pacer>,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
}

//! The contract suites on the memory twins: bare, and through the layer that deals faults, with none dealt but
//! all calls taking turns.

use std::sync::Arc;

use async_trait::async_trait;
use fanfold_ports::{
    Ports, Queue,
    contract::{
        FleetUnderTest, LedgerUnderTest, ObjectsUnderTest, PacerUnderTest, QueuesUnderTest, Receiver,
        WebUnderTest,
        web::{Said, reply},
    },
    memory::{
        Faults, Faulty, Invocation, MemoryClock, MemoryObjects, MemoryQueues, MemoryWeb, MemoryWorld, Rates,
        Reply,
    },
};

/// A consumer of the memory queues.
struct Driver(Arc<MemoryQueues>);

#[async_trait]
impl Receiver for Driver {
    async fn receive(&self, queue: Queue) -> Vec<String> {
        self.0.receive_all(queue).into_iter().map(|message| message.body).collect()
    }
}

fn world(faults: Faults) -> MemoryWorld {
    let clock = MemoryClock::seeded(0);
    let objects = MemoryObjects::new(clock.clone()).with_versioned_bucket("versioned");
    MemoryWorld::new(objects, clock, faults)
}

fn objects_of(ports: Ports) -> ObjectsUnderTest {
    ObjectsUnderTest {
        objects: ports.objects,
        bucket: "bucket".to_owned(),
        versioned_bucket: Some("versioned".to_owned()),
        prefix: "test/".to_owned(),
        lacks: &[],
    }
}

fn ledger_of(ports: Ports) -> LedgerUnderTest {
    LedgerUnderTest { ledger: ports.ledger, unique: "test".to_owned() }
}

fn pacer_of(ports: Ports) -> PacerUnderTest {
    PacerUnderTest { pacer: ports.pacer, unique: "test".to_owned() }
}

fn queues_of(ports: Ports, world: &MemoryWorld) -> QueuesUnderTest {
    tokio::time::pause(); // a delay takes no time
    QueuesUnderTest { queues: ports.queues, receiver: Arc::new(Driver(world.queues.clone())) }
}

mod bare {
    use super::*;

    async fn objects() -> ObjectsUnderTest {
        objects_of(world(Faults::none()).calm_ports())
    }

    async fn ledger() -> LedgerUnderTest {
        ledger_of(world(Faults::none()).calm_ports())
    }

    async fn queues() -> QueuesUnderTest {
        let world = world(Faults::none());
        queues_of(world.calm_ports(), &world)
    }

    async fn fleet() -> FleetUnderTest {
        FleetUnderTest { fleet: world(Faults::none()).fleet, unique: "test".to_owned() }
    }

    async fn pacer() -> PacerUnderTest {
        pacer_of(world(Faults::none()).calm_ports())
    }

    async fn web() -> WebUnderTest {
        let web = MemoryWeb::new(MemoryClock::seeded(0), |request, _| {
            if request.url.starts_with("http://nobody/") {
                return Reply::Nobody;
            }
            let Some(Said { status, header, body }) = reply(request) else { return Reply::Breaks };
            let retry_after = header.filter(|(name, _)| *name == "retry-after");
            Reply::Answer { status, body, retry_after: retry_after.map(|(_, value)| value), after_ms: 0 }
        });
        WebUnderTest { web: Arc::new(web), at: "http://there".to_owned(), nobody: "http://nobody".to_owned() }
    }

    fanfold_ports::objects_contract!(objects);
    fanfold_ports::ledger_contract!(ledger);
    fanfold_ports::queues_contract!(queues);
    fanfold_ports::fleet_contract!(fleet);
    fanfold_ports::pacer_contract!(pacer);
    fanfold_ports::web_contract!(web);
}

mod interleaved {
    use super::*;

    fn shuffled() -> (MemoryWorld, Ports) {
        let world = world(Faults::seeded(7, Rates::NONE));
        let ports = world.ports(&Invocation::new("contract"));
        (world, ports)
    }

    async fn objects() -> ObjectsUnderTest {
        objects_of(shuffled().1)
    }

    async fn ledger() -> LedgerUnderTest {
        ledger_of(shuffled().1)
    }

    async fn queues() -> QueuesUnderTest {
        let (world, ports) = shuffled();
        queues_of(ports, &world)
    }

    fanfold_ports::objects_contract!(objects);
    fanfold_ports::ledger_contract!(ledger);
    async fn fleet() -> FleetUnderTest {
        let world = world(Faults::seeded(7, Rates::NONE));
        let fleet = Faulty::new(world.fleet, world.faults, Invocation::new("contract"));
        FleetUnderTest { fleet: Arc::new(fleet), unique: "test".to_owned() }
    }

    async fn pacer() -> PacerUnderTest {
        pacer_of(shuffled().1)
    }

    fanfold_ports::queues_contract!(queues);
    fanfold_ports::fleet_contract!(fleet);
    fanfold_ports::pacer_contract!(pacer);
}

mod lagging {
    use super::*;

    /// Lists and eventual reads lag; nothing else may be affected.
    async fn ledger() -> LedgerUnderTest {
        let world = world(Faults::none());
        world.ledger.lag(3);
        tokio::time::pause(); // waiting for the lag takes no time
        ledger_of(world.calm_ports())
    }

    fanfold_ports::ledger_contract!(ledger);
}

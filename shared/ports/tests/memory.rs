//! The contract suites on the memory twins: bare, and through the layer that deals faults, with none dealt but
//! all calls taking turns.

use std::sync::Arc;

use async_trait::async_trait;
use fanfold_domain::map::{ExecutionName, MapInput};
use fanfold_ports::{
    Ports, Queue,
    contract::{
        FleetUnderTest, LedgerUnderTest, MapsUnderTest, ObjectsUnderTest, QueuesUnderTest, Receiver, Stopper,
    },
    memory::{
        Faults, Faulty, Invocation, MemoryClock, MemoryMaps, MemoryObjects, MemoryQueues, MemoryWorld, Rates,
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

/// Who ends executions in memory.
struct Person(Arc<MemoryMaps>);

#[async_trait]
impl Stopper for Person {
    async fn input(&self, name: &ExecutionName) -> MapInput {
        self.0.executions()[name].input.clone()
    }

    async fn stop(&self, name: &ExecutionName) {
        self.0.end(name, "ABORTED");
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

    async fn maps() -> MapsUnderTest {
        let maps = world(Faults::none()).maps;
        MapsUnderTest { stopper: Arc::new(Person(maps.clone())), maps, unique: "test".to_owned() }
    }

    fanfold_ports::objects_contract!(objects);
    fanfold_ports::ledger_contract!(ledger);
    fanfold_ports::queues_contract!(queues);
    fanfold_ports::fleet_contract!(fleet);
    fanfold_ports::maps_contract!(maps);
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

    async fn maps() -> MapsUnderTest {
        let world = world(Faults::seeded(7, Rates::NONE));
        let maps = Faulty::new(world.maps.clone(), world.faults, Invocation::new("contract"));
        let stopper = Arc::new(Person(world.maps));
        MapsUnderTest { maps: Arc::new(maps), stopper, unique: "test".to_owned() }
    }

    fanfold_ports::queues_contract!(queues);
    fanfold_ports::fleet_contract!(fleet);
    fanfold_ports::maps_contract!(maps);
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

//! The contract suites on the memory twins: bare, and through the layer that deals faults, with none dealt but
//! all calls taking turns.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use fanfold_domain::{
    Event, Timestamp,
    announcement::SOURCE,
    map::{ExecutionName, MapInput},
};
use fanfold_ports::{
    Fleet, Ports, Queue,
    contract::{
        EventsUnderTest, FleetUnderTest, LedgerUnderTest, Looker, MapsUnderTest, ObjectsUnderTest,
        PacerUnderTest, QueuesUnderTest, Receiver, SchedulesUnderTest, Spoiled, Spoiler, Stopper, Watcher,
        WebUnderTest,
        web::{Said, reply},
    },
    memory::{
        Faults, Faulty, Invocation, MemoryClock, MemoryEvents, MemoryMaps, MemoryObjects, MemoryQueues,
        MemorySchedules, MemoryWeb, MemoryWorld, Rates, Reply,
    },
};
use serde_json::{Value, json};

/// A consumer of the memory queues.
struct Driver(Arc<MemoryQueues>);

#[async_trait]
impl Receiver for Driver {
    async fn receive(&self, queue: Queue) -> Vec<String> {
        self.0.receive_all(queue).into_iter().map(|message| message.body).collect()
    }
}

/// A consumer of the memory bus: each event once, as EventBridge delivers it.
struct Rule {
    events: Arc<MemoryEvents>,
    seen: AtomicUsize,
}

#[async_trait]
impl Watcher for Rule {
    async fn receive(&self) -> Vec<Value> {
        let all = self.events.all();
        let seen = self.seen.swap(all.len(), Ordering::Relaxed);
        all[seen..].iter().map(delivered).collect()
    }
}

fn delivered(event: &Event) -> Value {
    assert_eq!(event.happened_at, Timestamp(1_763_704_800_000), "the samples' time");
    let detail: Value = serde_json::from_str(&event.detail).expect("a detail is JSON");
    json!({
        "source": SOURCE, "detail-type": event.detail_type, "time": "2025-11-21T06:00:00Z", "detail": detail,
    })
}

fn events_of(ports: Ports, world: &MemoryWorld) -> EventsUnderTest {
    let watcher = Rule { events: world.events.clone(), seen: AtomicUsize::new(0) };
    EventsUnderTest { events: ports.events, watcher: Arc::new(watcher), keeps_time: true }
}

/// The memory schedules themselves.
struct Look(Arc<MemorySchedules>);

#[async_trait]
impl Looker for Look {
    async fn look(&self, pipeline: &str) -> Option<(String, String, String)> {
        let found = self.0.of(pipeline)?;
        Some((found.expression(), found.time_zone().to_owned(), pipeline.to_owned()))
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

/// Makes items in memory unreadable.
struct Newer(MemoryWorld);

#[async_trait]
impl Spoiler for Newer {
    async fn spoil(&self, item: Spoiled<'_>, document: &str) {
        let (ledger, fleet) = (&self.0.ledger, &self.0.fleet);
        match item {
            Spoiled::Run(id) => ledger.spoil_run(id, document),
            Spoiled::Pipeline(name) => ledger.spoil_pipeline(name, document),
            Spoiled::Failure(stage, chunk) => ledger.spoil_failure(stage, chunk, document),
            Spoiled::Cluster(name) => fleet.spoil_cluster(name, document),
            Spoiled::Launch(stage, index) => fleet.spoil_launch(stage, index, document),
        }
    }
}

fn ledger_of(ports: Ports, world: &MemoryWorld) -> LedgerUnderTest {
    let spoiler = Arc::new(Newer(world.clone()));
    LedgerUnderTest { ledger: ports.ledger, unique: "test".to_owned(), spoiler }
}

fn fleet_of(fleet: Arc<dyn Fleet>, world: &MemoryWorld) -> FleetUnderTest {
    FleetUnderTest { fleet, unique: "test".to_owned(), spoiler: Arc::new(Newer(world.clone())) }
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
        let world = world(Faults::none());
        ledger_of(world.calm_ports(), &world)
    }

    async fn queues() -> QueuesUnderTest {
        let world = world(Faults::none());
        queues_of(world.calm_ports(), &world)
    }

    async fn events() -> EventsUnderTest {
        let world = world(Faults::none());
        events_of(world.calm_ports(), &world)
    }

    async fn schedules() -> SchedulesUnderTest {
        let schedules = Arc::new(MemorySchedules::default());
        let looker = Arc::new(Look(schedules.clone()));
        SchedulesUnderTest { schedules, looker, unique: "test".to_owned() }
    }

    async fn fleet() -> FleetUnderTest {
        let world = world(Faults::none());
        fleet_of(world.fleet.clone(), &world)
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

    async fn maps() -> MapsUnderTest {
        let maps = world(Faults::none()).maps;
        MapsUnderTest { stopper: Arc::new(Person(maps.clone())), maps, unique: "test".to_owned() }
    }

    fanfold_ports::objects_contract!(objects);
    fanfold_ports::ledger_contract!(ledger);
    fanfold_ports::queues_contract!(queues);
    fanfold_ports::events_contract!(events);
    fanfold_ports::schedules_contract!(schedules);
    fanfold_ports::fleet_contract!(fleet);
    fanfold_ports::pacer_contract!(pacer);
    fanfold_ports::web_contract!(web);
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
        let (world, ports) = shuffled();
        ledger_of(ports, &world)
    }

    async fn queues() -> QueuesUnderTest {
        let (world, ports) = shuffled();
        queues_of(ports, &world)
    }

    async fn events() -> EventsUnderTest {
        let (world, ports) = shuffled();
        events_of(ports, &world)
    }

    fanfold_ports::objects_contract!(objects);
    fanfold_ports::ledger_contract!(ledger);
    fanfold_ports::events_contract!(events);
    async fn fleet() -> FleetUnderTest {
        let world = world(Faults::seeded(7, Rates::NONE));
        let faults = world.faults.clone();
        let fleet = Faulty::new(world.fleet.clone(), faults, Invocation::new("contract"));
        fleet_of(Arc::new(fleet), &world)
    }

    async fn pacer() -> PacerUnderTest {
        pacer_of(shuffled().1)
    }

    async fn maps() -> MapsUnderTest {
        let world = world(Faults::seeded(7, Rates::NONE));
        let maps = Faulty::new(world.maps.clone(), world.faults, Invocation::new("contract"));
        let stopper = Arc::new(Person(world.maps));
        MapsUnderTest { maps: Arc::new(maps), stopper, unique: "test".to_owned() }
    }

    fanfold_ports::queues_contract!(queues);
    fanfold_ports::fleet_contract!(fleet);
    fanfold_ports::pacer_contract!(pacer);
    fanfold_ports::maps_contract!(maps);
}

mod lagging {
    use super::*;

    /// Lists and eventual reads lag; nothing else may be affected.
    async fn ledger() -> LedgerUnderTest {
        let world = world(Faults::none());
        world.ledger.lag(3);
        tokio::time::pause(); // waiting for the lag takes no time
        ledger_of(world.calm_ports(), &world)
    }

    fanfold_ports::ledger_contract!(ledger);
}

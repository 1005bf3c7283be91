//! AWS, as the services meet it: deliveries at least once and in any order, invocations at once, crashes,
//! dead-letter queues, a schedule, S3's events, and people.

mod acts;
mod deliveries;
mod invocations;
mod snapshot;
mod sweeps;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use fanfold_ports::{
    Clock, Fleet as _, Ledger as _, Queue,
    memory::{Faults, MEMORY_EPOCH, MemoryClock, MemoryClusters, MemoryObjects, MemoryWorld},
};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    chance::Chance,
    kube::Kube,
    maps::{ChildKey, Maps},
    ports::{Shaped, SharedRecord, lock},
    record::Record,
    scenario::{Act, INPUT, Scenario},
    services::{Fared, Fleet},
    third_party::ThirdParty,
};

const SWEEP_EVERY_MS: u64 = 60_000;
/// Long after every deadline, message and pause: what is not done by then never will be.
const END_MS: u64 = 40 * 60 * 60_000;

/// A message in a dead-letter queue.
#[derive(Debug)]
struct Dead {
    queue: Queue,
    body: String,
    visible_at_ms: u64,
}

/// What an invocation was for.
#[derive(Debug)]
enum Origin {
    /// Messages, and whether it takes one of the queue's places while it runs.
    Messages { queue: Queue, ids: Vec<u64>, takes_place: bool },
    /// A dead message, by its id.
    Dead(u64),
    /// A child of a Map.
    Child(ChildKey),
    /// A person, who asks once.
    Person,
    /// A sweep, and when it began.
    Sweep { begun_ms: u64 },
}

/// Where a play is cut short, to see the world as it is then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Where the plan of faults crashes an invocation.
    AtCrash,
    /// After so many turns.
    AtTurn(u64),
}

/// A world with its services under way.
pub(crate) struct Driver {
    pub(crate) scenario: Scenario,
    pub(crate) world: MemoryWorld,
    pub(crate) record: SharedRecord,
    chance: Arc<Chance>,
    fleet: Fleet,
    kube: Kube,
    maps: Maps,
    start: Instant,
    acts: VecDeque<(u64, Act)>,
    invocations: JoinSet<(Origin, Option<Fared>)>,
    started: u64,
    active: BTreeMap<Queue, usize>,
    received: BTreeMap<u64, u32>,
    dead: BTreeMap<u64, Dead>,
    /// What died in intake.
    pub(crate) stranded: Vec<String>,
    down_until_ms: BTreeMap<Queue, u64>,
    next_sweep_ms: u64,
    sweeps: usize,
    uploads: u64,
    is_calm: bool,
    /// Where the play ends before its end.
    pub(crate) cut: Option<Cut>,
    was_cut: bool,
    turns: u64,
}

impl Driver {
    pub(crate) fn new(scenario: Scenario, faults: Faults) -> Self {
        let clock = MemoryClock::seeded(scenario.seed);
        let mut objects = MemoryObjects::new(clock.clone()).with_stream_pieces(scenario.piece_bytes);
        if scenario.is_versioned {
            objects = objects.with_versioned_bucket(INPUT);
        }
        for (key, bytes) in &scenario.objects {
            objects.insert(INPUT, key.clone(), bytes.clone());
        }
        let world = MemoryWorld::new(objects, clock, faults);
        world.ledger.lag(scenario.lagging_reads);
        if let Some(refused) = &scenario.refused {
            world.faults.refuse(refused);
        }
        let record = Arc::new(Mutex::new(Record::default()));
        let clusters = MemoryClusters::new(world.clock.clone());
        Self {
            chance: Arc::new(Chance::of(scenario.seed, "driver")),
            world,
            kube: Kube::new(scenario.kube.clone(), scenario.seed, clusters, record.clone()),
            maps: Maps::new(scenario.map.clone(), scenario.seed, record.clone()),
            record,
            fleet: Fleet::default(),
            start: Instant::now(),
            acts: scenario.acts.clone().into(),
            invocations: JoinSet::new(),
            started: 0,
            active: BTreeMap::new(),
            received: BTreeMap::new(),
            dead: BTreeMap::new(),
            stranded: Vec::new(),
            down_until_ms: BTreeMap::new(),
            next_sweep_ms: SWEEP_EVERY_MS,
            sweeps: 0,
            uploads: 0,
            is_calm: false,
            cut: None,
            was_cut: false,
            turns: 0,
            scenario,
        }
    }

    /// Drives the world until nothing more happens.
    pub(crate) async fn run(&mut self) -> Result<(), String> {
        for cluster in &self.kube.declared {
            self.world.fleet.put_cluster(cluster).await.expect("memory does not fail");
        }
        self.kube.add_neighbours().await;
        for pipeline in &self.scenario.others {
            self.world.ledger.put_pipeline(pipeline).await.expect("memory does not fail");
        }
        loop {
            self.turns += 1;
            if self.cut == Some(Cut::AtTurn(self.turns)) {
                self.was_cut = true;
                return Ok(());
            }
            self.calm_down();
            self.act().await;
            self.deliver();
            self.begin_pods();
            self.begin_children().await;
            self.sweep();
            if self.is_quiet() {
                return Ok(());
            }
            let calls = self.world.faults.points() / 2;
            if calls > self.scenario.most_calls() {
                return Err(format!(
                    "{calls} calls were made, and no end of it: something goes round in circles"
                ));
            }
            if self.now_ms() > END_MS {
                return Err("something still goes on long after every deadline".to_owned());
            }
            let next = self.start + Duration::from_millis(self.next_ms());
            tokio::select! {
                biased;
                Some(done) = self.invocations.join_next() => {
                    let (origin, fared) = done.map_err(|error| format!("an invocation panicked: {error}"))?;
                    if self.is_cut_by(fared.is_none()) {
                        return Ok(());
                    }
                    if let Origin::Sweep { begun_ms } = origin
                        && matches!(fared.as_deref(), Some([Ok(())]))
                    {
                        self.check_swept(begun_ms).await?;
                    }
                    self.check_launches()?;
                    self.settle(origin, fared).await;
                }
                Some(done) = self.kube.running.join_next() => {
                    let (pod, exit_code) = done.map_err(|error| format!("a pod panicked: {error}"))?;
                    if self.is_cut_by(exit_code.is_none()) {
                        return Ok(());
                    }
                    let (now, is_rough) = (self.now_ms(), self.is_rough());
                    self.kube.settle(pod, exit_code, now, is_rough);
                }
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    /// Whether the play ends with this crash: of an invocation that the plan of faults crashes, and no sick chunk.
    fn is_cut_by(&mut self, has_crashed: bool) -> bool {
        let is_cut = self.cut == Some(Cut::AtCrash) && !self.world.faults.dealt().is_empty();
        self.was_cut |= has_crashed && is_cut;
        self.was_cut
    }

    /// Whether the play was cut short.
    pub(crate) fn was_cut(&self) -> bool {
        self.was_cut
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.world.clock.now().ms_since(MEMORY_EPOCH)
    }

    fn tell(&self, line: String) {
        let now = self.now_ms();
        lock(&self.record).tell(format!("[{now:>8} ms] {line}"));
    }

    /// From some time on nothing fails any more: what is left must come to an end by itself.
    fn calm_down(&mut self) {
        if !self.is_calm && self.now_ms() >= self.scenario.calm_at_ms {
            self.is_calm = true;
            self.tell("faults cease".to_owned());
            self.world.faults.cease();
            self.world.ledger.lag(0);
        }
    }

    fn is_quiet(&self) -> bool {
        self.acts.is_empty()
            && self.invocations.len() == self.sweeps
            && self.dead.is_empty()
            && self.world.queues.pending().is_empty()
            && !self.kube.is_busy()
            && !self.maps.is_busy()
            && (!self.has_unfinished_runs() || !self.scenario.has_sweeper)
    }

    fn has_unfinished_runs(&self) -> bool {
        lock(&self.record).runs.values().any(|run| !run.is_settled())
    }

    /// When the driver has something to do again, if no invocation ends before.
    fn next_ms(&self) -> u64 {
        let now = self.now_ms();
        let pending = self.world.queues.pending();
        let messages = pending.iter().map(|message| message.visible_at.ms_since(MEMORY_EPOCH));
        let times = messages
            .chain(self.kube.due())
            .chain(self.maps.due())
            .chain(self.acts.front().map(|(at, _)| *at))
            .chain(self.dead.values().map(|dead| dead.visible_at_ms))
            .chain(self.down_until_ms.values().copied())
            .chain([self.scenario.calm_at_ms, self.next_sweep_ms, END_MS + 1]);
        times.filter(|at| *at > now).min().unwrap_or(END_MS + 1)
    }

    fn shaped(&self) -> Shaped {
        let items = self.scenario.items.clone().map(Bytes::from);
        let Scenario { group_chunks, third_party, corrupts, loses, .. } = self.scenario;
        let troubles_percent = if self.is_rough() { third_party.troubles_percent } else { 0 };
        let third_party = ThirdParty { troubles_percent, ..third_party };
        Shaped { group_chunks, items, third_party, corrupts, loses }
    }

    fn is_rough(&self) -> bool {
        !self.is_calm && !self.scenario.is_calm()
    }
}

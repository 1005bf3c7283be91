//! Step Functions, as far as a Distributed Map of ours meets it: children that are tried again, are doubled, die with a
//! word or without one, and executions that a person stops or whose last message is lost. What the state machine's
//! definition says is told here once more.

use std::collections::{BTreeMap, VecDeque};

use fanfold_domain::{
    map::{
        ChildFailure, Children, ExecutionName, Item, MapEnd, MapInput, MapMessage, PERMANENT, TRANSIENT,
        is_to_blame,
    },
    message::encode,
};
use fanfold_ports::{
    Queue, Queues,
    maps::MapStatus,
    memory::{MemoryMaps, MemoryObjects, MemoryQueues},
    queues::Outgoing,
};

use crate::{
    chance::Chance,
    ports::{SharedRecord, lock},
    scenario::MapScenario,
    services::{Fared, IN_VAIN},
};

const SECOND: u64 = 1_000;
/// What the worker's death is called.
const DIED: &str = "Runtime.ExitError";
/// Tries after errors that another try may mend, and after a death.
const RETRIES: (u32, u32) = (6, 1);
/// How much later than its children the end of a Map is told of, in seconds.
const END_DELAY_S: u32 = 20;

/// A child, by its execution and its place in the list.
pub(crate) type ChildKey = (ExecutionName, usize);

/// A child that is to be invoked now.
#[derive(Debug)]
pub(crate) struct Invoked {
    pub(crate) key: ChildKey,
    pub(crate) body: String,
    pub(crate) children: Children,
    /// How often: Express executions are at least once.
    pub(crate) times: usize,
}

#[derive(Debug, Default)]
struct Child {
    body: String,
    /// Tries after errors of each kind.
    tries: (u32, u32),
    /// When it is tried again.
    again_at_ms: Option<u64>,
    is_over: bool,
}

#[derive(Debug)]
struct Execution {
    input: MapInput,
    items: Vec<Child>,
    waiting: VecDeque<usize>,
    active: u32,
    failed: usize,
    stops_at_ms: Option<u64>,
}

/// All executions.
#[derive(Debug)]
pub(crate) struct Maps {
    scenario: MapScenario,
    chance: Chance,
    record: SharedRecord,
    executions: BTreeMap<ExecutionName, Execution>,
    known: usize,
}

impl Maps {
    pub(crate) fn new(scenario: Option<MapScenario>, seed: u64, record: SharedRecord) -> Self {
        let (scenario, chance) = (scenario.unwrap_or_default(), Chance::of(seed, "step functions"));
        Self { scenario, chance, record, executions: BTreeMap::new(), known: 0 }
    }

    /// Whether an execution has not ended.
    pub(crate) fn is_busy(&self) -> bool {
        !self.executions.is_empty()
    }

    /// When something is due.
    pub(crate) fn due(&self) -> impl Iterator<Item = u64> + '_ {
        self.executions.values().flat_map(|execution| {
            execution.items.iter().filter_map(|child| child.again_at_ms).chain(execution.stops_at_ms)
        })
    }

    /// Begins executions that were started, ends those that are over; the children that are to be invoked now.
    pub(crate) async fn step(
        &mut self,
        (maps, objects, queues): (&MemoryMaps, &MemoryObjects, &MemoryQueues),
        now: u64,
        is_rough: bool,
    ) -> Vec<Invoked> {
        let started = maps.executions();
        if started.len() > self.known {
            for (name, execution) in started {
                if execution.status == MapStatus::Running && !self.executions.contains_key(&name) {
                    let begun = self.begin(execution.input, objects, now, is_rough);
                    self.executions.insert(name, begun);
                }
            }
            self.known = maps.executions().len();
        }
        let mut invoked = Vec::new();
        for name in self.executions.keys().cloned().collect::<Vec<_>>() {
            invoked.extend(self.step_execution(&name, now, is_rough));
            if let Some(how) = self.end_of(&name, now) {
                self.end(&name, how, queues, is_rough).await;
                maps.end(&name, how);
            }
        }
        invoked
    }

    fn begin(&self, input: MapInput, objects: &MemoryObjects, now: u64, is_rough: bool) -> Execution {
        let name = fanfold_domain::ObjectName::new(&input.bucket, &input.key);
        // A list that expired is one that cannot be read: then the Map has failed at once.
        let list = objects.contents(&name).unwrap_or_default();
        let lines = std::str::from_utf8(&list).expect("JSON is UTF-8").lines();
        let items: Vec<Child> =
            lines.map(|line| Child { body: line.to_owned(), ..Child::default() }).collect();
        let is_stopped = is_rough && self.chance.percent(self.scenario.stops_percent);
        let stops_at_ms = is_stopped.then(|| now + self.chance.within(0..self.scenario.stops_within_ms));
        let waiting = (0..items.len()).collect();
        Execution { input, items, waiting, active: 0, failed: 0, stops_at_ms }
    }

    fn step_execution(&mut self, name: &ExecutionName, now: u64, is_rough: bool) -> Vec<Invoked> {
        let execution = self.executions.get_mut(name).expect("it is stepped");
        for (place, child) in execution.items.iter_mut().enumerate() {
            if child.again_at_ms.is_some_and(|at| at <= now) {
                child.again_at_ms = None;
                execution.active -= 1;
                execution.waiting.push_front(place);
            }
        }
        let mut invoked = Vec::new();
        while execution.active < execution.input.max_concurrency
            && let Some(place) = execution.waiting.pop_front()
        {
            execution.active += 1;
            let is_doubled = is_rough && self.chance.percent(self.scenario.doubles_percent);
            invoked.push(Invoked {
                key: (name.clone(), place),
                body: execution.items[place].body.clone(),
                children: execution.input.children,
                times: if is_doubled { 2 } else { 1 },
            });
        }
        invoked
    }

    /// What becomes of a child whose function ended, or died.
    pub(crate) async fn settle(
        &mut self,
        (name, place): ChildKey,
        fared: Option<Fared>,
        queues: &MemoryQueues,
        now: u64,
        is_rough: bool,
    ) {
        let Some(execution) = self.executions.get_mut(&name) else { return };
        let child = &mut execution.items[place];
        // Of a doubled one the first counts.
        if child.is_over || child.again_at_ms.is_some() {
            return;
        }
        let error = match fared.map(|mut fared| fared.remove(0)) {
            Some(Ok(())) => None,
            Some(Err(text)) if text.starts_with(IN_VAIN) => Some((PERMANENT, text)),
            Some(Err(text)) => Some((TRANSIENT, text)),
            None => Some((DIED, "signal: killed".to_owned())),
        };
        let Some((error, cause)) = error else {
            child.is_over = true;
            execution.active -= 1;
            return;
        };
        let retries = match error {
            TRANSIENT => {
                child.tries.0 += 1;
                (child.tries.0, RETRIES.0)
            }
            DIED => {
                child.tries.1 += 1;
                (child.tries.1, RETRIES.1)
            }
            _ => (1, 0),
        };
        if retries.0 <= retries.1 {
            let wait_ms = self.chance.within(0..((2 * SECOND) << (retries.0 - 1)) + 1);
            child.again_at_ms = Some(now + wait_ms.max(1));
            return;
        }
        child.is_over = true;
        execution.active -= 1;
        let is_silent = is_rough && self.chance.percent(self.scenario.silent_percent);
        lock(&self.record).count(if is_silent { "children died silently" } else { "children failed" });
        if is_silent {
            return;
        }
        let item: Item = serde_json::from_str(&child.body).expect("an item of ours");
        let is_one = !matches!(&item, Item::Batch(batch) if batch.count > 1);
        execution.failed += usize::from(is_one && is_to_blame(error));
        let told = MapMessage::ChildFailed(ChildFailure { item, error: error.to_owned(), cause });
        tell(&self.record, queues, &told, 0).await;
    }

    /// How an execution ends now, if it does.
    fn end_of(&self, name: &ExecutionName, now: u64) -> Option<&'static str> {
        let execution = &self.executions[name];
        let tolerated = execution.input.tolerated_failure_percentage as usize;
        if execution.stops_at_ms.is_some_and(|at| at <= now) {
            Some("ABORTED")
        } else if execution.items.is_empty() || execution.failed * 100 > tolerated * execution.items.len() {
            Some("FAILED")
        } else {
            (execution.active == 0 && execution.waiting.is_empty()).then_some("SUCCEEDED")
        }
    }

    /// Whoever stops an execution has it tell nothing more.
    async fn end(&mut self, name: &ExecutionName, how: &'static str, queues: &MemoryQueues, is_rough: bool) {
        let execution = self.executions.remove(name).expect("it ends");
        let is_lost = is_rough && self.chance.percent(self.scenario.lost_ends_percent);
        let MapInput { run, stage, generation, .. } = execution.input;
        lock(&self.record).tell(format!("map {name} ended {how}, untold: {is_lost}"));
        lock(&self.record).count(match how {
            "ABORTED" => "maps stopped",
            "FAILED" => "maps failed",
            _ => "maps succeeded",
        });
        if how == "ABORTED" || is_lost {
            return lock(&self.record).count("map ends untold");
        }
        let told = MapMessage::MapEnded(MapEnd { run, stage, generation });
        tell(&self.record, queues, &told, END_DELAY_S).await;
    }
}

async fn tell(record: &SharedRecord, queues: &MemoryQueues, told: &MapMessage, delay_s: u32) {
    let body = encode(told);
    lock(record).tell(format!("a map tells after {delay_s} s: {body}"));
    queues
        .send(Queue::Completions, vec![Outgoing { body, delay_s }])
        .await
        .expect("the queue itself does not fail");
}

//! AWS, as the services meet it: deliveries at least once and in any order, invocations at once, crashes,
//! dead-letter queues, a schedule, S3's events, and people.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use fanfold_domain::{
    ObjectName, PLAN, RunId, SCAN,
    cluster::Cluster,
    map::{BatchMessage, Children},
    message::{ChunkMessage, LaunchMessage, Submission, decode, encode, tick_of},
};
use fanfold_ports::{
    Clock, Fleet as _, Queue, Queues,
    clusters::RUN,
    memory::{
        Faults, Invocation, MEMORY_EPOCH, MemoryClock, MemoryClusters, MemoryObjects, MemoryWorld,
        QueuedMessage,
    },
    queues::Outgoing,
};
use fanfold_sweeper::DeadQueue;
use fanfold_worker::pod::Assignment;
use serde_json::json;
use tokio::{sync::oneshot, task::JoinSet, time::Instant};

use crate::{
    chance::Chance,
    gate::{Gate, Pause},
    kube::{Begun, Kube},
    maps::{ChildKey, Invoked, Maps},
    ports::{Shaped, SharedRecord, World, lock, ports},
    record::Record,
    scenario::{Act, INPUT, KEY, OUTPUT, Scenario, Sickness, WORK},
    services::{Fared, Fleet, Job, run_pod},
};

/// A message is delivered this often before it goes to the dead-letter queue.
const MAX_RECEIVE_COUNT: u32 = 5;
/// How long a dead message is hidden while it is dealt with.
const DEAD_VISIBILITY_MS: u64 = 120_000;
/// Messages of one launch that may be there at once, by duplicates of all kinds.
const MOST_OF_ONE_LAUNCH: usize = 8;
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
    /// A sweep, and when it began.
    Sweep { begun_ms: u64 },
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
            scenario,
        }
    }

    /// Drives the world until nothing more happens.
    pub(crate) async fn run(&mut self) -> Result<(), String> {
        for cluster in &self.kube.declared {
            self.world.fleet.put_cluster(cluster).await.expect("memory does not fail");
        }
        loop {
            self.calm_down();
            self.act().await;
            self.deliver();
            self.begin_pods();
            self.begin_children().await;
            self.sweep();
            if self.is_quiet() {
                return Ok(());
            }
            if self.now_ms() > END_MS {
                return Err("something still goes on long after every deadline".to_owned());
            }
            let next = self.start + Duration::from_millis(self.next_ms());
            tokio::select! {
                biased;
                Some(done) = self.invocations.join_next() => {
                    let (origin, fared) = done.map_err(|error| format!("an invocation panicked: {error}"))?;
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
                    let (now, is_rough) = (self.now_ms(), self.is_rough());
                    self.kube.settle(pod, exit_code, now, is_rough);
                }
                () = tokio::time::sleep_until(next) => {}
            }
        }
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

    // ---- People, S3 and time -------------------------------------------------------------------------

    async fn act(&mut self) {
        while self.acts.front().is_some_and(|(at, _)| *at <= self.now_ms()) {
            let Some((_, act)) = self.acts.pop_front() else { return };
            match act {
                Act::Upload { bytes, event_delays_ms } => self.upload(bytes, &event_delays_ms),
                Act::Event { body } => self.send_intake(body, 1).await,
                Act::Submit { idempotency_key, times } => self.submit(idempotency_key, times).await,
                Act::Tick { scheduled_at, times } => {
                    let tick = tick_of(&self.scenario.pipeline.name, &scheduled_at);
                    self.send_intake(tick, times).await;
                }
                Act::ForeignWrite => {
                    self.tell("a foreign writer writes the output".to_owned());
                    let body = format!("foreign {}", self.chance.within(0..2));
                    self.world.objects.insert(
                        OUTPUT,
                        format!("{}_Output", self.scenario.output_stem()),
                        body,
                    );
                }
                Act::Expire => self.expire(),
                Act::DeleteJob => self.kube.delete_some_job(),
                Act::ClusterFails { cluster, fault, ms, loses_pods } => {
                    self.kube.fail(cluster, fault, ms, loses_pods, self.now_ms());
                }
                Act::ClusterGone { cluster } => self.kube.remove(cluster, self.now_ms()),
                Act::Weight { cluster, weight } => {
                    let cluster = Cluster { weight, ..self.kube.declared[cluster].clone() };
                    self.tell(format!("cluster {} has weight {weight} from now on", cluster.name));
                    self.world.fleet.put_cluster(&cluster).await.expect("memory does not fail");
                }
                Act::Outage { queue, ms } => {
                    self.tell(format!("the consumer of {queue} is down for {ms} ms"));
                    self.down_until_ms.insert(queue, self.now_ms() + ms);
                }
            }
        }
    }

    fn upload(&mut self, bytes: Vec<u8>, event_delays_ms: &[u64]) {
        self.uploads += 1;
        let size = bytes.len();
        let bytes = Bytes::from(bytes);
        let head = self.world.objects.insert(INPUT, KEY, bytes.clone());
        lock(&self.record).sources.insert(head.etag.as_str().to_owned(), bytes);
        // Lengths vary: sequencers are compared with the shorter one padded on the right.
        let sequencer = format!("00{:02X}{}", self.uploads, "AB".repeat(self.chance.index(3)));
        self.tell(format!("upload {} of {size} bytes, events after {event_delays_ms:?} ms", self.uploads));
        let mut object =
            json!({"key": KEY, "size": size, "etag": head.etag.as_str(), "sequencer": sequencer});
        if let Some(version) = head.version {
            object["version-id"] = json!(version);
        }
        let event = json!({
            "version": "0", "source": "aws.s3", "detail-type": "Object Created",
            "detail": {"version": "0", "bucket": {"name": INPUT}, "object": object, "reason": "PutObject"},
        });
        for delay in event_delays_ms {
            // An event takes its time like everything else.
            let at = self.now_ms() + delay;
            self.acts.push_back((at, Act::Event { body: event.to_string() }));
        }
        self.acts.make_contiguous().sort_by_key(|(at, _)| *at);
    }

    async fn submit(&mut self, idempotency_key: String, times: u32) {
        let submission = Submission {
            pipeline: self.scenario.pipeline.name.clone(),
            object: self.scenario.pipeline.source.is_object().then(|| ObjectName::new(INPUT, KEY)),
            version: None,
            idempotency_key,
        };
        let detail = encode(&submission);
        let body = format!(r#"{{"source":"fanfold","detail-type":"Run Submitted","detail":{detail}}}"#);
        self.send_intake(body, times).await;
    }

    async fn send_intake(&self, body: String, times: u32) {
        let messages = (0..times).map(|_| Outgoing::now(body.clone())).collect();
        self.world.queues.send(Queue::Intake, messages).await.expect("the queue itself does not fail");
    }

    fn expire(&mut self) {
        let keys = self.world.objects.keys(WORK);
        let percent = self.chance.one_of(&[10, 50, 100]);
        for key in keys {
            if self.chance.percent(percent) {
                self.tell(format!("{key} expires"));
                lock(&self.record).expired.insert(key.clone());
                self.world.objects.remove(&ObjectName::new(WORK, key));
            }
        }
    }

    fn sweep(&mut self) {
        if self.now_ms() < self.next_sweep_ms {
            return;
        }
        self.next_sweep_ms = self.now_ms() + SWEEP_EVERY_MS;
        if self.scenario.has_sweeper && (self.has_unfinished_runs() || self.kube.is_busy()) {
            self.sweeps += 1;
            self.invoke_plainly(Origin::Sweep { begun_ms: self.now_ms() }, Job::Sweep);
        }
    }

    /// A sweep that met with nothing leaves no Job going of a run that had ended.
    async fn check_swept(&self, begun_ms: u64) -> Result<(), String> {
        let outages = self.world.fleet.outages().await.map_err(|error| error.to_string())?;
        let ended_before = |run: &RunId| {
            let ended = lock(&self.record).ended_at_ms.get(run).copied();
            ended.is_some_and(|at| at < begun_ms)
        };
        for cluster in self.kube.declared.iter().filter(|cluster| !outages.contains_key(&cluster.name)) {
            for job in self.kube.cloud.clusters.all_jobs(&cluster.name) {
                let state = job.state;
                let is_old = state.created_at.ms_since(MEMORY_EPOCH) + 1_000 < begun_ms;
                let run = state.labels.get(RUN).and_then(|run| run.parse().ok());
                if is_old && state.end.is_none() && run.is_some_and(|run| ended_before(&run)) {
                    return Err(format!("Job {} goes on after a sweep, and its run has ended", state.name));
                }
            }
        }
        Ok(())
    }

    /// Makes an invocation of each pod that begins.
    fn begin_pods(&mut self) {
        let (now, is_rough) = (self.now_ms(), self.is_rough());
        for Begun { pod, name, assignment } in self.kube.step(now, is_rough) {
            let invocation = Invocation::new(format!("pod {name}"));
            let gate = self.gate_of(&invocation, &Doing::Pod(&assignment));
            self.tell(format!("{invocation} begins, {:?}: {assignment:?}", gate.pause));
            if gate.source_is_unreadable {
                lock(&self.record).failed_by_job(&assignment.run, assignment.chunks.clone());
            }
            let hangs_for_ms = gate.pause.map_or(0, |pause| pause.ms);
            let (stop, stopped) = oneshot::channel();
            self.kube.begin(pod, now, invocation.clone(), stop, hangs_for_ms);
            let World { ports, .. } =
                ports(&self.world, &self.kube.cloud, &self.record, &self.shaped(), gate);
            let work = run_pod(assignment, ports, invocation, stopped);
            self.kube.running.spawn_local(async move { (pod, work.await) });
        }
    }

    /// Makes an invocation of each child of a Map that begins.
    async fn begin_children(&mut self) {
        let (now, is_rough) = (self.now_ms(), self.is_rough());
        let aws = (&*self.world.maps, &*self.world.objects, &*self.world.queues);
        for Invoked { key, body, children, times } in self.maps.step(aws, now, is_rough).await {
            for _ in 0..times {
                let job = match children {
                    Children::Launches => Job::Launch(body.clone()),
                    Children::Express | Children::Standard => Job::Batch(body.clone()),
                };
                let invocation = self.invocation(&job);
                let gate = self.gate_of(&invocation, &Doing::Job(&job));
                if gate.source_is_unreadable
                    && let Ok(batch) = decode::<BatchMessage>(&body)
                {
                    lock(&self.record).failed_by_job(&batch.run, batch.chunks().collect());
                }
                self.invoke(Origin::Child(key.clone()), job, gate);
            }
        }
    }

    /// A launch's messages do not multiply.
    fn check_launches(&self) -> Result<(), String> {
        let mut counts: BTreeMap<(RunId, String, u32), usize> = BTreeMap::new();
        let pending = self.world.queues.pending();
        for message in pending.iter().filter(|message| message.queue == Queue::Launches) {
            let LaunchMessage { run, stage, launch, .. } =
                decode(&message.body).map_err(|error| error.to_string())?;
            let count = counts.entry((run, stage, launch.0)).or_default();
            *count += 1;
            if *count > MOST_OF_ONE_LAUNCH {
                return Err(format!("launch {launch} has {count} messages at once"));
            }
        }
        Ok(())
    }

    fn shaped(&self) -> Shaped {
        let items = self.scenario.items.clone().map(Bytes::from);
        Shaped { group_chunks: self.scenario.group_chunks, items }
    }

    fn is_rough(&self) -> bool {
        !self.is_calm && !self.scenario.is_calm()
    }

    // ---- Deliveries ----------------------------------------------------------------------------------

    fn deliver(&mut self) {
        for queue in Queue::ALL {
            self.deliver_queue(queue);
        }
        self.deliver_dead();
    }

    /// Delivers dead messages, which stay until they are dealt with.
    fn deliver_dead(&mut self) {
        let now = self.now_ms();
        let due: Vec<u64> =
            self.dead.iter().filter(|(_, dead)| dead.visible_at_ms <= now).map(|(id, _)| *id).collect();
        for id in due {
            let dead = self.dead.get_mut(&id).expect("it is due");
            dead.visible_at_ms = now + DEAD_VISIBILITY_MS;
            let body = dead.body.clone();
            let job = match dead.queue {
                Queue::Chunks => Job::DeadChunk(body),
                Queue::Launches => Job::DeadLaunch(body),
                Queue::Intake => unreachable!("nobody reads what died in intake"),
                Queue::Completions => Job::Dead(DeadQueue::Completions, body),
                Queue::Folds => Job::Dead(DeadQueue::Folds, body),
            };
            self.invoke_plainly(Origin::Dead(id), job);
        }
    }

    fn deliver_queue(&mut self, queue: Queue) {
        let now = self.now_ms();
        if self.down_until_ms.get(&queue).is_some_and(|until| now < *until) {
            return;
        }
        let is_due = |message: &QueuedMessage| {
            message.queue == queue && message.visible_at.ms_since(MEMORY_EPOCH) <= now
        };
        let mut due: Vec<QueuedMessage> = self.world.queues.pending().into_iter().filter(is_due).collect();
        while !due.is_empty() && self.active.get(&queue).copied().unwrap_or(0) < self.scenario.concurrency {
            let most = if queue == Queue::Completions { self.scenario.completions_batch } else { 1 };
            let count = 1 + self.chance.index(most.min(due.len()));
            let batch: Vec<QueuedMessage> =
                (0..count).map(|_| due.swap_remove(self.chance.index(due.len()))).collect();
            let received: Vec<QueuedMessage> =
                batch.into_iter().filter_map(|message| self.receive(message)).collect();
            if received.is_empty() {
                continue;
            }
            let bodies: Vec<String> = received.iter().map(|message| message.body.clone()).collect();
            let job = match queue {
                Queue::Intake => Job::Split(bodies[0].clone()),
                Queue::Chunks => Job::Work(bodies[0].clone()),
                Queue::Launches => Job::Launch(bodies[0].clone()),
                Queue::Completions => Job::Track(bodies),
                Queue::Folds => Job::Merge(bodies[0].clone()),
            };
            let ids = received.iter().map(|message| message.id).collect();
            let invocation = self.invocation(&job);
            let gate = self.gate_of(&invocation, &Doing::Job(&job));
            // One that hangs for longer than a function may run has lost its place long before it goes on.
            let takes_place = gate.pause.is_none_or(|pause| pause.ms < self.scenario.visibility_ms);
            *self.active.entry(queue).or_default() += usize::from(takes_place);
            self.invoke(Origin::Messages { queue, ids, takes_place }, job, gate);
        }
    }

    /// Receives a message: it is hidden for the visibility timeout, unless it is delivered twice. `None` if it
    /// is late, or has been delivered too often.
    fn receive(&mut self, message: QueuedMessage) -> Option<QueuedMessage> {
        let now = self.world.clock.now();
        self.world.queues.take(message.id)?;
        if !self.is_calm && self.chance.percent(self.scenario.delays_percent) {
            let visible_at = now.plus_ms(self.chance.within(1..60_000));
            self.world.queues.restore(QueuedMessage { visible_at, ..message });
            return None;
        }
        let received = self.received.entry(message.id).or_default();
        *received += 1;
        if *received > MAX_RECEIVE_COUNT {
            let QueuedMessage { id, queue, body, .. } = message;
            if queue == Queue::Intake {
                self.tell(format!("message {id} died in intake, where it stays for a person to see: {body}"));
                self.stranded.push(body);
                return None;
            }
            self.dead.insert(id, Dead { queue, body, visible_at_ms: self.now_ms() });
            return None;
        }
        let is_doubled =
            !self.is_calm && *received == 1 && self.chance.percent(self.scenario.doubles_percent);
        let hidden_ms =
            if is_doubled { self.chance.one_of(&[0, 5, 500]) } else { self.scenario.visibility_ms };
        self.world.queues.restore(QueuedMessage { visible_at: now.plus_ms(hidden_ms), ..message.clone() });
        Some(message)
    }

    fn invocation(&mut self, job: &Job) -> Invocation {
        self.started += 1;
        Invocation::new(format!("{} {}", name(job), self.started))
    }

    fn invoke(&mut self, origin: Origin, job: Job, gate: Gate) {
        let invocation = gate.invocation.clone();
        self.tell(format!("{invocation} begins, {:?}: {job:?}", gate.pause));
        let ports = ports(&self.world, &self.kube.cloud, &self.record, &self.shaped(), gate);
        let Scenario { pipeline, scan_limits, function_ms, .. } = &self.scenario;
        let (stack, limits, function_ms) = (pipeline.clone(), *scan_limits, *function_ms);
        let work = self.fleet.clone().run(job, ports, invocation, stack, limits, function_ms);
        self.invocations.spawn_local(async move { (origin, work.await) });
    }

    /// An invocation by a schedule or of a dead message.
    fn invoke_plainly(&mut self, origin: Origin, job: Job) {
        let invocation = self.invocation(&job);
        let gate = self.gate_of(&invocation, &Doing::Job(&job));
        self.invoke(origin, job, gate);
    }

    fn gate_of(&self, invocation: &Invocation, doing: &Doing<'_>) -> Gate {
        let is_rough = self.is_rough();
        let (chance, scenario) = (&self.chance, &self.scenario);
        let sickness =
            scenario.sick_chunk.filter(|(sick, _)| doing.does(*sick)).map(|(_, sickness)| sickness);
        let permille = match doing {
            Doing::Job(Job::Merge(_)) => scenario.zombies_permille.max(scenario.zombie_mergers_permille),
            _ => scenario.zombies_permille,
        };
        let is_zombie = is_rough && chance.within(0..1_000) < permille;
        let is_odd = doing.is_work_on_records() && chance.percent(scenario.odd_attempts_percent);
        Gate {
            invocation: invocation.clone(),
            begun_ms: self.now_ms(),
            chance: self.chance.clone(),
            calls: 0.into(),
            has_latency: is_rough,
            pause: is_zombie.then(|| Pause {
                at_call: u32::try_from(chance.within(0..25)).expect("small"),
                before: chance.percent(70),
                ms: chance.one_of(&[100, 1_000, 10_000, 60_000, 10 * 60_000, 3 * 60 * 60_000]),
            }),
            dies_at_call: sickness.and_then(|sickness| match sickness {
                Sickness::Dies { at_call } => Some(at_call),
                Sickness::Unreadable => None,
            }),
            source_is_unreadable: sickness == Some(Sickness::Unreadable),
            oddity: is_odd.then(|| chance.number()),
        }
    }

    /// What becomes of the messages of an invocation that ended.
    async fn settle(&mut self, origin: Origin, fared: Option<Fared>) {
        match origin {
            Origin::Sweep { .. } => self.sweeps -= 1,
            Origin::Child(key) => {
                let (now, is_rough) = (self.now_ms(), self.is_rough());
                self.maps.settle(key, fared, &self.world.queues, now, is_rough).await;
            }
            Origin::Dead(id) => {
                if matches!(fared.as_deref(), Some([Ok(())])) {
                    self.dead.remove(&id);
                }
            }
            Origin::Messages { queue, ids, takes_place } => {
                *self.active.get_mut(&queue).expect("it was counted") -= usize::from(takes_place);
                for (id, fared) in ids.iter().zip(fared.iter().flatten()) {
                    match fared {
                        Ok(()) => self.delete(*id),
                        Err(error) => self.tell(format!("message {id} of {queue} failed: {error}")),
                    }
                }
            }
        }
    }

    /// Deletes a message, unless the deletion is lost.
    fn delete(&mut self, id: u64) {
        if self.is_calm || !self.chance.percent(self.scenario.doubles_percent / 4) {
            self.world.queues.take(id);
        }
    }
}

/// What an invocation does: a function's job, or a pod's assignment.
enum Doing<'a> {
    Job(&'a Job),
    Pod(&'a Assignment),
}

impl Doing<'_> {
    /// Whether it is about this chunk, of whichever run.
    fn does(&self, chunk: u32) -> bool {
        match self {
            Self::Job(Job::Work(body)) => {
                decode::<ChunkMessage>(body).is_ok_and(|message| message.chunk.0 == chunk)
            }
            Self::Job(Job::Batch(body)) => {
                decode::<BatchMessage>(body).is_ok_and(|batch| batch.chunks().any(|done| done.0 == chunk))
            }
            Self::Job(_) => false,
            Self::Pod(assignment) => assignment.chunks.iter().any(|done| done.0 == chunk),
        }
    }

    /// Whether it attempts chunks, whose program may be odd; a scan is no program.
    fn is_work_on_records(&self) -> bool {
        match self {
            Self::Job(Job::Work(body)) => decode::<ChunkMessage>(body)
                .is_ok_and(|message| !matches!(message.stage.as_str(), SCAN | PLAN)),
            Self::Job(Job::Batch(_)) | Self::Pod(_) => true,
            Self::Job(_) => false,
        }
    }
}

fn name(job: &Job) -> &'static str {
    match job {
        Job::Split(_) => "splitter",
        Job::Work(_) | Job::Batch(_) => "worker",
        Job::Launch(_) => "launcher",
        Job::Track(_) | Job::DeadChunk(_) | Job::DeadLaunch(_) => "tracker",
        Job::Merge(_) => "merger",
        Job::Sweep | Job::Dead(..) => "sweeper",
    }
}

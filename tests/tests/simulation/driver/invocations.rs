//! Invocations: of functions, of pods, of children of a Map, and what each has to bear.

use std::sync::{Arc, OnceLock};

use fanfold_domain::{
    PLAN, SCAN,
    map::{BatchMessage, Children},
    message::{ChunkMessage, decode},
};
use fanfold_ports::memory::Invocation;
use fanfold_worker::pod::Assignment;
use tokio::sync::oneshot;

use super::{Driver, Origin};
use crate::{
    gate::{Gate, Latency, Pause},
    kube::Begun,
    maps::Invoked,
    ports::{World, lock, ports},
    scenario::{Scenario, Sickness},
    services::{Job, Limits, run_pod},
    skew::Machine,
    third_party::Errand,
};

impl Driver {
    /// Makes an invocation of each pod that begins.
    pub(super) fn begin_pods(&mut self) {
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
            let World { ports, web, .. } =
                ports(&self.world, &self.kube.cloud, &self.record, &self.shaped(), gate);
            let work = run_pod(assignment, (ports, web), invocation, stopped);
            self.kube.running.spawn_local(async move { (pod, work.await) });
        }
    }

    /// Makes an invocation of each child of a Map that begins.
    pub(super) async fn begin_children(&mut self) {
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

    pub(super) fn invocation(&mut self, job: &Job) -> Invocation {
        self.started += 1;
        Invocation::new(format!("{} {}", name(job), self.started))
    }

    pub(super) fn invoke(&mut self, origin: Origin, job: Job, gate: Gate) {
        let invocation = gate.invocation.clone();
        self.tell(format!("{invocation} begins, {:?}: {job:?}", gate.pause));
        let ports = ports(&self.world, &self.kube.cloud, &self.record, &self.shaped(), gate);
        let Scenario { pipeline, scan_limits, function_ms, legs, .. } = self.scenario.clone();
        let limits = Limits { scan: scan_limits, function_ms, legs };
        let work = self.fleet.clone().run(job, ports, invocation, pipeline, limits);
        self.invocations.spawn_local(async move { (origin, work.await) });
    }

    /// An invocation by a schedule or of a dead message.
    pub(super) fn invoke_plainly(&mut self, origin: Origin, job: Job) {
        let invocation = self.invocation(&job);
        let gate = self.gate_of(&invocation, &Doing::Job(&job));
        self.invoke(origin, job, gate);
    }

    /// By how much the next machine's clock is off.
    fn off_ms(&self) -> i64 {
        match i64::try_from(self.scenario.skew_ms) {
            Ok(most) if most > 0 => {
                let drawn = self.chance.within(0..2 * self.scenario.skew_ms + 1);
                i64::try_from(drawn).expect("it is small") - most
            }
            _ => 0,
        }
    }

    pub(super) fn gate_of(&self, invocation: &Invocation, doing: &Doing<'_>) -> Gate {
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
            machine: Arc::new(Machine::new(self.world.clock.clone(), self.off_ms())),
            begun_ms: self.now_ms(),
            chance: self.chance.clone(),
            calls: 0.into(),
            first_read: OnceLock::new(),
            errand: doing.errand(),
            latency: match scenario.call_ms {
                Some(ms) => Latency::Each(ms),
                None if is_rough => Latency::Some,
                None => Latency::None,
            },
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
            owner: None.into(),
        }
    }
}

/// What an invocation does: a function's job, or a pod's assignment.
pub(super) enum Doing<'a> {
    Job(&'a Job),
    Pod(&'a Assignment),
}

impl Doing<'_> {
    /// Whether it is about this chunk, of whichever run.
    fn does(&self, chunk: u32) -> bool {
        match self {
            Self::Job(Job::Work { body, .. }) => {
                decode::<ChunkMessage>(body).is_ok_and(|message| message.chunk.0 == chunk)
            }
            Self::Job(Job::Batch(body)) => {
                decode::<BatchMessage>(body).is_ok_and(|batch| batch.chunks().any(|done| done.0 == chunk))
            }
            Self::Job(_) => false,
            Self::Pod(assignment) => assignment.chunks.iter().any(|done| done.0 == chunk),
        }
    }

    /// Whose chunks it does.
    fn errand(&self) -> Option<Errand> {
        Some(match self {
            Self::Job(Job::Work { body, .. }) => {
                let ChunkMessage { run, stage, chunk, .. } = decode(body).ok()?;
                Errand { run, stage, chunks: vec![chunk] }
            }
            Self::Job(Job::Batch(body)) => {
                let batch: BatchMessage = decode(body).ok()?;
                let chunks = batch.chunks().collect();
                Errand { run: batch.run, stage: batch.stage, chunks }
            }
            Self::Job(_) => return None,
            Self::Pod(Assignment { run, stage, chunks, .. }) => {
                Errand { run: run.clone(), stage: stage.clone(), chunks: chunks.clone() }
            }
        })
    }

    /// Whether it attempts chunks, whose program may be odd; a scan is no program.
    fn is_work_on_records(&self) -> bool {
        match self {
            Self::Job(Job::Work { body, .. }) => decode::<ChunkMessage>(body)
                .is_ok_and(|message| !matches!(message.stage.as_str(), SCAN | PLAN)),
            Self::Job(Job::Batch(_)) | Self::Pod(_) => true,
            Self::Job(_) => false,
        }
    }
}

fn name(job: &Job) -> &'static str {
    match job {
        Job::Split(_) => "splitter",
        Job::Work { .. } | Job::Batch(_) => "worker",
        Job::Launch(_) => "launcher",
        Job::Track(_) | Job::DeadChunk(_) | Job::DeadLaunch(_) => "tracker",
        Job::Merge(_) => "merger",
        Job::Sweep | Job::Dead(..) => "sweeper",
        Job::Cancel(_) => "person",
    }
}

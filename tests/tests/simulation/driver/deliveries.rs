//! Deliveries: at least once and in any order, and what becomes of a message then.

use fanfold_ports::{
    Clock, Queue,
    memory::{MEMORY_EPOCH, QueuedMessage},
};
use fanfold_sweeper::DeadQueue;

use super::{Dead, Driver, Origin, invocations::Doing};
use crate::{
    ports::lock,
    services::{Fared, Job},
};

/// A message is received this often before it goes to the dead-letter queue, as template.yaml has it.
fn max_receive_count(queue: Queue) -> u32 {
    match queue {
        Queue::Intake => 100,
        Queue::Chunks => 1_000,
        Queue::Launches | Queue::Completions => 30,
        Queue::Folds => 20,
    }
}
/// How long a dead message is hidden while it is dealt with.
const DEAD_VISIBILITY_MS: u64 = 120_000;

impl Driver {
    pub(super) fn deliver(&mut self) {
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
            let batch = self.batch(&mut due, most);
            let received: Vec<QueuedMessage> =
                batch.into_iter().filter_map(|message| self.receive(message)).collect();
            if received.is_empty() {
                continue;
            }
            let bodies: Vec<String> = received.iter().map(|message| message.body.clone()).collect();
            let job = match queue {
                Queue::Intake => Job::Split(bodies[0].clone()),
                Queue::Chunks => {
                    let (body, id) = (bodies[0].clone(), received[0].id);
                    lock(&self.record).work_begun(&body);
                    Job::Work { body, id, receive_count: self.received[&id] }
                }
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

    /// Takes a batch of what is due: in order, or whatever comes.
    fn batch(&self, due: &mut Vec<QueuedMessage>, most: usize) -> Vec<QueuedMessage> {
        let most = most.min(due.len());
        if self.scenario.is_in_order {
            return due.drain(..most).collect();
        }
        let count = 1 + self.chance.index(most);
        (0..count).map(|_| due.swap_remove(self.chance.index(due.len()))).collect()
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
        if *received > max_receive_count(message.queue) {
            let QueuedMessage { id, queue, body, .. } = message;
            if queue == Queue::Intake {
                self.tell(format!("message {id} died in intake, where it stays for a person to see: {body}"));
                self.stranded.push(body);
                return None;
            }
            self.dead.insert(id, Dead { queue, body, visible_at_ms: self.now_ms() });
            return None;
        }
        // The function is throttled: nothing of it reaches a worker, and it comes back like what a worker left.
        let is_throttled = message.queue == Queue::Chunks
            && !self.is_calm
            && self.chance.percent(self.scenario.throttled_percent);
        if is_throttled {
            let visible_at = now.plus_ms(self.scenario.visibility_ms);
            self.world.queues.restore(QueuedMessage { visible_at, ..message });
            lock(&self.record).count("receives throttled");
            return None;
        }
        let is_doubled =
            !self.is_calm && *received == 1 && self.chance.percent(self.scenario.doubles_percent);
        let hidden_ms =
            if is_doubled { self.chance.one_of(&[0, 5, 500]) } else { self.scenario.visibility_ms };
        self.world.queues.restore(QueuedMessage { visible_at: now.plus_ms(hidden_ms), ..message.clone() });
        Some(message)
    }

    /// What becomes of the messages of an invocation that ended.
    pub(super) async fn settle(&mut self, origin: Origin, fared: Option<Fared>) {
        match origin {
            Origin::Person => {}
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
                if queue == Queue::Chunks && fared.is_none() {
                    let pending =
                        self.world.queues.pending().into_iter().find(|message| message.id == ids[0]);
                    pending.inspect(|message| lock(&self.record).worker_died(&message.body));
                }
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

//! What people, S3 and time do, whatever the services do.

use bytes::Bytes;
use fanfold_domain::{
    ObjectName, RunId,
    cluster::Cluster,
    message::{Submission, encode, tick_of},
};
use fanfold_ports::{Fleet as _, Pacer as _, Queue, Queues, queues::Outgoing};
use serde_json::json;

use super::{Driver, Origin};
use crate::{
    ports::lock,
    scenario::{Act, INPUT, KEY, OUTPUT, WORK},
    services::Job,
};

impl Driver {
    pub(super) async fn act(&mut self) {
        while self.acts.front().is_some_and(|(at, _)| *at <= self.now_ms()) {
            let Some((_, act)) = self.acts.pop_front() else { return };
            match act {
                Act::Upload { bytes, event_delays_ms } => self.upload(KEY, bytes, &event_delays_ms),
                Act::UploadBeside { key, bytes } => self.upload(key, bytes, &[0]),
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
                Act::Rate { destination, rate } => {
                    self.tell(format!("{destination} is asked at {rate} from now on"));
                    self.world.pacer.set_rate(&destination, rate).await.expect("memory does not fail");
                    lock(&self.record).rate_set(destination, self.now_ms(), rate);
                }
                Act::Cancel => self.cancel_some_run(),
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

    fn cancel_some_run(&mut self) {
        let under_way: Vec<RunId> = {
            let record = lock(&self.record);
            let runs = record.runs.values().filter(|run| !run.state.has_ended());
            runs.map(|run| run.id.clone()).collect()
        };
        if !under_way.is_empty() {
            let run = under_way[self.chance.index(under_way.len())].clone();
            self.invoke_plainly(Origin::Person, Job::Cancel(run));
        }
    }

    fn upload(&mut self, key: &str, bytes: Vec<u8>, event_delays_ms: &[u64]) {
        self.uploads += 1;
        let size = bytes.len();
        let bytes = Bytes::from(bytes);
        let head = self.world.objects.insert(INPUT, key, bytes.clone());
        lock(&self.record).sources.insert(head.etag.as_str().to_owned(), bytes);
        // Lengths vary: sequencers are compared with the shorter one padded on the right.
        let sequencer = format!("00{:02X}{}", self.uploads, "AB".repeat(self.chance.index(3)));
        self.tell(format!("upload {} of {size} bytes, events after {event_delays_ms:?} ms", self.uploads));
        let mut object =
            json!({"key": key, "size": size, "etag": head.etag.as_str(), "sequencer": sequencer});
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
}

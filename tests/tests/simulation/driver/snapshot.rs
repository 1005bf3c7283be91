//! The world at one moment, as a stack would be found whose functions all died then: what the table, the buckets, the
//! queues and the clusters hold. Nothing that a function remembers.

use std::{num::NonZeroU32, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use fanfold_domain::{ETag, ObjectName, Timestamp, pipeline::Pipeline};
use fanfold_engine::plan::ScanLimits;
use fanfold_ports::{
    Clock, Clusters as _, Fleet as _, Maps as _, Objects as _, Pacer as _, Queue, Queues as _,
    clusters::KubeJob,
    maps::MapStatus,
    objects::{ObjectHead, Upload},
    queues::Outgoing,
};
use serde_json::{Value, json};

use super::{Dead, Driver};
use crate::{
    ports::lock,
    recorded::Items,
    scenario::{INPUT, OUTPUT, Scenario, WORK},
};

impl Driver {
    /// Everything that outlives an invocation.
    pub(crate) async fn snapshot(&self) -> Value {
        let mut objects = Vec::new();
        for bucket in [INPUT, WORK, OUTPUT] {
            for key in self.world.objects.keys(bucket) {
                objects.push(self.snapshot_object(ObjectName::new(bucket, key)).await);
            }
        }
        let pending = self.world.queues.pending().into_iter().map(|message| (message.queue, message.body));
        let message = |(queue, body): (Queue, String)| json!({"queue": queue.to_string(), "body": body});
        let dead = self.dead.values().map(|dead| (dead.queue, dead.body.clone()));
        let uploads =
            self.world.objects.open_uploads().into_iter().map(
                |upload| json!({"bucket": upload.object.bucket, "key": upload.object.key, "id": upload.id}),
            );
        let executions = self.world.maps.executions().into_values();
        let maps = executions
            .filter(|execution| execution.status == MapStatus::Running)
            .map(|execution| serde_json::to_value(execution.input).expect("it has only JSON's types"));
        let of_cluster = |cluster: &str| {
            let jobs = self.kube.cloud.clusters.all_jobs(cluster).into_iter();
            let cluster = cluster.to_owned();
            jobs.filter(|job| job.state.end.is_none())
                .map(move |job| json!({"cluster": cluster, "name": job.state.name, "manifest": job.manifest}))
        };
        let jobs = self.kube.declared.iter().flat_map(|cluster| of_cluster(&cluster.name));
        let ScanLimits { alone_bytes, range_bytes } = self.scenario.scan_limits;
        json!({
            "at_ms": self.now_ms(),
            "pipeline": self.scenario.pipeline.to_document(),
            "group_chunks": self.scenario.group_chunks,
            "scan_limits": {"alone_bytes": alone_bytes, "range_bytes": range_bytes},
            "items": self.items().await.write(self.world.clock.now()),
            "objects": objects,
            "uploads": uploads.collect::<Vec<_>>(),
            "messages": pending.map(message).collect::<Vec<_>>(),
            "dead": dead.map(message).collect::<Vec<_>>(),
            "maps": maps.collect::<Vec<_>>(),
            "jobs": jobs.collect::<Vec<_>>(),
        })
    }

    async fn items(&self) -> Items {
        let mut paces = Vec::new();
        for stage in &self.scenario.pipeline.stages {
            let Some((destination, _)) = stage.destination(&self.scenario.pipeline.name) else { continue };
            let kept = self.world.pacer.pace(&destination).await.expect("memory does not fail");
            paces.extend(kept.map(|pace| (destination, pace)));
        }
        Items {
            ledger: self.world.ledger.contents(),
            launches: self.world.fleet.all_launches(),
            clusters: self.world.fleet.clusters().await.expect("memory does not fail").items,
            outages: self.world.fleet.outages().await.expect("memory does not fail").into_iter().collect(),
            paces,
        }
    }

    async fn snapshot_object(&self, name: ObjectName) -> Value {
        let head = self.world.objects.head(&name, None).await.expect("memory does not fail");
        let head = head.expect("it is listed");
        let body = self.world.objects.contents(&name).expect("it is listed");
        let text = String::from_utf8(body.to_vec()).expect("what is recorded is text");
        let ObjectName { bucket, key } = name;
        json!({
            "bucket": bucket, "key": key, "text": text,
            "etag": head.etag.as_str(), "version": head.version, "metadata": head.metadata,
        })
    }

    /// A driver of the world that a snapshot shows, at its time.
    pub(crate) async fn restored(snapshot: &Value) -> Self {
        let items = Items::read(snapshot["items"].as_array().expect("items"));
        let of_clusters = (!items.clusters.is_empty()).then(|| Scenario::small_on_clusters().kube).flatten();
        let number = |value: &Value| value.as_u64().expect("a number");
        let scan_limits = ScanLimits {
            alone_bytes: number(&snapshot["scan_limits"]["alone_bytes"]),
            range_bytes: number(&snapshot["scan_limits"]["range_bytes"]),
        };
        let scenario = Scenario {
            pipeline: Pipeline::from_value(&snapshot["pipeline"]).expect("a pipeline"),
            group_chunks: u32::try_from(number(&snapshot["group_chunks"])).expect("small"),
            kube: of_clusters,
            acts: Vec::new(),
            ..Scenario::small(scan_limits)
        };
        let mut driver = Self::new(scenario, fanfold_ports::memory::Faults::none());
        driver.restore_objects(snapshot);
        driver.restore_items(items).await;
        driver.restore_work(snapshot).await;
        tokio::time::sleep(Duration::from_millis(number(&snapshot["at_ms"]))).await;
        driver
    }

    fn restore_objects(&self, snapshot: &Value) {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        for object in snapshot["objects"].as_array().expect("objects") {
            let name = ObjectName::new(text(&object["bucket"]), text(&object["key"]));
            let body = Bytes::from(text(&object["text"]));
            let head = ObjectHead {
                etag: ETag::new(&text(&object["etag"])),
                version: object["version"].as_str().map(ToOwned::to_owned),
                size_bytes: body.len() as u64,
                crc64: None,
                metadata: serde_json::from_value(object["metadata"].clone()).expect("metadata"),
                modified_at: Timestamp::default(),
            };
            let mut record = lock(&self.record);
            if name.bucket == INPUT {
                record.sources.insert(head.etag.as_str().to_owned(), body.clone());
            } else if name.bucket == WORK {
                record.work_written(&name.key, body.clone(), &head.metadata);
            }
            self.world.objects.restore(&name, body, head);
        }
        for upload in snapshot["uploads"].as_array().expect("uploads") {
            let object = ObjectName::new(text(&upload["bucket"]), text(&upload["key"]));
            self.world.objects.restore_upload(Upload { object, id: text(&upload["id"]) });
        }
    }

    async fn restore_items(&mut self, items: Items) {
        let Items { ledger, launches, clusters, outages, paces } = items;
        for run in &ledger.runs {
            lock(&self.record).run_created(run);
        }
        self.world.ledger.restore(ledger);
        for (stage, launch) in launches {
            lock(&self.record).launch_saved(&stage, &launch);
            self.world.fleet.restore_launch(stage, launch);
        }
        for (cluster, outage) in outages {
            self.world.fleet.note_outage(&cluster, Some(&outage)).await.expect("memory does not fail");
        }
        for cluster in &clusters {
            self.kube.cloud.clusters.add(&cluster.name);
        }
        self.kube.declared = clusters;
        for (destination, pace) in paces {
            self.world.pacer.set_rate(&destination, pace.rate).await.expect("memory does not fail");
            let from = Timestamp(pace.next_us / 1_000);
            let reserved = self.world.pacer.reserve(&destination, pace.rate, NonZeroU32::MIN, from).await;
            reserved.expect("memory does not fail");
        }
    }

    async fn restore_work(&mut self, snapshot: &Value) {
        let all = |name: &str| snapshot[name].as_array().expect("a list").clone();
        let message = |message: &Value| {
            let named = |queue: &Queue| message["queue"].as_str() == Some(&queue.to_string());
            let queue = Queue::ALL.into_iter().find(named).expect("a queue");
            (queue, message["body"].as_str().expect("a text").to_owned())
        };
        for (queue, body) in all("messages").iter().map(message) {
            let sent = self.world.queues.send(queue, vec![Outgoing::now(body)]).await;
            sent.expect("the queue itself does not fail");
        }
        for (number, (queue, body)) in all("dead").iter().map(message).enumerate() {
            // Below no other message's id.
            self.dead.insert(u64::MAX - number as u64, Dead { queue, body, visible_at_ms: 0 });
        }
        for input in all("maps") {
            let input = serde_json::from_value(input).expect("the input of a Map");
            self.world.maps.start(&input).await.expect("memory does not fail");
        }
        for job in all("jobs") {
            let cluster = self.kube.declared.iter().find(|cluster| job["cluster"] == *cluster.name);
            let name = job["name"].as_str().expect("a name").to_owned();
            let created = KubeJob { name, manifest: job["manifest"].clone() };
            let cluster = cluster.expect("it is declared");
            self.kube.cloud.clusters.create_job(cluster, &created).await.expect("it takes it");
            self.kube.cloud.is_changed.store(true, Ordering::Relaxed);
        }
    }
}

//! The memory ports as one invocation sees them: through its gate, and watched.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use fanfold_domain::{
    ByteRange, ChunkIndex, Destination, Event, GroupCount, GroupIndex, Mark, Note, ObjectName, Ownership,
    Pace, Rate, RootCount, Run, RunId, Sums, Timestamp,
    map::{ExecutionName, MapInput},
    message::Failure,
    pace::Reserved,
    pipeline::Pipeline,
};
use fanfold_ports::{
    Clock, Events, Fault, ItemList, KubePorts, Ledger, Maps, Objects, Pacer, PortError, Ports, Queue, Queues,
    Tables, Web,
    ledger::{Created, CreatedOwner, Freshness, KeptPipeline, Marked, Saved, StageId, Taken, Unfinished},
    maps::MapStatus,
    memory::{Faulty, MEMORY_EPOCH, MemoryWorld},
    objects::{
        ByteStream, Condition, Expected, HeldPart, Listed, Metadata, ObjectHead, Pin, ReadError, Upload,
        UploadError, UploadedPart, Written,
    },
    queues::Outgoing,
    tables::Row,
};

use crate::{
    gate::Gate,
    kube::Cloud,
    record::Record,
    scenario::{Corrupts, INPUT, WORK},
    third_party::ThirdParty,
    triggers,
};

/// The record that all invocations of a simulation write.
pub(crate) type SharedRecord = Arc<Mutex<Record>>;

/// Locks, even after a test panicked with the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The ports of one invocation: faults first, then its gate, then the world, which writes what it sees.
pub(crate) fn ports(
    world: &MemoryWorld,
    cloud: &Arc<Cloud>,
    record: &SharedRecord,
    shape: &Shaped,
    gate: Gate,
) -> World {
    let (invocation, machine) = (gate.invocation.clone(), gate.machine.clone());
    let (cloud, record) = (cloud.clone(), record.clone());
    let Shaped { group_chunks, items, third_party, corrupts, loses } = shape.clone();
    let world = world.clone();
    let watched =
        Arc::new(Watched { world, cloud, record, group_chunks, items, third_party, corrupts, loses, gate });
    let world = &watched.world;
    let kube = KubePorts {
        fleet: Arc::new(Faulty::new(watched.clone(), world.faults.clone(), invocation.clone())),
        clusters: Arc::new(Faulty::new(watched.clone(), world.faults.clone(), invocation.clone())),
    };
    let maps = Arc::new(Faulty::new(watched.clone(), world.faults.clone(), invocation.clone()));
    let web = Arc::new(Faulty::new(watched.clone(), world.faults.clone(), invocation.clone()));
    let ports = Ports {
        objects: Arc::new(Faulty::new(watched.clone(), world.faults.clone(), invocation.clone())),
        ledger: Arc::new(Faulty::new(watched.clone(), world.faults.clone(), invocation.clone())),
        queues: Arc::new(Faulty::new(watched.clone(), world.faults.clone(), invocation.clone())),
        events: Arc::new(Faulty::new(watched.clone(), world.faults.clone(), invocation.clone())),
        tables: Arc::new(Faulty::new(watched.clone(), world.faults.clone(), invocation.clone())),
        pacer: Arc::new(Faulty::new(watched.clone(), world.faults.clone(), invocation)),
        clock: machine,
    };
    World { ports, kube, maps, web, begins_at: world.clock.now() }
}

/// What the world makes of runs.
#[derive(Debug, Clone)]
pub(crate) struct Shaped {
    /// Chunks a group.
    pub(crate) group_chunks: u32,
    /// What their plan steps wrote.
    pub(crate) items: Option<Bytes>,
    /// How the third party fares at present.
    pub(crate) third_party: ThirdParty,
    /// What the store keeps otherwise than it was sent.
    pub(crate) corrupts: Option<Corrupts>,
    /// Which message is lost.
    pub(crate) loses: Option<usize>,
}

/// All that an invocation may use.
pub(crate) struct World {
    pub(crate) ports: Ports,
    pub(crate) kube: KubePorts,
    pub(crate) maps: Arc<dyn Maps>,
    pub(crate) web: Arc<dyn Web>,
    /// When the invocation begins, as Lambda knows it, who also says when it ends.
    pub(crate) begins_at: Timestamp,
}

pub(crate) struct Watched {
    pub(crate) world: MemoryWorld,
    pub(crate) cloud: Arc<Cloud>,
    record: SharedRecord,
    group_chunks: u32,
    items: Option<Bytes>,
    pub(crate) third_party: ThirdParty,
    pub(crate) corrupts: Option<Corrupts>,
    pub(crate) loses: Option<usize>,
    pub(crate) gate: Gate,
}

impl Watched {
    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }

    /// The run as it is to be stored: groups as small as the simulation wants them. Everyone reads the plan
    /// from the run's item, so that this is all it takes.
    fn regrouped(&self, run: &Run) -> Run {
        let mut run = run.clone();
        if let Some(plan) = &mut run.plan {
            plan.grouping.group_chunks = self.group_chunks;
        }
        if let Some(scan) = &mut run.scan {
            scan.grouping.group_chunks = self.group_chunks;
        }
        run
    }

    async fn leave_items(&self, run: &Run, items: &Bytes) -> Result<(), PortError> {
        for (key, body, metadata) in triggers::leave_items(run, items) {
            let object = ObjectName::new(WORK, key);
            let written = self.world.objects.put(&object, body.clone(), Condition::Absent, &metadata).await?;
            self.stored(&object, &written, body, &metadata);
        }
        Ok(())
    }

    /// Notes that a run was created, and leaves what its plan step writes and its temporaries.
    async fn run_created(&self, run: &Run) -> Result<(), PortError> {
        self.record().run_created(run);
        if run.state.has_ended() {
            let now_ms = self.world.clock.now().ms_since(MEMORY_EPOCH);
            self.record().ended_at_ms.insert(run.id.clone(), now_ms);
        }
        triggers::leave_temporaries(&self.world, run);
        match &self.items {
            Some(items) => self.leave_items(run, items).await,
            None => Ok(()),
        }
    }

    fn run_saved(&self, run: &Run) {
        let now_ms = self.world.clock.now().ms_since(MEMORY_EPOCH);
        let mut record = self.record();
        record.run_saved(run);
        if run.state.has_ended() {
            record.ended_at_ms.entry(run.id.clone()).or_insert(now_ms);
        }
    }

    fn stored(&self, object: &ObjectName, written: &Written, body: Bytes, metadata: &Metadata) {
        if !matches!(written, Written::Stored(_)) {
            return;
        }
        let now_ms = self.world.clock.now().ms_since(MEMORY_EPOCH);
        let mut record = self.record();
        if object.bucket == WORK {
            record.created_at_ms.entry(object.key.clone()).or_insert(now_ms);
            record.written_at_ms.insert(object.key.clone(), now_ms);
            record.work_written(&object.key, body, metadata);
        } else {
            record.published(object, body, metadata);
        }
    }
}

#[async_trait]
impl Objects for Watched {
    async fn head(
        &self,
        object: &ObjectName,
        version: Option<&str>,
    ) -> Result<Option<ObjectHead>, PortError> {
        let call = self.gate.enter().await;
        let head = self.world.objects.head(object, version).await;
        self.gate.forget_owner(object);
        self.gate.leave(call).await;
        head
    }

    async fn read(&self, object: &ObjectName, pin: &Pin, range: ByteRange) -> Result<ByteStream, ReadError> {
        let call = self.gate.enter().await;
        // Neither what an attempt counted nor why a chunk failed is what a worker dies of.
        if !object.key.ends_with(".statistics") && !self.record().has_tombstone(&object.key) {
            self.gate.reads_chunk(call).await;
        }
        if object.bucket == INPUT && self.gate.source_is_unreadable {
            return Err(
                PortError::new(Fault::Transient, "read", object, "a chunk that nobody can read").into()
            );
        }
        let stream = self.world.objects.read(object, pin, range).await;
        self.gate.leave(call).await;
        // Headers stay as they are: a header that differs is another matter than a program that does.
        let is_data = object.bucket == INPUT && range.start > 0;
        stream.map(|stream| if is_data { self.gate.seen(stream, range.start) } else { stream })
    }

    async fn put(
        &self,
        object: &ObjectName,
        body: Bytes,
        condition: Condition,
        metadata: &Metadata,
    ) -> Result<Written, PortError> {
        let call = self.gate.enter().await;
        let body = self.kept_object(object, body);
        let written = self.world.objects.put(object, body.clone(), condition, metadata).await?;
        self.stored(object, &written, body, metadata);
        self.gate.leave(call).await;
        Ok(written)
    }

    async fn create_upload(&self, object: &ObjectName, metadata: &Metadata) -> Result<Upload, PortError> {
        let call = self.gate.enter().await;
        let upload = self.world.objects.create_upload(object, metadata).await?;
        if let Some(stamp) = fanfold_domain::Stamp::read(metadata) {
            self.record().uploads.insert(upload.clone(), stamp.run);
        }
        self.gate.leave(call).await;
        Ok(upload)
    }

    async fn upload_part(
        &self,
        upload: &Upload,
        number: u32,
        body: Bytes,
    ) -> Result<UploadedPart, UploadError> {
        let call = self.gate.enter().await;
        self.record().upload_used(upload);
        let body = self.kept_part(upload, body);
        let part = self.world.objects.upload_part(upload, number, body).await;
        self.gate.leave(call).await;
        part
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: u32,
        from: &ObjectName,
        pin: &Pin,
        range: ByteRange,
    ) -> Result<UploadedPart, UploadError> {
        let call = self.gate.enter().await;
        self.record().upload_used(upload);
        let part = self.world.objects.copy_part(upload, number, from, pin, range).await;
        self.gate.leave(call).await;
        part
    }

    async fn upload_parts(&self, upload: &Upload) -> Result<Vec<HeldPart>, UploadError> {
        let call = self.gate.enter().await;
        let held = self.world.objects.upload_parts(upload).await;
        self.gate.leave(call).await;
        held
    }

    async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[UploadedPart],
        condition: Condition,
        expected: Expected,
    ) -> Result<Written, UploadError> {
        let call = self.gate.enter().await;
        let object = &upload.object;
        let written = self.world.objects.complete_upload(upload, parts, condition, expected).await;
        if let Ok(written @ Written::Stored(_)) = &written {
            let body = self.world.objects.contents(object).expect("it was stored just now");
            let head = self.world.objects.head(object, None).await?.expect("it was stored just now");
            self.stored(object, written, body, &head.metadata);
            self.check_publisher(object, &head.metadata).await?;
        }
        self.gate.leave(call).await;
        written
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), PortError> {
        let call = self.gate.enter().await;
        let aborted = self.world.objects.abort_upload(upload).await;
        self.gate.leave(call).await;
        aborted
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, PortError> {
        let call = self.gate.enter().await;
        let listed = self.world.objects.list(bucket, prefix, after, limit).await;
        self.gate.leave(call).await;
        listed
    }

    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<(), PortError> {
        let call = self.gate.enter().await;
        for key in keys {
            self.record().removed(bucket, key);
        }
        self.world.objects.delete(bucket, keys).await?;
        self.gate.leave(call).await;
        Ok(())
    }
}

#[async_trait]
impl Ledger for Watched {
    async fn create_run(&self, run: &Run) -> Result<Created, PortError> {
        let call = self.gate.enter().await;
        let created = self.world.ledger.create_run(run).await?;
        if created == Created::Now {
            self.run_created(run).await?;
        }
        self.gate.leave(call).await;
        Ok(created)
    }

    async fn run(&self, id: &RunId, freshness: Freshness) -> Result<Option<Run>, PortError> {
        let call = self.gate.enter().await;
        let run = self.world.ledger.run(id, freshness).await;
        self.gate.leave(call).await;
        run
    }

    async fn save_run(&self, run: &Run) -> Result<Saved, PortError> {
        let call = self.gate.enter().await;
        let run = self.regrouped(run);
        let is_arrow = self.is_arrow(&run);
        let saved = self.world.ledger.save_run(&run).await?;
        if saved == Saved::Now {
            self.run_saved(&run);
            if is_arrow {
                self.check_owner(&run).await?;
            }
        }
        self.gate.leave(call).await;
        Ok(saved)
    }

    async fn save_run_as_owner(&self, run: &Run) -> Result<Saved, PortError> {
        let call = self.gate.enter().await;
        let run = self.regrouped(run);
        let saved = self.world.ledger.save_run_as_owner(&run).await?;
        if saved == Saved::Now {
            self.run_saved(&run);
        }
        self.gate.leave(call).await;
        Ok(saved)
    }

    async fn unfinished_runs(
        &self,
        after: Option<&Unfinished>,
        limit: usize,
    ) -> Result<Vec<Unfinished>, PortError> {
        let call = self.gate.enter().await;
        let runs = self.world.ledger.unfinished_runs(after, limit).await;
        self.gate.leave(call).await;
        runs
    }

    async fn recent_runs(&self, limit: usize) -> Result<ItemList<Run>, PortError> {
        self.world.ledger.recent_runs(limit).await
    }

    async fn create_run_as_owner(&self, run: &Run) -> Result<CreatedOwner, PortError> {
        let call = self.gate.enter().await;
        let created = self.world.ledger.create_run_as_owner(run).await?;
        if let CreatedOwner::Now(run) = &created {
            self.run_created(run).await?;
            self.record().taken(run);
        }
        self.gate.leave(call).await;
        Ok(created)
    }

    async fn take_output(&self, run: &Run) -> Result<Taken, PortError> {
        let call = self.gate.enter().await;
        let taken = self.world.ledger.take_output(run).await?;
        if let Taken::Owned(owner) = &taken
            && owner.revision > run.revision
        {
            self.run_saved(owner);
            self.record().taken(owner);
        }
        self.gate.leave(call).await;
        Ok(taken)
    }

    async fn owner(&self, output: &ObjectName) -> Result<Option<Ownership>, PortError> {
        let call = self.gate.enter().await;
        let owner = self.world.ledger.owner(output).await;
        if let Ok(Some(owner)) = &owner {
            self.gate.note_owner(output, &owner.run);
        }
        self.gate.leave(call).await;
        owner
    }

    async fn mark(
        &self,
        stage: &StageId,
        group: GroupIndex,
        marks: &[(ChunkIndex, Mark)],
        notes: &[(ChunkIndex, Note)],
    ) -> Result<Marked, PortError> {
        let call = self.gate.enter().await;
        let marked = self.world.ledger.mark(stage, group, marks, notes).await?;
        if matches!(marked, Marked::Now(_)) {
            self.record().marked(stage, marks);
            let handed = notes.iter().filter(|(_, note)| *note == Note::Handed);
            self.record().handed(stage, &handed.map(|(chunk, _)| *chunk).collect::<Vec<_>>());
        }
        self.gate.leave(call).await;
        Ok(marked)
    }

    async fn hand(&self, stage: &StageId, group: GroupIndex, chunks: &[ChunkIndex]) -> Result<(), PortError> {
        let call = self.gate.enter().await;
        self.record().handed(stage, chunks);
        self.world.ledger.hand(stage, group, chunks).await?;
        self.gate.leave(call).await;
        Ok(())
    }

    async fn group(&self, stage: &StageId, group: GroupIndex) -> Result<GroupCount, PortError> {
        let call = self.gate.enter().await;
        let count = self.world.ledger.group(stage, group).await;
        self.gate.leave(call).await;
        count
    }

    async fn mark_folded(
        &self,
        stage: &StageId,
        group: GroupIndex,
        sums: Sums,
    ) -> Result<RootCount, PortError> {
        let call = self.gate.enter().await;
        let root = self.world.ledger.mark_folded(stage, group, sums).await?;
        self.record().folded(stage, group);
        self.gate.leave(call).await;
        Ok(root)
    }

    async fn root(&self, stage: &StageId) -> Result<RootCount, PortError> {
        let call = self.gate.enter().await;
        let root = self.world.ledger.root(stage).await;
        self.gate.leave(call).await;
        root
    }

    async fn note_failure(
        &self,
        stage: &StageId,
        chunk: ChunkIndex,
        failure: &Failure,
    ) -> Result<(), PortError> {
        let call = self.gate.enter().await;
        self.record().tell(format!("chunk {chunk} failed: {}", failure.reason));
        self.world.ledger.note_failure(stage, chunk, failure).await?;
        self.gate.leave(call).await;
        Ok(())
    }

    async fn failures(&self, stage: &StageId, limit: usize) -> Result<Vec<(ChunkIndex, Failure)>, PortError> {
        let call = self.gate.enter().await;
        let failures = self.world.ledger.failures(stage, limit).await;
        self.gate.leave(call).await;
        failures
    }

    async fn put_pipeline(&self, pipeline: &Pipeline) -> Result<u32, PortError> {
        self.world.ledger.put_pipeline(pipeline).await
    }

    async fn pipelines(&self) -> Result<ItemList<KeptPipeline>, PortError> {
        let call = self.gate.enter().await;
        let kept = self.world.ledger.pipelines().await;
        self.gate.leave(call).await;
        kept
    }
}

#[async_trait]
impl Queues for Watched {
    async fn send(&self, queue: Queue, messages: Vec<Outgoing>) -> Result<(), PortError> {
        let call = self.gate.enter().await;
        self.record().sent(queue, &messages, self.gate.begun_ms);
        let messages = self.kept_messages(queue, messages);
        self.world.queues.send(queue, messages).await?;
        self.gate.leave(call).await;
        Ok(())
    }
}

#[async_trait]
impl Events for Watched {
    async fn put(&self, events: &[Event]) -> Result<(), PortError> {
        let call = self.gate.enter().await;
        for event in events {
            self.record().tell(format!("announced as {}: {}", event.detail_type, event.detail));
        }
        self.world.events.put(events).await?;
        self.gate.leave(call).await;
        Ok(())
    }
}

#[async_trait]
impl Maps for Watched {
    async fn start(&self, input: &MapInput) -> Result<(), PortError> {
        let call = self.gate.enter().await;
        self.world.maps.start(input).await?;
        self.record().map_started(input);
        self.gate.leave(call).await;
        Ok(())
    }

    async fn status(&self, name: &ExecutionName) -> Result<Option<MapStatus>, PortError> {
        let call = self.gate.enter().await;
        let status = self.world.maps.status(name).await;
        self.gate.leave(call).await;
        status
    }
}

#[async_trait]
impl Tables for Watched {
    async fn put_rows(&self, table: &str, rows: Vec<Row>) -> Result<(), PortError> {
        let call = self.gate.enter().await;
        self.world.tables.put_rows(table, rows).await?;
        self.gate.leave(call).await;
        Ok(())
    }
}

#[async_trait]
impl Pacer for Watched {
    async fn reserve(
        &self,
        destination: &Destination,
        initial: Rate,
        wanted: NonZeroU32,
        from: Timestamp,
    ) -> Result<Reserved, PortError> {
        let call = self.gate.enter().await;
        let reserved = self.world.pacer.reserve(destination, initial, wanted, from).await;
        self.gate.leave(call).await;
        reserved
    }

    async fn pace(&self, destination: &Destination) -> Result<Option<Pace>, PortError> {
        self.world.pacer.pace(destination).await
    }

    async fn set_rate(&self, destination: &Destination, rate: Rate) -> Result<(), PortError> {
        self.world.pacer.set_rate(destination, rate).await
    }
}

//! Folding: a full group's parts, in order, become one immutable group object, and its bad records one list. Of a
//! stage that others read only the list is made: they read its parts.

use bytes::Bytes;
use fanfold_domain::{
    ChunkIndex, GroupCount, GroupIndex, Grouping, ObjectName, Plan, Run, Sums,
    key::StageKeys,
    pipeline::{MergeHeader, Process, Stage},
};
use fanfold_ports::{
    Fault, Objects, PortError,
    objects::{Condition, Metadata, ObjectHead, Pin, ReadError, UploadError, Written},
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    bad::{BadRecords, append},
    chunk::{is_tombstone, statistics_of},
    concat::{Source, expected, fill, read_all},
};

/// HEAD requests under way at once.
const HEADS_AT_ONCE: usize = 32;
/// What is put together in memory rather than by a multipart upload, in bytes.
const SMALL_BYTES: u64 = 8 << 20;

/// A full group to be folded.
pub struct Fold<'a> {
    /// Where to read and write.
    pub objects: &'a dyn Objects,
    /// The run.
    pub run: &'a Run,
    /// What planning found.
    pub plan: &'a Plan,
    /// The stage.
    pub stage: &'a Stage,
    /// Its chunks and groups.
    pub grouping: Grouping,
    /// The bucket of parts and groups.
    pub work_bucket: &'a str,
    /// Which group.
    pub group: GroupIndex,
    /// Its counters, full.
    pub count: &'a GroupCount,
}

impl Fold<'_> {
    /// Folds the group, or finds it folded. Returns what it adds to the root's sums: the group's, with the
    /// group object's size as `bytes_out`.
    ///
    /// # Errors
    /// A part is missing or of another size than was counted, or a read or write failed.
    pub async fn run(&self) -> Result<Sums, UploadError> {
        if self.stage.name != self.run.last_stage().name {
            if self.count.sums.bad_records > 0 {
                self.fold_bad_records(&self.parts().await?).await?;
            }
            return Ok(self.count.sums);
        }
        let object = self.work(self.keys().group(self.group));
        if let Some(head) = self.objects.head(&object, None).await? {
            return Ok(self.sums(head.size_bytes));
        }
        let parts = self.parts().await?;
        let found: u64 = parts.iter().map(|(_, head)| head.size_bytes).sum();
        if found != self.count.sums.bytes_out {
            let detail = format!("parts of {found} bytes, and {} were counted", self.count.sums.bytes_out);
            return Err(PortError::new(Fault::Permanent, "fold", object, detail).into());
        }
        // Before the group object, so that whoever sees that sees the list too.
        if self.count.sums.bad_records > 0 {
            self.fold_bad_records(&parts).await?;
        }
        let header = if self.group.0 == 0 { self.header().await? } else { Bytes::new() };
        let name = |chunk| self.work(self.keys().part(chunk));
        let objects = parts.into_iter().map(|(chunk, head)| Source::Object { name: name(chunk), head });
        let sources: Vec<Source> = std::iter::once(Source::Inline(header)).chain(objects).collect();
        self.create(&object, &sources).await?;
        Ok(self.sums(expected(&sources).size_bytes))
    }

    fn keys(&self) -> StageKeys {
        self.run.keys(&self.stage.name)
    }

    fn work(&self, key: String) -> ObjectName {
        ObjectName::new(self.work_bucket, key)
    }

    fn sums(&self, bytes_out: u64) -> Sums {
        Sums { bytes_out, ..self.count.sums }
    }

    async fn parts(&self) -> Result<Vec<(ChunkIndex, ObjectHead)>, UploadError> {
        let look = async |chunk: ChunkIndex| {
            let name = self.work(self.keys().part(chunk));
            match self.objects.head(&name, None).await? {
                Some(head) if !is_tombstone(&head) => Ok((chunk, head)),
                _ => Err(UploadError::Read(ReadError::Missing(name))),
            }
        };
        let look = &look;
        stream::iter(self.count.done.iter().copied()).map(look).buffered(HEADS_AT_ONCE).try_collect().await
    }

    /// What the output begins with.
    async fn header(&self) -> Result<Bytes, UploadError> {
        let copies = matches!(&self.run.pipeline.stages[..], [stage] if stage.process == Process::Copy);
        let copies_mark = copies && !self.run.pipeline.source.has_header();
        Ok(match &self.run.pipeline.merge.header {
            // `copy` gives back all bytes, a byte order mark included.
            MergeHeader::None if !copies_mark => Bytes::new(),
            MergeHeader::Literal(line) => Bytes::from(format!("{line}\n")),
            _ if self.plan.preamble.is_empty() => Bytes::new(),
            MergeHeader::None | MergeHeader::Input => {
                let source = self.run.input();
                let pin = Pin::from(source);
                let stream = self.objects.read(&source.object, &pin, self.plan.preamble).await?;
                let pieces: Vec<Bytes> = stream.try_collect().await?;
                pieces.concat().into()
            }
        })
    }

    async fn create(&self, object: &ObjectName, sources: &[Source]) -> Result<(), UploadError> {
        let whole = expected(sources);
        if whole.size_bytes <= SMALL_BYTES && !self.objects.copies_are_free() {
            let body = read_all(self.objects, sources).await?;
            let written = self.objects.put(object, body, Condition::Absent, &Metadata::new()).await?;
            return self.settled(object, &written).await;
        }
        let upload = self.objects.create_upload(object, &Metadata::new()).await?;
        let filled = fill(self.objects, &upload, sources).await;
        let written = match filled {
            Ok(parts) => self.objects.complete_upload(&upload, &parts, Condition::Absent, whole).await,
            Err(error) => Err(error),
        };
        if !matches!(written, Ok(Written::Stored(_))) {
            self.objects.abort_upload(&upload).await?;
        }
        self.settled(object, &written?).await
    }

    /// Whoever folds a group folds it alike: another's object is as good as ours, if it is there.
    async fn settled(&self, object: &ObjectName, written: &Written) -> Result<(), UploadError> {
        match written {
            Written::Stored(_) | Written::Refused => Ok(()),
            Written::Conflict => match self.objects.head(object, None).await? {
                Some(_) => Ok(()),
                None => {
                    Err(PortError::new(Fault::Transient, "fold", object, "another fold is under way").into())
                }
            },
        }
    }

    /// Puts the lists of the group's chunks together, numbered from the group's first record.
    async fn fold_bad_records(&self, parts: &[(ChunkIndex, ObjectHead)]) -> Result<(), UploadError> {
        let keys = self.keys();
        let object = self.work(keys.group_bad_records(self.group));
        let mut list = BadRecords::new(self.objects, object.clone(), Metadata::new());
        let mut before = Some(0);
        let mut parts = parts.iter().peekable();
        for chunk in self.grouping.chunks_of(self.group).map(ChunkIndex) {
            let Some((_, head)) = parts.next_if(|(done, _)| *done == chunk) else {
                before = None; // it failed: nobody knows how many records it has
                continue;
            };
            let statistics =
                statistics_of(self.objects, self.run, self.work_bucket, &self.stage.name, chunk, head)
                    .await?;
            if statistics.sums.bad_records > 0 {
                let attempt = head.metadata.get(crate::chunk::ATTEMPT).map_or("", String::as_str);
                let name = self.work(keys.bad_records(chunk, attempt));
                append(self.objects, &name, before, &mut list).await?;
            }
            before = before.map(|before| before + statistics.sums.records);
        }
        let written = list.into_writer().create(Condition::Absent).await?;
        self.settled(&object, &written).await
    }
}

//! What planning found so far, kept so that another invocation goes on from there.
//!
//! A plan that takes longer than one invocation has is divided into strides. What is found in one is an object in the
//! work bucket, created once. The source is pinned and the division depends on nothing else, so that whoever does a
//! stride, before, after or at the same time, finds the same: an object that is there need not be made again, and two
//! who make one at once leave one. A plan of a single stride keeps nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use fanfold_domain::{ByteRange, ObjectName};
use fanfold_ports::{
    Fault, Objects, PortError, Until,
    objects::{Condition, Metadata, Pin, ReadError},
};
use futures::TryStreamExt;
use serde::{Serialize, de::DeserializeOwned};

use super::PlanError;

/// How much is found in one stride. The same for all who plan a run: it divides the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strides {
    /// Ranges of a scan, of which only what each does as a whole is read.
    pub ranges: usize,
    /// Ranges of a scan in which cuts are looked for.
    pub stretches: usize,
    /// Cuts that are found by a small read each.
    pub cuts: usize,
    /// Bytes of a list.
    pub list_bytes: u64,
    /// Objects that are listed at once. Whatever it is, a list is the same.
    pub page: usize,
}

impl Strides {
    /// Each takes some seconds of the splitter's minutes.
    pub const DEFAULT: Self = Self {
        ranges: 4_096,
        stretches: 512,
        cuts: 16_384,
        list_bytes: 1 << 30,
        page: fanfold_ports::objects::MAX_LISTED,
    };
}

/// Where a plan is kept while it is made, and until when it is made here.
pub struct Places<'a> {
    /// Where to read and write.
    pub objects: &'a dyn Objects,
    /// The bucket of work objects.
    pub work_bucket: &'a str,
    /// What the keys of the run's places begin with.
    pub prefix: String,
    /// How the work is divided.
    pub strides: Strides,
    /// From when on no other stride is begun.
    pub until: Until<'a>,
    has_made: AtomicBool,
}

/// What became of a stride.
pub(super) enum Stride<T> {
    /// This was found, now or before.
    Found(T),
    /// It is left to another invocation.
    Later,
}

impl<'a> Places<'a> {
    /// The places of the run whose keys begin with `prefix`.
    pub fn new(
        objects: &'a dyn Objects,
        work_bucket: &'a str,
        prefix: String,
        strides: Strides,
        until: Until<'a>,
    ) -> Self {
        Self { objects, work_bucket, prefix, strides, until, has_made: AtomicBool::new(false) }
    }

    /// What one of `of` strides finds: what is kept of it, or else what `find` gives, which then is. Past the time a
    /// stride is only begun if this invocation has not done any, so that each gets on.
    pub(super) async fn stride<T: Serialize + DeserializeOwned>(
        &self,
        (kind, number, of): (&str, usize, usize),
        find: impl Future<Output = Result<T, PlanError>>,
    ) -> Result<Stride<T>, PlanError> {
        if of == 1 {
            return Ok(Stride::Found(find.await?));
        }
        let name = ObjectName::new(self.work_bucket, format!("{}{kind}-{number:05}", self.prefix));
        if let Some(found) = read(self.objects, &name).await? {
            return Ok(Stride::Found(found));
        }
        if self.until.is_over() && self.has_made.load(Ordering::Relaxed) {
            return Ok(Stride::Later);
        }
        let found = find.await?;
        let body = serde_json::to_vec(&found).expect("it has only JSON's types");
        // Refused: the same is there. In conflict: it is being written, and else is found again.
        self.objects.put(&name, Bytes::from(body), Condition::Absent, &Metadata::new()).await?;
        self.has_made.store(true, Ordering::Relaxed);
        Ok(Stride::Found(found))
    }
}

/// An object of JSON, if it is there.
pub(super) async fn read<T: DeserializeOwned>(
    objects: &dyn Objects,
    name: &ObjectName,
) -> Result<Option<T>, PlanError> {
    let Some(head) = objects.head(name, None).await? else { return Ok(None) };
    let pin = Pin { version: None, etag: Some(head.etag) };
    let stream = match objects.read(name, &pin, ByteRange::new(0, head.size_bytes)).await {
        Ok(stream) => stream,
        Err(ReadError::Port(error)) => return Err(error.into()),
        Err(gone) => return Err(PlanError::ScanLost(gone)),
    };
    let bytes = stream.try_collect::<Vec<Bytes>>().await?.concat();
    let parsed = serde_json::from_slice(&bytes);
    let found =
        parsed.map_err(|error| PortError::new(Fault::Permanent, "read place", name, error.to_string()))?;
    Ok(Some(found))
}

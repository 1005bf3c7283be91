//! One image: looked for, read, made smaller, written.
//!
//! A result names in its metadata what it was made of. Who finds it made of the very same leaves it there, so that a
//! repeated try costs one request an image, and two tries never write twice. The result's name is looked at *before*
//! the image is, and written on the condition that it still stands as it was seen: an image that was replaced since
//! cannot have a result that is overwritten by one of what it was before.

use bytes::Bytes;
use fanfold_domain::{ByteRange, ObjectName, Run, RunId, Stamp, pipeline::Resize};
use fanfold_images::{Broken, Resized, resize, working_bytes};
use fanfold_ports::{
    Fault, Objects, PortError,
    objects::{Condition, Metadata, ObjectHead, Pin, ReadError, Written},
};
use futures::TryStreamExt;
use serde::Serialize;
use tokio::task;

use super::{item::Item, memory::Memory};

const RECIPE: &str = "fanfold-recipe";
const WIDTH: &str = "fanfold-width";
const HEIGHT: &str = "fanfold-height";

/// How often a result is made again that another try wrote meanwhile.
const TRIES: u32 = 4;

/// What came of an image, as a line of the part.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    /// The image's key.
    source: String,
    bucket: &'a str,
    key: String,
    /// As seen, in pixels.
    width: u32,
    height: u32,
    /// Size of the result's file.
    bytes: u64,
}

/// Why there is no result.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The record is bad, or what it names is.
    Bad(String),
    /// A read or a write failed.
    Port(PortError),
}

impl From<PortError> for Trouble {
    fn from(error: PortError) -> Self {
        Self::Port(error)
    }
}

impl From<ReadError> for Trouble {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Missing(_) | ReadError::Changed(_) => Self::Bad(error.to_string()),
            ReadError::Port(error) => Self::Port(error),
        }
    }
}

/// Makes results of images.
pub(super) struct Maker<'a> {
    objects: &'a dyn Objects,
    run: &'a Run,
    options: &'a Resize,
    memory: Memory,
}

/// A try at a result: where it goes, and what stood there.
struct Place {
    result: ObjectName,
    standing: Option<ObjectHead>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(objects: &'a dyn Objects, run: &'a Run, options: &'a Resize) -> Self {
        Self { objects, run, options, memory: Memory::new(options.memory_bytes) }
    }

    /// Makes the result of an image, or finds it made.
    pub(super) async fn make(&self, item: &Item) -> Result<Line<'a>, Trouble> {
        let image = item.object(&self.run.source.object.bucket);
        for _ in 0..TRIES {
            let place = self.look(&image).await?;
            if let Some(line) = item.version_or_etag().and_then(|of| self.made_before(&place, &image, of)) {
                return Ok(line);
            }
            if let Some(line) = self.make_once(item, &image, place).await? {
                return Ok(line);
            }
        }
        let detail = format!("others wrote there {TRIES} times meanwhile");
        Err(PortError::new(Fault::Transient, "write the result of", image, detail).into())
    }

    /// Looks at the name of the result.
    async fn look(&self, image: &ObjectName) -> Result<Place, Trouble> {
        let key = self.options.key.fill(&image.key, &self.run.id.to_string());
        let key = key.map_err(|error| Trouble::Bad(error.to_string()))?;
        let result = ObjectName::new(self.bucket(), key);
        let standing = self.objects.head(&result, None).await?;
        if let Some(writer) = standing.as_ref().and_then(|head| writer_of_another_kind(head, &result)) {
            return Err(Trouble::Bad(format!("{result} is what run {writer} put out, and is not replaced")));
        }
        Ok(Place { result, standing })
    }

    fn bucket(&self) -> &'a str {
        self.options.bucket.as_deref().unwrap_or(&self.run.output.bucket)
    }

    /// What stands there, if it is made of the very same.
    fn made_before(&self, place: &Place, image: &ObjectName, version_or_etag: &str) -> Option<Line<'a>> {
        let head = place.standing.as_ref()?;
        let recipe = self.options.recipe(image, version_or_etag, &place.result);
        let number = |name| head.metadata.get(name)?.parse().ok();
        (head.metadata.get(RECIPE)? == &recipe).then_some(())?;
        Some(self.line(image, &place.result, (number(WIDTH)?, number(HEIGHT)?), head.size_bytes))
    }

    /// Makes a result; nothing if another came first.
    async fn make_once(
        &self,
        item: &Item,
        image: &ObjectName,
        place: Place,
    ) -> Result<Option<Line<'a>>, Trouble> {
        let head = self.objects.head(image, item.version.as_deref()).await?;
        let head = head.ok_or_else(|| ReadError::Missing(image.clone()))?;
        if let Some(said) = item.size.filter(|said| *said != head.size_bytes) {
            return Err(Trouble::Bad(format!(
                "{image} has {} bytes, and the list says {said}",
                head.size_bytes
            )));
        }
        let etag = item.etag.clone().unwrap_or(head.etag);
        let version_or_etag = item.version_or_etag().unwrap_or(etag.as_str()).to_owned();
        if let Some(line) = self.made_before(&place, image, &version_or_etag) {
            return Ok(Some(line));
        }
        let pin = Pin { version: item.version.clone(), etag: Some(etag) };
        let resized = self.resized(image, &pin, head.size_bytes).await?;
        let recipe = self.options.recipe(image, &version_or_etag, &place.result);
        let metadata = self.metadata(&place.result, recipe, &resized);
        let condition = place.standing.map_or(Condition::Absent, |seen| Condition::Matches(seen.etag));
        let (size, bytes) = ((resized.width, resized.height), resized.bytes.len() as u64);
        match self.objects.put(&place.result, resized.bytes.into(), condition, &metadata).await? {
            Written::Stored(_) => Ok(Some(self.line(image, &place.result, size, bytes))),
            Written::Refused | Written::Conflict => Ok(None),
        }
    }

    /// Reads an image and makes it smaller, as soon as there is memory for each.
    async fn resized(&self, image: &ObjectName, pin: &Pin, size_bytes: u64) -> Result<Resized, Trouble> {
        let Memory { files, pixels } = &self.memory;
        if size_bytes > files.bytes {
            let most = files.bytes;
            return Err(bad(image, format!("{size_bytes} bytes, and a file may have {most} of with.memory")));
        }
        let of_file = files.take(size_bytes).await;
        let file = self.read(image, pin, size_bytes).await?;
        let (options, allowed) = (self.options, pixels.bytes);
        let needed = apart(file.clone(), options, move |file, options| working_bytes(file, options, allowed));
        let needed = needed.await.map_err(|reason| bad(image, reason))?;
        let of_pixels = pixels.take(needed).await;
        let made = apart(file, options, move |file, options| {
            // Lent until the work ends, which goes on even if nobody waits for it any more.
            let _lent = (of_file, of_pixels);
            resize(file, options, allowed)
        });
        made.await.map_err(|reason| bad(image, reason))
    }

    async fn read(&self, image: &ObjectName, pin: &Pin, size_bytes: u64) -> Result<Bytes, Trouble> {
        if size_bytes == 0 {
            return Ok(Bytes::new());
        }
        let mut stream = self.objects.read(image, pin, ByteRange::new(0, size_bytes)).await?;
        let mut file = Vec::with_capacity(usize::try_from(size_bytes).unwrap_or_default());
        while let Some(piece) = stream.try_next().await? {
            file.extend_from_slice(&piece);
        }
        Ok(file.into())
    }

    /// Names the run too, so that a result is never taken for a source of another one.
    fn metadata(&self, result: &ObjectName, recipe: String, resized: &Resized) -> Metadata {
        let mut metadata = Stamp::of(self.run, result).to_metadata();
        let own =
            [(RECIPE, recipe), (WIDTH, resized.width.to_string()), (HEIGHT, resized.height.to_string())];
        metadata.extend(own.map(|(name, value)| (name.to_owned(), value)));
        metadata
    }

    fn line(&self, image: &ObjectName, result: &ObjectName, size: (u32, u32), bytes: u64) -> Line<'a> {
        let (width, height) = size;
        Line {
            source: image.key.clone(),
            bucket: self.bucket(),
            key: result.key.clone(),
            width,
            height,
            bytes,
        }
    }
}

fn bad(image: &ObjectName, reason: String) -> Trouble {
    Trouble::Bad(format!("{image}: {reason}"))
}

/// The run whose output, or list of bad records, this object is.
fn writer_of_another_kind(head: &ObjectHead, name: &ObjectName) -> Option<RunId> {
    let stamp = Stamp::read(&head.metadata).filter(|stamp| stamp.object == name.digest())?;
    (!head.metadata.contains_key(RECIPE)).then_some(stamp.run)
}

/// Works on a file on a thread for such work. Whatever a decoder may stumble over is an image that is broken.
async fn apart<T: Send + 'static>(
    file: Bytes,
    options: &Resize,
    work: impl FnOnce(&[u8], &Resize) -> Result<T, Broken> + Send + 'static,
) -> Result<T, String> {
    let options = options.clone();
    match task::spawn_blocking(move || work(&file, &options)).await {
        Ok(done) => done.map_err(|broken| broken.to_string()),
        Err(panicked) => Err(format!("no decoder can cope with it: {panicked}")),
    }
}

//! Putting objects together, in order, into one upload: copied inside the service where they are large
//! enough, sent where they are not.

use std::{collections::BTreeMap, future::ready};

use bytes::{Bytes, BytesMut};
use fanfold_domain::{
    ByteRange, ObjectName,
    assembly::{MIN_UPLOAD_PART, Piece, UploadPart, cut_for},
};
use fanfold_ports::{
    Objects, Until,
    objects::{Expected, HeldPart, ObjectHead, Pin, ReadError, Upload, UploadError, UploadedPart},
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::checksum;

/// Copies under way at once: each is one small request that the service works on for long.
const COPIES_AT_ONCE: usize = 64;
/// Joined parts under way at once: each is held in memory, up to 10 MiB.
const JOINS_AT_ONCE: usize = 3;
/// Reads under way at once for one joined part.
const READS_AT_ONCE: usize = 16;

/// One of the things to be put together.
#[derive(Debug, Clone)]
pub enum Source {
    /// Bytes at hand, such as the output's header.
    Inline(Bytes),
    /// A whole object as it was seen.
    Object {
        /// Where it is.
        name: ObjectName,
        /// What was seen.
        head: ObjectHead,
    },
}

impl Source {
    /// Size in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Object { head, .. } => head.size_bytes,
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn crc64(&self) -> Option<u64> {
        match self {
            Self::Inline(bytes) => Some(checksum::crc64(bytes)),
            Self::Object { head, .. } => head.crc64,
        }
    }
}

/// What `sources` make together: size, and checksum if each of theirs is known.
pub fn expected(sources: &[Source]) -> Expected {
    let start = Expected { size_bytes: 0, crc64: Some(checksum::crc64(b"")) };
    sources.iter().filter(|source| !source.is_empty()).fold(start, |all, next| Expected {
        size_bytes: all.size_bytes + next.len(),
        crc64: all.crc64.zip(next.crc64()).map(|(a, b)| checksum::combine(a, b, next.len())),
    })
}

/// Sends and copies `sources`, in order, into `upload`. Returns its parts, to be completed.
///
/// # Errors
/// The first that occurs; what was sent stays in the upload until it is aborted.
pub async fn fill(
    objects: &dyn Objects,
    upload: &Upload,
    sources: &[Source],
) -> Result<Vec<UploadedPart>, UploadError> {
    Ok(fill_up(objects, upload, sources, &[], Until::NEVER).await?.parts)
}

/// How far an upload is filled.
pub struct Filled {
    /// The parts that it has, in order.
    pub parts: Vec<UploadedPart>,
    /// How many it is to have.
    pub of: usize,
}

impl Filled {
    /// Whether it has all its parts.
    pub fn is_whole(&self) -> bool {
        self.parts.len() == self.of
    }
}

/// Goes on to [`fill`] an upload that holds some of its parts, and begins with no other from `until` on. Each call
/// brings one part at least.
///
/// A part that is held is left as it is if its size is right: the cut is a function of the sources' sizes, and the
/// sources do not change, so that whoever fills the same upload, before or at the same time, sends the same bytes under
/// the same number. Should it have been cut otherwise, by another version of this program, the size and the checksum of
/// the whole tell, which the completion asks for.
///
/// # Errors
/// As [`fill`].
pub async fn fill_up(
    objects: &dyn Objects,
    upload: &Upload,
    sources: &[Source],
    held: &[HeldPart],
    until: Until<'_>,
) -> Result<Filled, UploadError> {
    let sizes: Vec<u64> = sources.iter().map(Source::len).collect();
    let least_copy = if objects.copies_are_free() { 1 } else { MIN_UPLOAD_PART };
    let cut = cut_for(&sizes, least_copy);
    let of = cut.len();
    let held: BTreeMap<u32, &HeldPart> = held.iter().map(|held| (held.part.number, held)).collect();
    let (mut parts, mut missing) = (Vec::new(), Vec::new());
    for (number, part) in (1u32..).zip(cut) {
        match held.get(&number).filter(|held| held.size_bytes == part.len()) {
            Some(held) => parts.push(held.part.clone()),
            None => missing.push((number, part)),
        }
    }
    let (joins, copies): (Vec<_>, Vec<_>) =
        missing.into_iter().partition(|(_, part)| needs_sending(part, sources));
    let send = async |(number, part): (u32, UploadPart)| match part {
        UploadPart::Join(pieces) => {
            let body = gather(objects, sources, &pieces).await?;
            objects.upload_part(upload, number, body).await
        }
        UploadPart::Copy(piece) => match &sources[piece.object] {
            Source::Inline(bytes) => objects.upload_part(upload, number, slice(bytes, piece.range)).await,
            Source::Object { name, head } => {
                objects.copy_part(upload, number, name, &pin(head), piece.range).await
            }
        },
    };
    let send = &send;
    let run = |parts: Vec<(u32, UploadPart)>, at_once| {
        let begun = stream::iter(parts)
            .enumerate()
            .take_while(move |(place, _)| ready(*place == 0 || !until.is_over()));
        begun.map(|(_, part)| send(part)).buffer_unordered(at_once).try_collect::<Vec<_>>()
    };
    let (copied, sent) = futures::try_join!(run(copies, COPIES_AT_ONCE), run(joins, JOINS_AT_ONCE))?;
    parts.extend(copied);
    parts.extend(sent);
    parts.sort_by_key(|part| part.number);
    Ok(Filled { parts, of })
}

/// Reads `sources` into memory, in order: for those that are small together.
///
/// # Errors
/// The first read that fails.
pub async fn read_all(objects: &dyn Objects, sources: &[Source]) -> Result<Bytes, ReadError> {
    let whole = |(object, source): (usize, &Source)| Piece { object, range: ByteRange::new(0, source.len()) };
    let pieces: Vec<_> = sources.iter().enumerate().map(whole).collect();
    gather(objects, sources, &pieces).await
}

fn needs_sending(part: &UploadPart, sources: &[Source]) -> bool {
    match part {
        UploadPart::Join(_) => true,
        UploadPart::Copy(piece) => matches!(sources[piece.object], Source::Inline(_)),
    }
}

async fn gather(objects: &dyn Objects, sources: &[Source], pieces: &[Piece]) -> Result<Bytes, ReadError> {
    // Many small objects: their requests overlap, their bytes stay in order.
    let read = async |piece: Piece| match &sources[piece.object] {
        Source::Inline(bytes) => Ok(vec![slice(bytes, piece.range)]),
        Source::Object { .. } if piece.range.is_empty() => Ok(Vec::new()),
        Source::Object { name, head } => {
            let stream = objects.read(name, &pin(head), piece.range).await?;
            Ok(stream.try_collect::<Vec<Bytes>>().await?)
        }
    };
    let read = &read;
    let reads = stream::iter(pieces.iter().copied()).map(read).buffered(READS_AT_ONCE);
    let bodies: Vec<Vec<Bytes>> = reads.try_collect::<Vec<_>>().await.map_err(|error: ReadError| error)?;
    let bodies = bodies.concat();
    if let [body] = &bodies[..] {
        return Ok(body.clone());
    }
    let mut joined = BytesMut::with_capacity(bodies.iter().map(Bytes::len).sum());
    for body in &bodies {
        joined.extend_from_slice(body);
    }
    Ok(joined.freeze())
}

fn pin(head: &ObjectHead) -> Pin {
    Pin { version: head.version.clone(), etag: Some(head.etag.clone()) }
}

fn slice(bytes: &Bytes, range: ByteRange) -> Bytes {
    let at = |offset| usize::try_from(offset).expect("bytes at hand fit in memory");
    bytes.slice(at(range.start)..at(range.end))
}

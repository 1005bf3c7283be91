//! What a chunk of a sequential stage begins with: the last line of output before it.
//!
//! The state that one chunk hands to the next is nothing but its part: chunk i is sent when chunk i-1 has ended, and if
//! there is no part then, it failed. What follows fails with it, since it would begin with another
//! state than it should.

use fanfold_domain::{
    ByteRange, ChunkIndex, ObjectName,
    message::Failure,
    pipeline::{Order, Process},
};
use fanfold_ports::objects::{ObjectHead, Pin};
use futures::TryStreamExt;

use super::{Attempt, ChunkError, is_tombstone};

/// The first read of a part's end, in bytes; each further one takes more, up to what no line is longer than: an answer of
/// 4 MiB, each of its characters escaped.
const FIRST_BYTES: u64 = 4 << 10;
const MOST_BYTES: u64 = 32 << 20;

impl Attempt<'_> {
    /// The last line of output before this chunk, without its end, where the stage makes anything of it; `None` if there
    /// is none.
    ///
    /// # Errors
    /// The chunk before failed, and so does this one; or a read did.
    pub(super) async fn previous(&self) -> Result<Option<String>, ChunkError> {
        let stage = self.stage;
        let Some(before) = self.chunk.0.checked_sub(1).filter(|_| stage.order == Order::Sequential) else {
            return Ok(None);
        };
        let mut part = self.part_before(before).await?;
        if !matches!(&stage.process, Process::Http(http) if http.needs_previous()) {
            return Ok(None);
        }
        // A part without a line, of a chunk of bad records alone, hands on what it was handed.
        let mut index = before;
        while part.1.size_bytes == 0 {
            let Some(earlier) = index.checked_sub(1) else { return Ok(None) };
            (index, part) = (earlier, self.part_before(earlier).await?);
        }
        self.last_line(&part.0, &part.1).await.map(Some)
    }

    async fn part_before(&self, index: u32) -> Result<(ObjectName, ObjectHead), ChunkError> {
        let name = self.work(self.run.keys(&self.stage.name).part(ChunkIndex(index)));
        match self.objects.head(&name, None).await? {
            Some(head) if !is_tombstone(&head) => Ok((name, head)),
            _ => Err(ChunkError::Permanent(Failure::of_chunk(format!(
                "chunk {index}, which it follows in a sequential stage, has no part: it failed"
            )))),
        }
    }

    async fn last_line(&self, name: &ObjectName, head: &ObjectHead) -> Result<String, ChunkError> {
        let pin = Pin { version: None, etag: Some(head.etag.clone()) };
        let mut bytes = FIRST_BYTES;
        loop {
            let start = head.size_bytes.saturating_sub(bytes);
            let range = ByteRange::new(start, head.size_bytes);
            let stream = self
                .objects
                .read(name, &pin, range)
                .await
                .map_err(fanfold_ports::objects::UploadError::from)?;
            let read: Vec<bytes::Bytes> = stream.try_collect().await?;
            let read = read.concat();
            let lines = read.strip_suffix(b"\n").unwrap_or(&read);
            match memchr::memrchr(b'\n', lines) {
                Some(end) => return Ok(String::from_utf8_lossy(&lines[end + 1..]).into_owned()),
                None if start == 0 => return Ok(String::from_utf8_lossy(lines).into_owned()),
                None if bytes >= MOST_BYTES => {
                    let reason = format!("the last line of {name} has more than {MOST_BYTES} bytes");
                    return Err(ChunkError::Permanent(Failure::of_chunk(reason)));
                }
                None => bytes = (bytes * 16).min(MOST_BYTES),
            }
        }
    }
}

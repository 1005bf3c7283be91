//! One pass over a chunk's bytes: framed, processed, written.

use fanfold_domain::message::{Failure, truncate};
use fanfold_ports::{Fault, PortError, objects::Condition, objects::Metadata};
use fanfold_records::{Ending, Frame, Framer, Rest};
use futures::TryStreamExt;

use super::{ATTEMPT, Attempt, ChunkError};
use crate::{
    bad::{BadRecord, BadRecords},
    dialect,
    part::PartWriter,
    processor::{LateVerdict, Processor, Record, Step},
};

/// One pass over the chunk's bytes. The processor may borrow what ends before the writers do.
pub(super) struct Pass<'a, 'p> {
    attempt: &'a Attempt<'a>,
    framer: Framer,
    processor: Box<dyn Processor + 'p>,
    pub(super) part: PartWriter<'a>,
    pub(super) bad: BadRecords<'a>,
    /// The bad record that is being skipped.
    too_long: Option<BadRecord>,
    /// The bad record that was one too many.
    last_straw: Option<BadRecord>,
    pub(super) records: u64,
}

impl<'a, 'p> Pass<'a, 'p> {
    pub(super) fn new(attempt: &'a Attempt<'a>, processor: Box<dyn Processor + 'p>) -> Self {
        let (run, keys) = (attempt.run, attempt.run.keys());
        let source = &run.pipeline.source;
        let named = Metadata::from([(ATTEMPT.to_owned(), attempt.name.to_owned())]);
        let errors = attempt.work(keys.bad_records(attempt.chunk.index, attempt.name));
        Self {
            attempt,
            framer: Framer::new(dialect::of(source), attempt.chunk.range.start, source.max_record_bytes),
            processor,
            part: PartWriter::new(attempt.objects, attempt.part(), named),
            bad: BadRecords::new(attempt.objects, errors, Metadata::new()),
            too_long: None,
            last_straw: None,
            records: 0,
        }
    }

    /// Goes through the chunk. Returns what was written, and the records that the processor then found bad.
    pub(super) async fn run(mut self) -> Result<(Self, Vec<LateVerdict>), ChunkError> {
        match self.go_through().await {
            Ok(verdicts) => Ok((self, verdicts)),
            Err(error) => {
                self.part.abandon().await;
                Err(keep_bad_records(self.attempt, self.bad, error).await)
            }
        }
    }

    async fn go_through(&mut self) -> Result<Vec<LateVerdict>, ChunkError> {
        let range = self.attempt.chunk.range;
        let mut left = range.len();
        // The record under way, and the piece that has just come: at most `max_record` and a piece.
        let mut buffer: Vec<u8> = Vec::new();
        if left > 0 {
            let mut stream = self.attempt.open(range).await?;
            while let Some(bytes) = stream.try_next().await? {
                left = left.saturating_sub(bytes.len() as u64);
                buffer.extend_from_slice(&bytes);
                let taken = self.take(&buffer, left == 0);
                buffer.drain(..taken);
                self.settle().await?;
            }
        }
        if left > 0 || !buffer.is_empty() {
            let detail = format!("{left} of {} bytes did not come", range.len());
            let source = &self.attempt.run.source.object;
            return Err(PortError::new(Fault::Transient, "read", source, detail).into());
        }
        loop {
            let step = self.processor.finish(self.part.buffer()).await?;
            self.part.flush().await?;
            if let Step::Done(verdicts) = step {
                return Ok(verdicts);
            }
        }
    }

    /// Frames and processes all records that are whole; returns how many bytes that took.
    fn take(&mut self, buffer: &[u8], at_end: bool) -> usize {
        let mut at = 0;
        while self.last_straw.is_none() {
            let bytes = &buffer[at..];
            let offset = self.framer.offset();
            match self.framer.next(bytes, at_end) {
                Frame::Record { body_len, raw_len, ending } => {
                    let record = Record { body: &bytes[..body_len], raw: &bytes[..raw_len], offset };
                    self.record(record, ending);
                    at += raw_len;
                }
                Frame::Blank { raw_len } => {
                    self.processor.between(&bytes[..raw_len], self.part.buffer());
                    at += raw_len;
                }
                Frame::TooLong { head_len } => self.begin_too_long(offset, &bytes[..head_len]),
                Frame::Skipped { raw_len, rest } => {
                    self.skip(rest);
                    at += raw_len;
                }
                Frame::Unterminated { raw_len, quote_offset } => {
                    self.records += 1;
                    let reason = unterminated(quote_offset);
                    self.refuse(BadRecord::new(self.records, offset, reason, &bytes[..raw_len]));
                    at += raw_len;
                }
                Frame::NeedMore | Frame::End => return at,
            }
        }
        at
    }

    #[inline]
    fn record(&mut self, record: Record<'_>, ending: Ending) {
        self.records += 1;
        let verdict = if ending == Ending::Short {
            Err(format!("{} bytes at the end, fewer than source.length", record.body.len()).into())
        } else {
            self.processor.record(record, self.part.buffer())
        };
        if let Err(reason) = verdict {
            self.refuse(BadRecord::new(self.records, record.offset, reason, record.body));
        }
    }

    fn begin_too_long(&mut self, offset: u64, head: &[u8]) {
        self.records += 1;
        let limit = self.attempt.run.pipeline.source.max_record_bytes;
        let reason = format!("longer than source.max_record, {limit} bytes");
        self.too_long = Some(BadRecord::new(self.records, offset, reason, head));
    }

    fn skip(&mut self, rest: Rest) {
        let Some(mut bad) = self.too_long.take() else { return };
        match rest {
            Rest::More => {
                self.too_long = Some(bad);
                return;
            }
            Rest::Nothing => {}
            Rest::Unterminated { quote_offset } => bad.reason = unterminated(quote_offset),
        }
        self.refuse(bad);
    }

    #[cold]
    fn refuse(&mut self, bad: BadRecord) {
        self.bad.push(&bad);
        if self.bad.count() > self.attempt.run.pipeline.on_error.max_bad_records {
            self.last_straw = Some(bad);
        }
    }

    /// Lets the processor and the writers catch up, and stops at one bad record too many.
    async fn settle(&mut self) -> Result<(), ChunkError> {
        if let Some(bad) = self.last_straw.take() {
            return Err(ChunkError::Permanent(self.too_many(&bad)));
        }
        while let Step::Again = self.processor.flush(self.part.buffer()).await? {
            self.part.flush().await?;
        }
        self.part.flush().await?;
        Ok(self.bad.flush().await?)
    }

    fn too_many(&self, last: &BadRecord) -> Failure {
        let BadRecord { record, offset, reason, .. } = last;
        let reason = format!(
            "{} bad records in this chunk alone, and on_error.max_bad_records is {}; the last, at byte {offset}: {reason}",
            self.bad.count(),
            self.attempt.run.pipeline.on_error.max_bad_records,
        );
        Failure { reason: truncate(reason), record: *record, offset: Some(*offset), bad_records: None }
    }
}

/// What is bad so far is kept even if the chunk fails for good, as it does for having too much of it.
async fn keep_bad_records(attempt: &Attempt<'_>, bad: BadRecords<'_>, error: ChunkError) -> ChunkError {
    let (ChunkError::Permanent(failure), true) = (&error, bad.count() > 0) else {
        bad.into_writer().abandon().await;
        return error;
    };
    let key = attempt.run.keys().bad_records(attempt.chunk.index, attempt.name);
    match bad.into_writer().create(Condition::Always).await {
        Ok(_) => ChunkError::Permanent(Failure { bad_records: Some(key), ..failure.clone() }),
        Err(error) => error.into(),
    }
}

fn unterminated(quote_offset: u64) -> String {
    format!("the quote at byte {quote_offset} is never closed")
}

//! One pass over a chunk's bytes: framed, processed, written.

use fanfold_domain::message::{Failure, truncate};
use fanfold_ports::{Fault, PortError, objects::Condition, objects::Metadata};
use fanfold_records::{Ending, Frame, Framer, Rest};
use futures::TryStreamExt;

use super::{ATTEMPT, Attempt, ChunkError};
use crate::{
    bad::{BadRecord, BadRecords, Place},
    part::PartWriter,
    processor::{LateVerdict, Processor, Record, Step},
};

/// The least that is copied of a piece to end the record that began before it, in bytes: most records are shorter.
const STEP_BYTES: usize = 1024;

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
        let keys = attempt.run.keys(&attempt.stage.name);
        let max_record_bytes = attempt.run.pipeline.source.max_record_bytes;
        let named = Metadata::from([(ATTEMPT.to_owned(), attempt.name.to_owned())]);
        let errors = attempt.work(keys.bad_records(attempt.chunk, attempt.name));
        Self {
            attempt,
            framer: Framer::new(attempt.dialect(), attempt.input.offset, max_record_bytes),
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
        let attempt = self.attempt;
        let mut left = attempt.input.len;
        // The record under way, from pieces before: at most `max_record` and a piece.
        let mut begun: Vec<u8> = Vec::new();
        for piece in &attempt.input.pieces {
            let mut stream = attempt.open(piece).await?;
            while let Some(bytes) = stream.try_next().await? {
                left = left.saturating_sub(bytes.len() as u64);
                self.take_piece(&mut begun, &bytes, left == 0);
                self.settle().await?;
            }
        }
        if left > 0 || !begun.is_empty() {
            let detail = format!("{left} of {} bytes did not come", attempt.input.len);
            return Err(PortError::new(Fault::Transient, "read", attempt.part(), detail).into());
        }
        loop {
            let step = self.processor.finish(self.part.buffer()).await?;
            self.part.flush().await?;
            if let Step::Done(verdicts) = step {
                return Ok(verdicts);
            }
        }
    }

    /// Takes all records that are whole with this piece. Only what is left of it is copied, to `begun`, and what it
    /// takes to end the record that began before it: records are told where they lie in the piece.
    fn take_piece(&mut self, begun: &mut Vec<u8>, piece: &[u8], at_end: bool) {
        let mut at = 0;
        while !begun.is_empty() && at < piece.len() {
            let before = begun.len();
            let step = (piece.len() - at).min(STEP_BYTES.max(before));
            begun.extend_from_slice(&piece[at..at + step]);
            at += step;
            let taken = self.take(begun, at_end && at == piece.len());
            if taken >= before {
                // The framer goes on in the piece, with the bytes behind what it took.
                at -= begun.len() - taken;
                begun.clear();
            } else {
                begun.drain(..taken);
            }
        }
        if begun.is_empty() {
            let rest = &piece[at..];
            let taken = self.take(rest, at_end);
            begun.extend_from_slice(&rest[taken..]);
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
    fn refuse(&mut self, mut bad: BadRecord) {
        if !self.attempt.is_first() {
            bad.at = Some(Place { stage: self.attempt.stage.name.clone(), chunk: self.attempt.chunk });
        }
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
    let key = attempt.run.keys(&attempt.stage.name).bad_records(attempt.chunk, attempt.name);
    match bad.into_writer().create(Condition::Always).await {
        Ok(_) => ChunkError::Permanent(Failure { bad_records: Some(key), ..failure.clone() }),
        Err(error) => error.into(),
    }
}

fn unterminated(quote_offset: u64) -> String {
    format!("the quote at byte {quote_offset} is never closed")
}

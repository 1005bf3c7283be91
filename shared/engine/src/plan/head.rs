//! How a source begins: byte order mark, header, and what its first line shows.

use fanfold_domain::{ByteRange, LineEnd, pipeline::Source};
use fanfold_records::{Dialect, Ending, Frame, Framer, Preamble, PreambleError, preamble};

use super::{PlanError, reader::Reader};

/// The first read of a source, in bytes; widened until the header is in view.
const HEAD_BYTES: u64 = 64 << 10;

/// What stands before the data, in bytes from the source's first.
pub(super) struct Head {
    pub(super) preamble: ByteRange,
    pub(super) header: Option<ByteRange>,
    pub(super) line_end: LineEnd,
}

impl Head {
    pub(super) async fn read(reader: &Reader, source: &Source, dialect: Dialect) -> Result<Self, PlanError> {
        let max_record = source.max_record_bytes;
        // Blank lines before a header count to its length: what is held in memory has a bound.
        let most = max_record.saturating_add(HEAD_BYTES);
        let mut want = HEAD_BYTES;
        loop {
            let range = ByteRange::new(0, want.min(reader.size_bytes()));
            let bytes = reader.read(range).await?;
            let at_end = range.end == reader.size_bytes();
            if let Some(found) = preamble(dialect, source.has_header(), max_record, &bytes, at_end)? {
                return Ok(Self::new(&found, dialect, max_record, &bytes));
            }
            if want == most {
                return Err(PreambleError::TooLong { max_record }.into());
            }
            want = want.saturating_mul(8).min(most);
        }
    }

    fn new(found: &Preamble, dialect: Dialect, max_record: u64, bytes: &[u8]) -> Self {
        let at = |offset: usize| offset as u64;
        let line_end = match &found.header {
            Some(header) => line_end(header.ending),
            None => first_line_end(dialect, found.mark_len as u64, max_record, &bytes[found.mark_len..]),
        };
        let header = found.header.as_ref();
        Self {
            preamble: ByteRange::new(0, found.len),
            header: header.map(|header| ByteRange::new(at(header.body.start), at(header.body.end))),
            line_end,
        }
    }
}

fn line_end(ending: Ending) -> LineEnd {
    if ending == Ending::CrLf { LineEnd::CrLf } else { LineEnd::Lf }
}

/// How the first line ends, blank or not: a line end within quotes does not count. Fixed-width records show
/// nothing.
fn first_line_end(dialect: Dialect, offset: u64, max_record: u64, bytes: &[u8]) -> LineEnd {
    match Framer::new(dialect, offset, max_record).next(bytes, false) {
        Frame::Record { ending, .. } => line_end(ending),
        Frame::Blank { raw_len: 2 } => LineEnd::CrLf,
        _ => LineEnd::Lf,
    }
}

//! Hostile data, the rules applied byte by byte, and a caller of the framer with small buffers.

use fanfold_records::{Automaton, Dialect, Ending, Frame, Framer, Rest, State};
use proptest::prelude::*;

pub(crate) const NO_LIMIT: u64 = u64::MAX;
pub(crate) const UNQUOTED_CSV: Dialect = Dialect::Csv { delimiter: b',', quote: None };

/// Runs a property this often. Failures are not kept in files: each becomes a named test instead.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// What a reader of a source gets to see, with absolute offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Record { offset: u64, body: Vec<u8>, ending: Ending },
    Blank { offset: u64, raw: Vec<u8> },
    TooLong { offset: u64, head: Vec<u8>, quote_offset: Option<u64> },
    Unterminated { offset: u64, raw: Vec<u8>, quote_offset: u64 },
}

impl Seen {
    pub(crate) fn offset(&self) -> u64 {
        match self {
            Self::Record { offset, .. }
            | Self::Blank { offset, .. }
            | Self::TooLong { offset, .. }
            | Self::Unterminated { offset, .. } => *offset,
        }
    }
}

/// All but the blank lines.
pub(crate) fn without_blanks(seen: Vec<Seen>) -> Vec<Seen> {
    seen.into_iter().filter(|one| !matches!(one, Seen::Blank { .. })).collect()
}

/// The bodies of the records, as text.
pub(crate) fn bodies(dialect: Dialect, text: &str) -> Vec<String> {
    let body = |seen| match seen {
        Seen::Record { body, .. } => Some(String::from_utf8(body).expect("text")),
        Seen::Blank { .. } => None,
        bad => panic!("{bad:?}"),
    };
    frame(dialect, 0, text.as_bytes(), NO_LIMIT).into_iter().filter_map(body).collect()
}

/// Frames a slice in one go.
pub(crate) fn frame(dialect: Dialect, offset: u64, bytes: &[u8], max_record: u64) -> Vec<Seen> {
    frame_in_pieces(dialect, offset, bytes, max_record, &[usize::MAX], false)
}

/// Frames a slice that arrives in pieces of these sizes, over and over. With `late_end` the end of the
/// input is known only after its last bytes were looked at.
pub(crate) fn frame_in_pieces(
    dialect: Dialect,
    offset: u64,
    bytes: &[u8],
    max_record: u64,
    sizes: &[usize],
    late_end: bool,
) -> Vec<Seen> {
    let mut framer = Framer::new(dialect, offset, max_record);
    let mut seen = Vec::new();
    let (mut start, mut end) = (0, 0);
    let mut at_end = bytes.is_empty() && !late_end;
    let mut sizes = sizes.iter().cycle();
    loop {
        let view = &bytes[start..end];
        let before = framer.offset();
        assert_eq!(before, offset + start as u64, "the framer knows where it is");
        let frame = framer.next(view, at_end);
        match frame {
            Frame::End => return seen,
            Frame::NeedMore => {
                assert!(!at_end, "nothing more can come");
                assert!(view.len() as u64 <= max_record.saturating_add(1).max(4096), "memory is bounded");
                at_end = end == bytes.len();
                end = end.saturating_add(*sizes.next().expect("cycles")).min(bytes.len());
                at_end |= end == bytes.len() && !late_end;
            }
            frame => start += note(frame, before, view, &mut seen),
        }
    }
}

/// Notes a frame and returns by how many bytes it moves on.
fn note(frame: Frame, offset: u64, view: &[u8], seen: &mut Vec<Seen>) -> usize {
    match frame {
        Frame::Record { body_len, raw_len, ending } => {
            let terminator: &[u8] = match ending {
                Ending::Lf => b"\n",
                Ending::CrLf => b"\r\n",
                Ending::None | Ending::Short => b"",
            };
            assert_eq!(&view[body_len..raw_len], terminator);
            seen.push(Seen::Record { offset, body: view[..body_len].to_vec(), ending });
            raw_len
        }
        Frame::Blank { raw_len } => {
            seen.push(Seen::Blank { offset, raw: view[..raw_len].to_vec() });
            raw_len
        }
        Frame::TooLong { head_len } => {
            seen.push(Seen::TooLong { offset, head: view[..head_len].to_vec(), quote_offset: None });
            0
        }
        Frame::Skipped { raw_len, rest } => {
            let Some(Seen::TooLong { quote_offset, .. }) = seen.last_mut() else { panic!("skips what?") };
            if let Rest::Unterminated { quote_offset: offset } = rest {
                *quote_offset = Some(offset);
            }
            raw_len
        }
        Frame::Unterminated { raw_len, quote_offset } => {
            seen.push(Seen::Unterminated { offset, raw: view[..raw_len].to_vec(), quote_offset });
            raw_len
        }
        Frame::NeedMore | Frame::End => unreachable!("handled by the caller"),
    }
}

/// The records of a source by the automaton alone, blank lines left out.
pub(crate) fn by_the_rules(dialect: Dialect, bytes: &[u8]) -> Vec<Seen> {
    let automaton = Automaton::new(dialect).expect("a line format");
    let (mut seen, mut state, mut start, mut quote) = (Vec::new(), State::StartOfRecord, 0, 0);
    for (index, &byte) in bytes.iter().enumerate() {
        let step = automaton.step(state, byte);
        if step.next == State::Quoted && matches!(state, State::StartOfRecord | State::StartOfField) {
            quote = index as u64;
        }
        if step.ends_record {
            let line = &bytes[start..index];
            let (body, ending) =
                line.strip_suffix(b"\r").map_or((line, Ending::Lf), |line| (line, Ending::CrLf));
            seen.push(Seen::Record { offset: start as u64, body: body.to_vec(), ending });
        }
        if step.next == State::StartOfRecord {
            start = index + 1;
        }
        state = step.next;
    }
    let (offset, raw) = (start as u64, bytes[start..].to_vec());
    match state {
        State::StartOfRecord => {}
        State::Quoted => seen.push(Seen::Unterminated { offset, raw, quote_offset: quote }),
        _ => seen.push(Seen::Record { offset, body: raw, ending: Ending::None }),
    }
    seen
}

/// The dialects that have lines.
pub(crate) fn line_dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![
        4 => Just(Dialect::CSV),
        1 => Just(UNQUOTED_CSV),
        1 => Just(Dialect::Lines),
        1 => Just(Dialect::Jsonl),
    ]
}

/// Every dialect.
pub(crate) fn dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![6 => line_dialect(), 1 => (1u64..300).prop_map(|length| Dialect::Fixed { length })]
}

/// Bytes that a failing test prints as text.
#[derive(Clone)]
pub(crate) struct Data(pub(crate) Vec<u8>);

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

impl std::ops::Deref for Data {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Data of the bytes that matter, in runs that are mostly short and now and then longer than a word.
pub(crate) fn hostile() -> impl Strategy<Value = Data> {
    let byte = prop_oneof![
        5 => Just(b'"'), 4 => Just(b','), 2 => Just(b'\r'), 4 => Just(b'\n'), 4 => Just(b'a'), 1 => Just(0),
    ];
    let run = prop_oneof![12 => Just(1usize), 3 => 2usize..5, 2 => 10usize..150];
    prop::collection::vec((byte, run), 0..120).prop_map(|runs| {
        Data(runs.into_iter().flat_map(|(byte, run)| std::iter::repeat_n(byte, run)).collect())
    })
}

/// Data that look like CSV: fields of which some are quoted, with stray and doubled quotes, and line ends.
pub(crate) fn likely() -> impl Strategy<Value = Data> {
    let token = prop_oneof![
        3 => Just("plain,"), 2 => Just("\"quoted\","), 1 => Just("\"a\nb,c\","), 1 => Just("\"say \"\"hi\"\"\","),
        1 => Just("5\" pipe,"), 1 => Just("\"\","), 1 => Just("\"x\"y\"z,"), 2 => Just("end\n"),
        1 => Just("\"end\"\r\n"), 1 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just(","),
    ];
    prop::collection::vec(token, 0..150).prop_map(|tokens| Data(tokens.concat().into_bytes()))
}

/// Either kind of data.
pub(crate) fn data() -> impl Strategy<Value = Data> {
    prop_oneof![hostile(), likely()]
}

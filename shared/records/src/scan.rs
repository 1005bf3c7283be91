//! The exact scan of a stretch whose beginning state is unknown: all six are followed at once.
//!
//! That costs little more than following one. The states outside quotes fall together at the first
//! delimiter or line end, so from then on two trajectories are left at most: outside and within quotes.
//! Where there are no quotes the second has nothing to do; where there are, it is usually caught at the
//! first quoted field, whose closing quote is data to it.

use crate::automaton::Automaton;
use crate::quotes::{Resolved, resolve};
use crate::word::{WIDTH, Word, equal, padded};
use crate::{Dialect, Outcome, State, Summary};

/// Summarizes stretches of a source in one of the line formats.
#[derive(Clone, Copy, Debug)]
pub struct Scanner {
    automaton: Automaton,
}

impl Scanner {
    /// Builds the scanner of a dialect; `None` for fixed-width records, which need no scan.
    pub fn new(dialect: Dialect) -> Option<Self> {
        Some(Self { automaton: Automaton::new(dialect)? })
    }

    /// Summarizes a stretch of any length, exactly, for each state it may begin in.
    pub fn summarize(&self, bytes: &[u8]) -> Summary {
        let mut walk = Walk::new(self.automaton);
        let (words, rest) = bytes.as_chunks::<WIDTH>();
        let mut offset = 0;
        let mut words = words.iter();
        while walk.live > 1 {
            let Some(bytes) = words.next() else { break };
            let word = Word::full(bytes, self.automaton.quoting);
            walk.advance(self.automaton, &word, offset);
            walk.merge();
            offset += WIDTH as u64;
        }
        // From here on one trajectory is left, which the compiler can keep in registers.
        let mut only = walk.trajectories[0];
        for bytes in words {
            let word = Word::full(bytes, self.automaton.quoting);
            only.advance(self.automaton, &word, offset);
            offset += WIDTH as u64;
        }
        walk.trajectories[0] = only;
        if !rest.is_empty() {
            let bytes = padded(rest);
            let word = Word::partial(&bytes, rest.len(), self.automaton.quoting);
            walk.advance(self.automaton, &word, offset);
        }
        walk.finish(bytes.len() as u64)
    }
}

/// One course of the parser through the stretch, shared by all beginning states that led to it. Its counts
/// begin where it was last merged.
#[derive(Clone, Copy)]
struct Trajectory {
    state: State,
    records: u64,
    first_end: Option<u64>,
}

impl Trajectory {
    #[inline]
    fn advance(&mut self, automaton: Automaton, word: &Word<'_>, offset: u64) {
        let (state, ends) = step_word(automaton, self.state, word);
        self.state = state;
        // Whether a word has a record end is a coin's toss, and a mispredicted branch costs more than this.
        self.records += u64::from(ends.count_ones());
        if self.first_end.is_none() && ends != 0 {
            self.first_end = Some(offset + u64::from(ends.trailing_zeros()) + 1);
        }
    }
}

/// Six beginning states on their way, on as many trajectories as are still distinct.
struct Walk {
    /// What each beginning state had counted before its trajectory was last merged.
    counted: [Outcome; 6],
    /// The trajectory of each beginning state.
    course: [usize; 6],
    trajectories: [Trajectory; 6],
    /// How many of the trajectories are in use: the first ones.
    live: usize,
}

impl Walk {
    fn new(automaton: Automaton) -> Self {
        let begin = |state| Trajectory { state: automaton.normal(state), records: 0, first_end: None };
        let mut walk = Self {
            counted: Summary::EMPTY.outcomes,
            course: [0, 1, 2, 3, 4, 5],
            trajectories: State::ALL.map(begin),
            live: 6,
        };
        walk.merge();
        walk
    }

    #[inline]
    fn advance(&mut self, automaton: Automaton, word: &Word<'_>, offset: u64) {
        for trajectory in &mut self.trajectories[..self.live] {
            // Without a quote nothing happens within quotes.
            if word.quote == 0 && trajectory.state == State::Quoted {
                continue;
            }
            trajectory.advance(automaton, word, offset);
        }
    }

    /// Joins the trajectories that are in the same state: they will do the same from here on.
    #[inline]
    fn merge(&mut self) {
        let twins = self.trajectories[..self.live].iter().enumerate().any(|(index, trajectory)| {
            self.trajectories[..index].iter().any(|other| other.state == trajectory.state)
        });
        if twins {
            self.join();
        }
    }

    #[cold]
    fn join(&mut self) {
        self.settle();
        let mut distinct = 0;
        let mut joined = [0; 6];
        for (index, joined) in joined.iter_mut().enumerate().take(self.live) {
            let state = self.trajectories[index].state;
            let twin = self.trajectories[..distinct].iter().position(|other| other.state == state);
            *joined = twin.unwrap_or(distinct);
            if twin.is_none() {
                self.trajectories[distinct] = self.trajectories[index];
                distinct += 1;
            }
        }
        self.course = self.course.map(|course| joined[course]);
        self.live = distinct;
    }

    /// Moves what the trajectories have counted to their beginning states.
    fn settle(&mut self) {
        for (outcome, course) in self.counted.iter_mut().zip(self.course) {
            let trajectory = &self.trajectories[course];
            outcome.end = trajectory.state;
            outcome.records += trajectory.records;
            outcome.first_end = outcome.first_end.or(trajectory.first_end);
        }
        for trajectory in &mut self.trajectories {
            trajectory.records = 0;
            trajectory.first_end = None;
        }
    }

    fn finish(mut self, len: u64) -> Summary {
        if len == 0 {
            return Summary::EMPTY;
        }
        self.settle();
        Summary { len, outcomes: self.counted }
    }
}

/// Takes a word: returns the state after it and the LFs in it that end a record. The state must be
/// [`normal`](Automaton::normal).
#[inline]
fn step_word(automaton: Automaton, state: State, word: &Word<'_>) -> (State, u64) {
    let may_open = matches!(state, State::StartOfRecord | State::StartOfField | State::QuoteInQuoted);
    let resolved = resolve(word, state == State::Quoted, may_open);
    let line_starts = resolved.line_ends << 1 | u64::from(state == State::StartOfRecord);
    let ends = if automaton.blank_lines_are_records {
        resolved.line_ends
    } else {
        resolved.line_ends & !blank_line_ends(state, word, resolved.line_ends, line_starts)
    };
    (end_state(automaton, word, &resolved, line_starts), ends)
}

/// The line ends of blank lines: at the start of a line, or after a CR that is.
#[inline]
fn blank_line_ends(state: State, word: &Word<'_>, line_ends: u64, line_starts: u64) -> u64 {
    let after_cr = u64::from(state == State::StartOfRecordAfterCr);
    let mut blank = line_ends & line_starts;
    // Lines of one byte are so rare that the CRs are looked for only where there is one.
    if line_ends & (line_starts << 1 | after_cr) != 0 {
        let leading_cr = equal(word.bytes, b'\r') & line_starts;
        blank |= line_ends & (leading_cr << 1 | after_cr);
    }
    blank
}

#[inline]
fn end_state(automaton: Automaton, word: &Word<'_>, resolved: &Resolved, line_starts: u64) -> State {
    let last = word.last_bit();
    let byte = word.last_byte();
    let is_delimiter = automaton.quoting.is_some_and(|quoting| byte == quoting.delimiter);
    let is_leading_cr = byte == b'\r' && line_starts & last != 0 && !automaton.blank_lines_are_records;
    // From the weakest to the strongest, so that each can be a conditional move.
    let mut state = State::Unquoted;
    state = if is_leading_cr { State::StartOfRecordAfterCr } else { state };
    state = if is_delimiter { State::StartOfField } else { state };
    state = if resolved.quotes & last != 0 { State::QuoteInQuoted } else { state };
    state = if resolved.line_ends & last != 0 { State::StartOfRecord } else { state };
    if resolved.inside & last != 0 { State::Quoted } else { state }
}

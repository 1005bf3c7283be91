//! What a stretch of bytes does to the parser, whatever state it begins in; and how stretches compose.

use crate::State;

/// What a stretch does to a parser that enters it in one given state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The state after the stretch.
    pub end: State,
    /// How many records end within the stretch; blank lines of CSV and JSON Lines are not counted.
    pub records: u64,
    /// The place just after the first line end that ends a record, in bytes from the stretch's start (so 1
    /// to its length); `None` if no record ends in it.
    pub first_end: Option<u64>,
}

/// What a stretch does, for every state it may begin in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The stretch's length in bytes.
    pub len: u64,
    /// The outcomes, by [`State::index`] of the state at the stretch's start.
    pub outcomes: [Outcome; 6],
}

/// A place in a source about which everything before it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Absolute offset in bytes.
    pub offset: u64,
    /// The parser's true state there.
    pub state: State,
    /// How many records end before it.
    pub records: u64,
}

impl Summary {
    /// The summary of no bytes; composing with it changes nothing.
    pub const EMPTY: Self = {
        let mut outcomes = [Outcome { end: State::StartOfRecord, records: 0, first_end: None }; 6];
        let mut index = 0;
        while index < outcomes.len() {
            outcomes[index].end = State::ALL[index];
            index += 1;
        }
        Self { len: 0, outcomes }
    };

    /// Returns the outcome for a stretch that begins in `entry`.
    pub fn outcome(&self, entry: State) -> &Outcome {
        &self.outcomes[entry.index()]
    }

    /// Summarizes this stretch followed by `next`. Associative, so stretches may be joined in any grouping.
    #[must_use]
    pub fn compose(&self, next: &Self) -> Self {
        let outcomes = self.outcomes.map(|first| {
            let second = next.outcome(first.end);
            Outcome {
                end: second.end,
                records: first.records + second.records,
                first_end: first.first_end.or(second.first_end.map(|end| self.len + end)),
            }
        });
        Self { len: self.len + next.len, outcomes }
    }
}

impl Position {
    /// The start of the data: the end of the preamble, where the first record begins.
    pub const fn start(offset: u64) -> Self {
        Self { offset, state: State::StartOfRecord, records: 0 }
    }

    /// Returns the position after a stretch that begins here.
    #[must_use]
    pub fn after(&self, stretch: &Summary) -> Self {
        let outcome = stretch.outcome(self.state);
        Self {
            offset: self.offset + stretch.len,
            state: outcome.end,
            records: self.records + outcome.records,
        }
    }

    /// Says whether record `record` (0-based) has certainly begun before this place. After a leading CR
    /// that is still open, and the answer is no.
    pub fn has_begun(&self, record: u64) -> bool {
        self.records > record || (self.records == record && self.state.is_within_record())
    }

    /// Returns how many records the source has if it ends here.
    pub fn records_at_end(&self) -> u64 {
        self.records + u64::from(self.state.has_open_record())
    }
}

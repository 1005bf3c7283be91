//! `5 minutes`: again and again.

use std::fmt;
use std::str::FromStr;

use crate::document::Mistakes;
use crate::document::decode::{Node, text};

/// What a rate is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateUnit {
    /// Minutes: the shortest that the scheduler knows.
    Minutes,
    /// Hours.
    Hours,
    /// Days of 24 hours.
    Days,
}

impl RateUnit {
    const ALL: [Self; 3] = [Self::Minutes, Self::Hours, Self::Days];

    /// Its name for more than one.
    fn name(self) -> &'static str {
        match self {
            Self::Minutes => "minutes",
            Self::Hours => "hours",
            Self::Days => "days",
        }
    }

    /// How many of it make a leap year: nobody waits longer for the next tick.
    fn most(self) -> u32 {
        match self {
            Self::Minutes => 366 * 24 * 60,
            Self::Hours => 366 * 24,
            Self::Days => 366,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| text == unit.name() || text == singular(unit.name()))
    }
}

fn singular(name: &str) -> &str {
    name.strip_suffix('s').unwrap_or(name)
}

/// How long it is from one tick to the next: a year at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    unit: RateUnit,
}

const ALLOWED: &str =
    "a whole number from 1 and a unit, minutes, hours or days, of at most 366 days: 5 minutes";

impl Rate {
    pub(super) fn decode(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let found = text(node, mistakes, ALLOWED)?;
        found.parse().ok().or_else(|| node.refuse(mistakes, ALLOWED))
    }
}

/// A text is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {ALLOWED}")]
pub struct NotARate;

impl FromStr for Rate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        let (count, unit) = text.split_once(' ').ok_or(NotARate)?;
        let unit = RateUnit::parse(unit.trim_start()).ok_or(NotARate)?;
        let is_plain = count.bytes().all(|b| b.is_ascii_digit());
        let count = count.parse().ok().filter(|count| is_plain && (1..=unit.most()).contains(count));
        Ok(Self { count: count.ok_or(NotARate)?, unit })
    }
}

impl fmt::Display for Rate {
    /// As the scheduler wants it: one of a unit has no `s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.unit.name();
        write!(f, "{} {}", self.count, if self.count == 1 { singular(name) } else { name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_written_as_the_scheduler_wants_it() {
        for (text, written) in [
            ("1 minutes", "1 minute"),
            ("1 hour", "1 hour"),
            ("5 minute", "5 minutes"),
            ("366 days", "366 days"),
            ("5  hours", "5 hours"),
        ] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn what_the_scheduler_would_refuse_is_no_rate() {
        for text in [
            "",
            "5",
            "minutes",
            "0 minutes",
            "-1 days",
            "+1 days",
            "5minutes",
            "5 seconds",
            "5 m",
            "367 days",
            "1.5 hours",
        ] {
            assert_eq!(text.parse::<Rate>(), Err(NotARate), "{text:?}");
        }
    }
}

//! `0 6 * * ? *`: six fields, by the clock of a time zone.
//!
//! What is taken is what EventBridge Scheduler documents: values, ranges, increments and lists of them in every field;
//! `?`, `L`, `W` and `#` in those of days, alone. Exactly one of the two fields of days is `?`.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::document::Mistakes;
use crate::document::decode::{Node, text};

/// When a schedule ticks: six fields, in capitals, with one space between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron(String);

/// One of the six fields.
#[derive(Debug)]
struct Field {
    name: &'static str,
    range: RangeInclusive<u32>,
    /// Names of values, from the lowest on.
    words: &'static [&'static str],
    days: Days,
}

/// Which marks a field has beside the common ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Days {
    None,
    OfMonth,
    OfWeek,
}

const MONTHS: &[&str] = &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

static FIELDS: [Field; 6] = [
    Field { name: "minutes", range: 0..=59, words: &[], days: Days::None },
    Field { name: "hours", range: 0..=23, words: &[], days: Days::None },
    Field { name: "day of the month", range: 1..=31, words: &[], days: Days::OfMonth },
    Field { name: "month", range: 1..=12, words: MONTHS, days: Days::None },
    Field { name: "day of the week", range: 1..=7, words: DAYS, days: Days::OfWeek },
    Field { name: "year", range: 1970..=2199, words: &[], days: Days::None },
];

/// What a text would have to be to be a cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotACron {
    /// It has another number of fields.
    #[error("6 fields: minutes, hours, day of the month, month, day of the week, year (not {found})")]
    Fields {
        /// How many it has.
        found: usize,
    },
    /// One of its fields says nothing.
    #[error("the field {name} as {allowed} (not `{found}`)")]
    Field {
        /// Which.
        name: &'static str,
        /// What it has.
        found: String,
        /// What it may have.
        allowed: String,
    },
    /// It names days twice, or not at all.
    #[error("`?` as exactly one of day of the month, day of the week")]
    Days,
}

impl Cron {
    pub(super) fn decode(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Self> {
        let found = text(node, mistakes, "a text as 6 fields: 0 6 * * ? *")?;
        match found.parse() {
            Ok(cron) => Some(cron),
            Err(wrong) => node.refuse(mistakes, NotACron::to_string(&wrong)),
        }
    }
}

impl FromStr for Cron {
    type Err = NotACron;

    fn from_str(text: &str) -> Result<Self, NotACron> {
        let text = text.to_ascii_uppercase();
        let found: Vec<&str> = text.split_whitespace().collect();
        if found.len() != FIELDS.len() {
            return Err(NotACron::Fields { found: found.len() });
        }
        for (field, text) in FIELDS.iter().zip(&found) {
            if !field.takes(text) {
                let (name, allowed) = (field.name, field.allowed());
                return Err(NotACron::Field { name, found: (*text).chars().take(40).collect(), allowed });
            }
        }
        if (found[2] == "?") == (found[4] == "?") {
            return Err(NotACron::Days);
        }
        Ok(Self(found.join(" ")))
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Field {
    fn takes(&self, text: &str) -> bool {
        self.is_mark(text) || text == "*" || text.split(',').all(|item| self.is_item(item))
    }

    /// A value, a range, or an increment from a value on.
    fn is_item(&self, item: &str) -> bool {
        if let Some((from, step)) = item.split_once('/') {
            let width = self.range.end() - self.range.start();
            // Of days of the week the scheduler counts no increments.
            return self.days != Days::OfWeek
                && (from == "*" || self.value(from).is_some())
                && number(step).is_some_and(|step| (1..=width).contains(&step));
        }
        match item.split_once('-') {
            Some((from, to)) => self.value(from).zip(self.value(to)).is_some_and(|(from, to)| from <= to),
            None => self.value(item).is_some(),
        }
    }

    fn is_mark(&self, text: &str) -> bool {
        match self.days {
            Days::None => false,
            Days::OfMonth => {
                let weekday = text.strip_suffix('W').and_then(|day| self.value(day));
                matches!(text, "?" | "L") || weekday.is_some()
            }
            Days::OfWeek => {
                let last = text.strip_suffix('L').and_then(|day| self.value(day));
                let nth = text.split_once('#').filter(|(day, nth)| {
                    self.value(day).is_some() && number(nth).is_some_and(|nth| (1..=5).contains(&nth))
                });
                matches!(text, "?" | "L") || last.is_some() || nth.is_some()
            }
        }
    }

    fn value(&self, text: &str) -> Option<u32> {
        let word = self.words.iter().position(|word| *word == text);
        let named = word.and_then(|place| u32::try_from(place).ok()).map(|place| self.range.start() + place);
        named.or_else(|| number(text)).filter(|value| self.range.contains(value))
    }

    fn allowed(&self) -> String {
        let (low, high) = (self.range.start(), self.range.end());
        let words = match self.words {
            [first, .., last] => format!(" or {first}-{last}"),
            _ => String::new(),
        };
        let common = match self.days {
            Days::OfWeek => "values, ranges as 2-6, lists of them",
            _ => "values, ranges as 2-6, increments as 0/5, lists of them",
        };
        let marks = match self.days {
            Days::None => "",
            Days::OfMonth => ", ?, L, 15W",
            Days::OfWeek => ", ?, L, 6L, 6#3",
        };
        format!("{low}-{high}{words}: {common}, *{marks}")
    }
}

/// A number in digits alone; `parse` would take a sign.
fn number(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_scheduler_documents_is_taken() {
        for text in [
            "0 6 * * ? *",
            "0/5 8-17 ? * MON-FRI *",
            "15 10 ? * 6L 2022-2033",
            "0 10 L * ? *",
            "0 10 15W JAN,JUL ? *",
            "0 8 1 * ? *",
            "0 18 ? * 3#1 *",
            "1,2,30-40 */2 ? 1/3 SUN,SAT 2030",
        ] {
            assert_eq!(text.parse::<Cron>().unwrap().to_string(), text);
        }
        assert_eq!("0  6 ? *  mon-fri *".parse::<Cron>().unwrap().to_string(), "0 6 ? * MON-FRI *");
    }

    #[test]
    fn what_it_would_refuse_names_the_field() {
        let wrong = |text: &str| text.parse::<Cron>().unwrap_err().to_string();
        for (text, says) in [
            ("60 6 * * ? *", "the field minutes as 0-59"),
            ("0 24 * * ? *", "the field hours as 0-23"),
            ("0 6 0 * ? *", "the field day of the month as 1-31"),
            ("0 6 * FOO ? *", "the field month as 1-12 or JAN-DEC"),
            ("0 6 ? * 8 *", "the field day of the week as 1-7 or SUN-SAT"),
            ("0 6 ? * MON/2 *", "the field day of the week"),
            ("0 6 ? * 3#1,6#3 *", "the field day of the week"),
            ("0 6 ? * 3#6 *", "the field day of the week"),
            ("0 6 * * ? 1969", "the field year as 1970-2199"),
            ("0/0 6 * * ? *", "the field minutes"),
            ("0/60 6 * * ? *", "the field minutes"),
            ("9-3 6 * * ? *", "the field minutes"),
            (", 6 * * ? *", "the field minutes"),
            ("+1 6 * * ? *", "the field minutes"),
            ("? 6 * * ? *", "the field minutes"),
            ("0 6 * * * *", "`?` as exactly one of"),
            ("0 6 ? * ? *", "`?` as exactly one of"),
            ("0 6 * * ?", "6 fields"),
            ("", "6 fields"),
        ] {
            assert!(wrong(text).starts_with(says), "{text}: {}", wrong(text));
        }
    }
}

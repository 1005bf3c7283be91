//! Sizes and durations: a whole number and its unit, `64MiB`, `2s`.

use std::ops::RangeInclusive;

/// One KiB, in bytes.
pub(crate) const KIB: u64 = 1 << 10;
/// One MiB, in bytes.
pub(crate) const MIB: u64 = 1 << 20;
/// One GiB, in bytes.
pub(crate) const GIB: u64 = 1 << 30;
/// One second, in milliseconds.
pub(crate) const SECOND: u64 = 1_000;
/// One minute, in milliseconds.
pub(crate) const MINUTE: u64 = 60 * SECOND;
/// One hour, in milliseconds.
pub(crate) const HOUR: u64 = 60 * MINUTE;
/// One day, in milliseconds.
pub(crate) const DAY: u64 = 24 * HOUR;

/// What a quantity measures, and the units it is written in.
#[derive(Debug)]
pub(crate) struct Kind {
    /// `a size`, as a mistake says it.
    pub(crate) name: &'static str,
    /// Units with their worth, the smallest first.
    units: &'static [(&'static str, u64)],
    /// What people write instead of a unit, in lower case.
    slips: &'static [(&'static str, &'static str)],
}

/// Sizes, in bytes. Powers of 1,024 only: KB and MB mean one thing to some and another to others.
pub(crate) static SIZE: Kind = Kind {
    name: "a size",
    units: &[("B", 1), ("KiB", KIB), ("MiB", MIB), ("GiB", GIB), ("TiB", 1 << 40)],
    slips: &[
        ("", "B"),
        ("b", "B"),
        ("byte", "B"),
        ("bytes", "B"),
        ("k", "KiB"),
        ("kb", "KiB"),
        ("kib", "KiB"),
        ("ki", "KiB"),
        ("m", "MiB"),
        ("mb", "MiB"),
        ("mib", "MiB"),
        ("mi", "MiB"),
        ("g", "GiB"),
        ("gb", "GiB"),
        ("gib", "GiB"),
        ("gi", "GiB"),
        ("t", "TiB"),
        ("tb", "TiB"),
        ("tib", "TiB"),
        ("ti", "TiB"),
    ],
};

/// Durations, in milliseconds.
pub(crate) static DURATION: Kind = Kind {
    name: "a duration",
    units: &[("ms", 1), ("s", SECOND), ("m", MINUTE), ("h", HOUR), ("d", DAY)],
    slips: &[
        ("", "s"),
        ("sec", "s"),
        ("secs", "s"),
        ("second", "s"),
        ("seconds", "s"),
        ("min", "m"),
        ("mins", "m"),
        ("minute", "m"),
        ("minutes", "m"),
        ("hour", "h"),
        ("hours", "h"),
        ("day", "d"),
        ("days", "d"),
        ("msec", "ms"),
        ("millis", "ms"),
        ("milliseconds", "ms"),
        ("s", "s"),
        ("m", "m"),
        ("h", "h"),
        ("d", "d"),
        ("ms", "ms"),
    ],
};

impl Kind {
    /// The quantity in the smallest unit, at most `u64::MAX`; none if the text is no whole number and unit.
    pub(crate) fn parse(&self, text: &str) -> Option<u64> {
        let (digits, unit) = split(text)?;
        let (_, worth) = self.units.iter().find(|(name, _)| *name == unit)?;
        Some(digits.saturating_mul(*worth))
    }

    /// The shortest way to write a quantity: a whole number of the largest unit that divides it.
    pub(crate) fn format(&self, quantity: u64) -> String {
        let fits = |(_, worth): &&(&str, u64)| quantity >= *worth && quantity.is_multiple_of(*worth);
        let (unit, worth) = self.units.iter().rev().find(fits).unwrap_or(&self.units[0]);
        format!("{}{unit}", quantity / worth)
    }

    /// What the writer of an unreadable text probably meant.
    pub(crate) fn guess(&self, text: &str) -> Option<String> {
        let (digits, unit) = split(text.trim())?;
        let unit = unit.trim().to_lowercase();
        let (_, meant) = self.slips.iter().find(|(slip, _)| *slip == unit)?;
        Some(format!("{digits}{meant}"))
    }

    /// What is allowed, for a mistake: `a size from 1KiB to 5GiB, in B, KiB, MiB, GiB, TiB`.
    pub(crate) fn allowed(&self, range: &RangeInclusive<u64>) -> String {
        let units: Vec<_> = self.units.iter().map(|(name, _)| *name).collect();
        let (least, most) = (self.format(*range.start()), self.format(*range.end()));
        format!("{} from {least} to {most}, in {}", self.name, units.join(", "))
    }
}

/// Leading digits as a number (`u64::MAX` if larger), and the rest.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    (!digits.is_empty()).then(|| (digits.parse().unwrap_or(u64::MAX), unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_and_durations_have_their_units() {
        assert_eq!(SIZE.parse("64MiB"), Some(64 << 20));
        assert_eq!(SIZE.parse("30000B"), Some(30_000));
        assert_eq!(SIZE.parse("99999999999999999999TiB"), Some(u64::MAX));
        assert_eq!(DURATION.parse("500ms"), Some(500));
        assert_eq!(DURATION.parse("7d"), Some(604_800_000));
        for text in ["", "MiB", "64", "64 MiB", "10MB", "1.5GiB", "-1B", "1h30m", "٣s"] {
            assert_eq!((SIZE.parse(text), DURATION.parse(text)), (None, None), "{text}");
        }
    }

    #[test]
    fn common_slips_are_guessed() {
        assert_eq!(SIZE.guess("10MB").as_deref(), Some("10MiB"));
        assert_eq!(SIZE.guess("64 mib").as_deref(), Some("64MiB"));
        assert_eq!(SIZE.guess("4096").as_deref(), Some("4096B"));
        assert_eq!(DURATION.guess("5 minutes").as_deref(), Some("5m"));
        assert_eq!(DURATION.guess("1h30m"), None);
    }

    #[test]
    fn the_largest_unit_that_divides_is_written() {
        assert_eq!(SIZE.format(16 << 20), "16MiB");
        assert_eq!(SIZE.format(1025), "1025B");
        assert_eq!(DURATION.format(0), "0ms");
        assert_eq!(DURATION.format(870_000), "870s");
        assert_eq!(DURATION.format(86_400_000), "1d");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(quantity: u64) {
            prop_assert_eq!(SIZE.parse(&SIZE.format(quantity)), Some(quantity));
            prop_assert_eq!(DURATION.parse(&DURATION.format(quantity)), Some(quantity));
        }
    }
}

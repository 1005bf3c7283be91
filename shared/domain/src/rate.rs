//! How often a destination may be asked, and what a destination is called.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest name of a destination, in bytes: a pipeline's, a slash and a stage's.
const MAX_NAME_BYTES: usize = 96;

/// What a rate is per.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Per {
    Second,
    Minute,
    Hour,
}

/// Requests in a time, written `20/s`, `0.5/s`, `600/m`, `10/h`: from one an hour to 10,000 a second, with at most
/// three decimals. Equal if they are written alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    thousandths: u64,
    per: Per,
}

/// A text that is no rate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{found:?} is no rate; allowed: {ALLOWED}")]
pub struct InvalidRate {
    /// What was found.
    pub found: String,
}

/// What may stand where a rate is wanted.
pub(crate) const ALLOWED: &str =
    "from 1/h to 10000/s, such as 20/s, 0.5/s, 600/m, with at most three decimals and never zero";

impl Per {
    const ALL: [(Self, &'static str); 3] = [(Self::Second, "s"), (Self::Minute, "m"), (Self::Hour, "h")];

    fn us(self) -> u64 {
        match self {
            Self::Second => 1_000_000,
            Self::Minute => 60_000_000,
            Self::Hour => 3_600_000_000,
        }
    }

    fn unit(self) -> &'static str {
        Self::ALL.iter().find(|(per, _)| *per == self).map_or("s", |(_, unit)| unit)
    }
}

impl Rate {
    /// Microseconds between two requests, rounded up so that the rate is never passed: 100 to 3,600,000,000.
    pub fn interval_us(self) -> u64 {
        (self.per.us() * 1_000).div_ceil(self.thousandths)
    }

    /// Requests a second, rounded down.
    pub fn per_second(self) -> u64 {
        1_000_000 / self.interval_us()
    }
}

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        let parsed = || {
            let (count, unit) = text.split_once('/')?;
            let (per, _) = Per::ALL.into_iter().find(|(_, name)| *name == unit)?;
            let rate = Self { thousandths: thousandths(count)?, per };
            // No more than 10,000 a second, no fewer than one an hour; the first of the two keeps the interval's sum small.
            let is_allowed = rate.thousandths > 0
                && rate.thousandths <= per.us() * 10
                && rate.interval_us() <= Per::Hour.us();
            is_allowed.then_some(rate)
        };
        parsed().ok_or_else(|| InvalidRate { found: text.chars().take(40).collect() })
    }
}

/// A decimal number of at most three decimals, times a thousand.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || whole.len() > 9 || decimals.len() > 3 {
        return None;
    }
    Some(whole.parse::<u64>().ok()? * 1_000 + format!("{decimals:0<3}").parse::<u64>().ok()?)
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.thousandths / 1_000, self.thousandths % 1_000);
        write!(f, "{whole}")?;
        if decimals > 0 {
            write!(f, ".{}", format!("{decimals:03}").trim_end_matches('0'))?;
        }
        write!(f, "/{}", self.per.unit())
    }
}

impl TryFrom<String> for Rate {
    type Error = InvalidRate;

    fn try_from(text: String) -> Result<Self, InvalidRate> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

/// What is asked at a rate: a name that several stages may share, or `{pipeline}/{stage}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination(String);

/// A text that names no destination.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{found:?} names no destination; allowed: 1 to 96 of a-z, 0-9, `-`, `_`, `.`, `/`")]
pub struct InvalidDestination {
    /// What was found.
    pub found: String,
}

impl Destination {
    /// The destination of a stage that names none.
    pub fn of_stage(pipeline: &str, stage: &str) -> Self {
        Self(format!("{pipeline}/{stage}"))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Destination {
    type Err = InvalidDestination;

    fn from_str(text: &str) -> Result<Self, InvalidDestination> {
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.' | b'/')
        };
        if (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidDestination { found: text.chars().take(MAX_NAME_BYTES).collect() })
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_the_time_between_two_requests() {
        for (text, interval_us) in [
            ("20/s", 50_000),
            ("0.5/s", 2_000_000),
            ("600/m", 100_000),
            ("1/h", 3_600_000_000),
            ("10000/s", 100),
            ("3/s", 333_334),
            ("1.125/s", 888_889),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.interval_us(), rate.to_string().as_str()), (interval_us, text));
            assert_eq!(serde_json::from_str::<Rate>(&serde_json::to_string(&rate).unwrap()).unwrap(), rate);
        }
        assert_eq!("20.50/s".parse::<Rate>().unwrap().to_string(), "20.5/s");
    }

    #[test]
    fn what_is_no_rate_is_refused_and_zero_above_all() {
        for text in [
            "0/s",
            "0.000/s",
            "",
            "20",
            "/s",
            "20/",
            "20/d",
            "-1/s",
            "+1/s",
            "1e3/s",
            "10001/s",
            "0.5/h",
            ".5/s",
            "1./s",
            "1.0001/s",
            "99999999999999999999/s",
            "20 /s",
        ] {
            assert_eq!(text.parse::<Rate>(), Err(InvalidRate { found: text.to_owned() }), "{text:?}");
        }
    }

    #[test]
    fn a_destination_is_a_short_plain_name() {
        assert_eq!(Destination::of_stage("orders", "confirm").as_str(), "orders/confirm");
        assert!(
            Destination::of_stage(&"p".repeat(63), &"s".repeat(32)).as_str().parse::<Destination>().is_ok()
        );
        for text in ["", "Payments", "a b", "a#b", &"x".repeat(97)] {
            assert!(text.parse::<Destination>().is_err(), "{text:?}");
        }
    }
}

//! The moment of a tick, as the scheduler names it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::ids::InvalidId;

/// A moment that a schedule named: `2025-11-21T06:00:00Z`, in UTC, to the second.
///
/// It is an identity, and nothing is calculated with it: a tick that comes twice, or late, names the same moment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TickTime(String);

/// What a moment looks like; `d` is a digit.
const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:ddZ";

impl TickTime {
    /// The moment as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TickTime {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fits =
            |(shape, found): (&u8, u8)| if *shape == b'd' { found.is_ascii_digit() } else { *shape == found };
        if text.len() == SHAPE.len() && SHAPE.iter().zip(text.bytes()).all(fits) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidId {
            what: "time of a tick",
            found: text.to_owned(),
            allowed: "a moment in UTC, to the second, such as 2025-11-21T06:00:00Z",
        })
    }
}

impl TryFrom<String> for TickTime {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<TickTime> for String {
    fn from(time: TickTime) -> Self {
        time.0
    }
}

impl fmt::Display for TickTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Origin, RunId};

    #[test]
    fn only_a_moment_is_the_time_of_a_tick() {
        assert!("2025-11-21T06:00:00Z".parse::<TickTime>().is_ok());
        for text in [
            "",
            "<aws.scheduler.scheduled-time>",
            "2025-11-21",
            "2025-11-21T06:00:00",
            "2025-11-21T06:00:00+01",
        ] {
            assert!(text.parse::<TickTime>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_tick_that_comes_twice_is_one_run_and_the_next_another() {
        let run = |pipeline, time: &str| {
            RunId::derive(pipeline, &Origin::Schedule { scheduled_at: &time.parse().unwrap() })
        };
        let first = run("orders", "2025-11-21T06:00:00Z");
        assert_eq!(first, run("orders", "2025-11-21T06:00:00Z"));
        assert_ne!(first, run("orders", "2025-11-21T06:05:00Z"));
        assert_ne!(first, run("sales", "2025-11-21T06:00:00Z"));
    }
}

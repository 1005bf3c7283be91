//! Identifiers, each a type of its own so that one cannot be passed for another.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::TickTime;

/// A run's identity: 32 lowercase hexadecimal digits, the first half of a SHA-256 over what the run is *of*,
/// so that a repeated event gives the same run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// What a run is of: the origin that its id hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin<'a> {
    /// An upload, identified by what S3's event says of it (never by a later HEAD).
    Upload {
        /// The bucket's name.
        bucket: &'a str,
        /// The object's key, not URL-encoded.
        key: &'a str,
        /// The version id where the bucket is versioned, else the ETag.
        version_or_etag: &'a str,
        /// S3's sequencer of the event.
        sequencer: &'a Sequencer,
    },
    /// A manual start, identified by its idempotency key.
    Submission {
        /// Random unless the submitter gave one.
        idempotency_key: &'a str,
    },
    /// A tick of the pipeline's schedule, however often it comes.
    Schedule {
        /// The moment that the schedule named.
        scheduled_at: &'a TickTime,
    },
}

impl RunId {
    /// Derives the id of a run of `pipeline` on `origin`.
    ///
    /// Every field is hashed with its length before it, so that no two origins run together.
    pub fn derive(pipeline: &str, origin: &Origin<'_>) -> Self {
        let padded;
        let fields: Vec<&str> = match origin {
            Origin::Upload { bucket, key, version_or_etag, sequencer } => {
                padded = sequencer.padded();
                vec!["upload", pipeline, bucket, key, version_or_etag, &padded]
            }
            Origin::Submission { idempotency_key } => vec!["submission", pipeline, idempotency_key],
            Origin::Schedule { scheduled_at } => vec!["schedule", pipeline, scheduled_at.as_str()],
        };
        let mut hash = Sha256::new();
        for field in fields {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        Self(hex::encode(&hash.finalize()[..16]))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{found:?} is not a {what}: {allowed}")]
pub struct InvalidId {
    /// What was to be read.
    pub what: &'static str,
    /// What stood there.
    pub found: String,
    /// What may stand there.
    pub allowed: &'static str,
}

impl FromStr for RunId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let hexadecimal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 32 && text.bytes().all(hexadecimal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId {
                what: "run id",
                found: text.to_owned(),
                allowed: "32 lowercase hexadecimal digits",
            })
        }
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// S3's sequencer: a hexadecimal text that orders the events of one key.
///
/// Two sequencers are compared as S3 documents it: the shorter one padded on the right with zeros, then as
/// text. Those of different keys have no order.
#[derive(Debug, Clone, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequencer(String);

/// Sequencers are 16 to 20 digits today; padding to more leaves room without changing any order.
const SEQUENCER_WIDTH: usize = 64;

impl Sequencer {
    /// Takes a sequencer from an event.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The sequencer at a fixed width, padded on the right with zeros: equal texts are equal sequencers.
    pub fn padded(&self) -> String {
        format!("{:0<width$}", self.0.to_ascii_uppercase(), width = SEQUENCER_WIDTH)
    }
}

impl PartialEq for Sequencer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Ord for Sequencer {
    fn cmp(&self, other: &Self) -> Ordering {
        self.padded().cmp(&other.padded())
    }
}

impl PartialOrd for Sequencer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A chunk's index in its stage, 0-based.
    ChunkIndex(u32)
}
number! {
    /// A group's index in its stage, 0-based.
    GroupIndex(u32)
}
number! {
    /// How many times a run was redriven; 0 for its first time.
    Generation(u32)
}
number! {
    /// How many times an output key has changed hands; a higher epoch's writer wins.
    Epoch(u64)
}

/// An entity tag as S3 gives it, without its double quotes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ETag(String);

impl ETag {
    /// Takes an entity tag with or without its double quotes (events have none, responses have them).
    pub fn new(text: &str) -> Self {
        Self(text.trim_matches('"').to_owned())
    }

    /// The tag without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag with quotes, as conditional headers want it.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload<'a>(key: &'a str, sequencer: &'a Sequencer) -> Origin<'a> {
        Origin::Upload { bucket: "in", key, version_or_etag: "v1", sequencer }
    }

    #[test]
    fn the_same_upload_is_the_same_run() {
        let (short, padded) = (Sequencer::new("00AB"), Sequencer::new("00AB00"));
        assert_eq!(RunId::derive("p", &upload("k", &short)), RunId::derive("p", &upload("k", &padded)));
        assert_ne!(RunId::derive("p", &upload("k", &short)), RunId::derive("q", &upload("k", &short)));
        assert_ne!(RunId::derive("p", &upload("k", &short)), RunId::derive("p", &upload("l", &short)));
    }

    #[test]
    fn fields_do_not_run_together() {
        let seq = Sequencer::new("0");
        let a = Origin::Upload { bucket: "ab", key: "c", version_or_etag: "v", sequencer: &seq };
        let b = Origin::Upload { bucket: "a", key: "bc", version_or_etag: "v", sequencer: &seq };
        assert_ne!(RunId::derive("p", &a), RunId::derive("p", &b));
    }

    #[test]
    fn sequencers_are_padded_on_the_right() {
        assert!(Sequencer::new("0055AED6") < Sequencer::new("0055AED6DCD90281E5"));
        assert!(Sequencer::new("0055AED7") > Sequencer::new("0055AED6DCD90281E5"));
        assert_eq!(Sequencer::new("a0"), Sequencer::new("A000"));
    }

    #[test]
    fn a_run_id_survives_its_text_and_nothing_else_does() {
        let id = RunId::derive("p", &Origin::Submission { idempotency_key: "x" });
        assert_eq!(id.to_string().parse::<RunId>(), Ok(id));
        assert!("../../etc".parse::<RunId>().is_err());
        assert!(serde_json::from_str::<RunId>("\"ABC\"").is_err());
    }
}

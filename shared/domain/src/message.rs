//! What the services tell each other: small, versioned, safe to receive twice.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::{
    ChunkIndex, ChunkSet, ETag, Generation, GroupIndex, LaunchIndex, ObjectName, Run, RunId, Sequencer, Sums,
    TickTime, Timestamp,
    launch::{Launching, StageName},
};

/// The version that every message carries. A consumer fails a message of another version (it is delivered
/// again, to a newer consumer or to the dead-letter queue) and never drops it.
pub const VERSION: u32 = 1;

/// A message that could not be read.
#[derive(Debug, Error)]
pub enum InvalidMessage {
    /// It is not the JSON of such a message.
    #[error("not a message of this queue: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is of a version that this consumer does not know.
    #[error("a message of version {found}, and only version {VERSION} is known")]
    Version {
        /// The version it carries.
        found: u32,
    },
}

#[derive(Serialize, Deserialize)]
struct Envelope<M> {
    v: u32,
    #[serde(flatten)]
    message: M,
}

#[derive(Deserialize)]
struct JustVersion {
    v: u32,
}

/// Writes a message as one line of JSON, its version in it.
pub fn encode<M: Serialize>(message: &M) -> String {
    serde_json::to_string(&Envelope { v: VERSION, message }).expect("messages have only JSON's types")
}

/// Reads a message that [`encode`] wrote.
///
/// # Errors
/// Anything else, and any other version.
pub fn decode<M: DeserializeOwned>(text: &str) -> Result<M, InvalidMessage> {
    let JustVersion { v } = serde_json::from_str(text)?;
    if v != VERSION {
        return Err(InvalidMessage::Version { found: v });
    }
    Ok(serde_json::from_str::<Envelope<M>>(text)?.message)
}

/// A chunk to be worked on, in the queue `chunks`. Its range stands in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkMessage {
    /// Whose chunk.
    pub run: RunId,
    /// Of which stage.
    pub stage: String,
    /// Of which generation.
    pub generation: Generation,
    /// Which chunk.
    pub chunk: ChunkIndex,
    /// How many tries failed before: 0 at first.
    pub failed_tries: u32,
    /// When the next try may be made at the earliest, where that is further away than a message can be delayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// What faults of the platform its attempts met with since the last try that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform_faults: Option<PlatformFaults>,
}

/// Attempts at a chunk, one after another, that a fault of the platform ended: a call of S3, SQS, DynamoDB or Lambda that
/// was throttled, failed, or was not answered. They do not count as tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformFaults {
    /// How many, at least 1.
    pub count: u32,
    /// When the first of them ended.
    pub since: Timestamp,
}

impl ChunkMessage {
    /// The message that first sends a chunk of a stage of `run`.
    pub fn first(run: &Run, stage: &str, chunk: ChunkIndex) -> Self {
        Self {
            run: run.id.clone(),
            stage: stage.to_owned(),
            generation: run.generation,
            chunk,
            failed_tries: 0,
            not_before: None,
            platform_faults: None,
        }
    }
}

/// How a chunk ended, in the queue `completions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// Whose chunk.
    pub run: RunId,
    /// Of which stage.
    pub stage: String,
    /// Of which generation.
    pub generation: Generation,
    /// Which chunk.
    pub chunk: ChunkIndex,
    /// How it ended.
    pub end: ChunkEnd,
    /// The chunks that its end released and that its worker sent itself, so that the tracker need not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<Released>,
}

/// A chunk of which its worker can say nothing but why: it may not read the run, or may not leave a tombstone. The tracker
/// looks for the part, and fails the chunk if there is none. In the queue `completions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// Whose chunk.
    pub run: RunId,
    /// Of which stage.
    pub stage: String,
    /// Of which generation.
    pub generation: Generation,
    /// Which chunk.
    pub chunk: ChunkIndex,
    /// What the worker met with.
    pub reason: String,
}

/// A chunk that the end of another released, in the same run and generation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Released {
    /// Its stage.
    pub stage: String,
    /// Which chunk of it.
    pub chunk: ChunkIndex,
}

/// How a chunk ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkEnd {
    /// Its part exists, and this is what it adds.
    Done(Sums),
    /// No further try would help.
    Failed(Failure),
    /// The source is no longer what the run pinned.
    SourceChanged {
        /// What was found instead.
        found: String,
    },
}

/// Why a chunk failed, for a person to act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What happened.
    pub reason: String,
    /// The record that it happened at, counted in the chunk from 1, where one is to blame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// The byte in the source where that record starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The key in the work bucket of the bad records that the chunk had until then, where it had any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad_records: Option<String>,
}

impl Failure {
    /// A failure that no one record is to blame for.
    pub fn of_chunk(reason: impl Into<String>) -> Self {
        Self { reason: truncate(reason.into()), record: None, offset: None, bad_records: None }
    }

    /// The failure of a chunk whose noted failure cannot be read, for this reason.
    pub fn unreadable(reason: &str) -> Self {
        Self::of_chunk(format!("why it failed was noted, and cannot be read: {reason}"))
    }

    /// The failure of a chunk that reads one which failed.
    pub fn inherited(stage: &str, input: ChunkIndex) -> Self {
        Self::of_chunk(format!("chunk {input} of stage {stage}, which it reads, failed"))
    }
}

/// Reasons are cut at this many bytes: they are kept in the ledger and shown to a person.
pub const MAX_REASON_BYTES: usize = 1024;

/// Cuts a reason to [`MAX_REASON_BYTES`] on a character's boundary.
pub fn truncate(mut reason: String) -> String {
    if reason.len() > MAX_REASON_BYTES {
        let end = reason.floor_char_boundary(MAX_REASON_BYTES);
        reason.truncate(end);
        reason.push('…');
    }
    reason
}

/// Work for the merger, in the queue `folds`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FoldMessage {
    /// Fold a full group.
    Fold {
        /// Whose group.
        run: RunId,
        /// Of which stage.
        stage: String,
        /// Of which generation.
        generation: Generation,
        /// Which group.
        group: GroupIndex,
    },
    /// Assemble the output: the run is `completing`.
    Assemble {
        /// Which run.
        run: RunId,
        /// Of which generation.
        generation: Generation,
    },
    /// Remove the work objects of a run that has ended.
    Cleanup {
        /// Which run.
        run: RunId,
        /// Of which generation.
        generation: Generation,
    },
    /// Write the bad records of a run that failed.
    Report {
        /// Which run.
        run: RunId,
        /// Of which generation.
        generation: Generation,
    },
}

/// Chunks to be given to a cluster as one Kubernetes Job, in the queue `launches`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchMessage {
    /// Whose chunks.
    pub run: RunId,
    /// Of which stage.
    pub stage: String,
    /// Of which generation.
    pub generation: Generation,
    /// Which launch.
    pub launch: LaunchIndex,
    /// Of which generation of the launch: 0 at first, raised each time it is launched anew.
    pub launch_generation: u32,
    /// The chunks of the launch's first generation; later ones stand in the ledger.
    pub chunks: ChunkSet,
    /// How often no cluster could take it: 0 at first.
    #[serde(default)]
    pub waited: u32,
}

impl LaunchMessage {
    /// The message that first sends a launch of a stage.
    pub fn first(stage: &StageName<'_>, launching: Launching, launch: LaunchIndex) -> Self {
        Self {
            run: stage.run.clone(),
            stage: stage.stage.to_owned(),
            generation: stage.generation,
            launch,
            launch_generation: 0,
            chunks: launching.chunks_of(launch),
            waited: 0,
        }
    }
}

/// What reaches the splitter, in the queue `intake`, once it is read from its event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Intake {
    /// An object was uploaded.
    Upload(Upload),
    /// A person or a program asks for a run.
    Submission(Submission),
    /// A pipeline's schedule ticked.
    Tick(Tick),
    /// A run that was left in `planning` is to go on.
    Resume {
        /// Which run.
        run: RunId,
    },
    /// All that a stage waits for has ended: its chunks are to be sent.
    Stage {
        /// Whose stage.
        run: RunId,
        /// Of which generation.
        generation: Generation,
        /// The stage's place in the pipeline's list.
        stage: usize,
    },
}

/// What S3's event says of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// The object.
    pub object: ObjectName,
    /// Its version id, where the bucket is versioned.
    pub version: Option<String>,
    /// Its entity tag.
    pub etag: ETag,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The event's place among those of the same key.
    pub sequencer: Sequencer,
}

/// A manual start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// The pipeline's name.
    pub pipeline: String,
    /// The source, where the pipeline reads an object; of one that lists objects a prefix, else the pipeline's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectName>,
    /// The version wanted, else the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Two submissions with the same key are one run.
    pub idempotency_key: String,
}

/// A tick of a pipeline's schedule: at least once, perhaps late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// The pipeline's name.
    pub pipeline: String,
    /// The moment that the schedule named, not that at which it came.
    pub scheduled_at: TickTime,
}

/// The text of a [`Tick`] of a pipeline as a schedule holds it, with `placeholder` where the scheduler writes the time
/// of each.
pub fn tick_of(pipeline: &str, placeholder: &str) -> String {
    encode(&serde_json::json!({ "kind": "tick", "pipeline": pipeline, "scheduled_at": placeholder }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Origin;

    fn run() -> RunId {
        RunId::derive("p", &Origin::Submission { idempotency_key: "k" })
    }

    #[test]
    fn a_message_survives_its_text() {
        let message = Completion {
            run: run(),
            stage: "confirm".into(),
            generation: Generation(0),
            chunk: ChunkIndex(7),
            end: ChunkEnd::Done(Sums { records: 3, ..Sums::default() }),
            sent: vec![Released { stage: "confirm".into(), chunk: ChunkIndex(9) }],
        };
        assert_eq!(decode::<Completion>(&encode(&message)).unwrap(), message);
        let fold = FoldMessage::Assemble { run: run(), generation: Generation(2) };
        assert_eq!(decode::<FoldMessage>(&encode(&fold)).unwrap(), fold);
    }

    /// As it was written before faults of the platform had a count of their own.
    #[test]
    fn an_older_chunk_message_is_read() {
        let text = format!(
            r#"{{"v":1,"run":"{}","stage":"s","generation":0,"chunk":7,"failed_tries":2,"not_before":5}}"#,
            run()
        );
        let message: ChunkMessage = decode(&text).unwrap();
        assert_eq!((message.failed_tries, message.platform_faults), (2, None));
        assert_eq!(encode(&message), text, "and what it does not say an older worker can read");
        let faults = PlatformFaults { count: 3, since: Timestamp(4) };
        let counted = ChunkMessage { platform_faults: Some(faults), ..message };
        assert_eq!(decode::<ChunkMessage>(&encode(&counted)).unwrap(), counted);
    }

    #[test]
    fn a_schedules_text_is_a_tick_once_its_time_is_known() {
        let text = tick_of("orders", "<time>");
        assert!(decode::<Intake>(&text).is_err(), "the scheduler did not fill it in");
        let Intake::Tick(tick) = decode(&text.replace("<time>", "2025-11-21T06:00:00Z")).unwrap() else {
            panic!("a tick")
        };
        assert_eq!((tick.pipeline.as_str(), tick.scheduled_at.as_str()), ("orders", "2025-11-21T06:00:00Z"));
    }

    #[test]
    fn an_unknown_version_is_an_error_and_so_is_none() {
        let text = encode(&FoldMessage::Report { run: run(), generation: Generation(0) });
        let newer = text.replacen("\"v\":1", "\"v\":2", 1);
        assert!(matches!(decode::<FoldMessage>(&newer), Err(InvalidMessage::Version { found: 2 })));
        assert!(decode::<FoldMessage>(&text.replacen("\"v\":1,", "", 1)).is_err());
    }

    #[test]
    fn a_long_reason_is_cut_on_a_character() {
        let cut = truncate("é".repeat(MAX_REASON_BYTES));
        assert!(cut.ends_with("é…") && cut.len() <= MAX_REASON_BYTES + 3);
    }
}

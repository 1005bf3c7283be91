//! What a Map's children are given, and what an execution tells the tracker in the queue `completions`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Batch, Children, TRANSIENT};
use crate::{
    ChunkIndex, ChunkSet, Generation, Run, RunId,
    message::{ChunkMessage, Completion, GivenUp, InvalidMessage, LaunchMessage, decode, encode, truncate},
    pipeline::Stage,
};

/// A batch to be worked on: what the worker is invoked with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchMessage {
    /// Whose chunks.
    pub run: RunId,
    /// Of which stage.
    pub stage: String,
    /// Of which generation.
    pub generation: Generation,
    /// The first chunk.
    pub first: ChunkIndex,
    /// How many, at least 1.
    pub count: u32,
    /// How long the worker may take for all of them, in milliseconds, if not as long as its function has time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
}

impl BatchMessage {
    /// A batch of `stage` of `run`.
    pub fn new(run: &Run, stage: &Stage, batch: Batch) -> Self {
        Self {
            run: run.id.clone(),
            stage: stage.name.clone(),
            generation: run.generation,
            first: batch.first,
            count: batch.count,
            time_ms: Children::of(stage).batch_ms(),
        }
    }

    /// Its chunks, in order.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkIndex> + use<> {
        (self.first.0..self.first.0.saturating_add(self.count)).map(ChunkIndex)
    }

    /// The message that sends one of its chunks by the queue of chunks.
    pub fn chunk(&self, chunk: ChunkIndex) -> ChunkMessage {
        ChunkMessage {
            run: self.run.clone(),
            stage: self.stage.clone(),
            generation: self.generation,
            chunk,
            failed_tries: 0,
            not_before: None,
            platform_faults: None,
        }
    }
}

/// What a child was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Item {
    /// Chunks, for the worker.
    Batch(BatchMessage),
    /// Chunks, for the launcher.
    Launch(LaunchMessage),
}

impl Item {
    /// Whose chunks.
    pub fn run(&self) -> &RunId {
        match self {
            Self::Batch(batch) => &batch.run,
            Self::Launch(launch) => &launch.run,
        }
    }

    /// Its chunks.
    pub fn chunks(&self) -> ChunkSet {
        match self {
            Self::Batch(batch) => batch.chunks().collect(),
            Self::Launch(launch) => launch.chunks.clone(),
        }
    }
}

/// A child that failed at every try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildFailure {
    /// What it was given.
    pub item: Item,
    /// The error's name.
    pub error: String,
    /// What the service says of it: of a function's error its JSON, as text.
    pub cause: String,
}

impl ChildFailure {
    /// Why, for a person to act on.
    pub fn reason(&self) -> String {
        let of_function = serde_json::from_str::<Value>(&self.cause).ok();
        let message = of_function.as_ref().and_then(|cause| cause.get("errorMessage")?.as_str());
        truncate(format!("its child of the Map failed: {}: {}", self.error, message.unwrap_or(&self.cause)))
    }
}

/// Whether an error of this name says something of the item. It says nothing of one that the service never gave to its
/// function, and nothing of one whose function could not reach another service.
pub fn is_to_blame(error: &str) -> bool {
    let is_of_service = error.starts_with("Lambda.") && error.ends_with("Exception");
    !is_of_service && error != TRANSIENT
}

/// A Map that has ended, in whatever way: what of its stage has not ended by then goes on by queues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapEnd {
    /// Whose.
    pub run: RunId,
    /// Of which stage.
    pub stage: String,
    /// Of which generation.
    pub generation: Generation,
}

/// What an execution tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MapMessage {
    /// A child failed.
    ChildFailed(ChildFailure),
    /// It has ended.
    MapEnded(MapEnd),
}

/// A message of the queue `completions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// How a chunk ended.
    Completion(Completion),
    /// What a Map tells.
    Map(MapMessage),
    /// A chunk that its worker gave up.
    GivenUp(GivenUp),
}

/// The kind of the message that tells of a chunk which its worker gave up.
const GIVEN_UP: &str = "given_up";

#[derive(Serialize, Deserialize)]
struct Kinded {
    kind: String,
    #[serde(flatten)]
    given_up: GivenUp,
}

#[derive(Deserialize)]
struct JustKind {
    kind: Option<String>,
}

impl Told {
    /// Reads a message of the queue `completions`.
    ///
    /// # Errors
    /// It is none, or of another version.
    pub fn read(text: &str) -> Result<Self, InvalidMessage> {
        // What a Map tells has a kind, and a completion has none.
        match serde_json::from_str::<JustKind>(text)?.kind {
            Some(kind) if kind == GIVEN_UP => Ok(Self::GivenUp(decode::<Kinded>(text)?.given_up)),
            Some(_) => Ok(Self::Map(decode(text)?)),
            None => Ok(Self::Completion(decode(text)?)),
        }
    }

    /// The message that tells of a chunk which its worker gave up.
    pub fn given_up(given_up: GivenUp) -> String {
        encode(&Kinded { kind: GIVEN_UP.to_owned(), given_up })
    }

    /// Whose.
    pub fn run(&self) -> &RunId {
        match self {
            Self::GivenUp(given_up) => &given_up.run,
            Self::Completion(completion) => &completion.run,
            Self::Map(MapMessage::ChildFailed(failed)) => failed.item.run(),
            Self::Map(MapMessage::MapEnded(end)) => &end.run,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LaunchIndex, Origin, Sums, message::ChunkEnd};

    fn run() -> RunId {
        RunId::derive("p", &Origin::Submission { idempotency_key: "k" })
    }

    fn batch() -> BatchMessage {
        let (stage, generation) = ("s".to_owned(), Generation(1));
        BatchMessage { run: run(), stage, generation, first: ChunkIndex(3), count: 2, time_ms: Some(9) }
    }

    #[test]
    fn what_a_map_tells_is_told_from_a_completion() {
        let end = MapEnd { run: run(), stage: "s".into(), generation: Generation(0) };
        let ended = MapMessage::MapEnded(end.clone());
        assert_eq!(Told::read(&encode(&ended)).unwrap(), Told::Map(ended));
        let (stage, generation, chunk) = ("s".to_owned(), Generation(0), ChunkIndex(7));
        let given_up = GivenUp { run: run(), stage, generation, chunk, reason: "AccessDenied".to_owned() };
        assert_eq!(Told::read(&Told::given_up(given_up.clone())).unwrap(), Told::GivenUp(given_up));
        let done = Completion {
            run: run(),
            stage: "s".into(),
            generation: Generation(0),
            chunk: ChunkIndex(7),
            end: ChunkEnd::Done(Sums::default()),
            sent: Vec::new(),
        };
        assert_eq!(Told::read(&encode(&done)).unwrap(), Told::Completion(done));
        let newer = encode(&MapMessage::MapEnded(end)).replacen("\"v\":1", "\"v\":2", 1);
        assert!(matches!(Told::read(&newer), Err(InvalidMessage::Version { found: 2 })));
        assert!(Told::read("{\"v\":1,\"kind\":\"other\"}").is_err() && Told::read("{\"v\":1}").is_err());
    }

    /// The state machine puts the whole input of a child into its message, version and all.
    #[test]
    fn a_failed_child_names_what_it_was_given() {
        let launch = LaunchMessage {
            run: run(),
            stage: "s".into(),
            generation: Generation(0),
            launch: LaunchIndex(2),
            launch_generation: 0,
            chunks: batch().chunks().collect(),
            waited: 0,
        };
        for (item, text) in
            [(Item::Batch(batch()), encode(&batch())), (Item::Launch(launch.clone()), encode(&launch))]
        {
            let text = format!(
                r#"{{"v":1,"kind":"child_failed","item":{text},"error":"Runtime.ExitError","cause":"{{\"errorMessage\":\"signal: killed\"}}"}}"#
            );
            let Told::Map(MapMessage::ChildFailed(failed)) = Told::read(&text).unwrap() else {
                panic!("{text}")
            };
            assert_eq!(failed.item, item);
            assert_eq!(failed.item.chunks().to_string(), "3-4");
            assert!(failed.reason().ends_with("Runtime.ExitError: signal: killed"), "{}", failed.reason());
        }
    }

    #[test]
    fn an_item_is_not_to_blame_for_a_service() {
        for error in ["Lambda.TooManyRequestsException", "Lambda.ServiceException", TRANSIENT] {
            assert!(!is_to_blame(error), "{error}");
        }
        for error in ["Lambda.Unknown", "Runtime.ExitError", "States.Timeout", super::super::PERMANENT] {
            assert!(is_to_blame(error), "{error}");
        }
    }
}

//! The vocabulary and the rules of Fanfold: ids, ranges, pipelines, runs, chunks, groups, messages, states.
//!
//! Architecture invariant: this crate is pure. It knows no AWS service, no clock, no environment, no I/O and
//! none of our other crates, so that everything it decides is decided the same in a test, in a Lambda, in a
//! pod and on a laptop.

pub mod address;
pub mod announcement;
pub mod assembly;
pub mod cluster;
pub mod document;
pub mod function;
pub mod group;
pub mod ids;
pub mod key;
pub mod launch;
pub mod manifest;
pub mod map;
pub mod message;
pub mod object;
pub mod outage;
pub mod ownership;
pub mod pace;
pub mod pipeline;
pub mod placement;
pub mod range;
pub mod rate;
pub mod reach;
pub mod run;
pub mod scan;
pub mod settled;
pub mod skew;
pub mod stack;
pub mod stamp;
pub mod tick;
pub mod tries;

pub use announcement::{Announcement, Event, Milestone};
pub use function::FunctionName;
pub use group::{GroupCount, Grouping, Mark, Note, RootCount, Sums};
pub use ids::{ChunkIndex, ETag, Epoch, Generation, GroupIndex, Origin, RunId, Sequencer};
pub use launch::{ChunkSet, Launch, LaunchIndex};
pub use manifest::Chunk;
pub use object::{ObjectName, SourcePin};
pub use outage::Outage;
pub use ownership::{Newest, Ownership, Taking};
pub use pace::Pace;
pub use range::ByteRange;
pub use rate::{Destination, Rate};
pub use reach::Reach;
pub use run::{LineEnd, Plan, Run, RunState, Settling, Timestamp};
pub use scan::{PLAN, SCAN, Scan};
pub use settled::{Cleaning, Report};
pub use skew::Skew;
pub use stack::StackId;
pub use stamp::{Stamp, Standing};
pub use tick::TickTime;
pub use tries::{Tries, Trouble};

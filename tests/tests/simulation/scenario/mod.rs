//! What a seed makes of a simulation: the pipeline, the sources, when what happens, and how the world is.

mod acts;
mod draw;
mod pipeline;
mod small;

use fanfold_domain::{
    Destination, Rate,
    pipeline::{Format, Pipeline},
};
use fanfold_engine::plan::{ScanLimits, Strides};
use fanfold_ports::{Queue, clusters::ClusterFault, memory::Rates};

use crate::third_party::ThirdParty;

pub(crate) use self::{draw::HARSH, small::of_lines};

pub(crate) const INPUT: &str = "input";
pub(crate) const OUTPUT: &str = "output";
pub(crate) const WORK: &str = "work";
pub(crate) const TABLE: &str = "orders";
pub(crate) const KEY: &str = "in/a file.csv";

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;

/// Something that happens to the world, whatever the services do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// Someone uploads a source; its events arrive after these delays, in milliseconds. None: they are lost.
    Upload { bytes: Vec<u8>, event_delays_ms: Vec<u64> },
    /// Someone uploads a source of another key; its event arrives at once.
    UploadBeside { key: &'static str, bytes: Vec<u8> },
    /// An event arrives, given as its text.
    Event { body: String },
    /// A person submits a run of the source that is there, under this idempotency key, so many times.
    Submit { idempotency_key: String, times: u32 },
    /// The pipeline's schedule ticks, and the tick arrives so many times.
    Tick { scheduled_at: String, times: u32 },
    /// Somebody who is none of us writes under the output's name.
    ForeignWrite,
    /// A person changes how often a third party is asked.
    Rate { destination: Destination, rate: Rate },
    /// A person cancels one of the runs that are under way.
    Cancel,
    /// Some of the work objects expire.
    Expire,
    /// The consumer of a queue is down for a while, in milliseconds.
    Outage { queue: Queue, ms: u64 },
    /// A person deletes a Job.
    DeleteJob,
    /// A cluster fails so for a while, in milliseconds, and perhaps its pods are lost.
    ClusterFails { cluster: usize, fault: ClusterFault, ms: u64, loses_pods: bool },
    /// A cluster is gone for good, with its Jobs.
    ClusterGone { cluster: usize },
    /// A person declares a cluster with another weight.
    Weight { cluster: usize, weight: u32 },
}

/// The clusters of a simulation, and how their pods fare.
#[derive(Debug, Clone, Default)]
pub(crate) struct KubeScenario {
    /// Names, weights, and most pods of a run. The first is never gone for good.
    pub(crate) clusters: Vec<(String, u32, u32)>,
    /// The longest that a pod takes to start, in milliseconds.
    pub(crate) start_ms: u64,
    /// Of a hundred pods, how many are evicted.
    pub(crate) evictions_percent: u64,
    /// Of a hundred pods, how many have a double.
    pub(crate) doubles_percent: u64,
    /// Of a hundred pods, how many are pending for minutes.
    pub(crate) pendings_percent: u64,
    /// Whether nothing fails but what Kubernetes has to bear: then no chunk may fail without a reason of its own.
    pub(crate) fails_alone: bool,
}

/// How executions of a Map fare, beside their children's own functions.
#[derive(Debug, Clone, Default)]
pub(crate) struct MapScenario {
    /// Of a hundred children that fail, how many die without a word.
    pub(crate) silent_percent: u64,
    /// Of a hundred children, how many are executed twice at once.
    pub(crate) doubles_percent: u64,
    /// Of a hundred executions, how many a person stops.
    pub(crate) stops_percent: u64,
    /// Before so many milliseconds are over.
    pub(crate) stops_within_ms: u64,
    /// Of a hundred ends, how many are told to nobody.
    pub(crate) lost_ends_percent: u64,
}

impl MapScenario {
    fn is_calm(&self) -> bool {
        self.silent_percent + self.doubles_percent + self.stops_percent + self.lost_ends_percent == 0
    }
}

/// What is wrong with one chunk, whichever run it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sickness {
    /// Each worker dies of it, at this call from the first on that reads what the chunk is made of.
    Dies { at_call: u32 },
    /// The source cannot be read.
    Unreadable,
}

/// How much of work that keeps its place an invocation does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Legs {
    /// For how long it begins with more, in milliseconds; to the end, if nothing is said.
    pub(crate) ms: Option<u64>,
    /// In what pieces plans and lists are made: far smaller ones than in earnest.
    pub(crate) strides: Strides,
}

impl Legs {
    /// All at once.
    pub(crate) const WHOLE: Self = Self { ms: None, strides: Strides::DEFAULT };
}

/// What a store keeps that is not what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Corrupts {
    /// A byte of the n-th part that is sent into an upload of an output is another.
    UploadPart(usize),
    /// The last byte of a group's object, by its place among all of them, is gone.
    Group(usize),
}

/// One simulation.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) pipeline: Pipeline,
    /// What stands in the input bucket from the first: of a pipeline that lists objects.
    pub(crate) objects: Vec<(String, Vec<u8>)>,
    /// What a plan step writes, of a pipeline that has one.
    pub(crate) items: Option<Vec<u8>>,
    /// Which sources are scanned by workers, and in what pieces: far smaller ones than in earnest.
    pub(crate) scan_limits: ScanLimits,
    /// How splitter and merger go on by further messages.
    pub(crate) legs: Legs,
    /// The clusters, where the pipeline runs on them.
    pub(crate) kube: Option<KubeScenario>,
    /// How Maps fare, where the pipeline has them.
    pub(crate) map: Option<MapScenario>,
    /// How whoever is asked fares.
    pub(crate) third_party: ThirdParty,
    /// Chunks a group, in place of the usual choice, which would put all of so small a source in one.
    pub(crate) group_chunks: u32,
    pub(crate) is_versioned: bool,
    /// What happens, and when: milliseconds from the start, in order.
    pub(crate) acts: Vec<(u64, Act)>,
    pub(crate) rates: Rates,
    /// When faults, doubles and delays cease, in milliseconds from the start.
    pub(crate) calm_at_ms: u64,
    /// Of a hundred messages, how many are delivered twice.
    pub(crate) doubles_percent: u64,
    /// Of a hundred messages, how many wait longer than they should.
    pub(crate) delays_percent: u64,
    /// Of a hundred receives of a chunk's message, how many reach no worker, since Lambda throttles it.
    pub(crate) throttled_percent: u64,
    /// Of a thousand invocations, how many hang for long in the middle of a call, and go on.
    pub(crate) zombies_permille: u64,
    /// Of a thousand invocations of the merger.
    pub(crate) zombie_mergers_permille: u64,
    /// Of a hundred attempts, how many see other bytes, as if the program were not deterministic.
    pub(crate) odd_attempts_percent: u64,
    pub(crate) sick_chunk: Option<(u32, Sickness)>,
    /// Eventual reads that see what was there before, after each write.
    pub(crate) lagging_reads: u32,
    /// What every call about is refused for good, as a bucket that does not exist.
    pub(crate) refused: Option<String>,
    pub(crate) has_sweeper: bool,
    pub(crate) visibility_ms: u64,
    /// How long a worker believes that it may run; one that does not know goes on after any pause.
    pub(crate) function_ms: Option<u64>,
    /// How far each machine's clock is off at most, in milliseconds.
    pub(crate) skew_ms: u64,
    /// Invocations at once of each service.
    pub(crate) concurrency: usize,
    /// How long each call takes, in milliseconds; if nothing is said, as chance has it.
    pub(crate) call_ms: Option<u64>,
    /// Whether queues keep their order.
    pub(crate) is_in_order: bool,
    pub(crate) completions_batch: usize,
    pub(crate) piece_bytes: usize,
    /// Further pipelines, which are in the table.
    pub(crate) others: Vec<Pipeline>,
    /// What the store keeps otherwise than it was sent.
    pub(crate) corrupts: Option<Corrupts>,
    /// Of the messages that a sweep repairs the loss of, which one is lost, in the order of sending.
    pub(crate) loses: Option<usize>,
}

impl Scenario {
    /// Whether nothing at all goes wrong: then nothing may be done twice, and nothing left behind.
    pub(crate) fn is_calm(&self) -> bool {
        self.rates == Rates::NONE
            && self.doubles_percent
                + self.delays_percent
                + self.throttled_percent
                + self.zombies_permille
                + self.zombie_mergers_permille
                + self.odd_attempts_percent
                == 0
            && self.sick_chunk.is_none()
            && self.refused.is_none()
            && self.corrupts.is_none()
            && self.loses.is_none()
            && self.lagging_reads == 0
            && self.third_party.troubles_percent == 0
            && self.map.as_ref().is_none_or(MapScenario::is_calm)
            && self.acts.len() == 1
            && !self
                .has(|act| matches!(act, Act::Upload { event_delays_ms, .. } if event_delays_ms.len() != 1))
    }

    /// Whether calls fail or hang.
    pub(crate) fn is_faulty(&self) -> bool {
        self.rates != Rates::NONE || self.zombies_permille + self.zombie_mergers_permille > 0
    }

    /// Whether requests may be in vain so often that a chunk fails: of trouble, or of a rate that several runs share.
    pub(crate) fn may_ask_in_vain(&self) -> bool {
        let stages = &self.pipeline.stages;
        self.third_party.troubles_percent > 0
            || !self.is_calm() && stages.iter().any(|stage| stage.rate.is_some())
    }

    /// The output's key without what the template adds.
    pub(crate) fn output_stem(&self) -> &str {
        match self.pipeline.source.format {
            Format::Objects => self.pipeline.source.prefix.trim_end_matches('/'),
            Format::Ids(_) | Format::Items => &self.pipeline.name,
            _ => KEY,
        }
    }

    /// More calls than a play of it makes that comes to an end, many times over.
    pub(crate) fn most_calls(&self) -> u64 {
        let bytes = |act: &Act| match act {
            Act::Upload { bytes, .. } | Act::UploadBeside { bytes, .. } => bytes.len() as u64,
            _ => 0,
        };
        let bytes: u64 = self.acts.iter().map(|(_, act)| bytes(act)).sum();
        // A chunk has at least a byte, but those of large sources, which have many. Each leg of a list or plan reads the ends
        // of all before it, and some hundreds of tiny ones are drawn.
        1_000_000 + 100 * bytes.min(100_000)
    }

    pub(crate) fn has(&self, what: impl Fn(&Act) -> bool) -> bool {
        self.acts.iter().any(|(_, act)| what(act))
    }
}

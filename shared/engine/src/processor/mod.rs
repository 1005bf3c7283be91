//! What is done to each record: one small trait, and the builtins behind it.

mod command;
mod copy;
mod http;
mod index;
mod lambda;
mod orders;
mod resize;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use fanfold_domain::{
    LineEnd, Run, Timestamp,
    pipeline::{Process, Stage},
};
use fanfold_ports::{Clock, Fault, Functions, Objects, Pacer, PortError, Tables, Web};
use fanfold_records::Dialect;
use thiserror::Error;

pub use command::CommandError;
pub use http::HttpError;
pub use lambda::LambdaError;

/// One record of the source.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its bytes without its line end.
    pub body: &'a [u8],
    /// Its bytes as they stand in the source, line end included.
    pub raw: &'a [u8],
    /// Where it starts, in bytes from the source's first byte.
    pub offset: u64,
}

/// Why a record is bad. Made only when one is, so it may cost an allocation.
pub type Reason = Cow<'static, str>;

/// A bad record that a processor found only after it had taken it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateVerdict {
    /// The record's number, from 1, among those that the processor was given.
    pub record: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// How far a call came that appends to the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<T> {
    /// There is more than should be in memory at once: write what was appended, and call again.
    Again,
    /// All there was.
    Done(T),
}

/// Why a chunk cannot be processed.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// The source's header is not what the processor reads.
    #[error("{0}")]
    Header(String),
    /// A command failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A third party could not be asked.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A function gave no list.
    #[error(transparent)]
    Lambda(#[from] LambdaError),
    /// Rows, or objects beside the part, could not be read or written.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl ProcessError {
    /// How long whoever was asked wants to be left alone, in milliseconds.
    pub fn wait_ms(&self) -> u64 {
        if let Self::Http(error) = self { error.wait_ms() } else { 0 }
    }

    /// Whether another try may end differently.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Header(_) => false,
            Self::Command(error) => error.may_pass(),
            Self::Http(error) => error.may_pass(),
            Self::Lambda(error) => error.may_pass(),
            Self::Port(error) => error.fault != Fault::Permanent,
        }
    }
}

/// The work on the records of one chunk (or, in a sequential run, of the whole source), in order.
///
/// A processor is record-wise if what it writes for x‖y is what it writes for x followed by what it writes
/// for y. The builtins are.
#[async_trait]
pub trait Processor: Send {
    /// Takes a record and may append to `out`.
    ///
    /// # Errors
    /// The record is bad: nothing was appended for it.
    fn record(&mut self, record: Record<'_>, out: &mut Vec<u8>) -> Result<(), Reason>;

    /// Takes bytes between records that are none themselves: blank lines.
    fn between(&mut self, _raw: &[u8], _out: &mut Vec<u8>) {}

    /// Called after every few records, with room to wait for whatever takes them.
    async fn flush(&mut self, _out: &mut Vec<u8>) -> Result<Step<()>, ProcessError> {
        Ok(Step::Done(()))
    }

    /// Called after the last record, until it is done. Returns the records that turned out to be bad, in
    /// order, each once.
    async fn finish(&mut self, _out: &mut Vec<u8>) -> Result<Step<Vec<LateVerdict>>, ProcessError> {
        Ok(Step::Done(Vec::new()))
    }
}

/// Variables of the worker's own environment, as it started; a command is given few of them. With [`PACKAGE`] among
/// them commands are those of a package.
pub type Inherited = BTreeMap<String, String>;

/// The variable that names the folder of the worker's package, as Lambda sets it. A command works in that folder, and
/// its programs are found first.
pub const PACKAGE: &str = "LAMBDA_TASK_ROOT";

/// What a processor needs of the world that asks others: third parties, or a function of the user's.
#[derive(Clone)]
pub struct Outside {
    /// Who asks third parties.
    pub web: Arc<dyn Web>,
    /// How often they are asked.
    pub pacer: Arc<dyn Pacer>,
    /// Who invokes functions; none invokes none.
    pub functions: Option<Arc<dyn Functions>>,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// When the attempt ends with whoever makes it, whatever the stage's timeout; none means with that alone.
    pub ends_at: Option<Timestamp>,
}

/// What a processor may know of the chunk that it works on.
#[derive(Clone)]
pub struct Context<'a> {
    /// The run, with its pipeline and its pinned source.
    pub run: &'a Run,
    /// The stage.
    pub stage: &'a Stage,
    /// How records and fields are told apart.
    pub dialect: Dialect,
    /// The source's header without line end, where it has one.
    pub header: Option<&'a [u8]>,
    /// How the source's lines end.
    pub line_end: LineEnd,
    /// What names the chunk's records together with their offsets, whoever does the chunk and however often.
    pub identity: String,
    /// Where its first record stands, in bytes: in the source, or in what the chunk of a later stage reads.
    pub offset: u64,
    /// The chunk's index.
    pub chunk: u32,
    /// Which attempt at the chunk it is, from 1.
    pub attempt: u32,
    /// Milliseconds that the processor may take.
    pub timeout_ms: u64,
    /// The worker's environment.
    pub inherited: &'a Inherited,
    /// Where objects are that records name, or that are made of them.
    pub objects: &'a dyn Objects,
    /// Where rows are written; none writes none.
    pub tables: Option<&'a Arc<dyn Tables>>,
    /// How others are asked; none asks nobody.
    pub outside: Option<&'a Outside>,
    /// The last line of output before the chunk, where the stage is sequential.
    pub previous: Option<&'a str>,
}

/// Whether the processor looks at the source's header.
pub fn wants_header(process: &Process) -> bool {
    match process {
        Process::Orders { .. } | Process::Command { .. } => true,
        Process::Http(http) => http.needs_header(),
        Process::Copy | Process::Index | Process::Resize(_) | Process::Lambda(_) => false,
    }
}

/// Makes the processor that the run's stage names.
///
/// # Errors
/// The processor cannot work on such a source, or its command cannot be started.
pub fn start<'a>(context: &Context<'a>) -> Result<Box<dyn Processor + 'a>, ProcessError> {
    Ok(match &context.stage.process {
        Process::Copy => Box::new(copy::Copy),
        Process::Index => Box::new(index::Index::new(context.dialect)),
        Process::Http(http) => Box::new(http::Http::new(context, http)?),
        Process::Orders { .. } => Box::new(orders::Orders::new(context)?),
        Process::Lambda(function) => Box::new(lambda::Lambda::new(context, function)?),
        Process::Resize(options) => Box::new(resize::Images::new(context, options)),
        Process::Command { argv, header_on_stdin, credentials, env } => {
            let given = command::Given { credentials: *credentials, env };
            Box::new(command::Command::start(context, argv, *header_on_stdin, given)?)
        }
    })
}

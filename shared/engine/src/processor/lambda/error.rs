//! Why a function gave no list, in words that a person can act on.

use fanfold_domain::FunctionName;
use fanfold_ports::functions::InvokeError;
use thiserror::Error;

use super::answer::Unreadable;

/// Why a function gave no list.
#[derive(Debug, Error)]
pub enum LambdaError {
    /// It failed.
    #[error("function {function} failed{}: {failure}", at(*.page))]
    Failed {
        /// Which function.
        function: FunctionName,
        /// At which page, from 1.
        page: u32,
        /// What Lambda said of it, cut.
        failure: String,
    },
    /// What it gave is no list of items.
    #[error(
        "function {function} gave no list{}: {what}; it must give a JSON array of items, or \
         {{\"items\": [...], \"next\": ...}}",
        at(*.page)
    )]
    Unreadable {
        /// Which function.
        function: FunctionName,
        /// At which page, from 1.
        page: u32,
        /// What is wrong with it.
        what: Unreadable,
    },
    /// It would be asked for the same page for ever.
    #[error(
        "function {function} gave as `next` what it was given, {next}, at page {page}: its list would never end"
    )]
    SameNext {
        /// Which function.
        function: FunctionName,
        /// At which page, from 1.
        page: u32,
        /// What it gave, cut.
        next: String,
    },
    /// It went on for too long.
    #[error("function {function} gave a `next` with {limit} pages, and that is the most: make pages larger")]
    TooManyPages {
        /// Which function.
        function: FunctionName,
        /// The limit.
        limit: u32,
    },
    /// It did not end in time.
    #[error(
        "function {function} had given {pages} pages, and not the last, after {timeout_ms} ms, the plan step's timeout"
    )]
    OutOfTime {
        /// Which function.
        function: FunctionName,
        /// How many it had given.
        pages: u32,
        /// The limit in milliseconds.
        timeout_ms: u64,
    },
    /// It could not be invoked.
    #[error("{source}{}", advice(.source))]
    Invoke {
        /// Why.
        source: InvokeError,
    },
    /// The worker has no way to invoke anything.
    #[error("functions cannot be invoked here")]
    NoFunctions,
}

impl LambdaError {
    /// Whether another try may end differently: any function may have had a bad moment, but one that is not there,
    /// or gives something else than a list, is to be mended first.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Failed { .. } | Self::OutOfTime { .. } => true,
            Self::Invoke { source: InvokeError::Port(error) } => !error.is_permanent(),
            Self::Invoke { .. }
            | Self::Unreadable { .. }
            | Self::SameNext { .. }
            | Self::TooManyPages { .. }
            | Self::NoFunctions => false,
        }
    }
}

fn advice(error: &InvokeError) -> &'static str {
    match error {
        InvokeError::Denied { .. } => {
            "; the stack's PlanFunctionArns must name its ARN, with the alias if the pipeline has one"
        }
        InvokeError::Missing { .. } | InvokeError::Port(_) => "",
    }
}

/// Most functions give one page, and need not be told which.
fn at(page: u32) -> String {
    if page == 1 { String::new() } else { format!(" at page {page}") }
}

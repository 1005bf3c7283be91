//! A function of the user's own that gives the list of items: the plan step as a Lambda.
//!
//! It is invoked with what a command reads on stdin ([`PlanRequest`]), and again for each page: with what it gave
//! as `next`, until it gives none. A page is written before the next is asked for, so that memory holds one.
//!
//! An attempt that begins again asks for all pages again: what a function does beside listing it may do twice. The
//! list that is kept is of one attempt, whole.

mod answer;
mod error;

use std::{pin::Pin, sync::Arc};

use async_trait::async_trait;
use fanfold_domain::{FunctionName, Run};
use fanfold_ports::{
    Functions,
    functions::{InvokeError, Returned},
};
use futures::future::{Either, select};
use serde_json::value::RawValue;

use self::answer::{shown, take};
use super::{Context, LateVerdict, ProcessError, Processor, Reason, Record, Step};
use crate::plan::PlanRequest;

pub use error::LambdaError;

/// The most pages of a list: of 6 MB each they are more than a run has use for.
const MAX_PAGES: u32 = 10_000;

/// A function that is asked for its list.
pub(super) struct Lambda<'a> {
    functions: Arc<dyn Functions>,
    function: FunctionName,
    run: &'a Run,
    attempt: u32,
    /// What the last page gave as `next`.
    next: Option<Box<RawValue>>,
    /// How many pages it gave.
    pages: u32,
    /// Ready when the attempt's time is up.
    up: Pin<Box<dyn Future<Output = ()> + Send>>,
    timeout_ms: u64,
}

impl<'a> Lambda<'a> {
    pub(super) fn new(context: &Context<'a>, function: &FunctionName) -> Result<Self, LambdaError> {
        let outside = context.outside.ok_or(LambdaError::NoFunctions)?;
        let functions = outside.functions.clone().ok_or(LambdaError::NoFunctions)?;
        let (clock, timeout_ms) = (outside.clock.clone(), context.timeout_ms);
        Ok(Self {
            functions,
            function: function.clone(),
            run: context.run,
            attempt: context.attempt,
            next: None,
            pages: 0,
            up: Box::pin(async move { clock.sleep_ms(timeout_ms).await }),
            timeout_ms,
        })
    }

    /// Writes one page, and says whether there is another.
    async fn page(&mut self, out: &mut Vec<u8>) -> Result<Step<()>, LambdaError> {
        let returned = self.invoke().await?;
        let (function, page) = (self.function.clone(), self.pages + 1);
        let answer = match returned {
            Returned::Answer(answer) => answer,
            Returned::Failure(failure) => {
                return Err(LambdaError::Failed { function, page, failure: shown(&failure) });
            }
        };
        let next = match take(&answer, out) {
            Ok(next) => next,
            Err(what) => return Err(LambdaError::Unreadable { function, page, what }),
        };
        self.pages = page;
        let Some(next) = next else { return Ok(Step::Done(())) };
        if self.next.as_ref().is_some_and(|given| given.get() == next.get()) {
            return Err(LambdaError::SameNext { function, page, next: shown(next.get()) });
        }
        if page == MAX_PAGES {
            return Err(LambdaError::TooManyPages { function, limit: MAX_PAGES });
        }
        self.next = Some(next);
        Ok(Step::Again)
    }

    async fn invoke(&mut self) -> Result<Returned, LambdaError> {
        let request = PlanRequest::of_page(self.run, self.attempt, self.next.as_deref());
        let invoked = self.functions.invoke(&self.function, request.to_json().into());
        match select(invoked, &mut self.up).await {
            Either::Left((invoked, _)) => {
                invoked.map_err(|source: InvokeError| LambdaError::Invoke { source })
            }
            Either::Right(_) => {
                let (function, pages, timeout_ms) = (self.function.clone(), self.pages, self.timeout_ms);
                Err(LambdaError::OutOfTime { function, pages, timeout_ms })
            }
        }
    }
}

#[async_trait]
impl Processor for Lambda<'_> {
    /// The record is the request, which is made anew for each page.
    fn record(&mut self, _record: Record<'_>, _out: &mut Vec<u8>) -> Result<(), Reason> {
        Ok(())
    }

    async fn finish(&mut self, out: &mut Vec<u8>) -> Result<Step<Vec<LateVerdict>>, ProcessError> {
        Ok(match self.page(out).await? {
            Step::Again => Step::Again,
            Step::Done(()) => Step::Done(Vec::new()),
        })
    }
}

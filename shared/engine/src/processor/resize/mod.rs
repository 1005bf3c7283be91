//! `resize`: a list of images in, a smaller image of each beside the part, and a line of what came of it.
//!
//! What is broken is a bad record, whether the record or the image that it names; a read or write that may go well
//! another time is a try that failed. What an earlier try made is found and not made again.

mod image;
mod item;
mod memory;

use std::mem;

use async_trait::async_trait;
use fanfold_domain::pipeline::Resize;
use futures::{StreamExt, stream};

use self::{
    image::{Maker, Trouble},
    item::Item,
};
use super::{Context, LateVerdict, ProcessError, Processor, Reason, Record, Step};

/// As many images are worked on before what was written of them is sent: some hundred KiB.
const BATCH: usize = 1_000;

/// Images on their way from a list to a bucket.
pub(super) struct Images<'a> {
    maker: Maker<'a>,
    at_once: usize,
    /// How many may be bad before the chunk has failed, and no more need be made.
    bad_at_most: usize,
    /// Records that were read and not worked on, with their numbers.
    waiting: Vec<(u64, Result<Item, String>)>,
    records: u64,
    verdicts: Vec<LateVerdict>,
}

impl<'a> Images<'a> {
    pub(super) fn new(context: &Context<'a>, options: &'a Resize) -> Self {
        let most = context.run.pipeline.on_error.max_bad_records;
        Self {
            maker: Maker::new(context.objects, context.run, options),
            at_once: options.at_once as usize,
            bad_at_most: usize::try_from(most).unwrap_or(usize::MAX),
            waiting: Vec::new(),
            records: 0,
            verdicts: Vec::new(),
        }
    }

    /// Works on what waits, up to a batch, and appends lines in the order of the records.
    async fn work(&mut self, out: &mut Vec<u8>) -> Result<Step<()>, ProcessError> {
        let rest = self.waiting.split_off(self.waiting.len().min(BATCH));
        let batch = mem::replace(&mut self.waiting, rest);
        let maker = &self.maker;
        let make = async |(record, item): (u64, Result<Item, String>)| match item {
            Ok(item) => (record, maker.make(&item).await),
            Err(reason) => (record, Err(Trouble::Bad(reason))),
        };
        let mut made = stream::iter(batch).map(make).buffered(self.at_once);
        while let Some((record, made)) = made.next().await {
            match made {
                Ok(line) => {
                    serde_json::to_writer(&mut *out, &line).expect("a line has only JSON's types");
                    out.push(b'\n');
                }
                Err(Trouble::Bad(reason)) => self.verdicts.push(LateVerdict { record, reason }),
                Err(Trouble::Port(error)) => return Err(error.into()),
            }
            if self.verdicts.len() > self.bad_at_most {
                self.waiting.clear();
                break;
            }
        }
        Ok(if self.waiting.is_empty() { Step::Done(()) } else { Step::Again })
    }
}

#[async_trait]
impl Processor for Images<'_> {
    /// Never refuses: whoever tells bad records at the end tells all of them there.
    fn record(&mut self, record: Record<'_>, _out: &mut Vec<u8>) -> Result<(), Reason> {
        self.records += 1;
        if self.verdicts.len() <= self.bad_at_most {
            self.waiting.push((self.records, Item::read(record.body)));
        }
        Ok(())
    }

    async fn flush(&mut self, out: &mut Vec<u8>) -> Result<Step<()>, ProcessError> {
        self.work(out).await
    }

    async fn finish(&mut self, out: &mut Vec<u8>) -> Result<Step<Vec<LateVerdict>>, ProcessError> {
        Ok(match self.work(out).await? {
            Step::Again => Step::Again,
            Step::Done(()) => Step::Done(mem::take(&mut self.verdicts)),
        })
    }
}

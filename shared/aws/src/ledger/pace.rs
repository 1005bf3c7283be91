//! How often a destination is asked: its cursor.
//!
//! Key: `pk` = `pace#{destination}`, `sk` = `pace`.
//! Value: `rate` in force, as it is written; `next_us`, the first slot that nobody has, in microseconds since 1970, 0
//! before anybody asked.
//! Lifetime: `expires_at`, 60 days after anybody last asked or the rate was changed: then the next to ask begins with its
//! pipeline's rate.
//!
//! DynamoDB can add and compare, and no more. So a reservation is one of two updates, each on the condition that the
//! rate is the one that it reckons with: a cursor that is ahead is moved by what is wanted, one that was left behind is
//! set beyond the present. Who finds the condition broken is told the item, and so which one it is. An update that the SDK
//! repeats after a lost answer wastes a block, and gives none twice.

use std::num::NonZeroU32;

use async_trait::async_trait;
use fanfold_domain::{
    Destination, Pace, Rate, Timestamp,
    pace::{HORIZON_US, Reserved, Slots},
};
use fanfold_ports::{Fault, Pacer, PortError};

use super::expression::Update;
use super::item::{Item, Malformed, key, number, read_number, read_text, text};
use super::table::Updated;
use super::{DynamoLedger, lifetime};

/// How often a cursor is looked at anew that others move meanwhile: each time one of them got its slots.
const TRIES: u32 = 16;

#[async_trait]
impl Pacer for DynamoLedger {
    async fn reserve(
        &self,
        destination: &Destination,
        initial: Rate,
        wanted: NonZeroU32,
        from: Timestamp,
    ) -> Result<Reserved, PortError> {
        // Most often it was asked before, a moment ago, at the rate of the pipeline.
        let mut seen = Some(Pace { rate: initial, next_us: from.us() });
        for _ in 0..TRIES {
            let (update, slots) = match seen.map(|pace| (pace, pace.due(wanted, from))) {
                None => begin(initial, Slots::block(initial, wanted, from.us())),
                Some((_, later @ Reserved::Later(_))) => return Ok(later),
                Some((pace, Reserved::Slots(slots))) if pace.next_us < from.us() => {
                    catch_up(pace.rate, slots, from)
                }
                Some((pace, Reserved::Slots(slots))) => move_on(pace.rate, slots, from),
            };
            seen = match self.update("reserve", item_key(destination), update).await? {
                Updated::Now(item) => {
                    let end_us = read(&item).map_err(|error| error.error("reserve", destination))?.next_us;
                    let first_us = end_us.saturating_sub(slots.worth_us());
                    return Ok(Reserved::Slots(Slots { first_us, ..slots }));
                }
                Updated::Refused(None) => None,
                Updated::Refused(Some(item)) => {
                    Some(read(&item).map_err(|error| error.error("reserve", destination))?)
                }
            };
        }
        let detail = "others moved its cursor each time";
        Err(PortError::new(Fault::Transient, "reserve", destination, detail))
    }

    async fn pace(&self, destination: &Destination) -> Result<Option<Pace>, PortError> {
        let item = self.get("pace", item_key(destination), true).await?;
        item.as_ref().map(read).transpose().map_err(|error| error.error("pace", destination))
    }

    async fn set_rate(&self, destination: &Destination, rate: Rate) -> Result<(), PortError> {
        let update = Update::default()
            .set("rate", text(rate.to_string()))
            .set("expires_at", number(lifetime::of_counters()))
            .add("next_us", number(0));
        self.update("set_rate", item_key(destination), update).await?;
        Ok(())
    }
}

/// The first slots that anybody takes.
fn begin(rate: Rate, slots: Slots) -> (Update, Slots) {
    let update = Update::default()
        .set("rate", text(rate.to_string()))
        .set("next_us", number(slots.first_us + slots.worth_us()))
        .set("expires_at", number(lifetime::of_counters()))
        .only_if_absent("pk");
    (update, slots)
}

/// The next slots of a cursor that was left behind.
fn catch_up(rate: Rate, slots: Slots, from: Timestamp) -> (Update, Slots) {
    let update = Update::default()
        .set("next_us", number(from.us() + slots.worth_us()))
        .set("expires_at", number(lifetime::of_counters()))
        .only_if("rate", "=", text(rate.to_string()))
        .only_if("next_us", "<", number(from.us()));
    (update, slots)
}

/// The next slots of a cursor that is ahead, though not too far.
fn move_on(rate: Rate, slots: Slots, from: Timestamp) -> (Update, Slots) {
    let update = Update::default()
        .set("expires_at", number(lifetime::of_counters()))
        .add("next_us", number(slots.worth_us()))
        .only_if("rate", "=", text(rate.to_string()))
        .only_if("next_us", ">=", number(from.us()))
        .only_if("next_us", "<=", number(from.us() + HORIZON_US));
    (update, slots)
}

fn item_key(destination: &Destination) -> Item {
    key(format!("pace#{destination}"), "pace")
}

pub(super) fn read(item: &Item) -> Result<Pace, Malformed> {
    let rate = read_text(item, "rate")?.parse().map_err(|_| Malformed::of("rate"))?;
    Ok(Pace { rate, next_us: read_number(item, "next_us")? })
}

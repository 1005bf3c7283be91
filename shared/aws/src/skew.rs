//! The time of AWS, as each answer's header `Date` has it: all clients correct one clock by it.

use std::sync::Arc;

use aws_sdk_dynamodb::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use fanfold_domain::{Timestamp, skew::MOST_OFF_MS};
use fanfold_ports::{Clock, SyncedClock};

use crate::SystemClock;

/// Tells the clock what each answer says of the time.
#[derive(Debug, Clone)]
pub(crate) struct TellTime(pub(crate) Arc<SyncedClock<SystemClock>>);

/// When an attempt at a request was sent, by the machine's own clock.
#[derive(Debug)]
struct Asked(Timestamp);

impl Storable for Asked {
    type Storer = StoreReplace<Self>;
}

impl Intercept for TellTime {
    fn name(&self) -> &'static str {
        "time of answers"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        state: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        state.interceptor_state().store_put(Asked(self.0.own.now()));
        Ok(())
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        state: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        if let (Some(asked), Some(second)) = (state.load::<Asked>(), date.and_then(second)) {
            let [off_ms, before_ms] = self.0.answered(asked.0, second);
            if off_ms >= MOST_OFF_MS && before_ms < MOST_OFF_MS {
                tracing::warn!(off_ms, "the machine's clock is off, and AWS's time is gone by");
            }
        }
        Ok(())
    }
}

/// The moment that an HTTP date names.
fn second(date: &str) -> Option<Timestamp> {
    let since = httpdate::parse_http_date(date).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_a_second() {
        assert_eq!(second("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Timestamp(784_111_777_000)));
        assert_eq!(second("yesterday"), None);
    }
}

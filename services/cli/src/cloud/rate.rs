//! `fanfold rate`: how often a destination is asked.

use anyhow::anyhow;
use fanfold_domain::{Pace, Rate, pipeline::Pipeline};
use serde_json::json;

use super::Stack;
use crate::{Failed, arguments::RateArguments, say};

pub(super) async fn run(stack: &Stack, arguments: &RateArguments) -> Result<(), Failed> {
    let RateArguments { destination, rate, json } = arguments;
    let pacer = &stack.ports.pacer;
    if let Some(rate) = rate {
        pacer.set_rate(destination, *rate).await?;
    }
    let Some(pace) = pacer.pace(destination).await? else {
        return Err(anyhow!(
            "nobody has asked {destination} yet, so that no rate is kept of it: a run begins with its pipeline's"
        )
        .into());
    };
    let ahead_ms = (pace.next_us / 1_000).saturating_sub(stack.ports.clock.now().0);
    if *json {
        let shown =
            json!({ "destination": destination.as_str(), "rate": pace.rate, "taken_ahead_ms": ahead_ms });
        return Ok(say::json(&shown)?);
    }
    let use_of_it = if ahead_ms > 0 { "is asked" } else { "is not asked now" };
    Ok(say::line(&format!("{destination} has {}, and {use_of_it}", pace.rate))?)
}

/// Says of each destination of a pipeline whose rate in force is another than the pipeline's: that one is what it begins
/// with, and changes nothing later.
pub(super) async fn tell_others(stack: &Stack, pipeline: &Pipeline) -> Result<(), Failed> {
    for stage in &pipeline.stages {
        let Some((destination, declared)) = stage.destination(&pipeline.name) else { continue };
        let kept = stack.ports.pacer.pace(&destination).await?;
        if let Some(note) = other(kept, declared) {
            say::note(&format!("{destination} {note}: `fanfold rate {destination} {declared}` changes it"));
        }
    }
    Ok(())
}

fn other(kept: Option<Pace>, declared: Rate) -> Option<String> {
    let in_force = kept?.rate;
    (in_force != declared).then(|| format!("has {in_force} in force, and the document says {declared}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_a_document_does_not_change_is_told() {
        let [five, six] = ["5/s", "6/s"].map(|rate| rate.parse::<Rate>().unwrap());
        assert_eq!(other(None, five), None);
        assert_eq!(other(Some(Pace::new(five)), five), None);
        assert_eq!(other(Some(Pace::new(six)), five).unwrap(), "has 6/s in force, and the document says 5/s");
    }
}

//! What must be true of all requests that a third party was sent.

use std::collections::{BTreeMap, BTreeSet};

use fanfold_domain::{
    ChunkIndex, Destination, Rate, Run,
    pace::HORIZON_US,
    pipeline::{Format, Order, Stage},
};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    driver::Driver,
    record::{Record, short},
    skew::apart_ms,
    third_party::Asked,
};

/// The namespace of the namespaces of pipelines, as ARCHITECTURE.md has it.
const FANFOLD: Uuid = Uuid::from_u128(0x6f1d_2c0a_94b7_5e53_8a41_c3d0_7be9_12f6);
/// How far what arrives may be off its slot: half of it for its worker, half for the network.
const TOLERANCE_MS: u64 = 100;
/// For how long a rate that was replaced may still be met: slots that were given, those of the last block, and the most
/// that a reservation may take.
const LAST_SLOTS_MS: u64 = HORIZON_US / 1_000 + 200 + 1_000 + TOLERANCE_MS;

pub(crate) fn check(driver: &Driver, record: &Record) -> Result<(), String> {
    check_keys(driver, record)?;
    check_orders(record)?;
    arrivals(record).iter().try_for_each(|(destination, (initial, at))| {
        check_rate(record, destination, *initial, at, apart_ms(driver.scenario.skew_ms))
    })
}

/// A request's key that came more than once, if there is one.
pub(crate) fn asked_again(record: &Record) -> Option<&str> {
    let mut keys = BTreeSet::new();
    record.asked.iter().map(|asked| asked.key.as_str()).find(|key| !keys.insert(*key))
}

/// A request's key is that of its record, whoever makes it and however often, and no other record's.
fn check_keys(driver: &Driver, record: &Record) -> Result<(), String> {
    let mut records: BTreeMap<&str, (&str, Value)> = BTreeMap::new();
    for asked in &record.asked {
        let (run, stage) = asker(record, asked)?;
        let (what, at) = asked.record();
        let is_key = |chunk: &ChunkIndex| key(run, stage, *chunk, at) == asked.key;
        if !asked.errand.chunks.iter().any(is_key) {
            return Err(format!("{} is not the key of the record at byte {at} of {}", asked.key, stage.name));
        }
        let known = records.entry(&asked.key).or_insert((&stage.name, what.clone()));
        // An odd program sees other bytes each time.
        if *known != (stage.name.as_str(), what) && driver.scenario.odd_attempts_percent == 0 {
            return Err(format!("{} is the key of two records, {known:?} and {asked:?}", asked.key));
        }
    }
    Ok(())
}

fn asker<'a>(record: &'a Record, asked: &Asked) -> Result<(&'a Run, &'a Stage), String> {
    let run = record.runs.get(&asked.errand.run).ok_or("a request of no run")?;
    let place = run.pipeline.stage_index(&asked.errand.stage).ok_or("a request of no stage")?;
    Ok((run, &run.pipeline.stages[place]))
}

/// The key of a record, derived here once more.
fn key(run: &Run, stage: &Stage, chunk: ChunkIndex, offset: u64) -> String {
    let namespace = Uuid::new_v5(&FANFOLD, format!("{}/{}", run.pipeline.name, stage.name).as_bytes());
    let name = if stage.upstream.is_some() {
        format!("{}/{}/{chunk}:{offset}", run.id, stage.name)
    } else if matches!(run.pipeline.source.format, Format::Ids(_)) {
        format!("{}/{}:{offset}", run.id, stage.name)
    } else {
        let input = run.input();
        format!("{}/{}@{}:{offset}", input.object.bucket, input.object.key, input.version_or_etag())
    };
    Uuid::new_v5(&namespace, name.as_bytes()).to_string()
}

/// No record of a sequential stage is asked for the first time once a later one was.
fn check_orders(record: &Record) -> Result<(), String> {
    let mut newest: BTreeMap<(&str, &str), (ChunkIndex, u64)> = BTreeMap::new();
    let mut keys = BTreeSet::new();
    for asked in &record.asked {
        let (run, stage) = asker(record, asked)?;
        let [chunk] = asked.errand.chunks[..] else { continue };
        if stage.order != Order::Sequential || !keys.insert((&run.id, &asked.key)) {
            continue;
        }
        let place = (chunk, asked.record().1);
        let before = newest.insert((run.id.as_str(), &stage.name), place);
        if before.is_some_and(|before| before > place) {
            let (id, name) = (short(&run.id), &stage.name);
            return Err(format!("{place:?} of {id}'s {name} was asked first after {before:?}"));
        }
    }
    Ok(())
}

/// The rate that each destination begins with that has one, and when requests arrived there, in order.
fn arrivals(record: &Record) -> BTreeMap<Destination, (Rate, Vec<u64>)> {
    let mut arrivals: BTreeMap<_, (Rate, Vec<u64>)> = BTreeMap::new();
    for asked in &record.asked {
        let destination =
            asker(record, asked).ok().and_then(|(run, stage)| stage.destination(&run.pipeline.name));
        if let Some((destination, initial)) = destination {
            arrivals.entry(destination).or_insert_with(|| (initial, Vec::new())).1.push(asked.at_ms);
        }
    }
    arrivals
}

/// In no second has a destination more requests than it may, whoever makes them: as many as it has slots in that second
/// and in the time that the clocks of those who use them may be apart.
fn check_rate(
    record: &Record,
    destination: &Destination,
    initial: Rate,
    arrivals: &[u64],
    apart_ms: u64,
) -> Result<(), String> {
    for (place, from) in arrivals.iter().enumerate() {
        let count = arrivals[place..].partition_point(|at| *at < from + 1_000) as u64;
        let interval_us = least_interval_us(record, destination, initial, *from, apart_ms);
        let most = (1_000 + TOLERANCE_MS + apart_ms) * 1_000 / interval_us + 1;
        if count > most {
            return Err(format!(
                "{destination} had {count} requests in the second from {from} ms on, and may have {most}"
            ));
        }
    }
    Ok(())
}

/// Of the rates that may be met in the second from a moment on, the highest one's.
fn least_interval_us(
    record: &Record,
    destination: &Destination,
    initial: Rate,
    from: u64,
    apart_ms: u64,
) -> u64 {
    let changes = record.rates.get(destination).map_or(&[][..], Vec::as_slice);
    let begun = [(0, initial)].into_iter().chain(changes.iter().copied());
    let ends = changes.iter().map(|(at, _)| *at).chain([u64::MAX]);
    let met = begun.zip(ends).filter(|((begins, _), ends)| {
        *begins < from + 1_000 + apart_ms && ends.saturating_add(LAST_SLOTS_MS + apart_ms) > from
    });
    met.map(|((_, rate), _)| rate.interval_us()).min().unwrap_or(1)
}

//! The table's items, in DynamoDB's JSON, as `shared/aws` writes them: so that one recording serves both its tests, which
//! read them as the functions do, and the simulation, whose ledger is filled with them.

use std::{collections::BTreeSet, fmt::Display, str::FromStr};

use fanfold_domain::{
    ChunkIndex, Destination, GroupCount, GroupIndex, Launch, ObjectName, Outage, Ownership, Pace, RootCount,
    RunId, Sums, Timestamp, cluster::Cluster, message::Failure,
};
use fanfold_ports::{
    ledger::{KeptPipeline, StageId},
    memory::LedgerContents,
};
use serde_json::{Map, Value, json};

const DAY_S: u64 = 24 * 60 * 60;

/// All items of a stack's table.
#[derive(Debug, Default)]
pub(crate) struct Items {
    pub(crate) ledger: LedgerContents,
    pub(crate) launches: Vec<(StageId, Launch)>,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) outages: Vec<(String, Outage)>,
    pub(crate) paces: Vec<(Destination, Pace)>,
}

impl Items {
    /// The items as the table has them at `now`.
    pub(crate) fn write(&self, now: Timestamp) -> Vec<Value> {
        let counters_expire = number(now.0 / 1_000 + 60 * DAY_S);
        let counters = |pk: String, sums: Sums, sets: Vec<(String, Value)>| {
            let sets = sets.into_iter().chain([("expires_at".to_owned(), counters_expire.clone())]);
            item(pk, "count", sets.chain(sums_of(sums)))
        };
        let mut items = Vec::new();
        for run in &self.ledger.runs {
            let mut attributes = vec![
                ("document", document(run)),
                ("revision", number(run.revision)),
                ("state", text(&run.state)),
                ("kind", text(&"run")),
                ("created_at", number(run.created_at.0)),
                ("deadline_at", number(run.deadline_at.0)),
                ("expires_at", number(run.deadline_at.0 / 1_000 + 30 * DAY_S)),
                ("writer", text(&"17")),
            ];
            if !run.is_settled() {
                attributes.push(("unfinished", text(&"run")));
            }
            items.push(item(format!("run#{}", run.id), "run", named(attributes)));
        }
        for (output, owner) in &self.ledger.owners {
            let attributes =
                [("run", text(&owner.run)), ("epoch", number(owner.epoch)), ("document", document(owner))];
            let pk = format!("output#{}/{}", output.bucket, output.key);
            items.push(item(pk, "owner", named(attributes)));
        }
        for ((stage, group), count) in &self.ledger.groups {
            let sets = [
                ("done", &count.done),
                ("failed", &count.failed),
                ("handed", &count.handed),
                ("sent_next", &count.sent_next),
            ];
            let sets = sets.into_iter().map(|(name, set)| (name.to_owned(), set));
            let readers = count.sent_readers.iter().map(|(place, set)| (format!("sent_reader_{place}"), set));
            // DynamoDB has no empty sets.
            let sets = sets.chain(readers).filter(|(_, set)| !set.is_empty());
            let sets = sets.map(|(name, set)| (name, numbers(set))).collect();
            items.push(counters(format!("group#{}#{group}", path(stage)), count.sums, sets));
        }
        for (stage, root) in &self.ledger.roots {
            let sets = vec![("folded".to_owned(), numbers(&root.folded))];
            items.push(counters(format!("root#{}", path(stage)), root.sums, sets));
        }
        for ((stage, chunk), failure) in &self.ledger.failures {
            let attributes = [("document", document(failure)), ("expires_at", counters_expire.clone())];
            let pk = format!("failures#{}", path(stage));
            items.push(item(pk, format!("{:07}", chunk.0), named(attributes)));
        }
        for kept in &self.ledger.pipelines {
            let attributes = [("version", number(kept.version)), ("document", document(&kept.pipeline))];
            items.push(item("pipeline", &kept.pipeline.name, named(attributes)));
        }
        for cluster in &self.clusters {
            items.push(item("cluster", &cluster.name, named([("document", document(cluster))])));
        }
        for (cluster, outage) in &self.outages {
            let attributes = [("document", document(outage)), ("expires_at", counters_expire.clone())];
            items.push(item("outage", cluster, named(attributes)));
        }
        for (destination, pace) in &self.paces {
            let attributes = [
                ("rate", text(&pace.rate)),
                ("next_us", number(pace.next_us)),
                ("expires_at", counters_expire.clone()),
            ];
            items.push(item(format!("pace#{destination}"), "pace", named(attributes)));
        }
        for (stage, launch) in &self.launches {
            let attributes = [
                ("document", document(launch)),
                ("revision", number(launch.revision)),
                ("writer", text(&"0000000000000017")),
                ("expires_at", counters_expire.clone()),
            ];
            let pk = format!("launches#{}", path(stage));
            items.push(item(pk, format!("{:04}", launch.index.0), named(attributes)));
        }
        items
    }

    /// Reads what was written, in this version or another.
    pub(crate) fn read(items: &[Value]) -> Self {
        let mut all = Self::default();
        for item in items {
            let (pk, sk) = (text_in(item, "pk"), text_in(item, "sk"));
            let (kind, rest) = pk.split_once('#').unwrap_or((pk, ""));
            match kind {
                "run" => all.ledger.runs.push(document_in(item)),
                "output" => {
                    let (bucket, key) = rest.split_once('/').expect("bucket and key");
                    let owner: Ownership = document_in(item);
                    all.ledger.owners.push((ObjectName::new(bucket, key), owner));
                }
                "group" => {
                    let (stage, group) = rest.rsplit_once('#').expect("stage and group");
                    let key = (stage_of(stage), GroupIndex(parsed(group)));
                    all.ledger.groups.push((key, group_in(item)));
                }
                "root" => {
                    let folded = numbers_in(item, "folded").into_iter().map(GroupIndex).collect();
                    let root = RootCount { folded, sums: sums_in(item) };
                    all.ledger.roots.push((stage_of(rest), root));
                }
                "failures" => {
                    let failure: Failure = document_in(item);
                    all.ledger.failures.push(((stage_of(rest), ChunkIndex(parsed(sk))), failure));
                }
                "pipeline" => {
                    let version = parsed(item["version"]["N"].as_str().expect("a number"));
                    all.ledger.pipelines.push(KeptPipeline { version, pipeline: document_in(item) });
                }
                "cluster" => all.clusters.push(document_in(item)),
                "outage" => all.outages.push((sk.to_owned(), document_in(item))),
                "pace" => {
                    let rate = parsed(text_in(item, "rate"));
                    let next_us = parsed(item["next_us"]["N"].as_str().expect("a number"));
                    all.paces.push((parsed(rest), Pace { rate, next_us }));
                }
                "launches" => all.launches.push((stage_of(rest), document_in(item))),
                other => panic!("an item of {other:?}"),
            }
        }
        all
    }
}

fn item(
    pk: impl Into<String>,
    sk: impl Into<String>,
    attributes: impl IntoIterator<Item = (String, Value)>,
) -> Value {
    let key = [("pk", pk.into()), ("sk", sk.into())].map(|(name, key)| (name.to_owned(), text(&key)));
    Value::Object(key.into_iter().chain(attributes).collect::<Map<_, _>>())
}

fn named<'a>(
    attributes: impl IntoIterator<Item = (&'a str, Value)>,
) -> impl Iterator<Item = (String, Value)> {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value))
}

fn sums_of(sums: Sums) -> impl Iterator<Item = (String, Value)> {
    let sums = serde_json::to_value(sums).expect("it has only JSON's types");
    let Value::Object(sums) = sums else { unreachable!("it has fields") };
    sums.into_iter().map(|(name, value)| (name, number(value)))
}

fn path(StageId { run, stage, generation }: &StageId) -> String {
    format!("{run}#{stage}#{generation}")
}

fn stage_of(path: &str) -> StageId {
    let [run, stage, generation] = path.split('#').collect::<Vec<_>>()[..] else { panic!("{path}") };
    let generation = serde_json::from_str(generation).expect("a number");
    StageId { run: parsed::<RunId>(run), stage: stage.to_owned(), generation }
}

fn group_in(item: &Value) -> GroupCount {
    let chunks =
        |name: &str| -> BTreeSet<ChunkIndex> { numbers_in(item, name).into_iter().map(ChunkIndex).collect() };
    let attributes = item.as_object().expect("an item");
    let readers = attributes.keys().filter_map(|name| Some((name, name.strip_prefix("sent_reader_")?)));
    GroupCount {
        done: chunks("done"),
        failed: chunks("failed"),
        handed: chunks("handed"),
        sent_next: chunks("sent_next"),
        sent_readers: readers.map(|(name, place)| (parsed(place), chunks(name))).collect(),
        sums: sums_in(item),
    }
}

fn text(value: &impl Display) -> Value {
    json!({"S": value.to_string()})
}

fn number(value: impl Display) -> Value {
    json!({"N": value.to_string()})
}

fn numbers<N: Display>(values: &BTreeSet<N>) -> Value {
    json!({"NS": values.iter().map(ToString::to_string).collect::<Vec<_>>()})
}

fn document(value: &impl serde::Serialize) -> Value {
    text(&serde_json::to_string(value).expect("the domain's types have only JSON's types"))
}

fn text_in<'a>(item: &'a Value, name: &str) -> &'a str {
    item[name]["S"].as_str().unwrap_or_else(|| panic!("{name} of {item}"))
}

fn numbers_in(item: &Value, name: &str) -> Vec<u32> {
    let numbers = item[name]["NS"].as_array().into_iter().flatten();
    numbers.map(|number| parsed(number.as_str().expect("a number"))).collect()
}

fn sums_in(item: &Value) -> Sums {
    let sum = |name: &str| item[name]["N"].as_str().map_or(0, parsed);
    Sums {
        records: sum("records"),
        bad_records: sum("bad_records"),
        bytes_in: sum("bytes_in"),
        bytes_out: sum("bytes_out"),
        failed_chunks: sum("failed_chunks"),
    }
}

fn document_in<T: serde::de::DeserializeOwned>(item: &Value) -> T {
    let text = text_in(item, "document");
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn parsed<T: FromStr<Err: Display>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{error}: {text}"))
}

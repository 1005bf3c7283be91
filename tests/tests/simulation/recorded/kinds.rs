//! What a snapshot has, by kinds: so that a recording has each kind of item, message and object with each of its fields,
//! and no more snapshots than that takes.

use std::collections::BTreeSet;

use serde_json::Value;

/// The kinds that a snapshot has.
pub(super) fn kinds(snapshot: &Value) -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    let list = |name: &str| snapshot[name].as_array().cloned().unwrap_or_default();
    let mut states = BTreeSet::new();
    for item in list("items") {
        let pk = item["pk"]["S"].as_str().unwrap_or_default();
        let kind = pk.split('#').next().unwrap_or_default();
        for (attribute, value) in item.as_object().into_iter().flatten() {
            kinds.insert(format!("item {kind}: {attribute}"));
            if attribute == "document" {
                let document: Value =
                    serde_json::from_str(value["S"].as_str().unwrap_or("null")).unwrap_or_default();
                fields(&document, &format!("item {kind}: document"), &mut kinds);
            }
        }
        if let Some(state) = item["state"]["S"].as_str().filter(|_| kind == "run") {
            kinds.insert(format!("run {state}"));
            states.insert(state.to_owned());
        }
    }
    owners(&list("items"), &mut kinds);
    for (list_name, what) in [("messages", "message"), ("dead", "dead message")] {
        for message in list(list_name) {
            let queue = message["queue"].as_str().unwrap_or_default();
            let body: Value =
                serde_json::from_str(message["body"].as_str().unwrap_or("null")).unwrap_or_default();
            let name = body["kind"].as_str().or(body["detail-type"].as_str()).unwrap_or_default();
            fields(&body, &format!("{what} {queue} {name}"), &mut kinds);
            if what == "message" {
                kinds.extend(states.iter().map(|state| format!("{queue} while {state}")));
            }
        }
    }
    for object in list("objects") {
        let key = object["key"].as_str().unwrap_or_default();
        let bucket = object["bucket"].as_str().unwrap_or_default();
        let class = if bucket == "work" { class(key) } else { String::new() };
        kinds.insert(format!("object {bucket} {class}"));
        fields(&object["metadata"], &format!("object {bucket} {class}: metadata"), &mut kinds);
        // Of lines, those of one kind have the same fields.
        let text = object["text"].as_str().unwrap_or_default();
        if let Some(Ok(line @ Value::Object(_))) = text.lines().next().map(serde_json::from_str) {
            fields(&line, &format!("object {bucket} {class}: line"), &mut kinds);
        }
    }
    for upload in list("uploads") {
        kinds.insert(format!("upload {}", upload["bucket"].as_str().unwrap_or_default()));
        kinds.extend(states.iter().map(|state| format!("an upload while {state}")));
    }
    for map in list("maps") {
        kinds.insert(format!("map of {}", map["children"]));
    }
    if !list("jobs").is_empty() {
        kinds.insert("job".to_owned());
    }
    kinds
}

/// How outputs stand to their owners' runs: a taking may have been cut in the middle.
fn owners(items: &[Value], kinds: &mut BTreeSet<String>) {
    let document = |item: &Value| -> Value {
        serde_json::from_str(item["document"]["S"].as_str().unwrap_or("null")).unwrap_or_default()
    };
    let of = |prefix: &str| -> Vec<Value> {
        let is_of = |item: &&Value| item["pk"]["S"].as_str().is_some_and(|pk| pk.starts_with(prefix));
        items.iter().filter(is_of).map(document).collect()
    };
    let runs = of("run#");
    let run = |id: &Value| runs.iter().find(|run| run["id"] == *id);
    let is_live = |run: &Value| matches!(run["state"].as_str(), Some("planning" | "running" | "completing"));
    for owner in of("output#") {
        if run(&owner["run"]).is_some_and(|run| run["epoch"] != owner["epoch"]) {
            kinds.insert("an owner that does not know it".to_owned());
        }
        if let Some(state) =
            run(&owner["former"]).filter(|run| is_live(run)).and_then(|run| run["state"].as_str())
        {
            kinds.insert(format!("a former owner that is {state}"));
        }
    }
}

/// What is written of a value: each field that has something in it. Of what a pipeline's document says, no more than that
/// it is there: that is a matter of pipelines' own tests.
fn fields(value: &Value, path: &str, kinds: &mut BTreeSet<String>) {
    let inner = match value {
        Value::Null | Value::Bool(false) => return,
        Value::Number(number) if number.as_u64() == Some(0) => return,
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.as_str(), field)).collect(),
        Value::Array(values) if values.is_empty() => return,
        Value::Array(values) => values.iter().map(|value| ("", value)).collect(),
        _ => Vec::new(),
    };
    kinds.insert(path.to_owned());
    if path.ends_with(".pipeline") || path.starts_with("item pipeline") || path.starts_with("object output") {
        return;
    }
    for (name, field) in inner {
        fields(field, &format!("{path}.{name}"), kinds);
    }
}

/// What a key in the work bucket is of.
fn class(key: &str) -> String {
    let mut words: Vec<&str> = key.split('/').collect();
    // The run's id and the generation are any.
    if words.len() > 2 && words[0] == "runs" {
        words[1] = "R";
    }
    let last = words.pop().unwrap_or_default();
    let suffix = last.rsplit_once('.').map_or("", |(_, suffix)| suffix);
    let what = match last.as_bytes().first() {
        Some(digit) if digit.is_ascii_digit() => "chunk",
        _ if last.starts_with("group-") => "group",
        _ if words.first() != Some(&"runs") => "of the user's program",
        _ => last,
    };
    let stage = words.get(2).copied().filter(|stage| matches!(*stage, "scan" | "plan")).unwrap_or("s");
    if words.len() > 2 { format!("{stage} {what}.{suffix}") } else { what.to_owned() }
}

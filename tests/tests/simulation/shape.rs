//! The shape of a pipeline: stages behind the first, and sources that are no object.

use serde_json::{Value, json};

use crate::{chance::Chance, source::Content, third_party};

/// What the keys of listed objects end with.
const SUFFIX: &str = ".txt";

/// What a run reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    Object,
    Ids,
    /// The objects under a prefix.
    Objects,
    /// What a plan step wrote.
    Items,
}

/// What a pipeline has beside its first stage.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) reads: Reads,
    /// What its first stage does, as its text, where that is to ask a third party.
    pub(crate) first: Option<String>,
    /// Further stages, each as its text.
    pub(crate) later: Vec<String>,
    /// The pipeline's source, where it is no object.
    pub(crate) source: Option<String>,
}

impl Shape {
    /// Draws one. Of a Map, stages wait for all of the one before.
    pub(crate) fn of(chance: &Chance, content: Content, is_on_clusters: bool, is_by_map: bool) -> Self {
        let reads = match (content, chance.within(0..100)) {
            (Content::Any, 0..10) => Reads::Ids,
            (Content::Any, 10..17) => Reads::Objects,
            (Content::Any, 17..24) => Reads::Items,
            _ => Reads::Object,
        };
        let percent = if reads == Reads::Object { 30 } else { 60 };
        let count =
            if content != Content::Large && chance.percent(percent) { chance.within(1..4) } else { 0 };
        let may_be_sequential = !is_on_clusters && !is_by_map;
        let asks = content == Content::Any && chance.percent(25);
        let first = asks.then(|| third_party::stage(chance, "s", may_be_sequential));
        let later = (1..=count).map(|place| later(chance, place, is_on_clusters, is_by_map)).collect();
        Self { reads, first, later, source: source(chance, reads) }
    }
}

fn source(chance: &Chance, reads: Reads) -> Option<String> {
    Some(match reads {
        Reads::Object => return None,
        Reads::Ids => {
            let from = chance.one_of(&[0, 1, 7, 95]);
            let range = match chance.within(0..3) {
                0 => format!("count: {}", chance.within(1..60)),
                1 => format!("from: {from}, to: {}", from + chance.within(0..60)),
                _ => "random: {least: 3, most: 50}".to_owned(),
            };
            // So short that some records are bad, of the first stage or of what it makes of them.
            let max_record =
                chance.one_of(&["", "", ", max_record: 1B", ", max_record: 5B", ", max_record: 6B"]);
            format!("source: {{range: {{{range}}}{max_record}}}")
        }
        Reads::Objects => format!("source: {{prefix: in/, suffix: {SUFFIX}, format: objects}}"),
        // The program is never come to: the list is there, as if its worker had died behind it.
        Reads::Items => "source: {items: plan}\nplan: {command: [./no-such-program]}".to_owned(),
    })
}

fn later(chance: &Chance, place: u64, is_on_clusters: bool, is_by_map: bool) -> String {
    let before = match place {
        1 => "s".to_owned(),
        _ if chance.percent(75) => format!("s{}", place - 1),
        _ => "s".to_owned(),
    };
    let by = if is_by_map || chance.percent(35) { "all" } else { "n_to_n" };
    let (by, aggregate) = if chance.percent(30) {
        ("all", format!(", aggregate: {{fan_in: {}}}", chance.within(2..5)))
    } else {
        (by, String::new())
    };
    let run_on = if is_on_clusters && chance.percent(50) { ", run_on: eks" } else { "" };
    let what = if chance.percent(25) {
        third_party::stage(chance, &format!("s{place}"), run_on.is_empty() && !is_by_map)
    } else {
        format!("process: {}", chance.one_of(&["copy", "index"]))
    };
    format!("{{name: s{place}, {what}, depends: {{stage: {before}, by: {by}}}{aggregate}{run_on}}}")
}

/// Objects under the prefix that a list is made of, and some that are not to be on it.
pub(crate) fn objects(chance: &Chance) -> Vec<(String, Vec<u8>)> {
    let mut objects: Vec<_> = (0..chance.within(1..25))
        .map(|number| {
            let bytes = vec![b'x'; usize::try_from(chance.within(0..200)).expect("small")];
            (format!("in/{number} \u{fc}{SUFFIX}"), bytes)
        })
        .collect();
    for other in ["in/a folder/", "in/other.csv", "elsewhere/a.txt"] {
        objects.push((other.to_owned(), b"none of it".to_vec()));
    }
    objects
}

/// What a plan step wrote.
pub(crate) fn items(chance: &Chance) -> Vec<u8> {
    let item = |number| json!({"item": number, "t": "q".repeat(usize::try_from(chance.within(0..9)).expect("small"))});
    let lines = (0..chance.within(1..30)).map(|number| format!("{}\n", item(number)));
    lines.collect::<String>().into_bytes()
}

/// Whether a list names all objects that are to be on it, in order, each as it stands there.
pub(crate) fn check_list(list: &[u8], put: &[(String, Vec<u8>)]) -> Result<(), String> {
    let mut wanted: Vec<(&str, u64)> = put
        .iter()
        .filter(|(key, _)| key.starts_with("in/") && key.ends_with(SUFFIX))
        .map(|(key, bytes)| (key.as_str(), bytes.len() as u64))
        .collect();
    wanted.sort_unstable();
    let lines = list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let lines: Vec<Value> =
        lines.map(serde_json::from_slice).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let found: Vec<(&str, u64)> = lines
        .iter()
        .map(|line| (line["key"].as_str().unwrap_or_default(), line["size"].as_u64().unwrap_or(u64::MAX)))
        .collect();
    if lines.iter().any(|line| line["etag"].as_str().is_none_or(str::is_empty)) {
        return Err(format!("its list pins not all of {wanted:?}"));
    }
    if found == wanted { Ok(()) } else { Err(format!("its list is {found:?}, and there is {wanted:?}")) }
}

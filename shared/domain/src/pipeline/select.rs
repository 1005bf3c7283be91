//! Which pipeline an object starts.

use std::cmp::Reverse;

use serde_json::Value as Json;

use super::{Format, Pipeline};

impl Pipeline {
    /// Whether an object of this key starts a run: the pipeline reads one object a run, and this may be it.
    pub fn matches(&self, key: &str) -> bool {
        self.source.is_object() && self.covers(key)
    }

    /// Whether the key has the source's prefix and suffix, is no folder (one that ends in `/`, as the console makes them)
    /// and nothing that this pipeline itself may have written.
    fn covers(&self, key: &str) -> bool {
        key.starts_with(&self.source.prefix)
            && key.ends_with(&self.source.suffix)
            && !key.ends_with('/')
            && !self.merge.may_write(key)
            && !self.stages.iter().any(|stage| stage.process.may_write(key))
    }
}

/// Which objects a pipeline takes whose document this version cannot read, as far as the document says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The pipeline's name.
    pub pipeline: String,
    prefix: String,
    suffix: String,
}

impl Claim {
    /// Reads prefix and suffix out of a stored document, whatever else stands there. `None` if it has no prefix: a
    /// pipeline that reads no object has none, and of any other nothing can be told.
    pub fn of(pipeline: &str, document: &str) -> Option<Self> {
        let document: Json = serde_json::from_str(document).ok()?;
        let source = document.get("source")?;
        let prefix = source.get("prefix")?.as_str()?.to_owned();
        let suffix = source.get("suffix").and_then(Json::as_str).unwrap_or_default().to_owned();
        Some(Self { pipeline: pipeline.to_owned(), prefix, suffix })
    }

    /// Like [`Pipeline::matches`], but for what the pipeline itself writes: that stands in what cannot be read.
    fn covers(&self, key: &str) -> bool {
        key.starts_with(&self.prefix) && key.ends_with(&self.suffix) && !key.ends_with('/')
    }
}

/// The pipeline that an object of this key starts, if any: that of the longest prefix; among equals that of the longest
/// suffix; then the first by name. The order in which they are given says nothing.
///
/// What a pipeline lists starts no other of a shorter prefix: photographs under `images/` are not for a pipeline that
/// takes every upload.
///
/// # Errors
/// An unreadable pipeline may take the object: its prefix and suffix match, and no readable pipeline matches by a longer
/// prefix (or an equal one and a longer suffix). Which pipeline the object starts cannot be told then, and it must not
/// go to another one.
pub fn select<'a>(
    pipelines: impl IntoIterator<Item = &'a Pipeline>,
    claims: impl IntoIterator<Item = &'a Claim>,
    key: &str,
) -> Result<Option<&'a Pipeline>, &'a Claim> {
    let lists = |pipeline: &Pipeline| pipeline.source.format == Format::Objects && pipeline.covers(key);
    let chosen =
        pipelines.into_iter().filter(|pipeline| pipeline.matches(key) || lists(pipeline)).max_by_key(|p| {
            (p.source.prefix.len(), p.source.suffix.len(), p.source.is_object(), Reverse(p.name.as_str()))
        });
    let length = |prefix: &str, suffix: &str| (prefix.len(), suffix.len());
    let claim = claims
        .into_iter()
        .filter(|claim| claim.covers(key))
        .max_by_key(|claim| length(&claim.prefix, &claim.suffix));
    if let Some(claim) = claim
        && chosen.is_none_or(|p| {
            length(&claim.prefix, &claim.suffix) >= length(&p.source.prefix, &p.source.suffix)
        })
    {
        return Err(claim);
    }
    Ok(chosen.filter(|chosen| chosen.source.is_object()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(name: &str, prefix: &str, suffix: &str, merge: &str) -> Pipeline {
        Pipeline::parse(&format!(
            "{{pipeline: {name}, source: {{prefix: '{prefix}', suffix: '{suffix}', format: lines}}, \
             stages: [{{name: s, process: index}}], merge: {{{merge}}}}}"
        ))
        .unwrap()
    }

    fn selected<const N: usize>(pipelines: [&Pipeline; N], key: &str) -> Option<String> {
        select(pipelines, [], key).unwrap().map(|pipeline| pipeline.name.clone())
    }

    #[test]
    fn prefix_and_suffix_must_both_match() {
        let orders = pipeline("orders", "orders/", ".csv", "");
        assert!(orders.matches("orders/2024/a.csv"));
        assert!(!orders.matches("orders/a.csv.gz"));
        assert!(!orders.matches("archive/orders/a.csv"));
    }

    #[test]
    fn folders_start_nothing() {
        assert!(!pipeline("all", "", "", "").matches("orders/"));
    }

    #[test]
    fn what_a_pipeline_writes_never_matches_it() {
        let all = pipeline("all", "", "", "");
        let run = "0123456789abcdef0123456789abcdef".parse().unwrap();
        for key in [all.output_key("a.csv", &run), all.errors_key("a.csv", &run)] {
            assert!(!all.matches(&key.unwrap()));
        }
        assert!(all.matches("a.csv_Output.csv"));
    }

    #[test]
    fn a_folder_of_its_own_tells_outputs_from_sources_too() {
        let all = pipeline("all", "", ".csv", "key: 'out/{run}/{key}', errors_key: 'errors/{key}'");
        assert!(all.matches("in/a.csv"));
        assert!(!all.matches("out/r1/in/a.csv"));
        assert!(!all.matches("errors/in/a.csv"));
    }

    #[test]
    fn the_longest_prefix_then_the_longest_suffix_then_the_name_decide() {
        let all = pipeline("a", "", "", "");
        let csv = pipeline("b", "orders/", ".csv", "");
        let orders = pipeline("c", "orders/", "", "");
        let twin = pipeline("d", "orders/", "", "");
        let name = |key: &str| {
            let forward = selected([&all, &csv, &orders, &twin], key);
            let backward = selected([&twin, &orders, &csv, &all], key);
            assert_eq!(forward, backward);
            forward
        };
        assert_eq!(name("orders/x.csv").as_deref(), Some("b"));
        assert_eq!(name("orders/x.txt").as_deref(), Some("c"));
        assert_eq!(name("x.csv").as_deref(), Some("a"));
        assert_eq!(name("x_Output"), None);
    }

    #[test]
    fn what_a_pipeline_lists_starts_none_of_a_shorter_prefix() {
        let all = pipeline("all", "", "", "");
        let thumbnails = pipeline("thumbnails", "images/new/", "", "");
        let twin = pipeline("twin", "images/", ".jpg", "");
        let listing = "{pipeline: images, source: {prefix: images/, suffix: .jpg, format: objects}, \
                       stages: [{name: s, process: copy}]}";
        let images = Pipeline::parse(listing).unwrap();
        let name = |key: &str| selected([&all, &images, &thumbnails], key);
        assert_eq!(name("images/a.jpg"), None);
        assert_eq!(name("images/a.png").as_deref(), Some("all"));
        assert_eq!(name("images/new/a.jpg").as_deref(), Some("thumbnails"));
        assert_eq!(selected([&images, &twin], "images/a.jpg").as_deref(), Some("twin"));
    }

    #[test]
    fn an_unreadable_pipeline_keeps_what_it_may_take_from_others() {
        let (all, orders) = (pipeline("all", "", "", ""), pipeline("orders", "orders/", "", ""));
        let deep = pipeline("deep", "orders/deep/", "", "");
        let document = r#"{"source":{"prefix":"orders/","suffix":".csv","format":"newer"},"newer":1}"#;
        let claim = Claim::of("newer", document).unwrap();
        let name = |key: &str| {
            select([&all, &orders, &deep], [&claim], key)
                .map(|chosen| chosen.map(|pipeline| pipeline.name.as_str()))
                .map_err(|claim| claim.pipeline.as_str())
        };
        assert_eq!(name("orders/a.csv"), Err("newer"), "its suffix is the longer");
        assert_eq!(name("orders/a.txt"), Ok(Some("orders")));
        assert_eq!(
            name("orders/deep/a.csv"),
            Ok(Some("deep")),
            "the longer prefix decides, whatever else it says"
        );
        assert_eq!(name("a.csv"), Ok(Some("all")));
        assert_eq!(name("orders/x.csv/"), Ok(None), "a folder starts nothing");
    }

    #[test]
    fn a_document_that_names_no_prefix_claims_nothing() {
        for document in ["nonsense", "{}", r#"{"source":{"items":"plan"}}"#, r#"{"source":{"prefix":7}}"#] {
            assert_eq!(Claim::of("newer", document), None, "{document}");
        }
        let whole = Claim::of("newer", r#"{"source":{"prefix":""}}"#).unwrap();
        assert_eq!(select([], [&whole], "a"), Err(&whole));
    }
}

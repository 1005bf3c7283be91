//! Which pipeline an object starts.

use std::cmp::Reverse;

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

/// The pipeline that an object of this key starts, if any: that of the longest prefix; among equals that of the longest
/// suffix; then the first by name. The order in which they are given says nothing.
///
/// What a pipeline lists starts no other of a shorter prefix: photographs under `images/` are not for a pipeline that
/// takes every upload.
pub fn select<'a>(pipelines: impl IntoIterator<Item = &'a Pipeline>, key: &str) -> Option<&'a Pipeline> {
    let lists = |pipeline: &Pipeline| pipeline.source.format == Format::Objects && pipeline.covers(key);
    pipelines
        .into_iter()
        .filter(|pipeline| pipeline.matches(key) || lists(pipeline))
        .max_by_key(|p| {
            (p.source.prefix.len(), p.source.suffix.len(), p.source.is_object(), Reverse(p.name.as_str()))
        })
        .filter(|chosen| chosen.source.is_object())
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
            let forward = select([&all, &csv, &orders, &twin], key).map(|p| p.name.clone());
            let backward = select([&twin, &orders, &csv, &all], key).map(|p| p.name.clone());
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
        let name = |key: &str| select([&all, &images, &thumbnails], key).map(|p| p.name.clone());
        assert_eq!(name("images/a.jpg"), None);
        assert_eq!(name("images/a.png").as_deref(), Some("all"));
        assert_eq!(name("images/new/a.jpg").as_deref(), Some("thumbnails"));
        assert_eq!(select([&images, &twin], "images/a.jpg").map(|p| p.name.as_str()), Some("twin"));
    }
}

//! What a stack's roles let its functions reach: pure.
//!
//! A pipeline may name buckets, a table and a function. If no role of the stack may reach one of them, S3, DynamoDB or
//! Lambda refuses it only after all the work is done. So the stack's own lists, from which its template also makes the
//! roles, are compared with the document where it is applied, and again where a run begins.

use crate::{
    ObjectName,
    document::{InvalidDocument, Mistake},
    pipeline::{Pipeline, Planner, Process, Resize},
};

/// What the roles of a stack let it reach. A list that is none is not known, and nothing is compared with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reach {
    /// The bucket that starts runs. Outputs may go there too, under names that start none.
    pub input_bucket: Option<String>,
    /// The buckets that are read, the input bucket among them.
    pub source_buckets: Option<Vec<String>>,
    /// The buckets that outputs go to; the first one is that of pipelines that name none.
    pub output_buckets: Option<Vec<String>>,
    /// The buckets that workers write results to under any key, beside the first output bucket.
    pub result_buckets: Option<Vec<String>>,
    /// What keys of results in the first output bucket begin with.
    pub result_prefix: Option<String>,
    /// The tables that workers write.
    pub tables: Option<Vec<String>>,
    /// The ARNs of functions that plan steps invoke; one may end in `*`.
    pub plan_functions: Option<Vec<String>>,
}

/// A part of a document that could not be compared, since a list is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    /// [`Reach::source_buckets`].
    SourceBuckets,
    /// [`Reach::output_buckets`].
    OutputBuckets,
    /// [`Reach::result_buckets`] and [`Reach::result_prefix`].
    ResultBuckets,
    /// [`Reach::tables`].
    Tables,
    /// [`Reach::plan_functions`].
    PlanFunctions,
}

/// How names end that start no run in the input bucket: the merger may write no others there.
const TAILS: [&str; 2] = ["_Output", "_Errors"];

impl List {
    /// The parameter of the stack that lists more.
    pub fn parameter(self) -> &'static str {
        match self {
            Self::SourceBuckets => "OtherSourceBucketArns",
            Self::OutputBuckets => "OtherOutputBucketArns",
            Self::ResultBuckets => "OtherResultBucketArns",
            Self::Tables => "OtherTableArns",
            Self::PlanFunctions => "PlanFunctionArns",
        }
    }
}

/// The names in a list of ARNs, separated by commas: `photos` of `arn:aws:s3:::photos`, `rows` of
/// `arn:aws:dynamodb:eu-west-1:123456789012:table/rows`. A name stands for itself, and an empty item for nothing.
pub fn names(list: &str) -> Vec<String> {
    let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|arn| arn.rsplit([':', '/']).next().unwrap_or(arn).to_owned()).collect()
}

/// The items of a list of ARNs, separated by commas, as they are.
pub fn arns(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

impl Reach {
    /// Compares a pipeline with what the stack may reach.
    ///
    /// # Errors
    /// All that it may not; otherwise the lists that are not known though the pipeline needs them.
    pub fn check(&self, pipeline: &Pipeline) -> Result<Vec<List>, InvalidDocument> {
        let mut checking = Checking { reach: self, mistakes: Vec::new(), unknown: Vec::new() };
        checking.merge(pipeline);
        checking.plan_step(pipeline);
        for (place, stage) in pipeline.stages.iter().enumerate() {
            let path = format!("stages[{place}].with");
            match &stage.process {
                Process::Orders { table: Some(table) } => checking.table(&path, table),
                Process::Resize(resize) => checking.results(&path, resize, pipeline),
                _ => {}
            }
        }
        if !checking.mistakes.is_empty() {
            return Err(InvalidDocument { mistakes: checking.mistakes });
        }
        checking.unknown.sort_unstable();
        checking.unknown.dedup();
        Ok(checking.unknown)
    }

    /// Why the stack may not read an object, if its list says so.
    pub fn refuses_source(&self, object: &ObjectName) -> Option<String> {
        let buckets = self.source_buckets.as_ref()?;
        (!buckets.contains(&object.bucket)).then(|| {
            format!(
                "{object}: no role of the stack may read the bucket {:?}; allowed: {}",
                object.bucket,
                allowed(buckets, List::SourceBuckets)
            )
        })
    }
}

/// What is allowed, and how more may be.
fn allowed(listed: &[String], list: List) -> String {
    let listed = if listed.is_empty() { "none".to_owned() } else { listed.join(", ") };
    format!("{listed} (the stack's parameter {} adds to them)", list.parameter())
}

struct Checking<'a> {
    reach: &'a Reach,
    mistakes: Vec<Mistake>,
    unknown: Vec<List>,
}

impl<'a> Checking<'a> {
    fn add(&mut self, path: impl Into<String>, found: impl Into<String>, allowed: impl Into<String>) {
        self.mistakes.push(Mistake { path: path.into(), found: found.into(), allowed: allowed.into() });
    }

    /// A list, if it is known.
    fn known<T: ?Sized>(&mut self, value: Option<&'a T>, list: List) -> Option<&'a T> {
        if value.is_none() {
            self.unknown.push(list);
        }
        value
    }

    fn merge(&mut self, pipeline: &Pipeline) {
        let Some(bucket) = &pipeline.merge.bucket else { return };
        let buckets = self.reach.output_buckets.as_deref();
        let Some(buckets) = self.known(buckets, List::OutputBuckets) else { return };
        if buckets.contains(bucket) {
            return;
        }
        if self.reach.input_bucket.as_ref() != Some(bucket) {
            return self.add("merge.bucket", format!("{bucket:?}"), allowed(buckets, List::OutputBuckets));
        }
        for (path, key) in
            [("merge.key", &pipeline.merge.key), ("merge.errors_key", &pipeline.merge.errors_key)]
        {
            if !TAILS.iter().any(|tail| key.tail().ends_with(tail)) {
                let found = format!("`{key}` in the input bucket");
                self.add(
                    path,
                    found,
                    "a key that ends in _Output or _Errors there, or another `merge.bucket`",
                );
            }
        }
    }

    fn plan_step(&mut self, pipeline: &Pipeline) {
        let Some(Planner::Lambda(function)) = pipeline.plan.as_ref().map(|plan| &plan.planner) else {
            return;
        };
        let functions = self.reach.plan_functions.as_deref();
        let Some(functions) = self.known(functions, List::PlanFunctions) else { return };
        if !functions.iter().any(|arn| is_of(arn, function.as_str())) {
            self.add(
                "plan.lambda",
                format!("{:?}", function.as_str()),
                allowed(functions, List::PlanFunctions),
            );
        }
    }

    fn table(&mut self, with: &str, table: &String) {
        let tables = self.reach.tables.as_deref();
        let Some(tables) = self.known(tables, List::Tables) else { return };
        if !tables.contains(table) {
            self.add(format!("{with}.table"), format!("{table:?}"), allowed(tables, List::Tables));
        }
    }

    /// Results go to the first output bucket under the stack's prefix, or to a bucket that is listed for them.
    fn results(&mut self, with: &str, resize: &Resize, pipeline: &Pipeline) {
        let reach = self.reach;
        let named = resize.bucket.as_ref().or(pipeline.merge.bucket.as_ref());
        let own = reach.output_buckets.as_ref().and_then(|buckets| buckets.first());
        if let Some(bucket) = named.filter(|bucket| Some(*bucket) != own) {
            let buckets = reach.result_buckets.as_deref();
            // Without the name of its own bucket it is not known whether this is it.
            let Some(buckets) = self.known(buckets.filter(|_| own.is_some()), List::ResultBuckets) else {
                return;
            };
            if !buckets.contains(bucket) {
                let all: Vec<String> = own.into_iter().chain(buckets).cloned().collect();
                let found = match &resize.bucket {
                    Some(_) => format!("{bucket:?}"),
                    None => format!("none, and `merge.bucket` is {bucket:?}"),
                };
                self.add(format!("{with}.bucket"), found, allowed(&all, List::ResultBuckets));
            }
            return;
        }
        let Some(prefix) = self.known(reach.result_prefix.as_deref(), List::ResultBuckets) else { return };
        if !resize.key.head().starts_with(prefix) {
            let allowed = format!("a key that begins with {prefix:?}, the stack's parameter ResultPrefix");
            self.add(format!("{with}.key"), format!("`{}`", resize.key), allowed);
        }
    }
}

/// Whether a role that names this ARN may invoke the function.
fn is_of(arn: &str, function: &str) -> bool {
    let (text, is_open) = arn.strip_suffix('*').map_or((arn, false), |text| (text, true));
    let text = match text.split_once(":function:") {
        // A name is one of the stack's own account and region.
        Some((_, name)) if !function.starts_with("arn:") => name,
        _ => text,
    };
    if is_open { function.starts_with(text) } else { function == text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach() -> Reach {
        let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        Reach {
            input_bucket: Some("input".into()),
            source_buckets: list(&["input", "archive"]),
            output_buckets: list(&["output", "reports"]),
            result_buckets: list(&["photos"]),
            result_prefix: Some("resized/".into()),
            tables: list(&["orders"]),
            plan_functions: list(&[
                "arn:aws:lambda:eu-west-1:123456789012:function:list-items",
                "arn:aws:lambda:eu-west-1:123456789012:function:find-*",
            ]),
        }
    }

    fn pipeline(source: &str, stage: &str, rest: &str) -> Pipeline {
        let text = format!("{{pipeline: p, source: {{{source}}}, stages: [{{name: s, {stage}}}], {rest}}}");
        Pipeline::parse(&text).unwrap()
    }

    fn found(pipeline: &Pipeline) -> String {
        reach().check(pipeline).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn an_output_goes_where_the_merger_may_write() {
        let merged =
            |merge: &str| found(&pipeline("format: lines", "process: copy", &format!("merge: {{{merge}}}")));
        for merge in
            ["", "bucket: output", "bucket: reports", "bucket: input", "bucket: input, key: 'x/{run}_Output'"]
        {
            assert_eq!(merged(merge), "", "{merge}");
        }
        assert_eq!(
            merged("bucket: elsewhere"),
            "merge.bucket: found \"elsewhere\"; allowed: output, reports (the stack's parameter OtherOutputBucketArns \
             adds to them)"
        );
        assert_eq!(
            merged("bucket: input, key: 'out/{key}'"),
            "merge.key: found `out/{key}` in the input bucket; allowed: a key that ends in _Output or _Errors there, or \
             another `merge.bucket`"
        );
    }

    #[test]
    fn results_go_where_workers_may_write() {
        let resized = |with: &str, rest: &str| {
            let stage = format!("process: resize, with: {{size: 10x10{with}}}");
            found(&pipeline("format: objects, prefix: a/", &stage, rest))
        };
        for (with, rest) in [
            ("", ""),
            (", bucket: output", ""),
            (", bucket: photos, key: 'small/{key}'", ""),
            (", bucket: output", "merge: {bucket: reports}"),
        ] {
            assert_eq!(resized(with, rest), "", "{with} {rest}");
        }
        assert_eq!(
            resized(", key: 'small/{key}'", ""),
            "stages[0].with.key: found `small/{key}`; allowed: a key that begins with \"resized/\", the stack's \
             parameter ResultPrefix"
        );
        assert!(resized(", bucket: other", "").starts_with(
            "stages[0].with.bucket: found \"other\"; allowed: output, photos (the stack's parameter OtherResultBucketArns"
        ));
        assert!(resized("", "merge: {bucket: reports}").starts_with(
            "stages[0].with.bucket: found none, and `merge.bucket` is \"reports\"; allowed: output, photos"
        ));
    }

    #[test]
    fn tables_and_functions_are_those_of_the_roles() {
        let rows = |table: &str| {
            let stage = format!("process: orders, with: {{table: {table}}}");
            found(&pipeline("format: csv, header: true", &stage, ""))
        };
        assert_eq!(rows("orders"), "");
        assert!(rows("other").starts_with(
            "stages[0].with.table: found \"other\"; allowed: orders (the stack's parameter OtherTableArns"
        ));
        let planned = |function: &str| {
            found(&pipeline("items: plan", "process: copy", &format!("plan: {{lambda: '{function}'}}")))
        };
        let arn = "arn:aws:lambda:eu-west-1:123456789012:function:list-items";
        for function in ["list-items", arn, "find-all:live"] {
            assert_eq!(planned(function), "", "{function}");
        }
        for function in ["list-items:live", "list", &arn.replace("eu-west-1", "us-east-1")] {
            assert!(planned(function).contains("PlanFunctionArns"), "{function}");
        }
    }

    #[test]
    fn a_source_is_in_a_bucket_that_is_read() {
        assert_eq!(reach().refuses_source(&ObjectName::new("archive", "a")), None);
        let why = reach().refuses_source(&ObjectName::new("elsewhere", "a")).unwrap();
        assert!(
            why.contains("\"elsewhere\"; allowed: input, archive") && why.contains("OtherSourceBucketArns"),
            "{why}"
        );
    }

    #[test]
    fn what_is_not_known_refuses_nothing_and_is_named() {
        let stage = "process: orders, with: {table: other}";
        let rows = pipeline("format: csv, header: true", stage, "merge: {bucket: elsewhere}");
        assert_eq!(Reach::default().check(&rows), Ok(vec![List::OutputBuckets, List::Tables]));
        let plain = pipeline("format: lines", "process: copy", "");
        assert_eq!(Reach::default().check(&plain), Ok(vec![]));
        assert_eq!(Reach::default().refuses_source(&ObjectName::new("any", "a")), None);
    }

    #[test]
    fn a_list_of_arns_is_read_as_names() {
        let list = "arn:aws:s3:::out,, arn:aws-cn:s3:::other ,arn:aws:dynamodb:eu-west-1:123456789012:table/rows,own,";
        assert_eq!(names(list), ["out", "other", "rows", "own"]);
        assert_eq!((names(","), arns("a:b,,c")), (vec![], vec!["a:b".to_owned(), "c".to_owned()]));
    }
}

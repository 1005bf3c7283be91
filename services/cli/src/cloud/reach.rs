//! What the stack's roles may reach, and whether a pipeline names anything else.

use anyhow::anyhow;
use fanfold_domain::{
    Reach,
    pipeline::Pipeline,
    reach::{List, arns, names},
};

use super::Stack;
use crate::{Failed, say};

/// The outputs of the stack that say it, as variables. One that is not set leaves its part of a document unchecked.
const SOURCE_BUCKETS: &str = "FANFOLD_ALLOWED_SOURCE_BUCKETS";
const OUTPUT_BUCKETS: &str = "FANFOLD_ALLOWED_OUTPUT_BUCKETS";
const RESULT_BUCKETS: &str = "FANFOLD_ALLOWED_RESULT_BUCKETS";
const RESULT_PREFIX: &str = "FANFOLD_RESULT_PREFIX";
const TABLES: &str = "FANFOLD_ALLOWED_TABLES";
const PLAN_FUNCTIONS: &str = "FANFOLD_ALLOWED_PLAN_FUNCTIONS";

/// What the environment tells of it.
pub(super) fn told(input_bucket: &str) -> Reach {
    let told = |name: &str| crate::variable(name).as_deref().map(names);
    Reach {
        input_bucket: Some(input_bucket.to_owned()),
        source_buckets: told(SOURCE_BUCKETS),
        output_buckets: told(OUTPUT_BUCKETS),
        result_buckets: told(RESULT_BUCKETS),
        result_prefix: crate::variable(RESULT_PREFIX),
        tables: told(TABLES),
        plan_functions: crate::variable(PLAN_FUNCTIONS).as_deref().map(arns),
    }
}

/// Refuses pipelines that name what no role of the stack may reach, before any is applied. Says what of them could not
/// be compared.
pub(super) fn check(stack: &Stack, pipelines: &[Pipeline]) -> Result<(), Failed> {
    for pipeline in pipelines {
        let unknown = stack.reach.check(pipeline).map_err(|refused| {
            let name = &pipeline.name;
            Failed::Usage(anyhow!("{name} names what no role of the stack may reach:\n{refused}"))
        })?;
        for (what, variables) in unknown.into_iter().map(of_list) {
            say::note(&format!(
                "{}: whether the stack may reach {what} was not checked, since {variables} is not set: name the stack's \
                 outputs; its runs are checked as they begin",
                pipeline.name
            ));
        }
    }
    Ok(())
}

/// What of a pipeline a list is about, and the variables that tell the list.
fn of_list(list: List) -> (&'static str, String) {
    match list {
        List::SourceBuckets => ("its source", SOURCE_BUCKETS.to_owned()),
        List::OutputBuckets => ("its `merge.bucket`", OUTPUT_BUCKETS.to_owned()),
        List::ResultBuckets => {
            ("where its results go", format!("one of {OUTPUT_BUCKETS}, {RESULT_BUCKETS}, {RESULT_PREFIX}"))
        }
        List::Tables => ("its `with.table`", TABLES.to_owned()),
        List::PlanFunctions => ("its `plan.lambda`", PLAN_FUNCTIONS.to_owned()),
    }
}

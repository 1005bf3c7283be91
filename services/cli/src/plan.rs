//! `fanfold plan`: a dry run that says how a file would be cut.

use std::sync::Arc;

use fanfold_engine::plan::plan;
use serde_json::json;

use crate::{Failed, arguments, local::setup, say};

pub(crate) fn run(arguments: &arguments::Plan) -> Result<(), Failed> {
    let pipeline = setup::read_pipeline(&arguments.pipeline)?;
    let source = setup::pin(&arguments.file, None)?;
    let places = setup::places(&arguments.file, &source, [].into());
    let objects = setup::open(places, &std::env::temp_dir().join("plan"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let planned = runtime.block_on(plan(Arc::new(objects), &pipeline, &source))?;
    let grouping = planned.plan.grouping;
    if arguments.json {
        return Ok(say::json(&json!({
            "chunks": planned.chunks,
            "groups": grouping.groups(),
            "preamble": planned.plan.preamble,
            "bytes_read": planned.bytes_read,
            "size_bytes": source.size_bytes,
        }))?);
    }
    let lens = || planned.chunks.iter().map(|chunk| chunk.range.len());
    #[expect(clippy::cast_precision_loss, reason = "a share for a person to read")]
    let share = 100.0 * planned.bytes_read as f64 / source.size_bytes.max(1) as f64;
    say::line(&format!(
        "{} chunks of {} to {} bytes, in {} groups; read {} of {} bytes to find them ({share:.3} %)",
        grouping.chunks,
        lens().min().unwrap_or(0),
        lens().max().unwrap_or(0),
        grouping.groups(),
        planned.bytes_read,
        source.size_bytes,
    ))?;
    Ok(())
}

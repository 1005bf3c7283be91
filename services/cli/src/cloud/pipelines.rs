//! `fanfold pipelines`: what the table holds, and the stack's own.

use fanfold_domain::pipeline::{Schedule, Times};
use fanfold_ports::{ItemList, UnreadableItem};
use serde_json::json;

use super::{Stack, apply, rate, reach};
use crate::{Failed, arguments::PipelinesCommand, local::setup::read_pipeline, say};

pub(super) async fn run(stack: &Stack, command: &PipelinesCommand) -> Result<(), Failed> {
    match command {
        PipelinesCommand::Apply { files } => {
            // All are read before any is applied, so that a wrong one leaves nothing half-done.
            let pipelines: Vec<_> = files.iter().map(|file| read_pipeline(file)).collect::<Result<_, _>>()?;
            reach::check(stack, &pipelines)?;
            apply::check(stack, &pipelines).await?;
            for pipeline in pipelines {
                let version = apply::apply(stack, &pipeline).await?;
                let schedule = pipeline.schedule.as_ref().map_or_else(String::new, told);
                say::line(&format!("{} is at version {version}{schedule}", pipeline.name))?;
                rate::tell_others(stack, &pipeline).await?;
            }
            Ok(())
        }
        PipelinesCommand::List { json } => {
            let ItemList { items, unreadable } = stack.pipelines().await?;
            for kept in items {
                if *json {
                    say::json(&kept.pipeline)?;
                } else {
                    let source = &kept.pipeline.source;
                    let matches = format!("{}*{}", source.prefix, source.suffix);
                    let version = match kept.version {
                        0 => "the stack's own".to_owned(),
                        version => format!("version {version}"),
                    };
                    say::line(&format!("{:<24}  {version:<15}  {matches}", kept.pipeline.name))?;
                }
            }
            for UnreadableItem { name, reason, .. } in unreadable {
                if *json {
                    say::json(&json!({ "pipeline": name, "unreadable": reason }))?;
                } else {
                    say::line(&format!("{name:<24}  cannot be read: {reason}"))?;
                }
            }
            Ok(())
        }
        PipelinesCommand::Show { name } => Ok(say::json(&stack.pipeline(name).await?)?),
    }
}

fn told(schedule: &Schedule) -> String {
    let zone = match &schedule.times {
        Times::Cron { time_zone, .. } => format!(" in {time_zone}"),
        Times::Rate(_) => String::new(),
    };
    let object = schedule.object.as_ref().map_or_else(String::new, |object| format!(" on {object}"));
    format!(", and runs by {}{zone}{object}", schedule.expression())
}

//! `fanfold pipelines`: what the table holds.

use anyhow::anyhow;

use super::Stack;
use crate::{Failed, arguments::PipelinesCommand, local::setup::read_pipeline, say};

pub(super) async fn run(stack: &Stack, command: &PipelinesCommand) -> Result<(), Failed> {
    let ledger = &stack.ports.ledger;
    match command {
        PipelinesCommand::Apply { files } => {
            // All are read before any is applied, so that a wrong one leaves nothing half-done.
            let pipelines: Vec<_> = files.iter().map(|file| read_pipeline(file)).collect::<Result<_, _>>()?;
            for pipeline in pipelines {
                let version = ledger.put_pipeline(&pipeline).await?;
                say::line(&format!("{} is at version {version}", pipeline.name))?;
            }
            Ok(())
        }
        PipelinesCommand::List { json } => {
            for kept in ledger.pipelines().await? {
                if *json {
                    say::json(&kept.pipeline)?;
                } else {
                    let source = &kept.pipeline.source;
                    let matches = format!("{}*{}", source.prefix, source.suffix);
                    say::line(&format!(
                        "{:<24}  version {:<4}  {matches}",
                        kept.pipeline.name, kept.version
                    ))?;
                }
            }
            Ok(())
        }
        PipelinesCommand::Show { name } => {
            let kept = ledger.pipelines().await?.into_iter().find(|kept| kept.pipeline.name == *name);
            let kept = kept.ok_or_else(|| anyhow!("there is no pipeline {name:?} in the table"))?;
            Ok(say::json(&kept.pipeline)?)
        }
    }
}

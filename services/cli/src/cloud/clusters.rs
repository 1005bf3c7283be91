//! `fanfold clusters`: what the table knows of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use fanfold_domain::cluster::Cluster;
use fanfold_ports::{ItemList, UnreadableItem};
use serde_json::json;

use super::Stack;
use crate::{Failed, arguments::ClustersCommand, say};

pub(super) async fn run(stack: &Stack, command: &ClustersCommand) -> Result<(), Failed> {
    match command {
        ClustersCommand::Apply { files } => {
            // All are read before any is applied, so that a wrong one leaves nothing half-done.
            let read = |file: &PathBuf| read_cluster(file, &stack.namespace);
            let clusters: Vec<_> = files.iter().map(read).collect::<Result<_, _>>()?;
            for cluster in clusters {
                stack.fleet.put_cluster(&cluster).await?;
                say::line(&format!("{} has weight {}", cluster.name, cluster.weight))?;
            }
            Ok(())
        }
        ClustersCommand::List { json } => list(stack, *json).await,
        ClustersCommand::Drain { name } => {
            let ItemList { items, unreadable } = stack.fleet.clusters().await?;
            if let Some(item) = unreadable.iter().find(|item| item.name == *name) {
                return Err(anyhow!(
                    "cluster {name:?} cannot be read: {}; use the version that wrote it, or apply it again with this one",
                    item.reason
                )
                .into());
            }
            let cluster = items.into_iter().find(|cluster| cluster.name == *name);
            let cluster = cluster.ok_or_else(|| anyhow!("there is no cluster {name:?} in the table"))?;
            stack.fleet.put_cluster(&Cluster { weight: 0, ..cluster }).await?;
            say::line(&format!("{name} is given no more launches; what runs there ends there"))?;
            Ok(())
        }
    }
}

async fn list(stack: &Stack, json: bool) -> Result<(), Failed> {
    let outages = stack.fleet.outages().await?;
    let now = stack.ports.clock.now();
    let ItemList { items, unreadable } = stack.fleet.clusters().await?;
    for cluster in items {
        let outage = outages.get(&cluster.name);
        if json {
            say::json(&json!({ "cluster": cluster, "outage": outage }))?;
            continue;
        }
        let Cluster { name, eks, region, weight, queues, max_pods, .. } = &cluster;
        let how = match outage {
            Some(outage) if outage.leaves_out(now) => {
                let left_s = outage.until.ms_since(now).div_ceil(1_000);
                format!("left out for {left_s} s more: {}", outage.reason)
            }
            Some(outage) => format!("failed when it was last asked: {}", outage.reason),
            None if *weight == 0 => "drained".to_owned(),
            None => "taken".to_owned(),
        };
        let queues = queues.join(",");
        say::line(&format!(
            "{name:<16}  {eks} in {region}, weight {weight}, queues {queues}, at most {max_pods} pods: {how}"
        ))?;
    }
    for UnreadableItem { name, reason, .. } in unreadable {
        if json {
            say::json(&json!({ "cluster": name, "unreadable": reason }))?;
        } else {
            say::line(&format!("{name:<16}  cannot be read, and is given nothing: {reason}"))?;
        }
    }
    Ok(())
}

fn read_cluster(file: &Path, namespace: &str) -> Result<Cluster, Failed> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string()).map_err(Failed::Usage)?;
    Cluster::parse_in(&text, namespace)
        .map_err(|error| Failed::Usage(anyhow!("{} is refused:\n{error}", file.display())))
}

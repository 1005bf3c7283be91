//! Applying a pipeline: into the table first, then its schedule.
//!
//! Both are idempotent, so that whoever was interrupted applies it again. In between, a tick may meet a pipeline whose
//! schedule is no more, which the splitter ignores.

use anyhow::anyhow;
use fanfold_domain::pipeline::Pipeline;
use fanfold_ports::ItemList;

use super::{Stack, connect::SCHEDULES};
use crate::Failed;

/// Refuses pipelines that have or had a schedule, where it is not known where schedules are: before any is applied.
pub(super) async fn check(stack: &Stack, pipelines: &[Pipeline]) -> Result<(), Failed> {
    if stack.schedules.is_some() {
        return Ok(());
    }
    let ItemList { items, unreadable } = stack.ports.ledger.pipelines().await?;
    // One that cannot be read may have one.
    let had = |name: &str| {
        items.iter().any(|kept| kept.pipeline.name == name && kept.pipeline.schedule.is_some())
            || unreadable.iter().any(|item| item.name == name)
    };
    match pipelines.iter().find(|pipeline| pipeline.schedule.is_some() || had(&pipeline.name)) {
        None => Ok(()),
        Some(pipeline) => Err(Failed::Usage(anyhow!(
            "the schedule of {} cannot be changed: {} are not all set; name the stack's outputs, for the local stack by \
             eval \"$(scripts/stack env)\"",
            pipeline.name,
            SCHEDULES.join(", ")
        ))),
    }
}

/// Keeps a pipeline in the table, and makes, changes or deletes its schedule; the version it has now.
pub(super) async fn apply(stack: &Stack, pipeline: &Pipeline) -> Result<u32, Failed> {
    let version = stack.ports.ledger.put_pipeline(pipeline).await?;
    if let Some(schedules) = &stack.schedules {
        match &pipeline.schedule {
            Some(schedule) => schedules.put(&pipeline.name, schedule).await?,
            None => schedules.delete(&pipeline.name).await?,
        }
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fanfold_ports::memory::{MemorySchedules, memory_ports};

    use super::*;
    use crate::cloud::reach;

    fn pipeline(schedule: &str) -> Pipeline {
        let text = format!(
            "pipeline: p\nsource: {{format: lines}}\nstages: [{{name: s, process: copy}}]\n{schedule}\n"
        );
        Pipeline::parse(&text).unwrap()
    }

    fn stack(schedules: Option<Arc<MemorySchedules>>) -> Stack {
        let (world, ports) = memory_ports();
        Stack {
            ports,
            fleet: world.fleet.clone(),
            schedules: schedules.map(|schedules| schedules as _),
            namespace: "fanfold".to_owned(),
            reach: fanfold_domain::Reach::default(),
            input_bucket: "in".to_owned(),
            work_bucket: "work".to_owned(),
            default_pipeline: None,
        }
    }

    async fn applied(stack: &Stack, pipeline: &Pipeline) -> Option<u32> {
        check(stack, std::slice::from_ref(pipeline)).await.ok()?;
        apply(stack, pipeline).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_schedule_is_made_changed_and_deleted_with_its_pipeline() {
        let schedules = Arc::new(MemorySchedules::default());
        let stack = stack(Some(schedules.clone()));
        for (version, rate) in [(1, "5 minutes"), (1, "5 minutes"), (2, "1 day")] {
            let pipeline = pipeline(&format!("schedule: {{rate: {rate}, object: a}}"));
            assert_eq!(applied(&stack, &pipeline).await, Some(version));
            assert_eq!(schedules.of("p"), pipeline.schedule);
        }
        assert_eq!(applied(&stack, &pipeline("")).await, Some(3));
        assert_eq!(schedules.of("p"), None);
    }

    #[test]
    fn what_no_role_may_reach_is_refused_where_the_stack_tells_what_is() {
        let elsewhere = pipeline("merge: {bucket: elsewhere}");
        let mut stack = stack(None);
        assert!(reach::check(&stack, std::slice::from_ref(&elsewhere)).is_ok(), "it is not known");
        stack.reach.output_buckets = Some(vec!["out".to_owned()]);
        let Err(Failed::Usage(error)) = reach::check(&stack, &[pipeline(""), elsewhere]) else {
            panic!("it was not refused")
        };
        let wanted = "p names what no role of the stack may reach:\nmerge.bucket: found \"elsewhere\"; allowed: out (the \
                      stack's parameter OtherOutputBucketArns adds to them)";
        assert_eq!(error.to_string(), wanted);
    }

    #[tokio::test(start_paused = true)]
    async fn a_schedule_is_not_left_behind_where_none_can_be_reached() {
        let stack = stack(None);
        assert_eq!(applied(&stack, &pipeline("")).await, Some(1), "it never had one");
        let scheduled = pipeline("schedule: {rate: 5 minutes, object: a}");
        assert_eq!(applied(&stack, &scheduled).await, None);
        assert_eq!(stack.ports.ledger.pipelines().await.unwrap().items[0].version, 1, "nothing was applied");
        stack.ports.ledger.put_pipeline(&scheduled).await.unwrap();
        assert_eq!(applied(&stack, &pipeline("")).await, None, "its schedule would go on");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pipeline_that_cannot_be_read_is_applied_anew_where_its_schedule_can_be_reached() {
        let (world, ports) = memory_ports();
        world.ledger.spoil_pipeline("p", "{}");
        let stack = Stack { ports, ..stack(None) };
        assert_eq!(applied(&stack, &pipeline("")).await, None, "it may have a schedule");
        let schedules = Some(Arc::new(MemorySchedules::default()) as _);
        let stack = Stack { schedules, ..stack };
        let Err(Failed::Usage(refused)) = stack.pipeline("p").await else { panic!("it cannot be read") };
        assert!(refused.to_string().contains("apply it again"), "{refused}");
        assert_eq!(applied(&stack, &pipeline("")).await, Some(2));
        assert_eq!(stack.pipelines().await.ok().unwrap().unreadable, []);
    }
}

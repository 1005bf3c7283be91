//! `fanfold watch`: a run's progress until it ends.

use anyhow::anyhow;
use fanfold_domain::{Run, RunId, RunState, SCAN, Timestamp};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Stack, find, progress, progress::Progress, show};
use crate::Failed;

const LOOK_EVERY_MS: u64 = 500;

/// Follows a run. Its success is ours.
pub(super) async fn watch(stack: &Stack, id: &RunId, json: bool) -> Result<(), Failed> {
    let bar = bar(json);
    let clock = &stack.ports.clock;
    let began_at = clock.now();
    loop {
        // A run that was just submitted need not be there yet.
        let run = match find(stack, id).await {
            Err(error) if clock.now().ms_since(began_at) > 60_000 => return Err(error),
            Err(_not_yet) => None,
            Ok(run) => Some(run),
        };
        if let Some(run) = run {
            let progress = progress::read(stack, &run).await?;
            draw(&bar, &run, &progress, clock.now());
            if run.state.has_ended() {
                bar.finish_and_clear();
                show::tell(stack, &run, &progress, json).await?;
                return verdict(&run);
            }
        }
        clock.sleep_ms(LOOK_EVERY_MS).await;
    }
}

fn bar(json: bool) -> ProgressBar {
    if json {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{prefix:10} [{bar:32}] {pos}/{len} chunks  {msg}");
    ProgressBar::new(0)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "))
}

fn draw(bar: &ProgressBar, run: &Run, progress: &Progress, now: Timestamp) {
    let is_scan = progress.stage == SCAN;
    bar.set_prefix(if is_scan { "scanning".to_owned() } else { run.state.to_string() });
    bar.set_length(u64::from(progress.chunks));
    let ended = progress.done + progress.failed.len();
    bar.set_position(ended as u64);
    let elapsed_ms = now.ms_since(run.created_at).max(1);
    let rate = progress.sums.records.saturating_mul(1000) / elapsed_ms;
    let left = u64::from(progress.chunks).saturating_sub(ended as u64);
    let left_s = (ended > 0).then(|| elapsed_ms * left / ended as u64 / 1000);
    let left = left_s.map_or_else(String::new, |left_s| format!(", about {left_s} s left"));
    let rate = if is_scan { String::new() } else { format!("{rate} records/s") };
    bar.set_message(format!("{rate}{left}"));
}

fn verdict(run: &Run) -> Result<(), Failed> {
    match run.state {
        RunState::Succeeded | RunState::SucceededPartial => Ok(()),
        state => {
            Err(anyhow!("run {} {state}: {}", run.id, run.reason.as_deref().unwrap_or("no reason")).into())
        }
    }
}

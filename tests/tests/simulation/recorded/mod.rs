//! Stacks as older versions left them: every later version reads what is there, and finishes the runs.
//!
//! A recording is a folder of snapshots, each of a world in which all functions died at one moment: the table's items, the
//! buckets, the queues, the clusters' Jobs and the Maps that were going on, and what the version that wrote it made of
//! them in the end. A recording is never changed. To make one of the present version, under a name of its own:
//!
//! ```text
//! FANFOLD_SIM_RECORD=tests/fixtures/NAME cargo test -p fanfold-tests --test simulation a_recording_is_made
//! ```

mod items;
mod kinds;
mod recorder;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tokio::task::LocalSet;

use self::kinds::kinds;
use crate::{driver::Driver, scenario::OUTPUT};

pub(crate) use self::items::Items;

/// Where recordings are.
const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

/// What becomes of the runs of a snapshot: how each ends, and what is then under the outputs' names.
async fn finished(snapshot: &Value) -> Result<Value, String> {
    let mut driver = Driver::restored(snapshot).await;
    LocalSet::new().run_until(driver.run()).await?;
    let mut runs = serde_json::Map::new();
    for run in driver.world.ledger.contents().runs {
        runs.insert(run.id.to_string(), json!({"state": run.state, "sums": run.sums}));
    }
    let mut outputs = serde_json::Map::new();
    for key in driver.world.objects.keys(OUTPUT) {
        let body = driver.world.objects.contents(&fanfold_domain::ObjectName::new(OUTPUT, &key));
        let text = String::from_utf8(body.expect("it is listed").to_vec()).expect("it is text");
        outputs.insert(key, text.into());
    }
    Ok(json!({"runs": runs, "outputs": outputs}))
}

/// The snapshots of a recording, by their files' names.
fn snapshots(recording: &Path) -> Vec<(PathBuf, Value)> {
    let files = fs::read_dir(recording).unwrap_or_else(|error| panic!("{}: {error}", recording.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("it can be listed").path()).collect();
    files.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let snapshot =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, snapshot)
    };
    files.into_iter().map(read).collect()
}

/// What a recording must have, of all that a stack may be found with.
const WANTED: &[&str] = &[
    "run planning",
    "run running",
    "run completing",
    "run succeeded",
    "run succeeded_partial",
    "run failed",
    "run cancelled",
    "run superseded",
    "an owner that does not know it",
    "a former owner that is running",
    "item run: document.scan",
    "item run: document.list",
    "item run: document.former",
    "item run: document.is_fenced",
    "item run: document.settling_stages",
    "item run: document.begun_stages",
    "item run: document.finished_stages",
    "item run: document.unannounced",
    "item run: document.scheduled_at",
    "item run: document.cleaning.asked",
    "item output: document.former",
    "item group: handed",
    "item group: failed",
    "item group: sent_next",
    "item group: sent_reader_1",
    "item root: folded",
    "item failures: document.reason",
    "item launches: document.note",
    "item outage: document.until",
    "item pace: next_us",
    "item pipeline: version",
    "item cluster: document",
    "message intake Object Created",
    "message intake Run Submitted",
    "message intake tick",
    "message intake resume",
    "message intake stage",
    "message chunks .failed_tries",
    "message chunks .not_before",
    "message completions .end.done",
    "message completions .end.failed",
    "message completions .end.source_changed",
    "message completions .sent",
    "message completions child_failed",
    "message completions map_ended",
    "message folds fold",
    "message folds assemble",
    "message folds report",
    "message folds cleanup",
    "message launches ",
    "dead message chunks ",
    "map of \"express\"",
    "map of \"standard\"",
    "map of \"launches\"",
    "job",
    "an upload while completing",
    "object work scan chunk.",
    "object work plan chunk.",
    "object work s chunk.",
    "object work s chunk.statistics",
    "object work s chunk.errors",
    "object work s group.",
    "object work s group.errors",
    "object work s batches.jsonl.jsonl: line.count",
    "object work s batches.jsonl.jsonl: line.chunks",
    "object work manifest.jsonl",
    "object work list.jsonl",
];

#[test]
fn the_runs_of_every_older_version_are_finished_as_it_would_have() {
    let mut recordings = 0;
    for recording in fs::read_dir(RECORDINGS).expect("there are recordings") {
        recordings += 1;
        let mut seen = BTreeSet::new();
        for (path, snapshot) in snapshots(&recording.expect("it can be listed").path()) {
            seen.append(&mut kinds(&snapshot));
            let finished = virtually(finished(&snapshot));
            let finished = finished.unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()));
            let expected = &snapshot["finished"];
            assert_eq!(finished, *expected, "{}", path.display());
        }
        let missing: Vec<_> = WANTED.iter().filter(|kind| !seen.contains(**kind)).collect();
        assert!(missing.is_empty(), "the recording has no {missing:?}");
    }
    assert!(recordings > 0, "there is no recording");
}

/// Plays in virtual time.
fn virtually<T>(play: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime needs nothing");
    runtime.block_on(play)
}

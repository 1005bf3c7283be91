//! What comes out of a command: blocks of stdout, lines of stderr, reports on descriptor 3.
//!
//! Each is read by a task of its own, so that the command never waits for one while we read another.

use std::{collections::BTreeMap, io};

use fanfold_domain::message::truncate;
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    sync::mpsc,
};

/// Bytes read from stdout at once, and how many such blocks may wait: what bounds memory.
const BLOCK_BYTES: usize = 64 * 1024;
const BLOCKS: usize = 16;
/// The longest line that is read as one.
const LINE_BYTES: u64 = 64 * 1024;
/// The last bytes of stderr that are kept: with the other words they fit a reason of
/// [`fanfold_domain::message::MAX_REASON_BYTES`].
const STDERR_TAIL_BYTES: usize = 768;
/// Bytes of reports that are kept of one chunk.
pub(super) const MAX_REPORT_BYTES: usize = 16 << 20;
/// What a report costs besides its reason.
const REPORT_BYTES: usize = 64;

/// Reads stdout block by block; a full channel makes the command wait.
pub(super) fn blocks(
    mut stdout: impl AsyncRead + Unpin + Send + 'static,
) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(BLOCKS);
    tokio::spawn(async move {
        loop {
            let mut block = Vec::with_capacity(BLOCK_BYTES);
            let read = match stdout.read_buf(&mut block).await {
                Ok(0) => return,
                read => read.map(|_| block),
            };
            let failed = read.is_err();
            if sender.send(read).await.is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// Logs stderr line by line, and returns its tail.
pub(super) async fn log_lines(stderr: impl AsyncRead + Unpin) -> String {
    let mut reader = BufReader::new(stderr);
    let mut tail = String::new();
    let mut line = Vec::new();
    while let Ok(1..) = (&mut reader).take(LINE_BYTES).read_until(b'\n', &mut line).await {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        tracing::info!(line = text, "command stderr");
        tail.push_str(&text);
        tail.push('\n');
        let cut = tail.ceil_char_boundary(tail.len().saturating_sub(STDERR_TAIL_BYTES));
        tail.drain(..cut);
        line.clear();
    }
    tail.trim_end().to_owned()
}

/// What a command reported on descriptor 3.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// The reason of each bad record, by its number; the first, where there were several.
    pub(super) reasons: BTreeMap<u64, String>,
    /// A line that was no report.
    pub(super) garbage: Option<String>,
    /// Whether there were more than are kept.
    pub(super) overflowed: bool,
    bytes: usize,
}

/// A line on descriptor 3.
#[derive(Deserialize)]
struct Report {
    record: u64,
    reason: String,
}

impl Reports {
    /// Reads to the end, whatever comes, so that the command can always write on. Of more bad records than
    /// `allowed`, which fail the chunk, one more is kept.
    pub(super) async fn read(reader: impl AsyncRead + Unpin, allowed: u64) -> io::Result<Self> {
        let mut reader = BufReader::new(reader);
        let (mut reports, mut line) = (Self::default(), Vec::new());
        while let 1.. = (&mut reader).take(LINE_BYTES).read_until(b'\n', &mut line).await? {
            reports.take(&line, allowed);
            line.clear();
        }
        Ok(reports)
    }

    fn take(&mut self, line: &[u8], allowed: u64) {
        let line = line.trim_ascii();
        if line.is_empty() || self.garbage.is_some() || self.overflowed {
            return;
        }
        match serde_json::from_slice(line) {
            Ok(Report { record, reason }) => self.keep(record, truncate(reason), allowed),
            Err(_garbage) => self.garbage = Some(truncate(String::from_utf8_lossy(line).into_owned())),
        }
    }

    fn keep(&mut self, record: u64, reason: String, allowed: u64) {
        if self.reasons.contains_key(&record) || self.reasons.len() as u64 > allowed {
            return;
        }
        self.bytes += reason.len() + REPORT_BYTES;
        self.overflowed = self.bytes > MAX_REPORT_BYTES;
        self.reasons.insert(record, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_record_reported_twice_leaves_room_for_another() {
        let lines = "{\"record\":2,\"reason\":\"a\"}\n\n {\"record\":2,\"reason\":\"b\"}\r\n{\"record\":1,\"reason\":\"c\"}";
        let reports = Reports::read(lines.as_bytes(), 1).await.unwrap();
        assert_eq!(reports.reasons, [(1, "c".to_owned()), (2, "a".to_owned())].into());
    }

    #[tokio::test]
    async fn reports_without_end_take_no_memory_without_end() {
        let line = |n: u64| format!("{{\"record\":{n},\"reason\":\"{n:0>900}\"}}\n");
        let lines = (1..50_000).map(line).collect::<Vec<_>>().concat();
        let reports = Reports::read(lines.as_bytes(), u64::MAX).await.unwrap();
        assert!(reports.overflowed && reports.reasons.len() < 20_000);
    }

    #[tokio::test]
    async fn of_stderr_the_last_lines_are_kept() {
        let lines = (0..10_000).map(|n| format!("é line {n}\n")).collect::<Vec<_>>().concat();
        let tail = log_lines(lines.as_bytes()).await;
        assert!(tail.ends_with("é line 9999") && tail.len() <= STDERR_TAIL_BYTES, "{tail}");
    }
}

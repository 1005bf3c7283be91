//! `command`: any program that reads records on stdin and writes its part to stdout, unchanged.

mod environment;
mod error;
mod family;
mod pipes;

use std::{
    io,
    os::fd::OwnedFd,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use async_trait::async_trait;
use command_fds::{CommandFdExt, FdMapping};
use fanfold_domain::pipeline::Credentials;
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt,
    process::ChildStdin,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tracing::Instrument;

use self::{
    environment::{environment, hide_ours, package, resolve, scratch},
    error::describe,
    family::Family,
    pipes::{MAX_REPORT_BYTES, Reports, blocks, log_lines},
};
use super::{Context, LateVerdict, ProcessError, Processor, Reason, Record, Step};

pub(super) use environment::Given;
pub use error::CommandError;

/// The most of stdout that one call appends to the output.
const OUT_BYTES: usize = 1 << 20;
/// How long stderr is waited for once the command is dead: a process that left its group may hold it open.
const STDERR_GRACE: Duration = Duration::from_millis(500);

/// A program at work on a chunk.
pub(super) struct Command {
    program: String,
    family: Family,
    /// Open until all records were written, or the command closed its end.
    stdin: Option<ChildStdin>,
    /// Records for stdin, of which the first bytes were written.
    waiting: Vec<u8>,
    written: usize,
    stdout: mpsc::Receiver<io::Result<Vec<u8>>>,
    stderr: JoinHandle<String>,
    reports: JoinHandle<io::Result<Reports>>,
    line_end: &'static [u8],
    /// How many records it was given.
    records: u64,
    deadline: Instant,
    timeout_ms: u64,
    ends_with_lf: bool,
    /// The command's own folder. The last of the fields, so that it is removed when the command is gone.
    _scratch: TempDir,
}

impl Command {
    pub(super) fn start(
        context: &Context<'_>,
        argv: &[String],
        header_on_stdin: bool,
        given: Given<'_>,
    ) -> Result<Self, CommandError> {
        let program = argv.first().expect("a parsed command has a program").clone();
        let failed = |source| CommandError::Start { program: program.clone(), source };
        if given.credentials == Credentials::None {
            hide_ours().map_err(failed)?;
        }
        let (reports, for_reports) = io::pipe().map_err(failed)?;
        let scratch = scratch(context.inherited).map_err(failed)?;
        let mut command =
            command(context, argv, given, scratch.path(), for_reports.into()).map_err(failed)?;
        let mut child = command.spawn().map_err(failed)?;
        drop(command); // and with it our copy of the pipe's writing end
        let stdin = child.stdin.take();
        let stdout = blocks(child.stdout.take().expect("stdout is piped"));
        let stderr = log_lines(child.stderr.take().expect("stderr is piped"));
        // Its lines are logged with the attempt that they are of.
        let stderr = tokio::spawn(stderr.in_current_span());
        let family = Family::new(child);
        let reports = tokio::net::unix::pipe::Receiver::from_owned_fd(reports.into()).map_err(failed)?;
        let reports = tokio::spawn(Reports::read(reports, context.run.pipeline.on_error.max_bad_records));
        let line_end = context.line_end.as_bytes();
        let header = context.header.filter(|_| header_on_stdin);
        Ok(Self {
            program,
            family,
            stdin,
            waiting: header.map_or_else(Vec::new, |header| [header, line_end].concat()),
            written: 0,
            stdout,
            stderr,
            reports,
            line_end,
            records: 0,
            deadline: Instant::now() + Duration::from_millis(context.timeout_ms),
            timeout_ms: context.timeout_ms,
            ends_with_lf: true,
            _scratch: scratch,
        })
    }

    /// Writes what is waiting to stdin while taking what comes from stdout, so that neither blocks the other.
    async fn pump(&mut self, out: &mut Vec<u8>) -> Result<Step<()>, CommandError> {
        let most = out.len() + OUT_BYTES;
        while self.written < self.waiting.len() {
            let Some(stdin) = self.stdin.as_mut() else { break };
            if out.len() >= most {
                return Ok(Step::Again);
            }
            tokio::select! {
                wrote = stdin.write(&self.waiting[self.written..]) => match wrote {
                    Ok(bytes) => self.written += bytes,
                    // A program need not read to the end: `head` is one. Its exit code decides.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.stdin = None,
                    Err(source) => return Err(self.pipe(source)),
                },
                Some(block) = self.stdout.recv() => self.take(block, out)?,
            }
        }
        self.waiting.clear();
        self.written = 0;
        Ok(Step::Done(()))
    }

    /// Takes the rest of stdout, and waits for the end.
    async fn run_out(&mut self, out: &mut Vec<u8>) -> Result<Step<ExitStatus>, CommandError> {
        let most = out.len() + OUT_BYTES;
        if let Step::Again = self.pump(out).await? {
            return Ok(Step::Again);
        }
        self.stdin = None;
        while let Some(block) = self.stdout.recv().await {
            self.take(block, out)?;
            if out.len() >= most {
                return Ok(Step::Again);
            }
        }
        let ended = self.family.wait().await;
        ended.map(Step::Done).map_err(|source| self.pipe(source))
    }

    fn take(&mut self, block: io::Result<Vec<u8>>, out: &mut Vec<u8>) -> Result<(), CommandError> {
        let block = block.map_err(|source| self.pipe(source))?;
        self.ends_with_lf = block.last().map_or(self.ends_with_lf, |byte| *byte == b'\n');
        out.extend_from_slice(&block);
        Ok(())
    }

    async fn verdicts(&mut self) -> Result<Vec<LateVerdict>, CommandError> {
        let joined = (&mut self.reports).await.map_err(io::Error::other).and_then(|reports| reports);
        let reports = joined.map_err(|source| self.pipe(source))?;
        let program = || self.program.clone();
        if let Some(line) = reports.garbage {
            return Err(CommandError::Report { program: program(), line });
        }
        if reports.overflowed {
            return Err(CommandError::TooManyReports { program: program(), limit_bytes: MAX_REPORT_BYTES });
        }
        if let Some(record) = reports.reasons.keys().find(|record| !(1..=self.records).contains(*record)) {
            let line = format!("record {record}, and was given {}", self.records);
            return Err(CommandError::Report { program: program(), line });
        }
        Ok(reports.reasons.into_iter().map(|(record, reason)| LateVerdict { record, reason }).collect())
    }

    /// Ends the command and its children, and says what it had to say.
    async fn kill(&mut self) -> String {
        self.family.kill().await;
        let said = timeout(STDERR_GRACE, &mut self.stderr).await;
        said.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Does a part of the work, and ends the command if that fails or takes too long.
    async fn within<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        match timeout_at(self.deadline, work(self)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                self.kill().await;
                Err(error)
            }
            Err(_elapsed) => Err(self.time_out().await),
        }
    }

    async fn time_out(&mut self) -> CommandError {
        let had_ended = self.family.has_ended();
        let (program, timeout_ms) = (self.program.clone(), self.timeout_ms);
        let stderr = self.kill().await;
        if had_ended {
            CommandError::HeldOpen { program, timeout_ms, stderr }
        } else {
            CommandError::TimedOut { program, timeout_ms, stderr }
        }
    }

    fn pipe(&self, source: io::Error) -> CommandError {
        CommandError::Pipe { program: self.program.clone(), source }
    }
}

#[async_trait]
impl Processor for Command {
    fn record(&mut self, record: Record<'_>, _out: &mut Vec<u8>) -> Result<(), Reason> {
        self.records += 1;
        self.waiting.extend_from_slice(record.body);
        let end = &record.raw[record.body.len()..];
        self.waiting.extend_from_slice(if end.is_empty() { self.line_end } else { end });
        Ok(())
    }

    async fn flush(&mut self, out: &mut Vec<u8>) -> Result<Step<()>, ProcessError> {
        Ok(self.within(async |command| command.pump(out).await).await?)
    }

    async fn finish(&mut self, out: &mut Vec<u8>) -> Result<Step<Vec<LateVerdict>>, ProcessError> {
        let Step::Done(status) = self.within(async |command| command.run_out(out).await).await? else {
            return Ok(Step::Again);
        };
        if !status.success() {
            let (program, how) = (self.program.clone(), describe(status));
            let stderr = self.kill().await;
            return Err(CommandError::Ended { program, how, stderr }.into());
        }
        let verdicts = self.within(async |command| command.verdicts().await).await?;
        self.kill().await;
        if !self.ends_with_lf {
            out.push(b'\n');
        }
        Ok(Step::Done(verdicts))
    }
}

/// The program, to be begun with its pipes and nothing else of ours.
fn command(
    context: &Context<'_>,
    argv: &[String],
    given: Given<'_>,
    scratch: &Path,
    reports: OwnedFd,
) -> io::Result<tokio::process::Command> {
    let mut command = tokio::process::Command::new(resolve(&argv[0], context.inherited));
    command
        .args(&argv[1..])
        .env_clear()
        .envs(environment(context, given, scratch)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(package) = package(context.inherited) {
        command.current_dir(package);
    }
    command.fd_mappings(vec![FdMapping { parent_fd: reports, child_fd: 3 }]).map_err(io::Error::other)?;
    Ok(command)
}

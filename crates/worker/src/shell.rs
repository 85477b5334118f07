//! A shell task: `/bin/sh -c` in a process group of its own, its output line by line in the log.
//!
//! The process first waits at a gate (a line on its standard input) until the history knows its number. So a server
//! that dies in between leaves nothing running that its successor could not find.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::dispatcher::Outcome;
use crate::log::AttemptLog;
use crate::process::{self, ProcessMark};
use crate::result::ResultFile;

/// Opens the gate: read a line, which is the process's own mark, or, when the server is gone, end; then become the task's own shell.
const GATE: &str = "IFS= read -r MULGIL_PROCESS || exit 125; export MULGIL_PROCESS; \
                    script=$1; shift; exec /bin/sh -c \"$script\" /bin/sh \"$@\" </dev/null";
/// Between the polite signal and the last one.
const GRACE: Duration = Duration::from_secs(5);
/// How long output may still come after the shell has ended, from processes that it left behind.
const LEFT_BEHIND: Duration = Duration::from_millis(200);
/// Longer lines are cut into pieces.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// What to run.
pub(crate) struct ShellTask {
    /// The rendered command.
    pub(crate) command: String,
    /// Its arguments.
    pub(crate) each: Vec<String>,
    /// Variables beside those of the server's environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// The project's folder.
    pub(crate) folder: PathBuf,
}

/// A shell that waits at its gate.
pub(crate) struct Gated {
    child: Child,
    mark: ProcessMark,
    output: [JoinHandle<()>; 2],
}

impl ShellTask {
    /// Starts the shell; it waits at the gate.
    pub(crate) fn spawn(self, log: &AttemptLog) -> Result<Gated, String> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", GATE, "sh", &self.command])
            .args(&self.each)
            .envs(self.environment)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("cannot start /bin/sh in {}: {error}", self.folder.display()))?;
        let group = child.id().and_then(|pid| i32::try_from(pid).ok()).ok_or("the shell ended before it began")?;
        let mark = process::mark_of(group).ok_or("the shell ended before it began")?;
        let output = [follow(child.stdout.take(), log.clone()), follow(child.stderr.take(), log.clone())];
        Ok(Gated { child, mark, output })
    }
}

fn follow(stream: Option<impl AsyncRead + Unpin + Send + 'static>, log: AttemptLog) -> JoinHandle<()> {
    tokio::spawn(async move {
        let Some(stream) = stream else { return };
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            let read = (&mut lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
            let goes_on = matches!(read, Ok(1..)) && line.last() != Some(&b'\n');
            let end = if goes_on { log.cut(&line) } else { line.len() };
            let piece: Vec<u8> = line.drain(..end).collect();
            if !piece.is_empty() {
                log.line(String::from_utf8_lossy(&piece).trim_end_matches(['\n', '\r']));
            }
            if !matches!(read, Ok(1..)) {
                return;
            }
        }
    })
}

impl Gated {
    /// The group, for the history.
    pub(crate) fn mark(&self) -> ProcessMark {
        self.mark
    }

    /// Opens the gate.
    pub(crate) async fn open(&mut self) -> Result<(), String> {
        let mut gate = self.child.stdin.take().ok_or("the gate is open already")?;
        let line = format!("{}\n", process::word_of(self.mark));
        gate.write_all(line.as_bytes()).await.map_err(|error| format!("the shell ended before it began: {error}"))
    }

    /// Waits until the shell has ended, and leaves its number with it: until [`Gated::wait`], the kernel can still say what it used.
    #[expect(
        deprecated,
        reason = "its successor needs `unsafe`; what it warns of cannot happen, since the descriptor is owned"
    )]
    pub(crate) async fn ended(&self) {
        let opened = Pid::from_raw(self.mark.pid).map(|pid| pidfd_open(pid, PidfdFlags::NONBLOCK));
        if let Some(Ok(process)) = opened
            && let Ok(process) = AsyncFd::with_interest(process, Interest::READABLE)
        {
            // An error means that nothing is to be seen, and `wait` tells the end all the same.
            let _ = process.readable().await;
        }
    }

    /// Waits for the end. May be dropped while it waits, and called again.
    pub(crate) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// After the shell has ended: what it left behind in its group is ended too, and the last output is read.
    pub(crate) async fn clear(&mut self) {
        let [out, err] = &mut self.output;
        let rest = async { tokio::join!(&mut *out, &mut *err) };
        if tokio::time::timeout(LEFT_BEHIND, rest).await.is_err() {
            process::end_tree(self.mark, GRACE).await;
            // A process that left the group may hold the output open for ever; nobody waits for it.
            self.output.iter().for_each(JoinHandle::abort);
        }
    }

    /// Ends the whole group: politely, then not.
    pub(crate) async fn end(&mut self) {
        self.end_within(GRACE).await;
    }

    /// As [`Gated::end`], with so long between the two signals.
    pub(crate) async fn end_within(&mut self, grace: Duration) {
        // The leader has to be reaped meanwhile.
        let _ = tokio::join!(process::end_tree(self.mark, grace), self.child.wait());
        self.clear().await;
    }
}

/// The exit code, or 128 and the signal's number, as shells tell it.
pub(crate) fn exit_of(status: &ExitStatus) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal))
}

/// How the shell's end counts.
pub(crate) fn outcome_of(status: std::io::Result<ExitStatus>, log: &AttemptLog, result: &ResultFile) -> Outcome {
    use std::os::unix::process::ExitStatusExt;
    let what = match status {
        Ok(status) if status.success() => return result.take().map_or_else(Outcome::failed, Outcome::Succeeded),
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("the command ended with exit code {code}"),
            (None, Some(signal)) => format!("the command was ended by signal {signal}"),
            (None, None) => "the command ended in a way that the system does not tell".to_owned(),
        },
        Err(error) => format!("cannot wait for the command: {error}"),
    };
    match log.tail() {
        tail if tail.is_empty() => Outcome::failed(format!("{what}; it printed nothing")),
        tail => Outcome::failed(format!("{what}; its last lines:\n{tail}")),
    }
}

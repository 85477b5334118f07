//! A short program within limits: it gets so much time, may print so much, and leaves nothing behind.
//!
//! This blocks: it is for programs that answer a question, such as what a script defines, not for tasks.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// How much of what the program complained about is kept.
const COMPLAINT_BYTES_MAX: usize = 2000;

/// What a program may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long it may run.
    pub time: Duration,
    /// How much it may print to its standard output.
    pub bytes: u64,
}

/// Why a program gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum LimitedError {
    /// It could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// Which.
        program: String,
        /// The operating system's word.
        source: io::Error,
    },
    /// It took too long, and was killed with everything that it had started.
    #[error("took longer than {} seconds and was ended", .0.as_secs())]
    TimedOut(Duration),
    /// It printed too much, and was killed.
    #[error("printed more than {0} bytes and was ended")]
    TooMuch(u64),
}

/// What a program left.
#[derive(Debug)]
pub struct Printed {
    /// Its standard output.
    pub output: Vec<u8>,
    /// The end of its standard error.
    pub complaint: String,
}

/// Runs a program in a process group of its own until it closes its standard output, then ends whatever of the group is left.
///
/// # Errors
/// It cannot be started, or exceeds its limits.
pub fn run(mut command: Command, limits: Limits) -> Result<Printed, LimitedError> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let start = |source| LimitedError::Start { program: program.clone(), source };
    let mut child = command.spawn().map_err(start)?;
    let (answer, answered) = mpsc::channel();
    let output = child.stdout.take();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output.map(|output| output.take(limits.bytes + 1).read_to_end(&mut bytes));
        // Nobody listens any more when the time was over before.
        let _ = answer.send(read.unwrap_or(Ok(0)).map(|_| bytes));
    });
    let complaints = child.stderr.take();
    let complaining = thread::spawn(move || complaints.map_or_else(String::new, last_of));
    let outcome = answered.recv_timeout(limits.time);
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // The only other answer is that the group is gone already.
        let _ = kill_process_group(group, Signal::KILL);
    }
    // It has been killed: this only takes its number back.
    let _ = child.wait();
    match outcome {
        Err(_) => Err(LimitedError::TimedOut(limits.time)),
        Ok(Ok(output)) if output.len() as u64 > limits.bytes => Err(LimitedError::TooMuch(limits.bytes)),
        Ok(Ok(output)) => Ok(Printed { output, complaint: complaining.join().unwrap_or_default() }),
        Ok(Err(source)) => Err(start(source)),
    }
}

/// The end of what is read, however much it is.
fn last_of(mut stream: impl Read) -> String {
    let mut last = VecDeque::new();
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        last.extend(piece.iter().take(length));
        last.drain(..last.len().saturating_sub(COMPLAINT_BYTES_MAX));
    }
    String::from_utf8_lossy(last.make_contiguous()).trim().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    fn shell(script: &str, millis: u64) -> Result<Printed, LimitedError> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        run(command, Limits { time: Duration::from_millis(millis), bytes: 100 })
    }

    #[test]
    fn what_a_program_prints_is_its_answer_and_its_complaints_are_kept() {
        let printed = shell("echo yes; echo no >&2", 60_000).unwrap();
        assert_eq!((printed.output.as_slice(), printed.complaint.as_str()), (b"yes\n".as_slice(), "no"));
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended_with_what_it_started() {
        let error = shell("sleep 1000 & sleep 1001", 50).unwrap_err();
        assert!(matches!(error, LimitedError::TimedOut(_)), "{error}");
    }

    #[test]
    fn a_program_that_prints_too_much_is_ended() {
        let error = shell("while :; do echo 1234567890; done", 60_000).unwrap_err();
        assert!(matches!(error, LimitedError::TooMuch(100)), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_told_so() {
        let error = run(Command::new("/no/such"), Limits { time: Duration::from_secs(1), bytes: 1 }).unwrap_err();
        assert!(error.to_string().starts_with("cannot start /no/such"), "{error}");
    }
}

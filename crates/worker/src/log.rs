//! An attempt's log: one file, appended line by line with the time before each line, readable while the task runs.
//!
//! Secrets (the project's, and its connections) are masked before they reach the file, also where a line that is too long is
//! cut into pieces. The last lines are kept, to go into the error of an attempt that fails.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

/// Lines that go into an error.
const TAIL_LINES_MAX: usize = 10;
/// Shorter secrets would mask innocent words.
pub(crate) const SECRET_LENGTH_MIN: usize = 4;
/// What stands where a secret stood.
const MASK: &str = "***";

/// The path of an attempt's log, relative to the project: `.mulgil/logs/<flow>/<run>/<task>.<attempt>.log`.
pub fn log_path(flow: &str, run: i64, task: &str, attempt: u32) -> String {
    // Names cannot leave the folder, whatever they contain.
    let safe = |name: &str| name.replace(['/', '\\'], "_").replace("..", "_");
    format!(".mulgil/logs/{}/{run}/{}.{attempt}.log", safe(flow), safe(task))
}

/// An open log. Clones write to the same file.
#[derive(Clone, Debug)]
pub struct AttemptLog {
    inner: Arc<Inner>,
    is_quiet: bool,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    secrets: Vec<String>,
    // A lock, not a queue: the two output streams of a process take turns line by line.
    writing: Mutex<Writing>,
}

#[derive(Debug)]
struct Writing {
    file: File,
    tail: VecDeque<String>,
    failure: Option<String>,
}

impl AttemptLog {
    /// Opens the file for appending and makes its folder. `secrets` never reach the file.
    pub fn open(path: &Path, secrets: impl IntoIterator<Item = String>) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let mut secrets: Vec<String> = secrets.into_iter().filter(|text| text.len() >= SECRET_LENGTH_MIN).collect();
        // The longest first, so that no secret is masked only in part.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let writing = Writing { file, tail: VecDeque::new(), failure: None };
        Ok(Self {
            inner: Arc::new(Inner { path: path.to_owned(), secrets, writing: Mutex::new(writing) }),
            is_quiet: false,
        })
    }

    /// Appends one line. A disk that is full does not fail the task: it is told with the attempt's end.
    pub fn line(&self, text: &str) {
        let text = self.masked(text);
        let mut writing = self.lock();
        let line = format!("{:.3} {text}\n", Timestamp::now());
        if let Err(error) = writing.file.write_all(line.as_bytes()) {
            writing.failure.get_or_insert_with(|| format!("cannot write {}: {error}", self.inner.path.display()));
        }
        if writing.tail.len() == TAIL_LINES_MAX {
            writing.tail.pop_front();
        }
        writing.tail.push_back(text);
    }

    /// The same log for work that is done again and again: its notes are not written.
    pub(crate) fn quiet(&self) -> Self {
        Self { is_quiet: true, ..self.clone() }
    }

    /// Appends a line of Mulgil's own, to be told from the task's output.
    pub fn note(&self, text: &str) {
        if !self.is_quiet {
            self.line(&format!("[mulgil] {text}"));
        }
    }

    /// The last lines of the task's own output.
    pub fn tail(&self) -> String {
        let writing = self.lock();
        let own = writing.tail.iter().filter(|line| !line.starts_with("[mulgil]"));
        own.map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Why lines are missing in the file, if some are.
    pub fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// The text with secrets masked.
    pub fn masked(&self, text: &str) -> String {
        self.inner.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, MASK))
    }

    /// Where a piece of a line that goes on may be cut, so that no secret is cut with it.
    pub(crate) fn cut(&self, piece: &[u8]) -> usize {
        let secrets = &self.inner.secrets;
        let begins = |rest: &[u8], secret: &String| secret.len() > rest.len() && secret.as_bytes().starts_with(rest);
        let mut at = 0;
        while let Some(rest) = piece.get(at..).filter(|rest| !rest.is_empty()) {
            if secrets.iter().any(|secret| begins(rest, secret)) {
                return at;
            }
            let whole = secrets.iter().find(|secret| rest.starts_with(secret.as_bytes()));
            at += whole.map_or(1, |secret| secret.len());
        }
        piece.len()
    }

    fn lock(&self) -> MutexGuard<'_, Writing> {
        self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of a connection's URL must not be seen: all of it, and its password by itself.
pub fn secrets_of(connection: &str) -> Vec<String> {
    let mut secrets = vec![connection.to_owned()];
    let authority = connection.split_once("://").and_then(|(_, rest)| rest.split('/').next());
    let user_info = authority.and_then(|authority| authority.rsplit_once('@')).map(|(user, _)| user);
    if let Some((_, password)) = user_info.and_then(|user| user.split_once(':')) {
        secrets.push(password.to_owned());
    }
    secrets
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::{AttemptLog, log_path, secrets_of};

    #[test]
    fn lines_carry_the_time_and_no_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.log");
        let log = AttemptLog::open(&path, secrets_of("postgres://me:hunter2@db/x")).unwrap();
        log.line("connecting to postgres://me:hunter2@db/x with hunter2");
        log.note("done");
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| line.split_once("Z ").unwrap().1).collect();
        assert_eq!(lines, ["connecting to *** with ***", "[mulgil] done"]);
        assert_eq!(log.tail(), "connecting to *** with ***");
    }

    #[test]
    fn a_path_stays_in_its_folder() {
        assert_eq!(log_path("../f", 7, "a/b", 2), ".mulgil/logs/__f/7/a_b.2.log");
    }
}

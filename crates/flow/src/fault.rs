//! What went wrong with an attempt, in the words in which `retries:` speaks of it: `connection`, `exit 2`, `http 5xx`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::StatusRange;

/// What is known of a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fault {
    /// Its kind.
    pub kind: ErrorKind,
    /// The exit code of its process; beyond 128 it is a signal's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// The status of the answer to its HTTP request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

impl From<ErrorKind> for Fault {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, ..Self::default() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.exit, self.status) {
            (ErrorKind::Other, Some(code), _) => write!(f, "exit {code}"),
            (ErrorKind::Other, None, Some(status)) => write!(f, "http {status}"),
            (kind, Some(code), _) => write!(f, "{kind} (exit {code})"),
            (kind, ..) => write!(f, "{kind}"),
        }
    }
}

/// Kinds of errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// None of the others.
    #[default]
    Other,
    /// The attempt ran longer than its task may.
    Timeout,
    /// There was no memory left for it.
    OutOfMemory,
    /// There was no room left on a disk.
    DiskFull,
    /// Somebody refused or broke a connection, did not answer in time, or has a name that nobody knows.
    Connection,
    /// Too many files were open at once.
    OpenFiles,
    /// A program is not there, or may not be run.
    CommandNotFound,
}

impl ErrorKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Timeout,
        Self::OutOfMemory,
        Self::DiskFull,
        Self::Connection,
        Self::OpenFiles,
        Self::CommandNotFound,
        Self::Other,
    ];

    /// The word for it in flow files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::OutOfMemory => "out_of_memory",
            Self::DiskFull => "disk_full",
            Self::Connection => "connection",
            Self::OpenFiles => "open_files",
            Self::CommandNotFound => "command_not_found",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Failures that somebody has in mind: of a kind, with certain exit codes, or with certain answers to an HTTP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum FaultPattern {
    /// Of this kind.
    Kind(ErrorKind),
    /// With an exit code from the first to the last.
    Exit(i32, i32),
    /// With such a status.
    Http(StatusRange),
}

impl FaultPattern {
    /// Whether it is such a failure.
    #[must_use]
    pub fn fits(self, fault: &Fault) -> bool {
        match self {
            Self::Kind(kind) => fault.kind == kind,
            Self::Exit(first, last) => fault.exit.is_some_and(|code| (first..=last).contains(&code)),
            Self::Http(range) => fault.status.is_some_and(|status| range.has(status)),
        }
    }
}

impl fmt::Display for FaultPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "{kind}"),
            Self::Exit(first, last) if first == last => write!(f, "exit {first}"),
            Self::Exit(first, last) => write!(f, "exit {first}-{last}"),
            Self::Http(range) => write!(f, "http {range}"),
        }
    }
}

impl From<FaultPattern> for String {
    fn from(pattern: FaultPattern) -> Self {
        pattern.to_string()
    }
}

/// A text that names no failures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of error {0}")]
pub struct NoSuchFault(pub String);

impl TryFrom<String> for FaultPattern {
    type Error = NoSuchFault;

    fn try_from(text: String) -> Result<Self, NoSuchFault> {
        text.parse()
    }
}

impl FromStr for FaultPattern {
    type Err = NoSuchFault;

    fn from_str(text: &str) -> Result<Self, NoSuchFault> {
        let known = match text.split_once(' ') {
            None => ErrorKind::ALL.into_iter().find(|kind| kind.word() == text).map(Self::Kind),
            Some(("exit", codes)) => exit_codes(codes.trim()).map(|(first, last)| Self::Exit(first, last)),
            Some(("http", status)) => StatusRange::parse(status.trim()).map(Self::Http),
            Some(_) => None,
        };
        known.ok_or_else(|| NoSuchFault(text.to_owned()))
    }
}

/// `2`, or `64-78`.
fn exit_codes(text: &str) -> Option<(i32, i32)> {
    let code = |text: &str| text.trim().parse().ok().filter(|code| (1..=255).contains(code));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    code(first).zip(code(last)).filter(|(first, last)| first <= last)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn patterns_are_what_they_are_written_as_and_fit_what_they_say() {
        let exit = |code| Fault { exit: Some(code), ..Fault::default() };
        let http = |status| Fault { status: Some(status), ..Fault::default() };
        let killed = Fault { kind: ErrorKind::OutOfMemory, exit: Some(137), status: None };
        let timeout = Fault::from(ErrorKind::Timeout);
        let cases: [(&str, &[Fault], &[Fault]); 6] = [
            ("exit 2", &[exit(2)], &[exit(3), Fault::default(), http(200)]),
            ("exit 64-78", &[exit(64), exit(78)], &[exit(63), exit(79)]),
            ("http 5xx", &[http(500), http(599)], &[http(404), exit(500)]),
            ("out_of_memory", &[killed], &[timeout, exit(137)]),
            ("exit 137", &[killed, exit(137)], &[timeout]),
            ("other", &[Fault::default(), exit(1), http(404)], &[timeout, killed]),
        ];
        for (text, fitting, others) in cases {
            let pattern: FaultPattern = text.parse().unwrap();
            assert_eq!(pattern.to_string(), text);
            assert!(fitting.iter().all(|fault| pattern.fits(fault)), "{text}");
            assert!(!others.iter().any(|fault| pattern.fits(fault)), "{text}");
        }
        for wrong in ["", "exit", "exit 0", "exit 9-2", "exit 256", "http 6xx", "timed_out", "exits 2", "exit a"] {
            assert!(wrong.parse::<FaultPattern>().is_err(), "{wrong}");
        }
    }
}

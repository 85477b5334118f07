//! How the program ends: 0 done, 1 it failed, 2 wrong usage (clap's own).

use std::process::ExitCode;

/// How a command ended, when it could do what was asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Done,
    /// The command worked, and what it looked after failed: a run, a check.
    Failed,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => ExitCode::SUCCESS,
            Exit::Failed => ExitCode::from(1),
        }
    }
}

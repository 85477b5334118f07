//! Where a run, a task or an attempt stands. Each status has a word (stored, and shown in JSON) and a letter (one cell
//! of the grid).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A word that names no status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} status {word:?}; the history was written by another version")]
pub struct UnknownStatus {
    /// `run`, `task` or `attempt`.
    pub what: &'static str,
    /// The word.
    pub word: String,
}

macro_rules! status {
    ($(#[$meta:meta])* $name:ident, $what:literal, { $($(#[$doc:meta])* $variant:ident = $word:literal $letter:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every status, in the order of a life.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The status as one word.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }

            /// The status as one letter.
            pub fn letter(self) -> char {
                match self { $($name::$variant => $letter,)* }
            }

            /// Reads [`Self::word`] back.
            pub fn from_word(word: &str) -> Result<Self, UnknownStatus> {
                match word {
                    $($word => Ok($name::$variant),)*
                    _ => Err(UnknownStatus { what: $what, word: word.to_owned() }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

status! {
    /// Where a run stands.
    RunStatus, "run", {
        /// Recorded; waits for its turn among the runs of its flow or backfill.
        Queued = "queued" 'q',
        /// Its tasks may run.
        Running = "running" 'r',
        /// Asked to stop; its last tasks are being ended.
        Cancelling = "cancelling" 'x',
        /// Every task succeeded or was skipped.
        Succeeded = "succeeded" 's',
        /// A task failed, and everything that could still run has run.
        Failed = "failed" 'f',
        /// Stopped before its end.
        Cancelled = "cancelled" 'c',
    }
}

status! {
    /// Where a task of a run stands.
    TaskStatus, "task", {
        /// Waits for the tasks that it needs.
        Waiting = "waiting" 'w',
        /// Waits for a slot and a worker.
        Ready = "ready" 'y',
        /// A worker holds a lease on an attempt.
        Running = "running" 'r',
        /// Failed, and waits to be tried again.
        Retrying = "retrying" 't',
        /// Done.
        Succeeded = "succeeded" 's',
        /// Never ran, since its rule or its condition says so. That is no failure.
        Skipped = "skipped" 'k',
        /// Failed for good.
        Failed = "failed" 'f',
        /// Never ran, since a task that it needs failed.
        UpstreamFailed = "upstream_failed" 'u',
        /// Stopped, or never ran since its run was stopped.
        Cancelled = "cancelled" 'c',
    }
}

status! {
    /// Where an attempt stands.
    AttemptStatus, "attempt", {
        /// Given to a worker; nothing of it has run yet.
        Leased = "leased" 'l',
        /// The worker has begun.
        Running = "running" 'r',
        /// Done.
        Succeeded = "succeeded" 's',
        /// Failed.
        Failed = "failed" 'f',
        /// Ran longer than its task may.
        TimedOut = "timed_out" 'o',
        /// Ended because its run was stopped.
        Cancelled = "cancelled" 'c',
        /// Its worker is gone; what it did is unknown.
        Lost = "lost" 'x',
    }
}

impl RunStatus {
    /// Whether nothing more happens by itself. Only a re-run leaves a terminal status.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// Whether it counts against the limits on runs at once.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Cancelling)
    }
}

impl TaskStatus {
    /// Whether nothing more happens by itself. Only a re-run leaves a terminal status.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Skipped | Self::Failed | Self::UpstreamFailed | Self::Cancelled)
    }

    /// Whether it ended badly: what needs it hears of a failure.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::UpstreamFailed | Self::Cancelled)
    }
}

impl AttemptStatus {
    /// Whether it is over. A terminal attempt never changes again.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Leased | Self::Running)
    }
}

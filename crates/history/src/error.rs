//! What can go wrong between Mulgil and its history.

use std::path::PathBuf;

/// SQLite's code for a disk that is full.
const SQLITE_FULL: &str = "13";

/// A failed read or write of the history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The database file could not be opened or brought up to date.
    #[error("cannot open the history {}: {reason}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What stood in the way.
        reason: String,
    },
    /// Another server has this history open.
    #[error("another mulgil server has {} open: stop it, or use it", path.display())]
    Taken {
        /// The file.
        path: PathBuf,
    },
    /// The database refused: disk full, file damaged, lock held by another program.
    #[error("the history refused: {0}")]
    Store(#[source] sqlx::Error),
    /// There is no room to write.
    #[error("no room for the history: {0}")]
    Full(String),
    /// PostgreSQL refused, or cannot be reached.
    #[error("the history in PostgreSQL: {reason}")]
    Postgres {
        /// What it said, without secrets.
        reason: String,
        /// Whether it may say something else later.
        is_passing: bool,
    },
    /// This server does not lead: what it decides is not stored.
    #[error("another server leads: this one's lease on the history is lost")]
    Fenced,
    /// A compare-and-set found another status than the scheduler remembers: someone else wrote.
    #[error("{what} is not {expected} in the history: another program changed it; restart the server to read it again")]
    Conflict {
        /// What was to be changed.
        what: String,
        /// The status it was to be changed from.
        expected: String,
    },
    /// What was read makes no sense.
    #[error("damaged history: {0}")]
    Damaged(String),
}

impl HistoryError {
    /// Whether the same write may succeed later: the disk was full, the file was locked, the database away.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Store(sqlx::Error::Database(error)) => {
                // SQLITE_BUSY, _LOCKED, _NOMEM, _IOERR, _CANTOPEN; extended codes keep them in the low byte.
                let code = error.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0) & 0xff;
                matches!(code, 5 | 6 | 7 | 10 | 14)
            }
            Self::Postgres { is_passing, .. } => *is_passing,
            Self::Full(_) | Self::Store(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut) => true,
            _ => false,
        }
    }
}

impl From<sqlx::Error> for HistoryError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(inner) if inner.code().is_some_and(|code| code == SQLITE_FULL) => {
                Self::Full(inner.message().to_owned())
            }
            _ => Self::Store(error),
        }
    }
}

impl From<mulgil_sched::status::UnknownStatus> for HistoryError {
    fn from(error: mulgil_sched::status::UnknownStatus) -> Self {
        Self::Damaged(error.to_string())
    }
}

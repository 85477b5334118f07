//! What can go wrong between Mulgil and an outside system: always with the place and, where there is one, the remedy.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use mulgil_log::LogError;

/// A failed read or write.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file could not be opened, read or written.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was tried: `open`, `read`, `write`, `sync`, `rename`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// A row could not be decoded.
    #[error("{}:{line}: {reason}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it, and what was expected.
        reason: String,
    },
    /// A file or folder is not what the table needs.
    #[error("{}: {reason}", path.display())]
    Path {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and what was expected.
        reason: String,
    },
    /// A record of a topic could not be decoded.
    #[error("topic {topic}, partition {partition}, offset {offset}: {reason}")]
    Record {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The offset.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The table's definition cannot be served: an unknown connector or option, a missing column.
    #[error("table {table}: {reason}")]
    Definition {
        /// The table.
        table: String,
        /// What is wrong, and what to write instead.
        reason: String,
    },
    /// The lake refused: a conflict, a damaged table.
    #[error("lake table {table}: {reason}")]
    Lake {
        /// The table.
        table: String,
        /// What it said.
        reason: String,
    },
    /// A version of a lake table has changes that cannot be read, now or later.
    #[error("lake table {table}, version {version}: {reason}")]
    LakeVersion {
        /// The table.
        table: String,
        /// The version.
        version: u64,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A database could not be reached, or refused.
    #[error("table {table}: {reason}")]
    Postgres {
        /// The table.
        table: String,
        /// What it said, and where it is; without any password.
        reason: String,
    },
    /// A system is not there, or is too busy: what was asked may work later, with nothing changed. See [`crate::wait`].
    #[error("table {table}: {reason}")]
    Away {
        /// The table.
        table: String,
        /// Where the system is and what it said; without any password.
        reason: String,
        /// How long the system itself asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// A server answered that a request is wrong.
    #[error("table {table}: {reason}")]
    Http {
        /// The table.
        table: String,
        /// Where the server is and what it said; without any secret.
        reason: String,
    },
    /// Apache Kafka refused: it does not know the topic, or whoever asks.
    #[error("table {table}: {reason}")]
    Kafka {
        /// The table.
        table: String,
        /// What it said, and what to do; without any password.
        reason: String,
    },
    /// Object storage refused, or could not be reached.
    #[error("{url}: {reason}")]
    Storage {
        /// The folder or object, as `s3://bucket/folder`.
        url: String,
        /// What it said; without any key.
        reason: String,
    },
    /// The rows to be written could not be computed.
    #[error(transparent)]
    Query(DataFusionError),
    /// The rows to be written could not be computed, and the error was told to several at once: this is its text.
    #[error("{0}")]
    Told(String),
    /// The event log refused.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Arrow refused.
    #[error("columnar kernel failed: {0}")]
    Arrow(#[from] ArrowError),
}

impl From<DataFusionError> for ConnectError {
    /// An error that began in a connector comes back as it was, without what DataFusion has put around it.
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<ConnectError>() {
                Ok(connect) => *connect,
                Err(other) => Self::Query(DataFusionError::External(other)),
            },
            DataFusionError::Context(_, inner) => Self::from(*inner),
            DataFusionError::Shared(shared) => match Arc::try_unwrap(shared) {
                Ok(error) => Self::from(error),
                Err(shared) => Self::told(shared),
            },
            DataFusionError::ArrowError(error, backtrace) => match *error {
                ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
                    Ok(inner) => Self::from(*inner),
                    Err(inner) => Self::from(DataFusionError::External(inner)),
                },
                error => Self::Query(DataFusionError::ArrowError(Box::new(error), backtrace)),
            },
            other => Self::Query(other),
        }
    }
}

impl ConnectError {
    /// Whether the rows or the definition may be the reason, so that the same comes again; otherwise it may pass by itself.
    pub fn is_of_rows(&self) -> bool {
        matches!(
            self,
            Self::Row { .. }
                | Self::Record { .. }
                | Self::Definition { .. }
                | Self::LakeVersion { .. }
                | Self::Arrow(_)
                | Self::Query(_)
        )
    }

    /// An error of a query that others have been told too.
    fn told(shared: Arc<DataFusionError>) -> Self {
        match shared.find_root() {
            DataFusionError::External(inner) if inner.is::<ConnectError>() => Self::Told(inner.to_string()),
            _ => Self::Query(DataFusionError::Shared(shared)),
        }
    }
}

impl From<ConnectError> for DataFusionError {
    fn from(error: ConnectError) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

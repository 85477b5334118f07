//! Why a job ended other than by finishing: always with the operator, source or sink, and the reason.

use mulgil_connect::error::ConnectError;
use mulgil_dataflow::restart::FaultKind;

/// A job that could not start, failed, or was cancelled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// The graph cannot be run: a missing source or sink, a changelog into an append-only sink.
    #[error("cannot plan the job: {0}")]
    Plan(String),
    /// The guarantee that was asked for cannot be given.
    #[error("{0}")]
    Guarantee(String),
    /// A source could not be opened or read.
    #[error("source {table}: {reason}")]
    Source {
        /// The table.
        table: String,
        /// What went wrong, and where.
        reason: String,
        /// Whether it may be the rows; otherwise it may pass.
        of_rows: bool,
    },
    /// A sink could not be opened or written.
    #[error("sink {table}: {reason}")]
    Sink {
        /// The table.
        table: String,
        /// What went wrong, and where.
        reason: String,
        /// Whether it may be the rows; otherwise it may pass.
        of_rows: bool,
    },
    /// An operator failed on a row.
    #[error("operator {operator}: {reason}")]
    Operator {
        /// The operator, as `explain` names it.
        operator: String,
        /// What went wrong.
        reason: String,
    },
    /// State for which there is no memory could not be put away, or read again.
    #[error("operator {operator}: {reason}")]
    State {
        /// The operator, as `explain` names it.
        operator: String,
        /// What went wrong, and what to do.
        reason: String,
    },
    /// A defect of Mulgil: an operator or connector panicked. The job fails, the process lives on.
    #[error("{place} panicked: {message}; this is a defect, please report it")]
    Panic {
        /// The stage or task.
        place: String,
        /// The panic's message.
        message: String,
    },
    /// The checkpoint that the job is to go on from cannot be used.
    #[error("cannot go on from the last checkpoint: {0}")]
    Checkpoint(String),
    /// The checkpoints could not be reached.
    #[error("cannot reach the checkpoints: {0}")]
    Storage(String),
    /// A worker thread could not be started.
    #[error("cannot start worker thread {worker}: {reason}")]
    Thread {
        /// The worker's number.
        worker: usize,
        /// The operating system's word.
        reason: String,
    },
    /// A table has partitions that the job does not read: it has ended with a checkpoint, to be started again with them.
    #[error("table {table} has new partitions: {partitions}")]
    NewPartitions {
        /// The table.
        table: String,
        /// Their names.
        partitions: String,
    },
    /// Somebody asked for it.
    #[error("the job was cancelled")]
    Cancelled,
}

impl JobError {
    /// The error of a source.
    pub(crate) fn source(table: &str, error: &ConnectError) -> Self {
        Self::Source { table: table.to_owned(), reason: error.to_string(), of_rows: error.is_of_rows() }
    }

    /// The error of a sink.
    pub(crate) fn sink(table: &str, error: &ConnectError) -> Self {
        Self::Sink { table: table.to_owned(), reason: error.to_string(), of_rows: error.is_of_rows() }
    }

    /// What starting the job again can be expected to give.
    pub fn fault_kind(&self) -> FaultKind {
        match self {
            Self::Operator { .. } | Self::Panic { .. } => FaultKind::Rows,
            Self::Source { of_rows, .. } | Self::Sink { of_rows, .. } if *of_rows => FaultKind::Rows,
            Self::Source { .. } | Self::Sink { .. } | Self::Storage(_) | Self::State { .. } | Self::Thread { .. } => {
                FaultKind::Passing
            }
            Self::NewPartitions { .. } => FaultKind::Passing,
            Self::Plan(_) | Self::Guarantee(_) | Self::Checkpoint(_) | Self::Cancelled => FaultKind::Lasting,
        }
    }

    /// The error of something that panicked.
    pub(crate) fn panic(place: String, panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Self::Panic { place, message: message.unwrap_or_else(|| "no message".to_owned()) }
    }
}

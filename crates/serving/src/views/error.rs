//! Why a view could not be started, refreshed or asked.

use std::path::PathBuf;

use mulgil_sql::problem::SqlError;

/// Why a view could not be started, refreshed or asked.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// There is no such view.
    #[error("unknown view {name}; {remedy}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        remedy: String,
    },
    /// The view's mode does not do this.
    #[error("view {name} is {mode}: {reason}")]
    Mode {
        /// The view.
        name: String,
        /// Its mode.
        mode: String,
        /// What to do instead.
        reason: String,
    },
    /// Its query could not be planned or run.
    #[error("view {name}: {source}")]
    Sql {
        /// The view.
        name: String,
        /// Why.
        source: SqlError,
    },
    /// Its job could not be started, or its result could not be kept.
    #[error("view {name}: {reason}")]
    Result {
        /// The view.
        name: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Its stored result could not be read or written.
    #[error("view {name}: cannot {action} {}: {reason}", path.display())]
    Store {
        /// The view.
        name: String,
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's or Parquet's word.
        reason: String,
    },
    /// The table that it is exported to could not be replaced, and is as it was.
    #[error("view {name} could not be exported to {table}, which is as it was: {reason}")]
    Export {
        /// The view.
        name: String,
        /// The table.
        table: String,
        /// Why.
        reason: String,
    },
    /// The views have been shut down.
    #[error("views are shutting down; ask again after the restart")]
    ShutDown,
}

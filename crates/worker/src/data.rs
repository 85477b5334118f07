//! What data tasks need from the systems that hold tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use mulgil_connect::writer::Append;
use mulgil_flow::{CopiedRows, SqlResult, Variables, WriteTarget};

use crate::log::AttemptLog;

/// Runs SQL and transfer tasks.
///
/// # Contract
/// A call may be dropped at any moment; then the target table is as it was before. Errors say where (file and line for
/// a bad row) and what to do. What was read and written goes into the log.
#[async_trait]
pub trait DataTasks: Send + Sync + 'static {
    /// Runs SQL; the rows of the query go to the target, if there is one.
    /// The task's result comes back, where it asks for one.
    async fn sql(&self, task: SqlTask, log: &AttemptLog) -> Result<Option<serde_json::Value>, String>;
    /// Whether a table, or a partition of it, has rows now.
    async fn has_rows(&self, _wait: TableWait) -> Result<bool, String> {
        Err("this project has no tables".to_owned())
    }
    /// Copies the rows of the run's data interval from one table to another.
    /// What was written comes back as the task's result.
    async fn transfer(&self, task: TransferTask, log: &AttemptLog) -> Result<serde_json::Value, String>;
}

/// A SQL task with its templates still in it.
#[derive(Clone, Debug)]
pub struct SqlTask {
    /// The text, rendered.
    pub text: String,
    /// The file it came from, for messages; `None` for text in the flow itself.
    pub file: Option<String>,
    /// Where the rows of the query go.
    pub target: Option<WriteTarget>,
    /// Which of its rows are the task's result.
    pub result: Option<SqlResult>,
    /// As what rows are appended: the run and the task, so that another attempt does not double them. `None` where each attempt is to
    /// append.
    pub append: Option<Append>,
    /// The run's values.
    pub variables: Arc<Variables>,
}

/// Rows that are waited for.
#[derive(Clone, Debug)]
pub struct TableWait {
    /// The table.
    pub table: String,
    /// Of which partition, as values of columns. `None` is any row; no values are the partition of the run's `ds`.
    pub values: Option<BTreeMap<String, String>>,
    /// The run's values.
    pub variables: Arc<Variables>,
}

/// A transfer task.
#[derive(Clone, Debug)]
pub struct TransferTask {
    /// The table to read.
    pub from: String,
    /// Which of its rows.
    pub rows: CopiedRows,
    /// Where the rows go.
    pub target: WriteTarget,
    /// As what rows are appended, as of [`SqlTask`].
    pub append: Option<Append>,
    /// The run's values: its data interval, its time zone.
    pub variables: Arc<Variables>,
}

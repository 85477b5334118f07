//! A project in a temporary folder: a real event log, a real lake, a catalog.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use mulgil_connect::connectors::{Connectors, ConnectorsOptions};
use mulgil_log::{EventLog, LogOptions};
use mulgil_serving::run::{Mode, RunError, RunOptions, StatementResult, collect, run_statements};
use mulgil_sql::catalog::Catalog;
use tempfile::TempDir;

pub(crate) struct Project {
    pub(crate) dir: TempDir,
    pub(crate) connectors: Arc<Connectors>,
    pub(crate) log: EventLog,
}

impl Project {
    pub(crate) fn new() -> Self {
        Self::over(None)
    }

    /// Relative paths of tables are relative to `project_dir`.
    pub(crate) fn over(project_dir: Option<&Path>) -> Self {
        Self::with_log(project_dir, LogOptions::default())
    }

    /// The log is one of these options.
    pub(crate) fn with_log(project_dir: Option<&Path>, log: LogOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = EventLog::open(dir.path().join("log"), log).unwrap();
        let connectors = Connectors::new(ConnectorsOptions {
            project_dir: project_dir.unwrap_or(dir.path()).to_owned(),
            lake_dir: dir.path().join("lake"),
            log: Some(log.clone()),
            object_storage: Default::default(),
        });
        Self { dir, connectors: Arc::new(connectors), log }
    }

    /// A catalog of one file; it must have no problems.
    pub(crate) fn catalog(&self, text: &str) -> Arc<Catalog> {
        let (catalog, problems) =
            Catalog::load_checked(&[(PathBuf::from("project.sql"), text.to_owned())], &self.connectors);
        assert_eq!(problems, []);
        Arc::new(catalog)
    }

    pub(crate) async fn run(
        &self,
        catalog: &Catalog,
        sql: &str,
        options: &RunOptions,
    ) -> Result<Vec<Vec<String>>, RunError> {
        let mut rows = Vec::new();
        let each = async |result: StatementResult| {
            rows = match result {
                StatementResult::Rows(result) => text_rows(&collect(result).await?.1),
                StatementResult::FinalRows { batches, .. } => text_rows(&batches),
                StatementResult::Explained(text) => vec![vec![text]],
                StatementResult::Declared(_) | StatementResult::Written { .. } => Vec::new(),
            };
            Ok(())
        };
        run_statements(Path::new("test.sql"), sql, catalog, Arc::clone(&self.connectors), options, each).await?;
        Ok(rows)
    }

    /// Runs in batch; must succeed.
    pub(crate) async fn batch(&self, catalog: &Catalog, sql: &str) -> Vec<Vec<String>> {
        self.run(catalog, sql, &RunOptions::default()).await.unwrap()
    }

    /// Runs as a stream; must succeed.
    pub(crate) async fn stream(&self, catalog: &Catalog, sql: &str, parallelism: usize) -> Vec<Vec<String>> {
        let options = RunOptions { mode: Mode::Stream, parallelism, ..RunOptions::default() };
        self.run(catalog, sql, &options).await.unwrap()
    }
}

/// Rows as text, `NULL` for null.
pub(crate) fn text_rows(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayFormatter<'_>> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| column.value(row).to_string()).collect());
        }
    }
    rows
}

pub(crate) fn sorted(mut rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    rows.sort();
    rows
}

//! Runs every file of `crates/sql/tests/slt` in both modes. A new case needs no Rust.
//!
//! `INSERT` always runs in batch, so that both modes read the same log. `SET 'allowed-lateness' = '1 d'` is for the queries
//! after it. `onlyif stream` and `onlyif batch` mark what one mode alone does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mulgil_serving::run::{Mode, RunError, RunOptions};
use mulgil_sql::catalog::Catalog;
use mulgil_sql::problem::SqlError;
use mulgil_sql::statement::{StatementKind, parse_statements};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};

use tokio::runtime::Handle;

use crate::fixture::Project;

struct Database {
    project: Project,
    catalog: Catalog,
    options: RunOptions,
    /// The `SET` statements so far.
    settings: String,
}

#[async_trait::async_trait]
impl AsyncDB for Database {
    type Error = RunError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, RunError> {
        let (statements, problems) = parse_statements(Path::new("test.sql"), sql);
        if let Some(problem) = problems.into_iter().next() {
            return Err(SqlError::from(problem).into());
        }
        let mut setting = String::new();
        let mut is_query = false;
        let mut is_insert = false;
        for statement in &statements {
            match &statement.kind {
                StatementKind::CreateTable(_) | StatementKind::CreateView(_) => {
                    self.catalog
                        .declare(statement, Path::new("test.sql"), &self.project.connectors)
                        .map_err(SqlError::from)?;
                    return Ok(DBOutput::StatementComplete(0));
                }
                StatementKind::Set(_) => setting.push_str(&format!("{};\n", statement.text)),
                StatementKind::Insert(_) => is_insert = true,
                _ => is_query = true,
            }
        }
        let mut options = self.options.clone();
        if is_insert {
            options.mode = Mode::Batch;
        }
        // The compiler cannot see that this future is Send (rust-lang/rust#110338), so it stays on this thread.
        let sql = format!("{}{sql}", self.settings);
        let run = self.project.run(&self.catalog, &sql, &options);
        let rows = tokio::task::block_in_place(|| Handle::current().block_on(run))?;
        self.settings.push_str(&setting);
        if !is_query {
            return Ok(DBOutput::StatementComplete(0));
        }
        let types = vec![DefaultColumnType::Any; rows.first().map_or(0, Vec::len)];
        Ok(DBOutput::Rows { types, rows })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        match self.options.mode {
            Mode::Batch => "batch",
            Mode::Stream => "stream",
        }
    }

    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

fn files() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql/tests/slt");
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "slt"));
    files.sort();
    assert!(!files.is_empty());
    files
}

async fn run_all(mode: Mode, parallelism: usize) {
    let mut failures = Vec::new();
    for file in files() {
        let mut runner = Runner::new(async || {
            let options = RunOptions { mode, parallelism, ..RunOptions::default() };
            Ok(Database { project: Project::new(), catalog: Catalog::default(), options, settings: String::new() })
        });
        if let Err(error) = runner.run_file_async(&file).await {
            failures.push(format!("{mode:?}, parallelism {parallelism}: {}", error.display(false)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_in_batch() {
    run_all(Mode::Batch, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_as_streams() {
    run_all(Mode::Stream, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_as_streams_on_three_threads() {
    run_all(Mode::Stream, 3).await;
}

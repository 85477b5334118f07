//! `mulgil sql`: by the project's server if one runs (there live the views), else in this process.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use arrow::array::RecordBatch;
use futures::TryStreamExt;
use indicatif::ProgressBar;
use mulgil_connect::definition::{TableDefinition, TableName};
use mulgil_connect::object_storage::ObjectFolder;
use mulgil_engine::checkpoint::CheckpointOptions;
use mulgil_server::client::{Client, RowFormat};
use mulgil_server::sql::{SqlAsk, SqlMode};
use mulgil_serving::run::{self, RunOptions, StatementResult, run_statements};
use mulgil_sql::statement::{StatementKind, parse_statements};

use crate::arguments::{Arguments, Format, Mode, SqlArguments};
use crate::connection::running;
use crate::exit::Exit;
use crate::memory;
use crate::offline::Offline;
use crate::output::{remark, write_out};
use crate::place::CheckpointPlace;
use crate::raw_files::RawFiles;
use crate::rows::print_rows;

/// Rows that a table for people shows at most; CSV and JSON have no such limit.
const TABLE_ROWS_MAX: u32 = 1000;

/// Runs the statements and prints the rows of each `SELECT`.
pub(crate) async fn execute(arguments: &Arguments, sql: &SqlArguments) -> Result<Exit> {
    let (file, text) = match (&sql.statement, &sql.file) {
        (Some(statement), _) => (PathBuf::from("query"), statement.clone()),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
            (file.clone(), text)
        }
        // Clap asks for one of the two.
        (None, None) => return Ok(Exit::Failed),
    };
    let files = RawFiles::of(&text).await?;
    let text = files.as_ref().map_or(text, |files| files.text.clone());
    // A long query says that it is at work; a short one is done before anybody sees it.
    let spinner = ProgressBar::new_spinner().with_message("running");
    spinner.enable_steady_tick(std::time::Duration::from_millis(200));
    // What is followed, or goes on after a crash, belongs to this process.
    let is_sized = sql.parallelism.is_some() || sql.state_memory.is_some();
    let is_own = sql.follow || sql.checkpoints.is_some() || sql.guarantee.is_some() || is_sized;
    if is_own && matches!(sql.mode, Mode::Batch) {
        bail!(
            "--follow, --checkpoints, --guarantee, --parallelism and --state-memory are for streams: add --mode stream"
        );
    }
    // Files are this machine's, and a path is relative to where one is.
    let server = if is_own || files.is_some() { None } else { running(&arguments.project).await? };
    let result = match server {
        Some(client) => by_server(client, text, sql.mode, arguments.format, spinner.clone()).await,
        None => by_myself(arguments, sql, (&file, &text), files.as_ref(), &spinner).await,
    };
    spinner.finish_and_clear();
    result?;
    Ok(Exit::Done)
}

async fn by_server(client: Client, sql: String, mode: Mode, format: Format, spinner: ProgressBar) -> Result<()> {
    let mode = match mode {
        Mode::Batch => SqlMode::Batch,
        Mode::Stream => SqlMode::Stream,
    };
    tokio::task::spawn_blocking(move || match format {
        Format::Table => {
            let rows = client.sql(&SqlAsk { sql, mode, limit: Some(TABLE_ROWS_MAX) })?;
            spinner.finish_and_clear();
            crate::rows::print_answer(&rows)
        }
        Format::Csv => pass_on(client.sql_stream(&SqlAsk { sql, mode, limit: None }, RowFormat::Csv)?, &spinner),
        Format::Json => pass_on(client.sql_stream(&SqlAsk { sql, mode, limit: None }, RowFormat::JsonLines)?, &spinner),
    })
    .await?
}

fn pass_on(mut rows: impl Read, spinner: &ProgressBar) -> Result<()> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let count = rows.read(&mut piece).context("the server's answer broke off")?;
        spinner.finish_and_clear();
        let Some(bytes) = piece.get(..count).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        match std::io::stdout().lock().write_all(bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            result => result.context("failed to write to standard output")?,
        }
    }
}

async fn by_myself(
    arguments: &Arguments,
    sql: &SqlArguments,
    (file, text): (&Path, &str),
    files: Option<&RawFiles>,
    spinner: &ProgressBar,
) -> Result<()> {
    let format = arguments.format;
    let mut offline = Offline::open(&arguments.project)?;
    if writes_topic(&offline, file, text) {
        offline = Offline::open_to_write(&arguments.project)?;
    }
    if let Some(files) = files {
        files.declare(Arc::make_mut(&mut offline.catalog), &offline.connectors)?;
    }
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let place = sql.checkpoints.as_ref().map(|place| {
        // A path that somebody types is relative to where he is.
        let dir = if ObjectFolder::is_url(place) { arguments.project.as_path() } else { Path::new("") };
        CheckpointPlace::new(dir, place)
    });
    let checkpoints = place.transpose()?.map(|place| CheckpointOptions {
        interval: Duration::from_millis(sql.checkpoint_interval_ms.max(1)),
        remote: place.remote,
        ..CheckpointOptions::new(place.folder)
    });
    let options = RunOptions {
        mode: match sql.mode {
            Mode::Batch => run::Mode::Batch,
            Mode::Stream => run::Mode::Stream,
        },
        parallelism: sql.parallelism.unwrap_or_else(cores),
        follow: sql.follow,
        checkpoints,
        guarantee: sql.guarantee,
        state: memory::of_process(&arguments.project, sql.state_memory.as_deref())?,
        ..RunOptions::default()
    };
    let mut failure = None;
    let each = async |result| {
        spinner.finish_and_clear();
        if let Err(error) = print_result(result, format).await {
            failure = Some(error);
        }
        Ok(())
    };
    let outcome = run_statements(file, text, &offline.catalog, offline.connectors, &options, each).await;
    if let Some(state) = &options.state {
        // Only if it is empty: files go with their streams.
        let _ = std::fs::remove_dir(&state.folder);
    }
    outcome?;
    failure.map_or(Ok(()), Err)
}

async fn print_result(result: StatementResult, format: Format) -> Result<()> {
    match result {
        StatementResult::Declared(name) => remark(&format!("{name} is declared")),
        StatementResult::Written { table, rows } => remark(&format!("{rows} rows written to {table}")),
        StatementResult::Rows(query) => {
            let batches: Vec<RecordBatch> = query.stream.try_collect().await?;
            print_rows(&query.schema, &batches, format)?;
        }
        StatementResult::FinalRows { schema, batches } => print_rows(&schema, &batches, format)?,
        StatementResult::Explained(text) => write_out(&(text.trim_end().to_owned() + "\n"))?,
    }
    Ok(())
}

/// Whether a statement may write a topic of the event log: then this process has to be the one that writes the log.
fn writes_topic(offline: &Offline, file: &Path, text: &str) -> bool {
    let (statements, _) = parse_statements(file, text);
    let declared: Vec<&TableDefinition> = statements
        .iter()
        .filter_map(|statement| match &statement.kind {
            StatementKind::CreateTable(table) => Some(&table.definition),
            _ => None,
        })
        .collect();
    let known = || declared.iter().rev().copied().chain(offline.catalog.tables().map(|table| &table.definition));
    let is_topic = |name: &TableName| {
        let definition = known().find(|definition| definition.name == *name);
        definition.is_some_and(|definition| definition.options.get("connector").is_some_and(|name| name == "log"))
    };
    known().any(|definition| definition.options.contains_key("dead-letter.topic"))
        || statements
            .iter()
            .any(|statement| matches!(&statement.kind, StatementKind::Insert(insert) if is_topic(&insert.table)))
}

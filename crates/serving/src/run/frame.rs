//! Runs a query that was built in Rust, in either mode: to final rows, or into a table.

use mulgil_connect::definition::TableName;
use mulgil_engine::error::JobError;
use mulgil_sql::frame::Frame;
use mulgil_sql::problem::SqlError;
use mulgil_sql::session::Session;

use super::{Mode, RunError, RunOptions, StatementResult, changes, final_rows, run_job};

/// Runs a frame: in batch for rows as they come, as a stream for its final rows or, if the options say so, its changes.
///
/// # Errors
/// A table cannot be read; stream mode does not know a construct.
pub async fn run_frame(session: &Session, frame: &Frame, options: &RunOptions) -> Result<StatementResult, RunError> {
    match options.mode {
        Mode::Batch => Ok(StatementResult::Rows(session.run_frame(frame).await?)),
        Mode::Stream if options.changelog => changes(session, frame.stream()?, options).await,
        Mode::Stream => final_rows(session, frame.stream()?, options).await,
    }
}

/// Runs a frame into a table: `INSERT INTO table`. As a stream, each change goes there as it comes.
///
/// # Errors
/// The table is not declared or cannot be written; and as [`run_frame`].
pub async fn run_frame_into(
    session: &Session,
    frame: &Frame,
    table: &str,
    options: &RunOptions,
) -> Result<StatementResult, RunError> {
    let name = TableName::parse(table);
    let target = session.catalog().table(&name);
    let target = target.ok_or_else(|| JobError::Plan(format!("table {table} is not declared")))?.definition.clone();
    let rows = match options.mode {
        Mode::Batch => {
            let rows = session.run_frame(frame).await?;
            let writer = session.connectors().writer(&target).map_err(SqlError::from)?;
            writer.append(rows.stream).await.map_err(SqlError::from)?.rows
        }
        Mode::Stream => {
            let sink = session.connectors().sink(&target).map_err(SqlError::from)?;
            run_job(session, frame.stream_into(table)?, options, table.to_owned(), sink).await?
        }
    };
    Ok(StatementResult::Written { table: table.to_owned(), rows })
}

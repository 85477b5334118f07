//! Counts words. `nc -lk 9999` in one terminal, `cargo run --example word_count` in another: each line changes the counts.
//! `cargo run --example word_count -- FILE` counts the words of a file in batch. The query is the same: only source and
//! sink differ.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use mulgil_connect::connectors::{Connectors, ConnectorsOptions};
use mulgil_serving::run::{Mode, RunOptions, run_frame_into};
use mulgil_sql::catalog::Catalog;
use mulgil_sql::frame::{Frame, aggregate::count, col, lit};
use mulgil_sql::problem::SqlError;
use mulgil_sql::session::Session;

/// How often each word occurs in the column `line`.
pub fn word_count(lines: Frame) -> Result<Frame, SqlError> {
    let words = lines.call("string_to_array", vec![col("line"), lit(" ")])?;
    lines
        .with_column("word", words)?
        .unnest("word")?
        .filter(col("word").not_eq(lit("")))?
        .group_by([col("word")], [count(lit(1)).alias("occurrences")])
}

/// The tables: where lines come from, and where counts go to.
fn tables(file: Option<&str>) -> String {
    let source = match file {
        None => "'connector' = 'socket', 'port' = '9999'".to_owned(),
        Some(file) => {
            format!("'connector' = 'filesystem', 'path' = '{file}', 'format' = 'csv', 'csv.field-delimiter' = '\\t'")
        }
    };
    format!(
        "CREATE TABLE lines (line VARCHAR) WITH ({source});
         CREATE TABLE counts (word VARCHAR, occurrences BIGINT) WITH ('connector' = 'print');"
    )
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1);
    let project_dir = std::env::current_dir()?;
    let lake_dir = project_dir.join(".mulgil/lake");
    let connectors = Arc::new(Connectors::new(ConnectorsOptions {
        project_dir,
        lake_dir,
        log: None,
        object_storage: Default::default(),
    }));
    let declared = [(PathBuf::from("word_count.sql"), tables(file.as_deref()))];
    let (catalog, problems) = Catalog::load_checked(&declared, &connectors);
    if let Some(problem) = problems.into_iter().next() {
        return Err(SqlError::from(problem).into());
    }
    let session = Session::new(Arc::new(catalog), connectors);
    let mode = if file.is_some() { Mode::Batch } else { Mode::Stream };
    let counts = word_count(session.table("lines")?)?;
    run_frame_into(&session, &counts, "counts", &RunOptions { mode, ..RunOptions::default() }).await?;
    Ok(())
}

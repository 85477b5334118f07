//! The ten hashtags that are used most, kept up to date while messages come from `nc -lk 9999`, a message a line.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use mulgil_connect::connectors::{Connectors, ConnectorsOptions};
use mulgil_serving::run::{Mode, RunOptions, run_frame_into};
use mulgil_sql::catalog::Catalog;
use mulgil_sql::frame::{Frame, aggregate::count, col, lit};
use mulgil_sql::problem::SqlError;
use mulgil_sql::session::Session;

/// The hashtags of the column `line`, in lower case, that occur most often; of equals, the first in the alphabet.
pub fn top_hashtags(messages: Frame, how_many: u64) -> Result<Frame, SqlError> {
    let words = messages.call("string_to_array", vec![col("line"), lit(" ")])?;
    let words = messages.with_column("word", words)?.unnest("word")?;
    let tag = words.call("lower", vec![col("word")])?;
    let tag = words.call("rtrim", vec![tag, lit(".,:;!?")])?;
    words.filter(col("word").like(lit("#_%")))?.group_by([tag.alias("tag")], [count(lit(1)).alias("uses")])?.top_n(
        how_many,
        [],
        [col("uses").sort(false, false), col("tag").sort(true, false)],
    )
}

const TABLES: &str = "
CREATE TABLE messages (line VARCHAR) WITH ('connector' = 'socket', 'port' = '9999');
CREATE TABLE top (tag VARCHAR, uses BIGINT) WITH ('connector' = 'print');
";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let project_dir = std::env::current_dir()?;
    let lake_dir = project_dir.join(".mulgil/lake");
    let connectors = Arc::new(Connectors::new(ConnectorsOptions {
        project_dir,
        lake_dir,
        log: None,
        object_storage: Default::default(),
    }));
    let (catalog, problems) = Catalog::load_checked(&[(PathBuf::from("tables.sql"), TABLES.to_owned())], &connectors);
    if let Some(problem) = problems.into_iter().next() {
        return Err(SqlError::from(problem).into());
    }
    let session = Session::new(Arc::new(catalog), connectors);
    let top = top_hashtags(session.table("messages")?, 10)?;
    run_frame_into(&session, &top, "top", &RunOptions { mode: Mode::Stream, ..RunOptions::default() }).await?;
    Ok(())
}

//! A game in which players pop bubbles: how many a minute, by the time at which they were popped. One player sits in a
//! train; what she pops in the tunnel arrives when the train leaves it, and still counts for the minutes in which it
//! happened: those minutes are corrected.
//!
//! Each line from `nc -lk 9999` is `player,bubbles,milliseconds since 1970`.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mulgil_connect::connectors::{Connectors, ConnectorsOptions};
use mulgil_serving::run::{Mode, RunOptions, run_frame_into};
use mulgil_sql::catalog::Catalog;
use mulgil_sql::frame::{Frame, aggregate::sum, col, tumble};
use mulgil_sql::problem::SqlError;
use mulgil_sql::session::Session;

/// No tunnel is longer.
const LONGEST_TUNNEL: Duration = Duration::from_secs(30 * 60);

/// The columns that a line holds, and how far event time is behind the newest one.
pub const PLAYS: &str = "
  line VARCHAR,
  player AS split_part(line, ',', 1),
  bubbles AS CAST(split_part(line, ',', 2) AS BIGINT),
  popped AS to_timestamp_millis(CAST(split_part(line, ',', 3) AS BIGINT)),
  WATERMARK FOR popped AS popped - INTERVAL '5' SECOND
";

/// Bubbles per minute.
pub fn bubbles_per_minute(plays: Frame) -> Result<Frame, SqlError> {
    plays
        .window(tumble("popped", Duration::from_secs(60)).allowing(LONGEST_TUNNEL))?
        .group_by([col("window_start"), col("window_end")], [sum(col("bubbles")).alias("bubbles")])?
        .select([col("window_start").alias("minute"), col("bubbles")])
}

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
    let tables = format!(
        "CREATE TABLE plays ({PLAYS}) WITH ('connector' = 'socket', 'port' = '9999');
         CREATE TABLE minutes (minute TIMESTAMP(3), bubbles BIGINT) WITH ('connector' = 'print');"
    );
    let (catalog, problems) = Catalog::load_checked(&[(PathBuf::from("tables.sql"), tables)], &connectors);
    if let Some(problem) = problems.into_iter().next() {
        return Err(SqlError::from(problem).into());
    }
    let session = Session::new(Arc::new(catalog), connectors);
    let minutes = bubbles_per_minute(session.table("plays")?)?;
    run_frame_into(&session, &minutes, "minutes", &RunOptions { mode: Mode::Stream, ..RunOptions::default() }).await?;
    Ok(())
}

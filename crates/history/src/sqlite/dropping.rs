//! How old rows are dropped.

use jiff::Timestamp;
use mulgil_sched::id::RunId;
use sqlx::SqliteConnection;

use crate::error::HistoryError;
use crate::retention::ROWS_MAX;
use crate::row::micros;

type Done = Result<(), HistoryError>;

/// From what points at a run to the run itself.
const OF_RUNS: [&str; 8] = [
    "DELETE FROM events WHERE run IN (SELECT value FROM json_each(?))",
    "DELETE FROM notices WHERE run IN (SELECT value FROM json_each(?)) AND status <> 'waiting'",
    "DELETE FROM alerts WHERE run IN (SELECT value FROM json_each(?))",
    "DELETE FROM table_writes WHERE run IN (SELECT value FROM json_each(?))",
    "DELETE FROM asked WHERE run IN (SELECT value FROM json_each(?))",
    "DELETE FROM attempts WHERE run IN (SELECT value FROM json_each(?))",
    "DELETE FROM tasks WHERE run IN (SELECT value FROM json_each(?))",
    "DELETE FROM runs WHERE id IN (SELECT value FROM json_each(?))",
];

/// What belongs to no run any more.
const REST: [&str; 3] = [
    "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE run IS NULL AND at_us < ?1 LIMIT ?2)",
    "DELETE FROM backfills WHERE id IN (SELECT id FROM backfills b WHERE b.ended_at_us < ?1 \
     AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.backfill = b.id) LIMIT ?2)",
    "DELETE FROM flow_versions WHERE hash IN (SELECT hash FROM flow_versions v WHERE v.at_us < ?1 \
     AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.version = v.hash) LIMIT ?2)",
];

const NOTICES: &str = "DELETE FROM notices WHERE seq IN \
    (SELECT seq FROM notices WHERE status <> 'waiting' AND ended_at_us < ?1 LIMIT ?2)";

pub(super) async fn runs(db: &mut SqliteConnection, runs: &[RunId]) -> Done {
    let runs = serde_json::Value::from(runs.iter().map(|run| run.0).collect::<Vec<_>>()).to_string();
    for sql in OF_RUNS {
        sqlx::query(sql).bind(&runs).execute(&mut *db).await?;
    }
    Ok(())
}

pub(super) async fn rest(db: &mut SqliteConnection, runs: Timestamp, notices: Timestamp) -> Done {
    for (sql, before) in REST.into_iter().map(|sql| (sql, runs)).chain([(NOTICES, notices)]) {
        sqlx::query(sql).bind(micros(before)).bind(ROWS_MAX).execute(&mut *db).await?;
    }
    Ok(())
}

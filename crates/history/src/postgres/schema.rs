//! Brings the schema up to date: one script after the other, each once, two servers never at the same time.

use tokio_postgres::Client;

use super::failed;
use crate::error::HistoryError;

/// The number by which all Mulgils name the lock under which the schema is changed.
const LOCK: i64 = 0x006d_756c_6769_6c01;

/// The scripts, numbered from 1.
const SCRIPTS: [&str; 14] = [
    include_str!("../../migrations/postgres/0001_history.sql"),
    include_str!("../../migrations/postgres/0002_results.sql"),
    include_str!("../../migrations/postgres/0003_outbox.sql"),
    include_str!("../../migrations/postgres/0004_items.sql"),
    include_str!("../../migrations/postgres/0005_backfill_pace.sql"),
    include_str!("../../migrations/postgres/0006_since.sql"),
    include_str!("../../migrations/postgres/0007_table_writes.sql"),
    include_str!("../../migrations/postgres/0008_usage.sql"),
    include_str!("../../migrations/postgres/0009_calls.sql"),
    include_str!("../../migrations/postgres/0010_run_timeout.sql"),
    include_str!("../../migrations/postgres/0011_backfill_rounds.sql"),
    include_str!("../../migrations/postgres/0012_asked.sql"),
    include_str!("../../migrations/postgres/0013_call_starts.sql"),
    include_str!("../../migrations/postgres/0014_confirmed.sql"),
];

/// Runs the scripts that have not run yet, all in one transaction.
pub(super) async fn update(client: &mut Client) -> Result<(), HistoryError> {
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.batch_execute(&format!("SELECT pg_advisory_xact_lock({LOCK})")).await.map_err(failed)?;
    let table = "CREATE TABLE IF NOT EXISTS mulgil_migrations (version BIGINT PRIMARY KEY, at TIMESTAMPTZ NOT NULL DEFAULT now())";
    transaction.batch_execute(table).await.map_err(failed)?;
    let last = "SELECT coalesce(max(version), 0) FROM mulgil_migrations";
    let last: i64 = transaction.query_one(last, &[]).await.and_then(|row| row.try_get(0)).map_err(failed)?;
    let done = usize::try_from(last).unwrap_or_default();
    if done > SCRIPTS.len() {
        return Err(HistoryError::Damaged(format!(
            "its schema has number {done}, and this Mulgil knows {}: use the newer Mulgil that made it",
            SCRIPTS.len()
        )));
    }
    for (index, script) in SCRIPTS.iter().enumerate().skip(done) {
        let version = i64::try_from(index + 1).unwrap_or(i64::MAX);
        transaction.batch_execute(script).await.map_err(failed)?;
        let note = "INSERT INTO mulgil_migrations (version) VALUES ($1)";
        transaction.execute(note, &[&version]).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}

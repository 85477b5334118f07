//! Writing backfills: new ones, their status, their pace, and the runs that join them.

use jiff::Timestamp;
use mulgil_sched::id::{BackfillId, RunId};
use sqlx::SqliteConnection;

use super::writing::{Done, changed};
use crate::row::micros;
use crate::write::{BackfillStatus, NewBackfill};

pub(super) async fn new(db: &mut SqliteConnection, backfill: &NewBackfill) -> Done {
    sqlx::query(
        "INSERT INTO backfills (id, flow, from_us, to_us, concurrency, which, newest_first, planned, trial, rounds, status, \
         created_at_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(backfill.id.0)
    .bind(&backfill.flow)
    .bind(micros(backfill.from))
    .bind(micros(backfill.to))
    .bind(backfill.concurrency)
    .bind(&backfill.which)
    .bind(backfill.newest_first)
    .bind(backfill.planned)
    .bind(backfill.trial)
    .bind(backfill.rounds)
    .bind(BackfillStatus::Running.word())
    .bind(micros(backfill.at))
    .execute(&mut *db)
    .await?;
    Ok(())
}

pub(super) async fn join(db: &mut SqliteConnection, run: RunId, backfill: BackfillId, retries: bool) -> Done {
    sqlx::query("UPDATE runs SET backfill = ?, retries = ? WHERE id = ?")
        .bind(backfill.0)
        .bind(retries)
        .bind(run.0)
        .execute(&mut *db)
        .await?;
    Ok(())
}

/// A pause ends the trial: who resumes it has looked.
pub(super) async fn status(
    db: &mut SqliteConnection,
    backfill: BackfillId,
    from: BackfillStatus,
    to: BackfillStatus,
    at: Timestamp,
) -> Done {
    let result = sqlx::query(
        "UPDATE backfills SET status = ?, ended_at_us = ?, trial = CASE WHEN status = 'paused' THEN NULL ELSE trial END \
         WHERE id = ? AND status = ?",
    )
    .bind(to.word())
    .bind(to.is_terminal().then(|| micros(at)))
    .bind(backfill.0)
    .bind(from.word())
    .execute(&mut *db)
    .await?;
    changed(result, || format!("backfill {backfill}"), from.word())
}

pub(super) async fn pace(db: &mut SqliteConnection, backfill: BackfillId, pace: u32) -> Done {
    sqlx::query("UPDATE backfills SET pace = ? WHERE id = ?").bind(pace).bind(backfill.0).execute(&mut *db).await?;
    Ok(())
}

pub(super) async fn round(db: &mut SqliteConnection, backfill: BackfillId, round: u32, failed: u64) -> Done {
    sqlx::query("UPDATE backfills SET round = ?, failed_before = ? WHERE id = ?")
        .bind(round)
        .bind(i64::try_from(failed).unwrap_or(i64::MAX))
        .bind(backfill.0)
        .execute(&mut *db)
        .await?;
    Ok(())
}

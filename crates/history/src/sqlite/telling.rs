//! How what is to be told is stored, and what came of it.

use sqlx::SqliteConnection;

use crate::error::HistoryError;
use crate::event::storable;
use crate::outbox::{NewAlert, NewNotice, NoticeChange, NoticeStatus};
use crate::row::micros;

type Done = Result<(), HistoryError>;

pub(super) async fn notice(db: &mut SqliteConnection, notice: &NewNotice) -> Done {
    let waits = notice.refused.is_none();
    sqlx::query(
        "INSERT INTO notices (key, channel, kind, flow, run, body, status, tries, created_at_us, next_at_us, ended_at_us, error) \
         VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
    )
    .bind(storable(&notice.key))
    .bind(storable(&notice.channel))
    .bind(&notice.kind)
    .bind(&notice.flow)
    .bind(notice.run.map(|run| run.0))
    .bind(notice.body.to_string())
    .bind(notice.status().word())
    .bind(micros(notice.at))
    .bind(waits.then(|| micros(notice.at)))
    .bind((!waits).then(|| micros(notice.at)))
    .bind(&notice.refused)
    .execute(db)
    .await?;
    Ok(())
}

/// A notice that has ended stays as it is.
pub(super) async fn status(db: &mut SqliteConnection, change: &NoticeChange) -> Done {
    let ended = (change.to != NoticeStatus::Waiting).then(|| micros(change.at));
    sqlx::query(
        "UPDATE notices SET status = ?, tries = tries + 1, next_at_us = ?, ended_at_us = ?, error = ? \
         WHERE key = ? AND status = 'waiting'",
    )
    .bind(change.to.word())
    .bind(change.next_at.map(micros))
    .bind(ended)
    .bind(change.error.as_deref().map(storable))
    .bind(storable(&change.key))
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn alert(db: &mut SqliteConnection, alert: &NewAlert) -> Done {
    sqlx::query("INSERT INTO alerts (run, kind, text, at_us) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING")
        .bind(alert.run.0)
        .bind(&alert.kind)
        .bind(storable(&alert.text))
        .bind(micros(alert.at))
        .execute(db)
        .await?;
    Ok(())
}

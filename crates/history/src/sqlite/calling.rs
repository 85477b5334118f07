//! How a call is stored: at both of its ends; and what was confirmed for it.

use sqlx::SqliteConnection;

use super::writing::Done;
use crate::call::{CallChange, Confirmation};

pub(super) async fn call(db: &mut SqliteConnection, change: &CallChange) -> Done {
    sqlx::query("UPDATE tasks SET child = ?, child_started = ? WHERE run = ? AND task = ?")
        .bind(change.child.map(|child| child.0))
        .bind(change.starts)
        .bind(change.run.0)
        .bind(change.task)
        .execute(&mut *db)
        .await?;
    if let Some(child) = change.child.filter(|_| change.starts) {
        sqlx::query("UPDATE runs SET parent_run = ?, parent_task = ? WHERE id = ?")
            .bind(change.run.0)
            .bind(change.task)
            .bind(child.0)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

pub(super) async fn confirmed(db: &mut SqliteConnection, confirmed: &Confirmation) -> Done {
    sqlx::query("UPDATE tasks SET confirmed = ? WHERE run = ? AND task = ?")
        .bind(confirmed.attempts)
        .bind(confirmed.run.0)
        .bind(confirmed.task)
        .execute(db)
        .await?;
    Ok(())
}

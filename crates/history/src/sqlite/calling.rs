//! How a call is stored: at both of its ends.

use sqlx::SqliteConnection;

use super::writing::Done;
use crate::call::CallChange;

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

//! How the write of a table is stored: the latest of each interval.

use sqlx::SqliteConnection;

use super::writing::Done;
use crate::event::storable;
use crate::row::micros;
use crate::written::TableWrite;

pub(super) async fn write(db: &mut SqliteConnection, write: &TableWrite) -> Done {
    sqlx::query(
        "INSERT INTO table_writes (table_name, start_us, end_us, flow, run, task, at_us) VALUES (?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (table_name, start_us, end_us) DO UPDATE SET flow = excluded.flow, run = excluded.run, \
         task = excluded.task, at_us = excluded.at_us",
    )
    .bind(storable(&write.table))
    .bind(micros(write.start))
    .bind(micros(write.end))
    .bind(&write.flow)
    .bind(write.run.0)
    .bind(&write.task)
    .bind(micros(write.at))
    .execute(&mut *db)
    .await?;
    Ok(())
}

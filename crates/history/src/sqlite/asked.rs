//! How a caller's key is stored.

use sqlx::SqliteConnection;

use super::writing::Done;
use crate::asked::Asked;
use crate::row::micros;

pub(super) async fn write(db: &mut SqliteConnection, asked: &Asked) -> Done {
    sqlx::query("INSERT INTO asked (flow, key, run, request, at_us) VALUES (?, ?, ?, ?, ?)")
        .bind(&asked.flow)
        .bind(&asked.key)
        .bind(asked.run.0)
        .bind(&asked.request)
        .bind(micros(asked.at))
        .execute(&mut *db)
        .await?;
    Ok(())
}

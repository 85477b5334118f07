//! The note that an append is in: a row among those of the epochs, written in the transaction of the append's rows.

use tokio_postgres::types::{ToSql, Type};

use super::PostgresTable;
use super::session::Session;
use super::transaction::make_notes;
use crate::error::ConnectError;
use crate::writer::Append;

/// What the note says of whom it is from.
const OWNER: &str = "append";

/// The note of one append into one table.
pub(super) struct AppendNote<'a> {
    table: &'a PostgresTable,
    name: String,
    attempt: i64,
}

impl<'a> AppendNote<'a> {
    pub(super) fn new(table: &'a PostgresTable, append: &Append) -> Self {
        let attempt = i64::try_from(append.attempt).unwrap_or(i64::MAX);
        Self { table, name: format!("append/{}", append.name), attempt }
    }

    /// Makes the table of the notes, if it is not there. Not within a transaction that others could have to wait for.
    pub(super) async fn make_table(&self, session: &Session) -> Result<(), ConnectError> {
        make_notes(session, &self.table.epoch_table).await
    }

    /// Whether the append is in.
    pub(super) async fn is_there(&self, session: &Session) -> Result<bool, ConnectError> {
        let notes = &self.table.epoch_table;
        let statement = format!("SELECT 1 FROM {notes} WHERE pipeline = $1 AND table_name = $2 AND target = $3");
        Ok(!session.ask(&statement, &self.place()).await?.is_empty())
    }

    /// Writes the note; `false` if another attempt has written it, for which this waits.
    pub(super) async fn write(&self, session: &Session) -> Result<bool, ConnectError> {
        let notes = &self.table.epoch_table;
        let statement = format!(
            "INSERT INTO {notes} (pipeline, table_name, target, epoch, owner, written_at) VALUES ($1, $2, $3, $4, $5, now()) \
             ON CONFLICT (pipeline, table_name, target) DO NOTHING RETURNING 1"
        );
        let mut parameters = self.place();
        parameters.extend([(&self.attempt as &(dyn ToSql + Sync), Type::INT8), (&OWNER, Type::TEXT)]);
        Ok(!session.ask(&statement, &parameters).await?.is_empty())
    }

    fn place(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        vec![(&self.name, Type::TEXT), (&self.table.name, Type::TEXT), (&self.table.quoted_name, Type::TEXT)]
    }
}

//! Exporting a view: a table elsewhere, its mart, is replaced by the rows that the view has now, in one commit.

use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use mulgil_connect::definition::TableName;
use mulgil_connect::error::ConnectError;
use mulgil_engine::crash;
use mulgil_sql::problem::SqlError;

use super::slot::Slot;
use super::{ViewError, Views, now_ms};
use crate::status::ExportStatus;

/// How a view has been exported.
#[derive(Debug, Default)]
pub(crate) struct Exports {
    /// Held while the mart is replaced: whoever comes later has rows that are no older.
    turn: tokio::sync::Mutex<()>,
    last: Mutex<Option<ExportStatus>>,
}

impl Exports {
    /// How it went; `None` where nothing was exported yet.
    pub(crate) fn status(&self) -> Option<ExportStatus> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, mart: &TableName, outcome: Result<u64, String>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut status = last.take().unwrap_or_default();
        status.table = mart.to_string();
        match outcome {
            Ok(rows) => (status.rows, status.made_ms, status.error) = (rows, Some(now_ms()), None),
            Err(error) => status.error = Some(error),
        }
        *last = Some(status);
    }
}

impl Views {
    /// Puts the rows that a view has now in place of those of the table that its option `export` names. Columns go by name; readers of
    /// the table see the old rows or the new ones. Gives how many there are.
    ///
    /// # Errors
    /// The view is exported nowhere, has no result yet, or the table could not be replaced, and is as it was; the view's
    /// status says so too.
    pub async fn export(&self, view: &TableName) -> Result<u64, ViewError> {
        let slot = self.slot(view)?;
        let Some(mart) = slot.view.export.clone() else {
            return Err(slot.live().wrong_mode("it is exported nowhere; give it the option 'export' = 'mart.daily'"));
        };
        let _one_at_a_time = slot.exports.turn.lock().await;
        let outcome = self.replace_mart(slot, &mart).await;
        slot.exports.note(&mart, outcome.clone());
        self.shared.changed.notify_one();
        outcome.map_err(|reason| ViewError::Export { name: view.to_string(), table: mart.to_string(), reason })
    }

    /// Exports a view that has been refreshed, where it is exported at all.
    pub(super) async fn export_refreshed(&self, slot: &Slot) -> Result<(), ViewError> {
        if slot.view.export.is_none() {
            return Ok(());
        }
        self.export(&slot.view.name).await.map(drop)
    }

    async fn replace_mart(&self, slot: &Slot, mart: &TableName) -> Result<u64, String> {
        let view = &slot.view.name;
        if slot.live().answer().is_none() {
            return Err("the view has no result yet".to_owned());
        }
        let table = self.shared.catalog.table(mart);
        let table = table.ok_or_else(|| format!("there is no table {mart}; declare it in sources/"))?;
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let columns = table.definition.writable_schema();
        let columns: Vec<String> = columns.fields().iter().map(|field| quoted(field.name())).collect();
        let sql = format!("SELECT {} FROM {}.{}", columns.join(", "), quoted(&view.namespace), quoted(&view.name));
        let rows = self.session().query(&sql).await.map_err(|error| match error {
            SqlError::Problem(problem) => problem.message,
            error => error.to_string(),
        })?;
        let refused = |error: ConnectError| error.to_string();
        let connectors = &self.shared.connectors;
        connectors.check_rows(&table.definition, &rows.schema).map_err(refused)?;
        let writer = connectors.writer(&table.definition).map_err(refused)?;
        let written = writer.replace_table(points(rows.stream)).await.map_err(refused)?;
        crash::point("after a mart is replaced");
        Ok(written.rows)
    }
}

/// The same rows, with the points at which tests let the process die.
fn points(rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let rows = rows.inspect(|_| crash::point("while a mart is written"));
    let end = futures::stream::poll_fn(|_| {
        crash::point("before a mart is replaced");
        Poll::Ready(None)
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows.chain(end)))
}

//! Keeps `FULL` views: each computed in batch, as a whole or a part by time, its result replaced as a whole and kept in a file, from which it is
//! there at once after a restart. A file says what it was computed by: the result of another definition is never shown.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use futures::TryStreamExt;
use mulgil_connect::definition::TableName;
use mulgil_dataflow::batch::Batch;
use mulgil_sql::session::Session;
use mulgil_sql::statement::RefreshMode;

use super::cell::ViewCell;
use super::generation::folder_name;
use super::part::{Part, RefreshInterval};
use super::slot::Slot;
use super::stored::{self, Stored, StoredNote};
use super::{ViewError, Views, now_ms};
use crate::result::ResultTable;
use crate::status::ViewStatus;

/// Whoever waited for a refresh waits no longer: the view is as it was.
struct BrokenOff<'a> {
    views: &'a Views,
    cell: &'a ViewCell,
}

impl Drop for BrokenOff<'_> {
    fn drop(&mut self) {
        self.cell.refresh_given_up();
        self.views.shared.changed.notify_one();
    }
}

impl Views {
    /// Computes a `FULL` view anew, or a part of it, and replaces its result; of one that a stream has kept so far, the first.
    pub(super) async fn refresh_full(
        &self,
        slot: &Slot,
        interval: Option<&RefreshInterval>,
    ) -> Result<ViewStatus, ViewError> {
        if slot.view.mode != RefreshMode::Full {
            return Err(slot.refused("it is kept up to date by itself; stop and start it to read its sources again"));
        }
        if let Some(build) = slot.building()
            && self.swap_to_whole(slot, &build).await?
        {
            return Ok(slot.status());
        }
        let cell = &slot.live();
        if cell.keeps_stream() {
            return Err(slot.refused("the stream that has kept it so far is being started; refresh it when that runs"));
        }
        let _one_at_a_time = cell.turn.lock().await;
        let part = interval.map(|interval| Part::of(&cell.view, interval)).transpose().map_err(failed(cell))?;
        self.compute_some(cell, part.flatten()).await?;
        Ok(cell.status())
    }

    /// Computes the result of a generation, stores it, and shows it.
    pub(super) async fn compute(&self, cell: &ViewCell) -> Result<(), ViewError> {
        self.compute_some(cell, None).await
    }

    async fn compute_some(&self, cell: &ViewCell, part: Option<Part>) -> Result<(), ViewError> {
        cell.refreshing();
        self.shared.changed.notify_one();
        let broken_off = BrokenOff { views: self, cell };
        let computed = self.computed(cell, part).await;
        std::mem::forget(broken_off);
        let outcome = match computed {
            Ok(table) => {
                cell.refreshed(table, now_ms());
                Ok(())
            }
            Err(error) => {
                cell.failed(error.to_string());
                Err(error)
            }
        };
        self.shared.changed.notify_one();
        outcome
    }

    async fn computed(&self, cell: &ViewCell, part: Option<Part>) -> Result<Arc<ResultTable>, ViewError> {
        let (table, rows) = self.rows_of(cell, part).await?;
        if let Some(path) = self.stored_path(&cell.view.name, cell.origin.number) {
            let (name, schema) = (cell.view.name.to_string(), Arc::clone(table.schema()));
            let note = StoredNote { meaning: meaning_of(cell), made_ms: now_ms() };
            stored::write(name, path, schema, Stored { rows, note: Some(note) }).await?;
        }
        Ok(table)
    }

    /// The rows of a generation: those of a part are computed, and stand beside the others, which there are.
    async fn rows_of(
        &self,
        cell: &ViewCell,
        part: Option<Part>,
    ) -> Result<(Arc<ResultTable>, Vec<RecordBatch>), ViewError> {
        let name = &cell.view.name;
        let (part, former) = match part.zip(cell.answer()) {
            Some((part, answer)) => (Some(part), answer.rows().map_err(|error| cell.refused(&error))?),
            None => (None, Vec::new()),
        };
        let computed = self.session_over(cell).run_view_where(name, part.as_ref().map(Part::condition)).await;
        let mut computed = computed.map_err(|source| ViewError::Sql { name: name.to_string(), source })?;
        let schema = Arc::clone(&computed.schema);
        let as_declared = |rows: RecordBatch| rows.with_schema(Arc::clone(&schema)).map_err(DataFusionError::from);
        let others = |rows: RecordBatch| part.as_ref().map_or(Ok(rows.clone()), |part| part.others(&rows));
        let kept = former.into_iter().map(|batch| others(batch).and_then(as_declared));
        let mut rows: Vec<RecordBatch> = kept.collect::<Result<_, _>>().map_err(failed(cell))?;
        while let Some(batch) = computed.stream.try_next().await.map_err(failed(cell))? {
            rows.push(as_declared(batch).map_err(failed(cell))?);
        }
        let table = cell.empty_table(Arc::clone(&schema))?;
        rows.retain(|batch| batch.num_rows() > 0);
        for batch in &rows {
            cell.append(&table, batch.clone())?;
        }
        Ok((table, rows))
    }

    /// A session in which other views hold their results, and this one has the text of a generation.
    fn session_over(&self, cell: &ViewCell) -> Session {
        let shown = self.shared.shown.read().unwrap_or_else(PoisonError::into_inner);
        let shown = Arc::new(shown.with_view(Arc::clone(&cell.view)));
        Session::new(shown, Arc::clone(&self.shared.connectors))
            .with_options(self.shared.options.session)
            .with_view_snapshots(self.snapshots())
    }

    fn stored_path(&self, view: &TableName, number: u64) -> Option<PathBuf> {
        let dir = self.shared.options.results_dir.as_ref()?;
        Some(dir.join(format!("{}.parquet", folder_name(view, number))))
    }

    /// Removes the stored result of a generation that is of no use any more.
    pub(super) fn forget_stored(&self, view: &TableName, number: u64) {
        if let Some(path) = self.stored_path(view, number)
            && let Err(error) = std::fs::remove_file(&path)
        {
            // One that stays takes room, and nothing else.
            tracing::debug!(%view, path = %path.display(), %error, "no stored result was removed");
        }
    }

    /// Shows the stored result, where there is one of this definition. Else the query answers until it is computed, and so it
    /// does where the file is of no use: that is told.
    pub(super) async fn load_stored(&self, cell: &ViewCell) -> Result<(), ViewError> {
        let Some(path) = self.stored_path(&cell.view.name, cell.origin.number) else { return Ok(()) };
        let name = cell.view.name.to_string();
        let loaded = stored::read(name.clone(), path.clone()).await.and_then(|found| {
            let Some(Stored { rows, note: Some(note) }) = found else { return Ok(None) };
            if note.meaning != meaning_of(cell) {
                return Ok(None);
            }
            let table = cell.empty_table(Arc::clone(&cell.view.schema))?;
            for batch in rows {
                let unfit = |error: ArrowError| ViewError::Store {
                    name: name.clone(),
                    action: "read",
                    path: path.clone(),
                    reason: error.to_string(),
                };
                let batch = RecordBatch::try_new(Arc::clone(&cell.view.schema), batch.columns().to_vec());
                cell.append(&table, batch.map_err(unfit)?)?;
            }
            Ok(Some((table, note.made_ms)))
        });
        match loaded {
            Ok(Some((table, made_ms))) => cell.refreshed(table, made_ms),
            Ok(None) => return Ok(()),
            Err(error) => {
                let remedy = format!("each question is answered by its query until `mulgil view refresh {name}`");
                cell.failed(format!("{error}; {remedy}"));
                self.shared.changed.notify_one();
                return Err(error);
            }
        }
        self.shared.changed.notify_one();
        Ok(())
    }
}

fn failed(cell: &ViewCell) -> impl Fn(DataFusionError) -> ViewError {
    let name = cell.view.name.to_string();
    move |error| ViewError::Sql { name: name.clone(), source: error.into() }
}

/// What the rows of a view are computed by.
fn meaning_of(cell: &ViewCell) -> Vec<String> {
    cell.origin.catalog.meaning_of(&cell.view.name)
}

impl ViewCell {
    fn empty_table(&self, schema: SchemaRef) -> Result<Arc<ResultTable>, ViewError> {
        ResultTable::new(schema, None, false, self.view.rows_max).map(Arc::new).map_err(|error| self.refused(&error))
    }

    fn append(&self, table: &ResultTable, batch: RecordBatch) -> Result<(), ViewError> {
        table.apply(&[Batch::append(batch)]).map_err(|error| self.refused(&error))
    }
}

//! Keeps the two layers of `LAMBDA` views: the archives, in which every row of their sources is kept, and the batch views
//! that are computed from those.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use mulgil_connect::definition::TableName;
use mulgil_engine::crash;
use mulgil_sql::catalog::Catalog;
use mulgil_sql::layers::{Layers, Unwindowed};
use mulgil_sql::problem::SqlError;
use mulgil_sql::session::Session;
use mulgil_sql::statement::RefreshMode;

use super::cell::{ViewCell, rows_of};
use super::generation::folder_name;
use super::layers::{BatchNote, BatchView, WindowDrift, drift, drift_at, rows_where};
use super::slot::Slot;
use super::stored::Stored;
use super::{ViewError, Views, now_ms, stored};
use crate::status::LayersStatus;

/// The ending of the note of a generation's batch view.
fn note_ending(number: u64) -> String {
    if number == 1 { "layers".to_owned() } else { format!("layers@{number}") }
}

impl Views {
    /// How far the realtime view of a `LAMBDA` view had been off, window by window, the latest last.
    ///
    /// # Errors
    /// The view is unknown, or has no layers.
    pub fn drift(&self, view: &TableName) -> Result<Vec<WindowDrift>, ViewError> {
        let cell = self.slot(view)?.live();
        if cell.view.mode != RefreshMode::Lambda {
            return Err(cell.wrong_mode("it has one layer only; use REFRESH_MODE = LAMBDA"));
        }
        Ok(cell.batch().map(|batch| batch.note.drift.clone()).unwrap_or_default())
    }

    /// Finds the batch view of a generation, before its stream is started. A state that a batch view of another definition, or
    /// another mode, has left behind is forgotten: the stream begins again.
    pub(super) async fn prepare_layers(&self, slot: &Slot, cell: &ViewCell) -> Result<(), ViewError> {
        let (view, number) = (&cell.view, cell.origin.number);
        if view.mode == RefreshMode::Full || cell.is_running() {
            return Ok(());
        }
        if view.mode == RefreshMode::Lambda {
            let layers = cell.origin.catalog.layers(&view.name);
            let failed = |source| ViewError::Sql { name: view.name.to_string(), source };
            let (layers, unwindowed) = layers.map_err(failed)?;
            cell.set_layers(layers, unwindowed);
        }
        let Some(notes) = self.notes() else { return Ok(()) };
        let not_noted = |error| slot.not_noted("read", error);
        let found: Option<BatchNote> = notes.read_as(&view.name, &note_ending(number)).await.map_err(not_noted)?;
        let meaning = cell.origin.catalog.meaning_of(&view.name);
        match found {
            None => Ok(()),
            Some(note) if view.mode == RefreshMode::Lambda && note.meaning == meaning => {
                let path = self.batch_path(&view.name, number, &note)?;
                let read = stored::read(view.name.to_string(), path.clone()).await?;
                let Some(Stored { rows, .. }) = read else {
                    let reason = "it is gone; `mulgil view refresh` computes it again from the archive".to_owned();
                    return Err(ViewError::Store { name: view.name.to_string(), action: "read", path, reason });
                };
                cell.set_batch(Arc::new(BatchView { note, rows }));
                Ok(())
            }
            Some(_) => {
                if let Some(checkpoints) = self.checkpoints_of(view, number) {
                    let failed = |error| cell.forgetting_failed(&checkpoints.folder, &error);
                    checkpoints.forget().await.map_err(failed)?;
                }
                self.forget_batch(slot, number).await
            }
        }
    }

    /// Removes the batch view of a generation that is of no use any more.
    pub(super) async fn forget_batch(&self, slot: &Slot, number: u64) -> Result<(), ViewError> {
        let (view, ending, Some(notes)) = (&slot.view.name, note_ending(number), self.notes()) else { return Ok(()) };
        let found = notes.read_as(view, &ending).await.map_err(|error| slot.not_noted("read", error))?;
        let Some::<BatchNote>(note) = found else { return Ok(()) };
        self.remove_batch(view, number, &note);
        notes.remove(view, &ending).await.map_err(|error| slot.not_noted("remove", error))
    }

    /// Where a batch view lies. The boundary is in its name: a server that hands its views over while it computes writes no file that
    /// another's note names with another boundary.
    fn batch_path(&self, view: &TableName, number: u64, note: &BatchNote) -> Result<PathBuf, ViewError> {
        let options = &self.shared.options;
        let dir = options.results_dir.as_ref().or(options.checkpoints_dir.as_ref());
        let reason = || "there is no folder for its batch view; open the project with one".to_owned();
        let dir = dir.ok_or_else(|| ViewError::Result { name: view.to_string(), reason: reason() })?;
        let (version, boundary_ms) = (note.version, note.boundary_ms);
        Ok(dir.join(format!("{}.batch-{version}-{boundary_ms}.parquet", folder_name(view, number))))
    }

    /// A version that nobody names any more. One that stays takes room, and nothing else.
    fn remove_batch(&self, view: &TableName, number: u64, note: &BatchNote) {
        if let Ok(path) = self.batch_path(view, number, note)
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::debug!(%view, path = %path.display(), %error, "an old batch view stays");
        }
    }

    /// Computes the next batch view of a `LAMBDA` view, up to where its archives are complete, and moves the boundary there.
    pub(super) async fn refresh_batch(&self, slot: &Slot) -> Result<(), ViewError> {
        let _one_at_a_time = slot.turn.lock().await;
        self.refresh_batch_of(slot, &slot.live(), None).await
    }

    /// Lets batch speak of a generation that is built beside one of which it speaks, of as much.
    pub(super) async fn speak_as_before(&self, slot: &Slot, build: &ViewCell) -> Result<(), ViewError> {
        let _one_at_a_time = slot.turn.lock().await;
        let complete_ms = slot.live().batch().map(|batch| batch.note.boundary_ms);
        self.refresh_batch_of(slot, build, complete_ms).await
    }

    /// The archives are complete up to `known_ms` at least, where that is said.
    async fn refresh_batch_of(&self, slot: &Slot, cell: &ViewCell, known_ms: Option<i64>) -> Result<(), ViewError> {
        let (name, number) = (&cell.view.name, cell.origin.number);
        let refused = |reason: &str| ViewError::Result { name: name.to_string(), reason: reason.to_owned() };
        let notes = self.notes().ok_or_else(|| refused("it makes no checkpoints, so it keeps no archive"))?;
        let failed = |source: SqlError| ViewError::Sql { name: name.to_string(), source };
        let (layers, unwindowed) = cell.origin.catalog.layers(name).map_err(failed)?;
        let complete_ms = match (self.archived_until(cell).await, known_ms) {
            (Ok(archived_ms), known_ms) => archived_ms.max(known_ms.unwrap_or(i64::MIN)),
            // Since a restart nothing may have come yet that says so again.
            (Err(_), Some(known_ms)) => known_ms,
            (Err(error), None) => return Err(error),
        };
        let former = cell.batch();
        let boundary_ms = layers.aligned(complete_ms);
        let meaning = cell.origin.catalog.meaning_of(name);
        let mut note = BatchNote::after(former.as_ref().map(|former| &former.note), boundary_ms, meaning, now_ms());
        let rows = match unwindowed {
            Some(_) => self.unless_closing(self.compute_states(cell, note.boundary_ms)).await?,
            None => self.unless_closing(self.compute_batch(cell, layers, note.boundary_ms)).await?,
        };
        crash::point("the batch view is computed");
        let off = self
            .drift_of(cell, (layers, unwindowed.as_deref()), &rows, &note)
            .map_err(|error| refused(&error.to_string()))?;
        note.add_drift(off);
        let retention_ms =
            cell.view.speed_retention.map_or(0, |kept| i64::try_from(kept.as_millis()).unwrap_or(i64::MAX));
        note.floor_ms = note.floor_ms.max(note.boundary_ms.saturating_sub(retention_ms));
        let path = self.batch_path(name, number, &note)?;
        let schema = unwindowed.as_ref().map_or_else(|| Arc::clone(&cell.view.schema), |held| held.state_schema());
        stored::write(name.to_string(), path, schema, Stored { rows: rows.clone(), note: None }).await?;
        crash::point("before the boundary moves");
        if self.shared.closing.load(Ordering::Acquire) {
            self.remove_batch(name, number, &note);
            return Err(ViewError::ShutDown);
        }
        let noted = notes.write_as(name, &note_ending(number), &note).await;
        noted.map_err(|error| slot.not_noted("write", error))?;
        crash::point("after the boundary has moved");
        cell.set_layers(layers, unwindowed);
        cell.set_batch(Arc::new(BatchView { note, rows }));
        cell.forget().map_err(|error| cell.refused(&error))?;
        if let Some(former) = former {
            self.remove_batch(name, number, &former.note);
        }
        Ok(())
    }

    /// Up to when the archives hold all rows, late ones left out, in milliseconds since the epoch.
    async fn archived_until(&self, cell: &ViewCell) -> Result<i64, ViewError> {
        let refused = |reason: String| ViewError::Result { name: cell.view.name.to_string(), reason };
        let mut complete_ms = i64::MAX;
        for archive in self.archives_of(&cell.origin.catalog, &cell.view.name)? {
            let job = archive.job().filter(|_| archive.is_running());
            let job = job.ok_or_else(|| {
                let error = archive.status().error.map_or_else(String::new, |error| format!(": {error}"));
                refused(format!("{} is not running{error}", archive.view.name))
            })?;
            // What the watermark has passed is before the checkpoint, and so in the lake when that stands.
            let watermark_ms = job.status().watermark_ms;
            let watermark_ms = watermark_ms.ok_or_else(|| {
                refused(format!("no window of {} has ended yet: there is no watermark", archive.view.name))
            })?;
            job.make_checkpoint().await.map_err(|error| refused(format!("{}: {error}", archive.view.name)))?;
            complete_ms = complete_ms.min(watermark_ms);
        }
        Ok(complete_ms)
    }

    /// A session in which archives stand in place of their tables.
    fn archive_session(&self, catalog: &Catalog) -> Session {
        let archived: Vec<TableName> = {
            let archives = self.shared.archives.lock().unwrap_or_else(PoisonError::into_inner);
            archives.keys().cloned().collect()
        };
        let catalog = Arc::new(catalog.reading_archives(&archived));
        Session::new(catalog, Arc::clone(&self.shared.connectors)).with_options(self.shared.options.session)
    }

    /// The states of all that happened before the boundary.
    async fn compute_states(&self, cell: &ViewCell, boundary_ms: i64) -> Result<Vec<RecordBatch>, ViewError> {
        let name = &cell.view.name;
        let failed = |source: SqlError| ViewError::Sql { name: name.to_string(), source };
        Ok(vec![self.archive_session(&cell.origin.catalog).view_states(name, boundary_ms).await.map_err(failed)?])
    }

    async fn compute_batch(
        &self,
        cell: &ViewCell,
        layers: Layers,
        boundary_ms: i64,
    ) -> Result<Vec<RecordBatch>, ViewError> {
        let name = &cell.view.name;
        let session = self.archive_session(&cell.origin.catalog);
        let failed = |source: SqlError| ViewError::Sql { name: name.to_string(), source };
        let mut computed = session.run_view(name).await.map_err(failed)?;
        let mut rows = Vec::new();
        while let Some(batch) = computed.stream.try_next().await.map_err(|error| failed(error.into()))? {
            let refused = |error: arrow::error::ArrowError| ViewError::Result {
                name: name.to_string(),
                reason: error.to_string(),
            };
            let batch = rows_where(layers, &batch, |end| end.is_some_and(|end| end <= boundary_ms)).map_err(refused)?;
            let batch =
                RecordBatch::try_new(Arc::clone(&cell.view.schema), batch.columns().to_vec()).map_err(refused)?;
            rows.push(batch);
        }
        Ok(rows)
    }

    /// How far the stream had been off, in the windows that it has given and still holds; without windows, how far readers had
    /// been, about all that happened before the boundary.
    fn drift_of(
        &self,
        cell: &ViewCell,
        (layers, unwindowed): (Layers, Option<&Unwindowed>),
        batch: &[RecordBatch],
        note: &BatchNote,
    ) -> Result<Vec<WindowDrift>, crate::result::ResultError> {
        let Some(answer) = cell.answer() else { return Ok(Vec::new()) };
        // What its own time has not passed it has not given yet.
        let given_ms = cell.job().and_then(|job| job.status().watermark_ms).unwrap_or(i64::MIN);
        if let Some(unwindowed) = unwindowed {
            if given_ms < note.boundary_ms {
                return Ok(Vec::new());
            }
            let told = answer.held_until(layers, note.boundary_ms)?;
            let rows = [rows_of(unwindowed, batch)?, rows_of(unwindowed, &told)?];
            let [batch, told] = rows.each_ref().map(std::slice::from_ref);
            return Ok(drift_at(note.boundary_ms, (batch, told), note.version)?);
        }
        let realtime = answer.share.rows()?.batches;
        let span = (note.floor_ms, note.boundary_ms.min(given_ms.saturating_sub(layers.given_after_ms)));
        Ok(drift(layers, (batch, &realtime), span, note.version)?)
    }

    /// The layers of a view, for people.
    pub(super) fn layers_status(&self, slot: &Slot) -> Option<LayersStatus> {
        let live = slot.live();
        if live.view.mode != RefreshMode::Lambda {
            return None;
        }
        let batch = live.batch();
        Some(LayersStatus {
            boundary_ms: batch.as_ref().map(|batch| batch.note.boundary_ms),
            batch_version: batch.as_ref().map_or(0, |batch| batch.note.version),
            batch_rows: batch.as_ref().map_or(0, |batch| batch.rows.iter().map(|rows| rows.num_rows() as u64).sum()),
            batch_made_ms: batch.as_ref().map(|batch| batch.note.made_ms),
            archives: self.archives_status(slot),
        })
    }
}

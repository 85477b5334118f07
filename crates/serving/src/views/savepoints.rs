//! Savepoints of views that are kept up to date by a stream: taken while they run, restored also after a compatible change of the query.

use std::path::PathBuf;
use std::sync::Arc;

use mulgil_connect::definition::TableName;
use mulgil_engine::checkpoint::{CheckpointError, CheckpointOptions};
use mulgil_engine::savepoint::{self, Savepoint};
use mulgil_sql::statement::RefreshMode;

use super::cell::ViewCell;
use super::generation::folder_name;
use super::{ViewError, Views};
use crate::status::ViewStatus;

impl Views {
    /// Keeps the state of a view under a name: as it is now, where it runs; else as of its last checkpoint.
    ///
    /// # Errors
    /// See [`ViewError`]; the name is taken; no checkpoint could be made.
    pub async fn savepoint(&self, view: &TableName, name: &str) -> Result<Savepoint, ViewError> {
        let (cell, checkpoints, folder) = self.savepoints_of(view)?;
        let failed = |reason: String| ViewError::Result { name: view.to_string(), reason };
        if cell.is_running()
            && let Some(job) = cell.job()
        {
            job.make_checkpoint().await.map_err(failed)?;
        }
        let name = name.to_owned();
        blocking(move || savepoint::save(&checkpoints.folder, &folder, &name)).await.map_err(|e| failed(e.to_string()))
    }

    /// The savepoints of a view, the newest last.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub async fn savepoints(&self, view: &TableName) -> Result<Vec<Savepoint>, ViewError> {
        let (_, _, folder) = self.savepoints_of(view)?;
        let failed = |error: CheckpointError| ViewError::Result { name: view.to_string(), reason: error.to_string() };
        blocking(move || savepoint::list(&folder)).await.map_err(failed)
    }

    /// Lets a view go on from a savepoint. One that its query cannot take leaves the view as it is.
    ///
    /// # Errors
    /// See [`ViewError`]; there is no such savepoint, or it is of another query.
    pub async fn restore(&self, view: &TableName, name: &str) -> Result<ViewStatus, ViewError> {
        let (cell, checkpoints, folder) = self.savepoints_of(view)?;
        let sql_failed = |source| ViewError::Sql { name: view.to_string(), source };
        let graph = self.session_of(&cell).stream_view(view).map_err(sql_failed)?.graph;
        let was_running = cell.is_running() || cell.is_starting();
        self.stop(view).await?;
        let restored = {
            let _one_at_a_time = cell.turn.lock().await;
            let name = name.to_owned();
            blocking(move || savepoint::restore(&folder, &name, &checkpoints, &graph)).await
        };
        if restored.is_ok() || was_running {
            self.start(view).await?;
        }
        restored.map(|()| cell.status()).map_err(|error| {
            let remedy = match &error {
                CheckpointError::OtherQuery(_) => format!(": `mulgil view replay {view}` does that"),
                _ => String::new(),
            };
            ViewError::Result { name: view.to_string(), reason: format!("{error}{remedy}") }
        })
    }

    /// Where a view keeps its checkpoints and savepoints.
    fn savepoints_of(&self, view: &TableName) -> Result<(Arc<ViewCell>, CheckpointOptions, PathBuf), ViewError> {
        let cell = self.slot(view)?.live();
        if !matches!(cell.view.mode, RefreshMode::Continuous | RefreshMode::Kappa) {
            return Err(cell.wrong_mode("it keeps no state that could be saved"));
        }
        let reason = || "it makes no checkpoints, so there is nothing to save".to_owned();
        let none = || ViewError::Result { name: view.to_string(), reason: reason() };
        let checkpoints = self.checkpoints_of(&cell.view, cell.origin.number).ok_or_else(none)?;
        // Those of all its generations together.
        let name = folder_name(view, 1);
        // Beside the checkpoints of all views, so that a replay does not remove them.
        let all = checkpoints.folder.parent().and_then(|all| all.parent()).ok_or_else(none)?;
        let folder = all.join("savepoints").join(name);
        Ok((cell, checkpoints, folder))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CheckpointError> + Send + 'static,
) -> Result<T, CheckpointError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

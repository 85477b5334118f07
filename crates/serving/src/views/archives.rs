//! The archives: tables in the lake to which streams of their own copy every row of unbounded tables, for the views that ask
//! for it. One archive serves all views that read its table.

use std::sync::{Arc, PoisonError};

use mulgil_connect::definition::TableName;
use mulgil_engine::pace::Pace;
use mulgil_sql::catalog::{Catalog, Table};
use mulgil_sql::problem::SqlError;
use mulgil_sql::statement::RefreshMode;

use super::archive_cut::PastOfTables;
use super::cell::{Origin, ViewCell};
use super::slot::Slot;
use super::{ViewError, Views};
use crate::status::ArchiveStatus;

impl Slot {
    /// Whether the rows of its unbounded tables are kept: the project says so, or batch computes over them.
    fn keeps_archives(&self) -> bool {
        self.view.archive || self.view.mode == RefreshMode::Lambda
    }
}

impl Views {
    /// Starts the archives of a view's unbounded tables, where it keeps some and they do not run yet.
    pub(super) fn start_archives(&self, slot: &Slot) -> Result<(), ViewError> {
        if !slot.keeps_archives() {
            return Ok(());
        }
        let archives = self.archives_of(&self.shared.catalog, &slot.view.name)?;
        if archives.is_empty() && slot.view.mode != RefreshMode::Lambda {
            return Err(slot.refused(
                "it reads no table without an end, so there is nothing to keep; leave the option 'archive' out",
            ));
        }
        for cell in archives {
            let views = self.clone();
            tokio::spawn(async move {
                if let Err(error) = views.start_cell(&cell).await {
                    tracing::warn!(archive = %cell.view.name, %error, "not archived");
                }
            });
        }
        Ok(())
    }

    /// The archives of a view's tables: one for each that is unbounded.
    pub(super) fn archives_of(&self, catalog: &Catalog, view: &TableName) -> Result<Vec<Arc<ViewCell>>, ViewError> {
        let mut cells = Vec::new();
        for table in catalog.tables_of(view) {
            cells.extend(self.archive_of(catalog, view, &table)?);
        }
        Ok(cells)
    }

    /// The archive of a table that a view reads; `None` where the table has an end.
    pub(super) fn archive_of(
        &self,
        catalog: &Catalog,
        view: &TableName,
        table: &Table,
    ) -> Result<Option<Arc<ViewCell>>, ViewError> {
        let failed = |source: SqlError| ViewError::Sql { name: view.to_string(), source };
        let source = self.shared.connectors.source(&table.definition).map_err(|error| failed(error.into()))?;
        if source.is_bounded() {
            return Ok(None);
        }
        let name = &table.definition.name;
        let mut archives = self.shared.archives.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = archives.get(name) {
            return Ok(Some(Arc::clone(cell)));
        }
        let archive = catalog.archive_of(name).map_err(failed)?;
        let Some(view) = archive.filled_by.view(&archive.definition.name).cloned() else { return Ok(None) };
        let origin = Origin {
            number: 1,
            catalog: archive.filled_by,
            from_ms: None,
            archives: PastOfTables::default(),
            pace: Pace::default(),
            archive: Some(archive.definition),
        };
        let cell = Arc::new(ViewCell::new(view, origin));
        archives.insert(name.clone(), Arc::clone(&cell));
        Ok(Some(cell))
    }

    /// The archives of a view, for people.
    pub(super) fn archives_status(&self, slot: &Slot) -> Vec<ArchiveStatus> {
        if !slot.keeps_archives() {
            return Vec::new();
        }
        let live = slot.live();
        let archives = self.archives_of(&live.origin.catalog, &live.view.name).unwrap_or_default().into_iter();
        let status = archives.map(|cell| cell.status()).map(|status| ArchiveStatus {
            table: status.name,
            state: status.state,
            error: status.error,
            watermark_ms: status.watermark_ms,
            rows_in: status.rows_in,
        });
        status.collect()
    }

    /// All archives, as they run.
    pub(super) fn archives(&self) -> Vec<Arc<ViewCell>> {
        self.shared.archives.lock().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }
}

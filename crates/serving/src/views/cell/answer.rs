//! What a reader takes of a view, all of one moment: the stream's result, and of a `LAMBDA` view what batch says too.

use std::sync::Arc;

use arrow::array::RecordBatch;
use mulgil_sql::layers::Layers;

use super::ViewCell;
use crate::result::{ResultError, ResultTable, Share};
use crate::views::layers::{BatchView, merged, window_ends};

/// What a reader has taken of a view: all of one moment.
pub(crate) struct Answer {
    /// The columns.
    pub(crate) table: Arc<ResultTable>,
    /// The stream's result.
    pub(crate) share: Share,
    /// What batch says, and of which windows.
    batch: Option<(Layers, Arc<BatchView>)>,
}

impl Answer {
    /// The rows.
    pub(crate) fn rows(self) -> Result<Vec<RecordBatch>, ResultError> {
        let realtime = self.share.rows()?.batches;
        match self.batch {
            Some((layers, batch)) => Ok(merged(layers, &batch, realtime)?),
            None => Ok(realtime),
        }
    }
}

impl ViewCell {
    /// What readers see now; `None` where there is no result.
    pub(crate) fn answer(&self) -> Option<Answer> {
        let life = self.life();
        let table = Arc::clone(life.table.as_ref()?);
        // Under the lock: who comes before the pin has seen no more than it holds; and batch and stream meet at the boundary.
        let share = life.pinned.clone().unwrap_or_else(|| table.share());
        Some(Answer { table, share, batch: life.layers.zip(life.batch.clone()) })
    }

    /// What batch says.
    pub(crate) fn batch(&self) -> Option<Arc<BatchView>> {
        self.life().batch.clone()
    }

    /// How its rows say of which window they are.
    pub(crate) fn set_layers(&self, layers: Layers) {
        self.life().layers = Some(layers);
    }

    /// Batch says something else from now on.
    pub(crate) fn set_batch(&self, batch: Arc<BatchView>) {
        let mut life = self.life();
        life.version_before += 1;
        life.refreshed_ms = Some(batch.note.made_ms);
        life.batch = Some(batch);
    }

    /// Lets a result of its stream hold no window that had ended at its floor.
    pub(crate) fn lower(&self, table: &ResultTable) -> Result<(), ResultError> {
        let lowered = {
            let life = self.life();
            life.layers.zip(life.batch.as_ref().map(|batch| batch.note.floor_ms))
        };
        let Some((layers, floor_ms)) = lowered else { return Ok(()) };
        table.forget(move |rows| {
            let ends = window_ends(layers, rows)?;
            Ok(ends.into_iter().map(|end| end.is_some_and(|end| end <= floor_ms)).collect())
        })
    }

    /// Lets the stream's result forget what is below the floor.
    pub(crate) fn forget(&self) -> Result<(), ResultError> {
        let table = self.life().table.clone();
        table.map_or(Ok(()), |table| self.lower(&table))
    }
}

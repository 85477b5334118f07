//! What a reader takes of a view, all of one moment: the stream's result, and of a `LAMBDA` view what batch says too.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use mulgil_sql::layers::{Layers, Unwindowed};
use mulgil_sql::statement::RefreshMode;

use super::ViewCell;
use crate::result::{ResultError, ResultTable, Share};
use crate::views::ViewError;
use crate::views::layers::{BatchView, after_boundary, merged, rows_where, window_ends};

/// What a reader has taken of a view: all of one moment.
#[derive(Clone)]
pub(crate) struct Answer {
    /// The columns.
    pub(crate) schema: SchemaRef,
    /// The stream's result.
    pub(crate) share: Share,
    /// The columns that name a row, where some do.
    pub(crate) key: Option<Vec<usize>>,
    /// How often the view had changed.
    pub(crate) version: u64,
    /// What batch says, and of which windows.
    batch: Option<(Layers, Arc<BatchView>)>,
    /// How the rows come of what both say, where that is states.
    unwindowed: Option<Arc<Unwindowed>>,
}

impl Answer {
    /// The rows.
    pub(crate) fn rows(self) -> Result<Vec<RecordBatch>, ResultError> {
        let unwindowed = self.unwindowed.clone();
        let held = self.held()?;
        match unwindowed {
            Some(unwindowed) => Ok(vec![rows_of(&unwindowed, &held)?]),
            None => Ok(held),
        }
    }

    /// What the layers hold: the rows, or their states.
    fn held(self) -> Result<Vec<RecordBatch>, ResultError> {
        let realtime = self.share.rows()?.batches;
        match self.batch {
            Some((layers, batch)) => Ok(merged(layers, &batch, realtime)?),
            None => Ok(realtime),
        }
    }

    /// The states of what happened before a boundary.
    pub(crate) fn held_until(self, layers: Layers, boundary_ms: i64) -> Result<Vec<RecordBatch>, ResultError> {
        let mut realtime = self.share.rows()?.batches;
        for states in &mut realtime {
            *states = rows_where(layers, states, |end| end.is_some_and(|end| end <= boundary_ms))?;
        }
        match self.batch {
            Some((layers, batch)) => Ok(merged(layers, &batch, realtime)?),
            None => Ok(realtime),
        }
    }

    /// Rows of this answer that need not be in another: all but those that both hold in the same place.
    pub(crate) fn beside(&self, other: &Self) -> Result<Vec<RecordBatch>, ResultError> {
        if self.unwindowed.is_some() || other.unwindowed.is_some() {
            // A row comes of many states.
            return self.clone().rows();
        }
        match (&self.batch, &other.batch) {
            (None, None) => self.share.beside(&other.share),
            (Some((layers, batch)), Some((other_layers, other_batch)))
                if layers == other_layers && Arc::ptr_eq(batch, other_batch) =>
            {
                let realtime = self.share.beside(&other.share)?;
                Ok(after_boundary(*layers, batch.note.boundary_ms, realtime)?)
            }
            // The boundary has moved: a row may be in both by two ways.
            _ => self.clone().rows(),
        }
    }
}

/// The rows of a view, of the states that its layers hold.
pub(crate) fn rows_of(unwindowed: &Unwindowed, states: &[RecordBatch]) -> Result<RecordBatch, ResultError> {
    Ok(unwindowed.rows(states).map_err(|error| ArrowError::ExternalError(Box::new(error)))?)
}

impl ViewCell {
    /// What readers see now; `None` where there is no result.
    pub(crate) fn answer(&self) -> Option<Answer> {
        let life = self.life();
        let table = Arc::clone(life.pinned.as_ref().or(life.table.as_ref())?);
        let batch = life.layers.zip(life.batch.clone());
        let unwindowed = life.unwindowed.clone();
        // Batch and stream meet at the boundary, also where it is the first one: both are taken under one lock.
        let version_before = life.version_before;
        let layered = (self.view.mode == RefreshMode::Lambda).then_some(life);
        let share = table.seen();
        drop(layered);
        let version = version_before + share.version();
        let (schema, key) = match &unwindowed {
            Some(_) => (&self.view.schema, None),
            None => (table.schema(), table.key().map(<[usize]>::to_vec)),
        };
        Some(Answer { schema: Arc::clone(schema), key, share, version, batch, unwindowed })
    }

    /// The columns that name a row of the answer; `None` where none do, or where there is no result.
    pub(crate) fn key(&self) -> Option<Vec<usize>> {
        let life = self.life();
        let table = life.pinned.as_ref().or(life.table.as_ref()).filter(|_| life.unwindowed.is_none())?;
        table.key().map(<[usize]>::to_vec)
    }

    /// How many rows readers see now.
    pub(crate) fn rows_seen(&self) -> Result<u64, ViewError> {
        let rows = self.answer().map_or(Ok(Vec::new()), Answer::rows).map_err(|error| self.refused(&error))?;
        Ok(rows.iter().map(|batch| batch.num_rows() as u64).sum())
    }

    /// What keys are looked up in now; `None` where there is no result, or one in layers.
    pub(crate) fn looked_up(&self) -> Option<Arc<ResultTable>> {
        if self.view.mode == RefreshMode::Lambda {
            return None;
        }
        let life = self.life();
        life.pinned.as_ref().or(life.table.as_ref()).map(Arc::clone)
    }

    /// What batch says.
    pub(crate) fn batch(&self) -> Option<Arc<BatchView>> {
        self.life().batch.clone()
    }

    /// Whether batch speaks of less of it than of another.
    pub(crate) fn has_less_from_batch_than(&self, other: &Self) -> bool {
        let (own, Some(other)) = (self.batch(), other.batch()) else { return false };
        let layers = self.life().layers;
        let Some(layers) = layers else { return false };
        own.is_none_or(|own| own.note.boundary_ms < layers.aligned(other.note.boundary_ms))
    }

    /// How its rows say of which window they are; or its states, of which pane.
    pub(crate) fn set_layers(&self, layers: Layers, unwindowed: Option<Arc<Unwindowed>>) {
        let mut life = self.life();
        (life.layers, life.unwindowed) = (Some(layers), unwindowed);
    }

    /// A result of its stream, as it is in this mode: one of states adds them up, and none holds a window that had ended at its
    /// floor.
    pub(crate) fn in_layers(&self, mut table: ResultTable) -> Result<ResultTable, ResultError> {
        if let Some(unwindowed) = self.life().unwindowed.clone() {
            table = table.combining(move |states| {
                unwindowed.combined(states).map_err(|error| ArrowError::ExternalError(Box::new(error)))
            });
        }
        self.lower(&table)?;
        Ok(table)
    }

    /// Batch says something else from now on.
    pub(crate) fn set_batch(&self, batch: Arc<BatchView>) {
        let mut life = self.life();
        life.version_before += 1;
        life.refreshed_ms = Some(batch.note.made_ms);
        life.batch = Some(batch);
    }

    /// Lets a result of its stream hold no window that had ended at its floor.
    fn lower(&self, table: &ResultTable) -> Result<(), ResultError> {
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

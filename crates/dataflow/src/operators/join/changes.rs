//! The rows that a join is going to give, named by their numbers, until they are gathered.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt8Array, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

use super::keys::NONE;
use super::kind::{Side, Sides};
use super::side::StoredSide;
use crate::batch::{Batch, RowKind};
use crate::operator::OperatorError;

/// Rows to give, in order. Each is a pair of an incoming and a stored row, or one of them alone ([`NONE`] for the other).
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) incoming: Vec<u32>,
    pub(super) stored: Vec<u32>,
    /// Empty where all are inserts.
    pub(super) kinds: Vec<u8>,
    /// What the mark of a row alone says; empty where there is no mark.
    pub(super) marks: Vec<bool>,
}

/// How a row of the output is put together.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) schema: SchemaRef,
    /// The columns of an incoming row that come out.
    pub(super) incoming: Sides<Vec<usize>>,
    /// The same, as columns of the stored row.
    pub(super) stored: Sides<Vec<usize>>,
    /// Whether the kinds of rows are written down.
    pub(super) is_updating: bool,
    /// Whether the last column is a mark.
    pub(super) gives_mark: bool,
}

impl Changes {
    pub(super) fn pair(&mut self, incoming: u32, stored: u32, kind: u8, layout: &Layout) {
        self.incoming.push(incoming);
        self.stored.push(stored);
        if layout.is_updating {
            self.kinds.push(kind);
        }
    }

    pub(super) fn alone(&mut self, row: (u32, u32), kind: RowKind, mark: bool, layout: &Layout) {
        self.pair(row.0, row.1, kind as u8, layout);
        if layout.gives_mark {
            self.marks.push(mark);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.incoming.len()
    }

    /// The rows themselves. The columns `rows` came in at `side`; `stored` are those of the other side.
    pub(super) fn gather(
        self,
        side: Side,
        rows: &[ArrayRef],
        stored: &StoredSide,
        layout: &Layout,
    ) -> Result<Batch, OperatorError> {
        let row_count = self.len();
        let from_stored = stored.gather(&self.stored, layout.stored.of(side.other()))?;
        let indices = if self.incoming.contains(&NONE) {
            self.incoming.iter().map(|row| (*row != NONE).then_some(*row)).collect::<UInt32Array>()
        } else {
            UInt32Array::from(self.incoming)
        };
        let incoming = layout.incoming.of(side).iter().filter_map(|column| rows.get(*column));
        let from_incoming = incoming.map(|column| take(column, &indices, None)).collect::<Result<Vec<_>, _>>()?;
        let (mut columns, second) = match side {
            Side::Left => (from_incoming, from_stored),
            Side::Right => (from_stored, from_incoming),
        };
        columns.extend(second);
        if layout.gives_mark {
            columns.push(Arc::new(BooleanArray::from(self.marks)) as ArrayRef);
        }
        let kinds = layout.is_updating.then(|| UInt8Array::from(self.kinds));
        Ok(Batch { rows: crate::operators::rows_of(&layout.schema, columns, row_count)?, kinds })
    }
}

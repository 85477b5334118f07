//! What must hold for a pair beyond equal keys, evaluated once over many pairs; and which pairs a ranking behind the join
//! would leave out.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{filter, take_arrays};
use arrow::datatypes::{Schema, SchemaRef, UInt32Type};
use arrow::error::ArrowError;

use super::changes::Changes;
use super::kind::{Side, Sides};
use super::side::StoredSide;
use crate::definition::Port;
use crate::expression::Expression;
use crate::operator::OperatorError;
use crate::operators::rank::{Contest, Referee};
use crate::operators::rows_of;

/// What must hold for a pair, beyond equal keys.
#[derive(Clone, Debug)]
pub struct Condition {
    /// The columns that the predicate sees, in this order: of which side, and which.
    pub columns: Vec<(Side, usize)>,
    /// A boolean expression over them. Null is not true.
    pub predicate: Arc<dyn Expression>,
}

/// Some columns of pairs of rows, from either side.
struct Seen {
    columns: Vec<(Side, usize)>,
    schema: SchemaRef,
}

impl Seen {
    fn new(columns: Vec<(Side, usize)>, ports: &Sides<&Port>) -> Self {
        let field = |(side, column): &(Side, usize)| {
            let field = ports.of(*side).schema.fields().get(*column)?;
            Some(field.as_ref().clone().with_nullable(true))
        };
        let fields: Vec<_> = columns.iter().filter_map(field).collect();
        Self { columns, schema: Arc::new(Schema::new(fields)) }
    }

    /// The input columns of a side among them.
    fn of_side(&self, side: Side) -> impl Iterator<Item = usize> {
        self.columns.iter().filter(move |(of, _)| *of == side).map(|(_, column)| *column)
    }

    /// The columns of these pairs.
    fn gather(&self, pairs: &Pairs<'_>, changes: &Changes) -> Result<RecordBatch, OperatorError> {
        let places: Vec<usize> = self
            .of_side(pairs.side.other())
            .filter_map(|column| pairs.stored_columns.binary_search(&column).ok())
            .collect();
        let mut of_stored = pairs.stored.gather(&changes.stored, &places)?.into_iter();
        let indices = UInt32Array::from(changes.incoming.clone());
        let own: Vec<ArrayRef> =
            self.of_side(pairs.side).filter_map(|column| pairs.rows.columns().get(column).cloned()).collect();
        let mut own = take_arrays(&own, &indices, None)?.into_iter();
        let next = |(of, _): &(Side, usize)| if *of == pairs.side { own.next() } else { of_stored.next() };
        let columns: Vec<ArrayRef> = self.columns.iter().filter_map(next).collect();
        Ok(rows_of(&self.schema, columns, indices.len())?)
    }
}

/// Where the rows of pairs stand.
pub(super) struct Pairs<'a> {
    /// The side that came in.
    pub(super) side: Side,
    /// Its rows.
    pub(super) rows: &'a RecordBatch,
    /// The rows of the other side.
    pub(super) stored: &'a StoredSide,
    /// The input columns of the other side that are stored.
    pub(super) stored_columns: &'a [usize],
}

/// The condition, with what it sees.
pub(super) struct BoundCondition {
    predicate: Arc<dyn Expression>,
    seen: Seen,
}

impl BoundCondition {
    pub(super) fn new(condition: &Condition, ports: &Sides<&Port>) -> Self {
        let seen = Seen::new(condition.columns.clone(), ports);
        Self { predicate: Arc::clone(&condition.predicate), seen }
    }

    /// Keeps the pairs for which the condition holds.
    pub(super) fn judge(&self, pairs: &Pairs<'_>, changes: Changes) -> Result<Changes, OperatorError> {
        if changes.len() == 0 {
            return Ok(changes);
        }
        let holds = self.predicate.evaluate(&self.seen.gather(pairs, &changes)?)?;
        let not_boolean = || {
            let reason = format!("the condition {} is {}, not boolean", self.predicate, holds.data_type());
            OperatorError::Unsupported(reason)
        };
        let holds = holds.as_boolean_opt().ok_or_else(not_boolean)?;
        if holds.null_count() == 0 && holds.true_count() == holds.len() {
            return Ok(changes);
        }
        let keep = |column: Vec<u32>| -> Result<Vec<u32>, OperatorError> {
            Ok(filter(&UInt32Array::from(column), holds)?.as_primitive::<UInt32Type>().values().to_vec())
        };
        Ok(Changes { incoming: keep(changes.incoming)?, stored: keep(changes.stored)?, ..Changes::default() })
    }
}

/// A contest among the pairs, of inserts only: those that are sure to lose need not be put together.
pub(super) struct BoundContest {
    referee: Referee,
    seen: Seen,
}

impl BoundContest {
    /// `contest` is over the columns that come out: `outputs`.
    pub(super) fn new(
        contest: &Contest,
        outputs: &Sides<Vec<usize>>,
        ports: &Sides<&Port>,
    ) -> Result<Self, ArrowError> {
        let of_left = outputs.left.iter().map(|column| (Side::Left, *column));
        let all: Vec<(Side, usize)> =
            of_left.chain(outputs.right.iter().map(|column| (Side::Right, *column))).collect();
        let mut needed: Vec<usize> = contest.columns().collect();
        needed.sort_unstable();
        needed.dedup();
        let columns = needed.iter().filter_map(|column| all.get(*column).copied()).collect();
        let missing = || ArrowError::SchemaError("a contest is about columns that do not come out".to_owned());
        let seen = Seen::new(columns, ports);
        let contest = contest.below(|column| needed.binary_search(&column).ok()).ok_or_else(missing)?;
        Ok(Self { referee: Referee::new(contest, &seen.schema)?, seen })
    }

    /// Keeps the pairs that may win.
    pub(super) fn judge(&mut self, pairs: &Pairs<'_>, changes: Changes) -> Result<Changes, OperatorError> {
        if changes.len() == 0 || self.referee.rests(changes.len()) {
            return Ok(changes);
        }
        let Some(able) = self.referee.judge(&self.seen.gather(pairs, &changes)?)? else { return Ok(changes) };
        let keep = |column: &[u32]| able.iter().filter_map(|pair| column.get(*pair as usize).copied()).collect();
        Ok(Changes { incoming: keep(&changes.incoming), stored: keep(&changes.stored), ..Changes::default() })
    }
}

/// The input columns that must be kept of a side's rows, in order: those that come out, those that are judged, and those by
/// which rows lie.
pub(super) fn stored_columns(
    outputs: &Sides<Vec<usize>>,
    condition: Option<&Condition>,
    lies_by: &[usize],
    side: Side,
) -> Vec<usize> {
    let seen = condition.into_iter().flat_map(|condition| &condition.columns);
    let seen = seen.filter(|(of, _)| *of == side).map(|(_, column)| *column);
    let mut columns: Vec<usize> = outputs.of(side).iter().chain(lies_by).copied().chain(seen).collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

//! Which `DISTINCT` calls of an aggregation share a set of values, and how their rows go through it.

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::take_arrays;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::RollingCall;
use super::distinct::{CALLS_MAX, DistinctSet, distinct_set};
use super::state::RollingState;
use crate::expression::EvaluationError;
use crate::operator::OperatorError;

/// Calls over the same distinct arguments.
#[derive(Clone, Debug)]
pub(crate) struct Sharing {
    /// The columns of the arguments.
    pub(crate) arguments: Vec<usize>,
    /// Their types.
    pub(crate) types: Vec<DataType>,
    /// The calls, by their place among all; the first has bit 0.
    pub(crate) calls: Vec<usize>,
}

/// The sets that the distinct ones among `calls` need.
pub(crate) fn sharing(calls: &[RollingCall]) -> Vec<Sharing> {
    let mut all: Vec<Sharing> = Vec::new();
    for (number, call) in calls.iter().enumerate().filter(|(_, call)| call.is_distinct) {
        let fits = |known: &&mut Sharing| known.arguments == call.arguments && known.calls.len() < CALLS_MAX;
        match all.iter_mut().find(fits) {
            Some(known) => known.calls.push(number),
            None => all.push(Sharing {
                arguments: call.arguments.clone(),
                types: call.argument_types.clone(),
                calls: vec![number],
            }),
        }
    }
    all
}

impl Sharing {
    /// An empty set for these calls.
    pub(crate) fn set(&self, is_updating: bool) -> Result<Box<dyn DistinctSet>, ArrowError> {
        distinct_set(&self.types, is_updating)
    }

    /// The arguments among the columns of `rows`, and for each row the bits of the calls whose filter it passes.
    pub(crate) fn wanted(
        &self,
        rows: &RecordBatch,
        calls: &[RollingCall],
    ) -> Result<(Vec<ArrayRef>, Vec<u32>), OperatorError> {
        let mut arguments = Vec::new();
        let mut wanted = vec![0_u32; rows.num_rows()];
        for (bit, call) in self.calls.iter().filter_map(|number| calls.get(*number)).enumerate() {
            let (columns, filter) = call.columns_of(rows)?;
            arguments = columns;
            match filter {
                None => wanted.iter_mut().for_each(|wanted| *wanted |= 1 << bit),
                Some(filter) => {
                    let passing = match filter.nulls() {
                        Some(valid) => filter.values() & valid.inner(),
                        None => filter.values().clone(),
                    };
                    for (wanted, passes) in wanted.iter_mut().zip(&passing) {
                        *wanted |= u32::from(passes) << bit;
                    }
                }
            }
        }
        Ok((arguments, wanted))
    }
}

/// The rows whose value was new, or gone, for some call of a set.
pub(crate) struct Changed {
    /// The arguments of these rows alone.
    pub(crate) arguments: Vec<ArrayRef>,
    pub(crate) groups: Vec<usize>,
    /// For which calls.
    pub(crate) marks: Vec<u32>,
}

impl Changed {
    /// Picks the rows whose marks are not empty.
    pub(crate) fn of(arguments: &[ArrayRef], groups: &[usize], marks: &[u32]) -> Result<Self, ArrowError> {
        let rows = marks.iter().enumerate().filter(|(_, marks)| **marks != 0);
        let rows = UInt32Array::from_iter_values(rows.map(|(row, _)| row as u32));
        let groups = groups.iter().zip(marks).filter(|(_, marks)| **marks != 0).map(|(group, _)| *group);
        let arguments =
            if rows.len() == marks.len() { arguments.to_vec() } else { take_arrays(arguments, &rows, None)? };
        Ok(Self {
            arguments,
            groups: groups.collect(),
            marks: marks.iter().copied().filter(|marks| *marks != 0).collect(),
        })
    }

    /// Adds the rows to the states of the calls that they are new for.
    pub(crate) fn add_to(
        &self,
        sharing: &Sharing,
        states: &mut [Box<dyn RollingState>],
        group_bound: usize,
    ) -> Result<(), EvaluationError> {
        for (bit, call) in sharing.calls.iter().enumerate() {
            if let Some(state) = states.get_mut(*call)
                && let Some(rows) = self.rows_with(bit)
            {
                state.update(&self.arguments, &self.groups, Some(&rows), group_bound)?;
            }
        }
        Ok(())
    }

    /// Takes the rows from the states of the calls that they are gone for.
    pub(crate) fn take_from(
        &self,
        sharing: &Sharing,
        states: &mut [Box<dyn RollingState>],
    ) -> Result<(), EvaluationError> {
        for (bit, call) in sharing.calls.iter().enumerate() {
            if let Some(state) = states.get_mut(*call)
                && let Some(rows) = self.rows_with(bit)
            {
                state.retract(&self.arguments, &self.groups, Some(&rows))?;
            }
        }
        Ok(())
    }

    /// The rows for the call of a bit; `None` for no row.
    fn rows_with(&self, bit: usize) -> Option<BooleanArray> {
        let has = |marks: &u32| marks >> bit & 1 == 1;
        let rows = || BooleanArray::new(self.marks.iter().map(has).collect(), None);
        self.marks.iter().any(has).then(rows)
    }
}

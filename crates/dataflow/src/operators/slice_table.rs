//! The state of one slice: its groups, and an accumulator for each aggregate.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, new_null_array};
use arrow::error::ArrowError;

use super::aggregation::Contribution;
use crate::aggregate::{Algebra, GroupAccumulator};
use crate::expression::EvaluationError;
use crate::graph::AggregateCall;
use crate::group::GroupTable;
use crate::key::{EncodedKeys, KeyEncoder};

/// Whether what is added are rows, or states that were made of rows before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Rows, to be added up.
    Rows,
    /// Partial states, to be merged.
    States,
}

/// Groups and their aggregates.
pub(crate) struct SliceTable {
    groups: GroupTable,
    accumulators: Vec<Box<dyn GroupAccumulator>>,
    /// Which accumulators count.
    counting: Vec<bool>,
    /// The group of each row being added: kept for its memory. Empty where all are of the only group.
    groups_of_rows: Vec<usize>,
}

impl SliceTable {
    pub(crate) fn new(aggregates: &[AggregateCall], encoder: &KeyEncoder) -> Result<Self, EvaluationError> {
        let accumulators = accumulators(aggregates)?;
        let counting = aggregates.iter().map(|call| call.function.algebra() == Algebra::Count).collect();
        Ok(Self { groups: GroupTable::new(encoder), accumulators, counting, groups_of_rows: Vec::new() })
    }

    pub(crate) fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Adds up, by group, how many rows there were in what was added last.
    pub(crate) fn count_added(&self, row_count: usize, counts: &mut Vec<i64>) {
        counts.resize(self.groups.len(), 0);
        if let ([], [only, ..]) = (self.groups_of_rows.as_slice(), counts.as_mut_slice()) {
            *only += row_count as i64;
        }
        for group in &self.groups_of_rows {
            if let Some(count) = counts.get_mut(*group) {
                *count += 1;
            }
        }
    }

    /// Adds `rows` (found by row in the keys), whose arguments stand at `part`.
    pub(crate) fn add(
        &mut self,
        from: &Contribution,
        rows: impl Iterator<Item = usize>,
        part: Range<usize>,
        form: Form,
    ) -> Result<(), EvaluationError> {
        self.groups_of_rows.clear();
        if form == Form::Rows && from.keys.is_empty() {
            return self.add_to_only_group(from, part);
        }
        self.groups.intern(&from.encoded, rows, &mut self.groups_of_rows);
        let group_count = self.groups.len();
        for (accumulator, arguments) in self.accumulators.iter_mut().zip(&from.arguments) {
            let columns: Vec<ArrayRef> =
                arguments.columns.iter().map(|column| column.slice(part.start, part.len())).collect();
            match form {
                Form::Rows => {
                    let filter = arguments.filter.as_ref().map(|filter| filter.slice(part.start, part.len()));
                    accumulator.update(&columns, &self.groups_of_rows, filter.as_ref(), group_count)?;
                }
                Form::States => accumulator.merge(&columns, &self.groups_of_rows, group_count)?,
            }
        }
        Ok(())
    }

    /// Without keys all rows are one group, and to count them is to know how many there are.
    fn add_to_only_group(&mut self, from: &Contribution, part: Range<usize>) -> Result<(), EvaluationError> {
        let mut only = Vec::with_capacity(1);
        self.groups.intern(&from.encoded, std::iter::once(0), &mut only);
        let mut groups = Vec::new();
        let accumulators = self.accumulators.iter_mut().zip(&self.counting);
        for ((accumulator, is_count), arguments) in accumulators.zip(&from.arguments) {
            let columns: Vec<ArrayRef> =
                arguments.columns.iter().map(|column| column.slice(part.start, part.len())).collect();
            if *is_count && arguments.filter.is_none() {
                let nulls = columns.first().map_or(0, |column| column.logical_null_count());
                let count: ArrayRef = Arc::new(Int64Array::from(vec![(part.len() - nulls) as i64]));
                accumulator.merge(&[count], &only, only.len())?;
            } else {
                groups.resize(part.len(), 0);
                let filter = arguments.filter.as_ref().map(|filter| filter.slice(part.start, part.len()));
                accumulator.update(&columns, &groups, filter.as_ref(), only.len())?;
            }
        }
        Ok(())
    }

    /// Adds the groups and states of a run.
    pub(crate) fn add_run(&mut self, run: &Run) -> Result<(), EvaluationError> {
        self.groups_of_rows.clear();
        if self.groups.is_empty() {
            self.groups = run.groups.clone();
            self.groups_of_rows.extend(0..run.groups.len());
        } else {
            self.groups.intern_table(&run.groups, &mut self.groups_of_rows);
        }
        let group_count = self.groups.len();
        for (accumulator, states) in self.accumulators.iter_mut().zip(&run.states) {
            accumulator.merge(states, &self.groups_of_rows, group_count)?;
        }
        Ok(())
    }

    /// What has been added up, as a run.
    pub(crate) fn into_run(mut self) -> Result<Run, EvaluationError> {
        let states = self.accumulators.iter_mut().map(|accumulator| accumulator.take_states());
        let states = states.collect::<Result<_, _>>()?;
        Ok(Run { groups: self.groups, states })
    }

    /// What has been added up so far, as a run; more may be added.
    pub(crate) fn snapshot(&mut self) -> Result<Run, EvaluationError> {
        let each_group: Vec<usize> = (0..self.groups.len()).collect();
        let mut all = Vec::with_capacity(self.accumulators.len());
        for accumulator in &mut self.accumulators {
            let states = accumulator.take_states()?;
            accumulator.merge(&states, &each_group, each_group.len())?;
            all.push(states);
        }
        Ok(Run { groups: self.groups.clone(), states: all })
    }

    /// Gives keys numbers, in their order, before anything is added to them: it has to be before results are asked for.
    pub(crate) fn number(
        &mut self,
        keys: &EncodedKeys,
        key_count: usize,
        aggregates: &[AggregateCall],
    ) -> Result<(), EvaluationError> {
        let mut groups = Vec::with_capacity(key_count);
        self.groups.intern(keys, 0..key_count, &mut groups);
        // An accumulator takes it that groups of which it has not heard have a value in what is added next: so it hears of
        // them now, by rows that do not count.
        let no_row = BooleanArray::from(vec![false; key_count]);
        for (accumulator, call) in self.accumulators.iter_mut().zip(aggregates) {
            let columns = call.arguments.iter().map(|argument| new_null_array(&argument.data_type(), key_count));
            accumulator.update(&columns.collect::<Vec<ArrayRef>>(), &groups, Some(&no_row), self.groups.len())?;
        }
        Ok(())
    }

    /// The groups alone.
    pub(crate) fn into_groups(self) -> GroupTable {
        self.groups
    }

    /// The key columns, one row a group.
    pub(crate) fn key_columns(&self, encoder: &KeyEncoder) -> Result<Vec<ArrayRef>, ArrowError> {
        self.groups.key_columns(encoder)
    }

    /// Moves the results out.
    pub(crate) fn take_results(&mut self) -> Result<Vec<ArrayRef>, EvaluationError> {
        self.accumulators.iter_mut().map(|accumulator| accumulator.take_results()).collect()
    }

    /// Moves the states out, one aggregate's after the other's.
    pub(crate) fn take_states(&mut self) -> Result<Vec<ArrayRef>, EvaluationError> {
        let mut states = Vec::new();
        for accumulator in &mut self.accumulators {
            states.extend(accumulator.take_states()?);
        }
        Ok(states)
    }

    /// The results so far, to which more may be added. Taking empties an accumulator, so its states are merged twice:
    /// back into it, and into one that gives the results.
    pub(crate) fn results(&mut self, aggregates: &[AggregateCall]) -> Result<Vec<ArrayRef>, EvaluationError> {
        let group_count = self.groups.len();
        let each_group: Vec<usize> = (0..group_count).collect();
        let mut results = Vec::with_capacity(self.accumulators.len());
        for (accumulator, mut finished) in self.accumulators.iter_mut().zip(accumulators(aggregates)?) {
            let states = accumulator.take_states()?;
            accumulator.merge(&states, &each_group, group_count)?;
            finished.merge(&states, &each_group, group_count)?;
            results.push(finished.take_results()?);
        }
        Ok(results)
    }

    pub(crate) fn size_bytes(&self) -> usize {
        let accumulators = self.accumulators.iter().map(|accumulator| accumulator.size_bytes());
        self.groups.size_bytes() + accumulators.sum::<usize>() + self.groups_of_rows.capacity() * size_of::<usize>()
    }
}

/// Groups and their states as they were at some moment: merged into tables, and never changed.
#[derive(Debug)]
pub(crate) struct Run {
    groups: GroupTable,
    /// The state columns of each aggregate, one element a group.
    states: Vec<Vec<ArrayRef>>,
}

impl Run {
    pub(crate) fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// The key columns, one row a group.
    pub(crate) fn key_columns(&self, encoder: &KeyEncoder) -> Result<Vec<ArrayRef>, ArrowError> {
        self.groups.key_columns(encoder)
    }

    /// The state columns of all aggregates in turn, one element a group.
    pub(crate) fn state_columns(&self) -> impl Iterator<Item = ArrayRef> + '_ {
        self.states.iter().flatten().cloned()
    }

    pub(crate) fn size_bytes(&self) -> usize {
        let states = self.states.iter().flatten().map(|column| column.get_array_memory_size());
        self.groups.size_bytes() + states.sum::<usize>()
    }
}

/// Turns each row into a state of its own, without looking for equal keys.
pub(crate) fn states_of_rows(
    from: &Contribution,
    aggregates: &[AggregateCall],
    row_count: usize,
) -> Result<Vec<ArrayRef>, EvaluationError> {
    let each_row: Vec<usize> = (0..row_count).collect();
    let mut states = Vec::new();
    for (mut accumulator, arguments) in accumulators(aggregates)?.into_iter().zip(&from.arguments) {
        accumulator.update(&arguments.columns, &each_row, arguments.filter.as_ref(), row_count)?;
        states.extend(accumulator.take_states()?);
    }
    Ok(states)
}

fn accumulators(aggregates: &[AggregateCall]) -> Result<Vec<Box<dyn GroupAccumulator>>, EvaluationError> {
    aggregates.iter().map(|call| call.function.accumulator()).collect()
}

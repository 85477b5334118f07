//! The state of any function, kept as its intermediate states: rows since the last reading are added up apart, and when
//! results are due, the states of the groups that were touched are merged with them and written anew.
//!
//! So a function needs to know nothing of results that can be read twice, and what an update costs depends on the groups
//! that are touched, not on all that there are.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, new_null_array};
use arrow::datatypes::DataType;

use super::slots::{Slots, slots_for};
use super::state::{RollingState, failed};
use crate::aggregate::{AggregateFunction, GroupAccumulator};
use crate::expression::EvaluationError;

/// Not touched since the states were written.
const UNTOUCHED: usize = usize::MAX;

/// Intermediate states by group.
pub(crate) struct Restated {
    function: Arc<dyn AggregateFunction>,
    argument_types: Vec<DataType>,
    /// One column a state field.
    states: Vec<Box<dyn Slots>>,
    /// Which groups have states.
    written: Vec<bool>,
    /// What has come since: its groups are numbered in the order in which they came.
    recent: Box<dyn GroupAccumulator>,
    /// The group of each number.
    touched: Vec<usize>,
    /// The number of each group.
    numbers: Vec<usize>,
    numbers_of_rows: Vec<usize>,
}

impl Restated {
    pub(crate) fn new(
        function: Arc<dyn AggregateFunction>,
        argument_types: &[DataType],
    ) -> Result<Self, EvaluationError> {
        let slots = function.state_fields().iter().map(|field| slots_for(field.data_type())).collect::<Result<_, _>>();
        Ok(Self {
            states: slots.map_err(|error| failed(&function, &error))?,
            recent: function.accumulator()?,
            argument_types: argument_types.to_vec(),
            function,
            written: Vec::new(),
            touched: Vec::new(),
            numbers: Vec::new(),
            numbers_of_rows: Vec::new(),
        })
    }

    fn number(&mut self, groups: &[usize], group_bound: usize) {
        if group_bound > self.numbers.len() {
            self.numbers.resize(group_bound, UNTOUCHED);
            self.written.resize(group_bound, false);
        }
        self.numbers_of_rows.clear();
        for group in groups {
            let Some(number) = self.numbers.get_mut(*group) else { continue };
            if *number == UNTOUCHED {
                *number = self.touched.len();
                self.touched.push(*group);
            }
            self.numbers_of_rows.push(*number);
        }
    }

    fn has_state(&self, group: usize) -> bool {
        self.written.get(group).copied().unwrap_or(false)
    }

    fn read(&self, groups: &[usize]) -> Result<Vec<ArrayRef>, EvaluationError> {
        let states = self.states.iter().map(|slots| slots.read(groups)).collect::<Result<_, _>>();
        states.map_err(|error| failed(&self.function, &error))
    }

    /// Merges what is recent into the states.
    fn restate(&mut self) -> Result<(), EvaluationError> {
        let touched = std::mem::take(&mut self.touched);
        if touched.is_empty() {
            return Ok(());
        }
        let mut states = self.recent.take_states()?;
        let (known_numbers, known): (Vec<usize>, Vec<usize>) =
            touched.iter().copied().enumerate().filter(|(_, group)| self.has_state(*group)).unzip();
        if !known.is_empty() {
            let each: Vec<usize> = (0..touched.len()).collect();
            let mut merged = self.function.accumulator()?;
            merged.merge(&self.read(&known)?, &known_numbers, touched.len())?;
            merged.merge(&states, &each, touched.len())?;
            states = merged.take_states()?;
        }
        for (slots, column) in self.states.iter_mut().zip(&states) {
            slots.write(&touched, column).map_err(|error| failed(&self.function, &error))?;
        }
        for group in touched {
            if let (Some(number), Some(written)) = (self.numbers.get_mut(group), self.written.get_mut(group)) {
                *number = UNTOUCHED;
                *written = true;
            }
        }
        Ok(())
    }
}

/// Tells an empty accumulator of groups that have no rows: each gets one, which the filter leaves out.
pub(crate) fn add_nothing(
    accumulator: &mut dyn GroupAccumulator,
    argument_types: &[DataType],
    group_count: usize,
) -> Result<(), EvaluationError> {
    let arguments: Vec<ArrayRef> =
        argument_types.iter().map(|data_type| new_null_array(data_type, group_count)).collect();
    let each: Vec<usize> = (0..group_count).collect();
    let none = BooleanArray::from(vec![false; group_count]);
    accumulator.update(&arguments, &each, Some(&none), group_count)
}

impl RollingState for Restated {
    fn update(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_bound: usize,
    ) -> Result<(), EvaluationError> {
        self.number(groups, group_bound);
        self.recent.update(arguments, &self.numbers_of_rows, filter, self.touched.len())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], group_bound: usize) -> Result<(), EvaluationError> {
        self.number(groups, group_bound);
        self.recent.merge(states, &self.numbers_of_rows, self.touched.len())
    }

    fn results(&mut self, groups: &[usize]) -> Result<ArrayRef, EvaluationError> {
        self.restate()?;
        let mut finished = self.function.accumulator()?;
        let (numbers, known): (Vec<usize>, Vec<usize>) =
            groups.iter().copied().enumerate().filter(|(_, group)| self.has_state(*group)).unzip();
        if known.len() < groups.len() {
            add_nothing(finished.as_mut(), &self.argument_types, groups.len())?;
        }
        finished.merge(&self.read(&known)?, &numbers, groups.len())?;
        finished.take_results()
    }

    fn forget(&mut self, groups: &[usize]) {
        for slots in &mut self.states {
            slots.forget(groups);
        }
        for group in groups {
            if let Some(written) = self.written.get_mut(*group) {
                *written = false;
            }
        }
    }

    fn size_bytes(&self) -> usize {
        self.states.iter().map(|slots| slots.size_bytes()).sum::<usize>()
            + self.recent.size_bytes()
            + self.written.capacity()
            + (self.numbers.capacity() + self.touched.capacity()) * size_of::<usize>()
    }
}

//! The state of any function, kept as its intermediate states: rows since the last reading are added up apart, and when
//! results are due, the states of the groups that were touched are merged with them and written anew.
//!
//! So a function needs to know nothing of results that can be read twice, and what an update costs depends on the groups
//! that are touched, not on all that there are.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, new_null_array};
use arrow::compute::filter;
use arrow::datatypes::{DataType, Field};

use super::numbers::Numbers;
use super::slots::{Slots, slots_for};
use super::state::{RollingState, failed, mistyped};
use crate::aggregate::{AggregateFunction, GroupAccumulator};
use crate::expression::EvaluationError;

/// Intermediate states by group.
pub(crate) struct Restated {
    function: Arc<dyn AggregateFunction>,
    argument_types: Vec<DataType>,
    /// One column a state field.
    states: Vec<Box<dyn Slots>>,
    /// Which groups have states.
    written: Vec<bool>,
    /// What has come since, by the numbers of the touched groups.
    recent: Box<dyn GroupAccumulator>,
    numbers: Numbers,
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
            numbers: Numbers::default(),
        })
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
        let touched = self.numbers.take();
        if touched.is_empty() {
            return Ok(());
        }
        let mut states = self.recent.take_states()?;
        // Functions take it that a group that is new to them is among the rows that say so: those that have states already
        // come first.
        let (known, new): (Vec<usize>, Vec<usize>) =
            (0..touched.len()).partition(|number| touched.get(*number).is_some_and(|group| self.has_state(*group)));
        let known_groups: Vec<usize> = known.iter().filter_map(|number| touched.get(*number)).copied().collect();
        let new_groups: Vec<usize> = new.iter().filter_map(|number| touched.get(*number)).copied().collect();
        let mut touched = touched;
        if !known.is_empty() {
            let mut places = vec![0; touched.len()];
            for (place, number) in known.iter().chain(&new).enumerate() {
                if let Some(to) = places.get_mut(*number) {
                    *to = place;
                }
            }
            let first: Vec<usize> = (0..known.len()).collect();
            let mut merged = self.function.accumulator()?;
            merged.merge(&self.read(&known_groups)?, &first, known.len())?;
            merged.merge(&states, &places, touched.len())?;
            states = merged.take_states()?;
            touched = known_groups.into_iter().chain(new_groups).collect();
        }
        self.write(&touched, &states)
    }

    fn write(&mut self, groups: &[usize], states: &[ArrayRef]) -> Result<(), EvaluationError> {
        for (slots, column) in self.states.iter_mut().zip(states) {
            slots.write(groups, column).map_err(|error| failed(&self.function, &error))?;
        }
        let bound = groups.iter().max().map_or(0, |group| group + 1);
        self.written.resize(bound.max(self.written.len()), false);
        for group in groups {
            if let Some(written) = self.written.get_mut(*group) {
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
        self.numbers.touch(groups, group_bound);
        self.recent.update(arguments, self.numbers.of_rows(), filter, self.numbers.len())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], group_bound: usize) -> Result<(), EvaluationError> {
        self.numbers.touch(groups, group_bound);
        self.recent.merge(states, self.numbers.of_rows(), self.numbers.len())
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

    fn states(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>, EvaluationError> {
        self.restate()?;
        self.read(groups)
    }

    fn sealed_fields(&self) -> Vec<Field> {
        let states = self.function.state_fields().into_iter().map(|field| field.with_nullable(true));
        std::iter::once(Field::new("has_state", DataType::Boolean, false)).chain(states).collect()
    }

    fn seal(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>, EvaluationError> {
        self.restate()?;
        let has_state: BooleanArray = groups.iter().map(|group| Some(self.has_state(*group))).collect();
        Ok(std::iter::once(Arc::new(has_state) as ArrayRef).chain(self.read(groups)?).collect())
    }

    fn restore(&mut self, sealed: &[ArrayRef], groups: &[usize], _: usize) -> Result<(), EvaluationError> {
        let (has_state, states) = sealed.split_first().ok_or_else(|| mistyped("aggregate"))?;
        let has_state = has_state.as_boolean_opt().ok_or_else(|| mistyped("aggregate"))?;
        let states = states.iter().map(|column| filter(column, has_state)).collect::<Result<Vec<_>, _>>();
        let with_state = groups.iter().zip(has_state.values()).filter(|(_, has)| *has).map(|(group, _)| *group);
        self.write(&with_state.collect::<Vec<usize>>(), &states.map_err(|error| failed(&self.function, &error))?)
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
            + self.numbers.size_bytes()
    }
}

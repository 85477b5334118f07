//! The state of any function over an updating input: how often each group has each row of arguments, in order.
//!
//! A row that is taken back lowers a count. The least and the greatest value stand at the ends; every other function is
//! given all rows of a group anew when its result is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, UInt64Type};
use arrow::row::{RowConverter, SortField};

use super::restated::add_nothing;
use super::state::{RollingState, failed, mistyped, passes};
use crate::aggregate::{AggregateFunction, Algebra};
use crate::expression::EvaluationError;

/// What one counted row costs beside its bytes: its count, and its share of a tree node.
const ROW_OVERHEAD_BYTES: usize = 48;

/// The rows of a group, encoded so that their order is that of the values, and how often each is there.
type Rows = BTreeMap<Box<[u8]>, u64>;

/// Counted rows by group.
pub(crate) struct Counted {
    function: Arc<dyn AggregateFunction>,
    argument_types: Vec<DataType>,
    converter: RowConverter,
    groups: Vec<Rows>,
    /// Where in the order of a group's rows its result stands.
    reading: Reading,
    row_bytes: usize,
}

/// Which rows a result is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    First,
    Last,
    All,
}

impl Counted {
    pub(crate) fn new(
        function: &Arc<dyn AggregateFunction>,
        argument_types: &[DataType],
    ) -> Result<Self, EvaluationError> {
        let fields = argument_types.iter().map(|data_type| SortField::new(data_type.clone())).collect();
        let reading = match function.algebra() {
            Algebra::Least => Reading::First,
            Algebra::Greatest => Reading::Last,
            _ => Reading::All,
        };
        Ok(Self {
            converter: RowConverter::new(fields).map_err(|error| failed(function, &error))?,
            function: Arc::clone(function),
            argument_types: argument_types.to_vec(),
            groups: Vec::new(),
            reading,
            row_bytes: 0,
        })
    }

    /// Calls `each` with the rows that pass and the rows of their groups.
    fn for_each(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        each: impl Fn(&mut Rows, &[u8]) -> isize,
    ) -> Result<(), EvaluationError> {
        let encoded = self.converter.convert_columns(arguments).map_err(|error| failed(&self.function, &error))?;
        // Extremes are those of values; other functions decide on nulls for themselves.
        let nulls: Option<NullBuffer> = match self.reading {
            Reading::All => None,
            Reading::First | Reading::Last => arguments.first().and_then(|argument| argument.logical_nulls()),
        };
        for (row, (group, key)) in groups.iter().zip(encoded.iter()).enumerate() {
            if !passes(filter, row) || nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            if let Some(rows) = self.groups.get_mut(*group) {
                self.row_bytes = self.row_bytes.saturating_add_signed(each(rows, key.data()));
            }
        }
        Ok(())
    }

    /// The types of a row, and of how often it is there.
    pub(crate) fn row_fields(&self) -> Vec<Field> {
        let argument =
            |(number, data_type): (usize, &DataType)| Field::new(format!("argument {number}"), data_type.clone(), true);
        let arguments = self.argument_types.iter().enumerate().map(argument);
        arguments.chain([Field::new("count", DataType::UInt64, false)]).collect()
    }

    /// The rows of some groups: the group of each, its columns, and how often it is there.
    pub(crate) fn rows_of(&self, groups: &[usize]) -> Result<(Vec<usize>, Vec<ArrayRef>), EvaluationError> {
        let (mut of_rows, mut rows, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for group in groups {
            for (row, count) in self.groups.get(*group).into_iter().flatten() {
                of_rows.push(*group);
                rows.push(row.as_ref());
                counts.push(*count);
            }
        }
        let parser = self.converter.parser();
        let columns = self.converter.convert_rows(rows.into_iter().map(|row| parser.parse(row)));
        let mut columns = columns.map_err(|error| failed(&self.function, &error))?;
        columns.push(Arc::new(UInt64Array::from(counts)));
        Ok((of_rows, columns))
    }

    /// Takes over rows, and how often they are there.
    pub(crate) fn restore_rows(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        group_bound: usize,
    ) -> Result<(), EvaluationError> {
        let (counts, arguments) = columns.split_last().ok_or_else(|| mistyped("aggregate"))?;
        let counts = counts.as_primitive_opt::<UInt64Type>().ok_or_else(|| mistyped("aggregate"))?;
        let encoded = self.converter.convert_columns(arguments).map_err(|error| failed(&self.function, &error))?;
        if group_bound > self.groups.len() {
            self.groups.resize_with(group_bound, Rows::new);
        }
        for ((group, row), count) in groups.iter().zip(encoded.iter()).zip(counts.values()) {
            if let Some(rows) = self.groups.get_mut(*group) {
                self.row_bytes += row.data().len() + ROW_OVERHEAD_BYTES;
                rows.insert(row.data().into(), *count);
            }
        }
        Ok(())
    }

    /// Appends the rows of a group that its result is made of, each as often as it is there, to `rows`.
    fn rows_to_read<'a>(&'a self, group: usize, rows: &mut Vec<&'a [u8]>) {
        let Some(counted) = self.groups.get(group) else { return };
        match self.reading {
            Reading::First => rows.extend(counted.first_key_value().map(|(row, _)| row.as_ref())),
            Reading::Last => rows.extend(counted.last_key_value().map(|(row, _)| row.as_ref())),
            Reading::All => {
                for (row, count) in counted {
                    rows.extend((0..*count).map(|_| row.as_ref()));
                }
            }
        }
    }
}

impl RollingState for Counted {
    fn update(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_bound: usize,
    ) -> Result<(), EvaluationError> {
        if group_bound > self.groups.len() {
            self.groups.resize_with(group_bound, Rows::new);
        }
        self.for_each(arguments, groups, filter, |rows, key| match rows.get_mut(key) {
            Some(count) => {
                *count += 1;
                0
            }
            None => {
                rows.insert(key.into(), 1);
                (key.len() + ROW_OVERHEAD_BYTES).cast_signed()
            }
        })
    }

    fn retract(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
    ) -> Result<(), EvaluationError> {
        self.for_each(arguments, groups, filter, |rows, key| {
            let Some(count) = rows.get_mut(key) else { return 0 };
            *count -= 1;
            if *count > 0 {
                return 0;
            }
            rows.remove(key);
            -(key.len() + ROW_OVERHEAD_BYTES).cast_signed()
        })
    }

    fn merge(&mut self, _: &[ArrayRef], _: &[usize], _: usize) -> Result<(), EvaluationError> {
        Err(EvaluationError {
            expression: self.function.to_string(),
            reason: "states cannot be merged with counted rows; this is a defect, please report it".to_owned(),
        })
    }

    fn results(&mut self, groups: &[usize]) -> Result<ArrayRef, EvaluationError> {
        let mut rows = Vec::new();
        let mut numbers = Vec::new();
        for (number, group) in groups.iter().enumerate() {
            self.rows_to_read(*group, &mut rows);
            numbers.resize(rows.len(), number);
        }
        let parser = self.converter.parser();
        let arguments = self.converter.convert_rows(rows.into_iter().map(|row| parser.parse(row)));
        let arguments = arguments.map_err(|error| failed(&self.function, &error))?;
        let mut finished = self.function.accumulator()?;
        if groups.iter().any(|group| self.groups.get(*group).is_none_or(Rows::is_empty)) {
            add_nothing(finished.as_mut(), &self.argument_types, groups.len())?;
        }
        if !numbers.is_empty() {
            finished.update(&arguments, &numbers, None, groups.len())?;
        }
        finished.take_results()
    }

    fn forget(&mut self, groups: &[usize]) {
        for group in groups {
            if let Some(rows) = self.groups.get_mut(*group) {
                let bytes: usize = rows.keys().map(|row| row.len() + ROW_OVERHEAD_BYTES).sum();
                self.row_bytes -= bytes;
                *rows = Rows::new();
            }
        }
    }

    fn sealed_fields(&self) -> Vec<Field> {
        Vec::new()
    }

    fn seal(&mut self, _: &[usize]) -> Result<Vec<ArrayRef>, EvaluationError> {
        Ok(Vec::new())
    }

    fn restore(&mut self, _: &[ArrayRef], _: &[usize], group_bound: usize) -> Result<(), EvaluationError> {
        if group_bound > self.groups.len() {
            self.groups.resize_with(group_bound, Rows::new);
        }
        Ok(())
    }

    fn counted(&mut self) -> Option<&mut Counted> {
        Some(self)
    }

    fn size_bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Rows>() + self.row_bytes
    }
}

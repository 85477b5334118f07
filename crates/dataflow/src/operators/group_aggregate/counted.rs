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
use super::sealed::OfGroups;
use super::state::{RollingState, failed, mistyped, passes};
use crate::aggregate::{AggregateFunction, Algebra};
use crate::expression::EvaluationError;

/// What one counted row costs beside its bytes: its count, and its share of a tree node.
const ROW_OVERHEAD_BYTES: usize = 56;

/// The rows of a group, encoded so that their order is that of the values, and how often each is there.
type Rows = BTreeMap<Box<[u8]>, Times>;

/// How often a row is there.
#[derive(Clone, Copy)]
struct Times {
    count: u64,
    /// Whether it is known to have changed since it was sealed.
    is_noted: bool,
}

impl Times {
    /// Notes a change where changes are; whether that is news.
    fn note(&mut self, notes: bool) -> bool {
        notes && !std::mem::replace(&mut self.is_noted, true)
    }
}

/// Counted rows by group.
pub(crate) struct Counted {
    function: Arc<dyn AggregateFunction>,
    argument_types: Vec<DataType>,
    converter: RowConverter,
    groups: Vec<Rows>,
    /// Where in the order of a group's rows its result stands.
    reading: Reading,
    row_bytes: usize,
    /// Group and row of those that have changed since they were sealed, some of them twice.
    changed: Option<Vec<(usize, Box<[u8]>)>>,
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
            changed: None,
        })
    }

    /// Calls `each` with the rows that pass, the rows of their groups, and whether changes are noted. It gives how much longer
    /// these have become, and whether the change is to be noted.
    fn for_each(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        each: impl Fn(&mut Rows, &[u8], bool) -> (isize, bool),
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
                let (bytes, is_news) = each(rows, key.data(), self.changed.is_some());
                self.row_bytes = self.row_bytes.saturating_add_signed(bytes);
                if let Some(changed) = self.changed.as_mut().filter(|_| is_news) {
                    changed.push((*group, key.data().into()));
                }
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
    pub(crate) fn rows_of(&self, groups: &[usize]) -> Result<OfGroups, EvaluationError> {
        let (mut of_rows, mut rows, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for group in groups {
            for (row, times) in self.groups.get(*group).into_iter().flatten() {
                of_rows.push(*group);
                rows.push(row.as_ref());
                counts.push(times.count);
            }
        }
        let mut columns = self.decode(rows)?;
        columns.push(Arc::new(UInt64Array::from(counts)));
        Ok((of_rows, columns))
    }

    fn decode(&self, rows: Vec<&[u8]>) -> Result<Vec<ArrayRef>, EvaluationError> {
        let parser = self.converter.parser();
        let columns = self.converter.convert_rows(rows.into_iter().map(|row| parser.parse(row)));
        columns.map_err(|error| failed(&self.function, &error))
    }

    /// Says whether it is noted from now on which rows change; what has been noted is forgotten.
    pub(crate) fn keep_changes(&mut self, keeps: bool) {
        for (group, row) in std::mem::replace(&mut self.changed, keeps.then(Vec::new)).into_iter().flatten() {
            if let Some(times) = self.groups.get_mut(group).and_then(|rows| rows.get_mut(&row)) {
                times.is_noted = false;
            }
        }
    }

    /// The rows that have changed since [`Counted::keep_changes`], as [`Counted::rows_of`] gives them, and those that are
    /// gone, without counts.
    pub(crate) fn changes(&self) -> Result<[OfGroups; 2], EvaluationError> {
        let (mut here, mut gone) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        let mut counts = Vec::new();
        let mut changed: Vec<&(usize, Box<[u8]>)> = self.changed.iter().flatten().collect();
        changed.sort_unstable();
        changed.dedup();
        for (group, row) in changed {
            let times = self.groups.get(*group).and_then(|rows| rows.get(row));
            counts.extend(times.map(|times| times.count));
            let (groups, rows) = if times.is_some() { &mut here } else { &mut gone };
            groups.push(*group);
            rows.push(row.as_ref());
        }
        let mut columns = self.decode(here.1)?;
        columns.push(Arc::new(UInt64Array::from(counts)));
        Ok([(here.0, columns), (gone.0, self.decode(gone.1)?)])
    }

    /// Whether about as many changes have been noted as there are rows, and many.
    pub(crate) fn is_mostly_changed(&self, changes_min: usize) -> bool {
        let changes = self.changed.as_ref().map_or(0, Vec::len);
        changes > changes_min + self.row_bytes / ROW_OVERHEAD_BYTES
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
                rows.insert(row.data().into(), Times { count: *count, is_noted: false });
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
                for (row, times) in counted {
                    rows.extend((0..times.count).map(|_| row.as_ref()));
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
        self.for_each(arguments, groups, filter, |rows, key, notes| match rows.get_mut(key) {
            Some(times) => {
                times.count += 1;
                (0, times.note(notes))
            }
            None => {
                rows.insert(key.into(), Times { count: 1, is_noted: notes });
                ((key.len() + ROW_OVERHEAD_BYTES).cast_signed(), notes)
            }
        })
    }

    fn retract(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
    ) -> Result<(), EvaluationError> {
        self.for_each(arguments, groups, filter, |rows, key, notes| {
            let Some(times) = rows.get_mut(key) else { return (0, false) };
            times.count -= 1;
            let is_news = times.note(notes);
            if times.count > 0 {
                return (0, is_news);
            }
            rows.remove(key);
            (-(key.len() + ROW_OVERHEAD_BYTES).cast_signed(), is_news)
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
                let rows = std::mem::take(rows);
                if let Some(changed) = &mut self.changed {
                    changed.extend(rows.into_keys().map(|row| (*group, row)));
                }
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
        let changed = self.changed.as_ref().map_or(0, Vec::capacity) * size_of::<(usize, Box<[u8]>)>();
        self.groups.capacity() * size_of::<Rows>() + self.row_bytes + changed
    }
}

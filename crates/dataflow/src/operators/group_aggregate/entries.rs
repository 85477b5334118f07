//! The entries of a set of distinct values as columns, for checkpoints.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, UInt32Array};
use arrow::datatypes::UInt32Type;

use super::marks::Marks;

/// Entries of a set as columns.
pub(crate) struct Entries {
    /// The group of each.
    pub(crate) groups: Vec<usize>,
    /// The columns of the values.
    pub(crate) values: Vec<ArrayRef>,
    /// How often each is there, by call; 1 for ever where nothing is taken back.
    pub(crate) counts: Vec<Vec<u32>>,
}

impl Entries {
    pub(crate) fn new(call_count: usize) -> Self {
        Self { groups: Vec::new(), values: Vec::new(), counts: vec![Vec::new(); call_count] }
    }

    /// Adds an entry that is no more, but for its value.
    pub(crate) fn push_gone(&mut self, group: u32) {
        self.groups.push(group as usize);
    }

    /// Adds an entry, but for its value.
    pub(crate) fn push(&mut self, group: u32, marks: &impl Marks) {
        self.groups.push(group as usize);
        for (call, counts) in self.counts.iter_mut().enumerate() {
            counts.push(marks.count(call));
        }
    }

    /// The marks of an entry.
    pub(crate) fn marks<M: Marks>(&self, entry: usize) -> M {
        let mut marks = M::default();
        for (call, counts) in self.counts.iter().enumerate() {
            marks.set(call, counts.get(entry).copied().unwrap_or(0));
        }
        marks
    }

    /// The values, and behind them a column a call.
    pub(crate) fn into_columns(self) -> (Vec<usize>, Vec<ArrayRef>) {
        let counts = self.counts.into_iter().map(|counts| Arc::new(UInt32Array::from(counts)) as ArrayRef);
        (self.groups, self.values.into_iter().chain(counts).collect())
    }

    /// Takes the columns of entries apart, of which the first `value_count` are the values; `None` if these are none.
    pub(crate) fn of_columns(columns: &[ArrayRef], value_count: usize, groups: Vec<usize>) -> Option<Self> {
        let (values, counts) = columns.split_at_checked(value_count)?;
        let counts = counts.iter().map(|counts| Some(counts.as_primitive_opt::<UInt32Type>()?.values().to_vec()));
        Some(Self { groups, values: values.to_vec(), counts: counts.collect::<Option<_>>()? })
    }
}

//! Partitions as rows, for checkpoints: their rows in order, each named by its partition and its position in it.
//!
//! The columns of the part: those of the partition; the position; the other columns of the row; where the owner gives rows
//! out in order, whether this one has been; and when the partition was touched, where partitions are forgotten.
//!
//! If that is asked for, only the partitions that have changed are sealed, each with all its rows: so a ranking by many
//! keys seals little, and one of everything seals all whenever it has changed.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::{Partitions, Pending};
use crate::operator::OperatorError;
use crate::operators::group_aggregate::lifetime::Lifetime;
use crate::operators::partition::Partition;
use crate::operators::rows_of;
use crate::state::{Lies, StatePart};
use crate::time::Watermark;

/// What has changed since a first seal, or a restore.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// By partition: whether it has changed.
    is_dirty: Vec<bool>,
    /// By partition: how many rows of it have been sealed.
    sealed: Vec<usize>,
}

impl Journal {
    pub(super) fn mark(&mut self, group: usize) {
        if self.is_dirty.len() <= group {
            self.is_dirty.resize(group + 1, false);
        }
        if let Some(is_dirty) = self.is_dirty.get_mut(group) {
            *is_dirty = true;
        }
    }

    pub(super) fn is_dirty(&self, group: usize) -> bool {
        self.is_dirty.get(group) == Some(&true)
    }

    fn sealed(&self, group: usize) -> usize {
        self.sealed.get(group).copied().unwrap_or(0)
    }

    /// Follows the partitions that are kept to their new numbers.
    pub(super) fn keep(&mut self, kept: &[usize]) {
        self.sealed = kept.iter().map(|group| self.sealed(*group)).collect();
        self.is_dirty = kept.iter().map(|group| self.is_dirty(*group)).collect();
    }
}

/// Rows of a part: whose they are, and whether each has been given out.
pub(crate) struct Restored {
    pub(crate) groups: Vec<usize>,
    pub(crate) rows: RecordBatch,
    pub(crate) given: Option<BooleanArray>,
}

impl Partitions {
    /// Marks a partition as changed.
    pub(super) fn mark(&mut self, group: usize) {
        if let Some(journal) = &mut self.journal {
            journal.mark(group);
        }
    }

    /// The partitions that are to be sealed: all with `whole`, or where it is not known what has changed. And whether these
    /// are all.
    pub(crate) fn to_seal(&self, whole: bool) -> (Vec<usize>, bool) {
        match self.journal.as_ref().filter(|_| !whole) {
            Some(journal) => ((0..self.lists.len()).filter(|group| journal.is_dirty(*group)).collect(), false),
            None => ((0..self.lists.len()).collect(), true),
        }
    }

    /// Everything is as it has been sealed.
    pub(crate) fn note_sealed(&mut self) {
        // What was touched at no time that was known is going to get one: then all is sealed anew.
        if self.lifetime.as_ref().is_some_and(Lifetime::has_unknown) {
            self.journal = None;
            return;
        }
        let sealed = self.lists.iter().map(Partition::len).collect();
        self.journal = Some(Journal { is_dirty: vec![false; self.lists.len()], sealed });
    }

    /// The rows of `groups`, which are all or those that have changed. `given` says how many at the beginning of a
    /// partition have been given out. [`Partitions::note_sealed`] is to follow. Nothing may be pending.
    pub(crate) fn sealed(
        &self,
        name: &'static str,
        (groups, is_all): &(Vec<usize>, bool),
        given: Option<&dyn Fn(usize) -> usize>,
    ) -> Result<StatePart, OperatorError> {
        let entries = |group: &usize| self.entries(*group);
        let places: Vec<_> = groups.iter().flat_map(entries).map(|entry| entry.place).collect();
        let own = self.store.gather(&places)?;
        let of_key = |column: &usize| own.get(*column).cloned();
        let mut columns: Vec<ArrayRef> = self.columns.iter().filter_map(of_key).collect();
        let positions = groups.iter().flat_map(|group| 0..self.entries(*group).len() as u64);
        columns.push(Arc::new(UInt64Array::from_iter_values(positions)));
        let others = own.iter().enumerate().filter(|(column, _)| !self.columns.contains(column));
        columns.extend(others.map(|(_, column)| Arc::clone(column)));
        if let Some(given) = given {
            let flags = |group: &usize| {
                let given = given(*group);
                (0..self.entries(*group).len()).map(move |position| Some(position < given))
            };
            columns.push(Arc::new(groups.iter().flat_map(flags).collect::<BooleanArray>()));
        }
        if let Some(lifetime) = &self.lifetime {
            let by_row: Vec<usize> =
                groups.iter().flat_map(|group| std::iter::repeat_n(*group, self.entries(*group).len())).collect();
            columns.push(Arc::new(lifetime.touched(&by_row)));
        }
        let schema = self.part_schema(given.is_some());
        let rows = rows_of(&schema, columns, places.len())?;
        let lies = Lies::Keyed((0..self.columns.len()).collect());
        if *is_all {
            return Ok(StatePart::whole(name, rows, lies));
        }
        Ok(StatePart::changes(name, rows, lies, self.columns.len() + 1, self.gone(groups)?))
    }

    /// The names of rows that have been sealed, and are not there any longer, of some partitions.
    fn gone(&self, groups: &[usize]) -> Result<RecordBatch, OperatorError> {
        let sealed = |group: usize| self.journal.as_ref().map_or(0, |journal| journal.sealed(group));
        self.names_of(groups.iter().map(|group| (*group, self.entries(*group).len()..sealed(*group))))
    }

    /// The names of all rows that have been sealed, for when all these partitions go; `None` where it is not known.
    pub(crate) fn sealed_names(&self) -> Result<Option<RecordBatch>, OperatorError> {
        let Some(journal) = &self.journal else { return Ok(None) };
        self.names_of((0..self.lists.len()).map(|group| (group, 0..journal.sealed(group)))).map(Some)
    }

    /// The partition and position of rows at some positions.
    fn names_of(
        &self,
        rows: impl Iterator<Item = (usize, std::ops::Range<usize>)>,
    ) -> Result<RecordBatch, OperatorError> {
        let rows = rows.flat_map(|(group, positions)| positions.map(move |position| (group, position as u64)));
        let (groups, positions): (Vec<usize>, Vec<u64>) = rows.unzip();
        let row_count = groups.len();
        let mut columns = self.key_columns(&groups)?;
        columns.push(Arc::new(UInt64Array::from(positions)));
        let of_key: Vec<usize> = (0..columns.len()).collect();
        Ok(rows_of(&Arc::new(self.part_schema(false).project(&of_key)?), columns, row_count)?)
    }

    /// The columns that tell partitions apart, of some of them.
    pub(crate) fn key_columns(&self, groups: &[usize]) -> Result<Vec<ArrayRef>, OperatorError> {
        Ok(self.groups.columns_of(&self.encoder, groups.iter().copied())?)
    }

    /// The fields of the columns that tell partitions apart.
    pub(crate) fn key_fields(&self) -> Vec<Field> {
        self.fields_of(&self.columns)
    }

    fn fields_of(&self, columns: &[usize]) -> Vec<Field> {
        let fields = self.store.schema().fields();
        columns.iter().filter_map(|column| fields.get(*column)).map(|field| field.as_ref().clone()).collect()
    }

    fn part_schema(&self, with_given: bool) -> SchemaRef {
        let mut fields = self.key_fields();
        fields.push(Field::new("position", DataType::UInt64, false));
        let all = 0..self.store.schema().fields().len();
        let others: Vec<usize> = all.filter(|column| !self.columns.contains(column)).collect();
        fields.extend(self.fields_of(&others));
        if with_given {
            fields.push(Field::new("is given", DataType::Boolean, false));
        }
        if self.lifetime.is_some() {
            fields.push(Field::new("touched", DataType::Int64, false));
        }
        Arc::new(Schema::new(fields))
    }

    /// Takes a part's rows apart: the rows themselves, whether each has been given out, when its partition was touched.
    ///
    /// # Errors
    /// These are rows of another part.
    fn apart(
        &self,
        rows: &RecordBatch,
        with_given: bool,
    ) -> Result<(RecordBatch, Option<BooleanArray>, Option<Int64Array>), OperatorError> {
        let schema = self.part_schema(with_given);
        let types = |schema: &Schema| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
        if types(&schema) != types(&rows.schema()) {
            let reason = "the sealed rows have other columns than are kept here; the checkpoint is another query's";
            return Err(OperatorError::Unsupported(reason.to_owned()));
        }
        let mut others = rows.columns().iter().skip(self.columns.len() + 1);
        let column = |column: usize| match self.columns.iter().position(|key| *key == column) {
            Some(key) => rows.columns().get(key),
            None => others.next(),
        };
        let own = (0..self.store.schema().fields().len()).filter_map(column).cloned().collect();
        let own = rows_of(self.store.schema(), own, rows.num_rows())?;
        let given = if with_given { others.next() } else { None };
        let touched = others.next().filter(|_| self.lifetime.is_some());
        Ok((own, given.map(|c| c.as_boolean().clone()), touched.map(|c| c.as_primitive::<Int64Type>().clone())))
    }

    /// Takes over rows of a part.
    ///
    /// # Errors
    /// These are rows of another part.
    pub(crate) fn restore(&mut self, rows: &RecordBatch, with_given: bool) -> Result<Restored, OperatorError> {
        let (own, given, touched) = self.apart(rows, with_given)?;
        let (groups, entries) = self.take_in(&own)?;
        let pending = groups.iter().zip(entries).map(|(group, entry)| Pending { group: *group, entry, sign: 1 });
        self.pending.extend(pending);
        self.settle(|_, _, _| {})?;
        self.touched(&groups, touched.as_ref());
        self.note_sealed();
        Ok(Restored { groups, rows: own, given })
    }

    /// The rows of a part, whose partitions are nothing but their rows, for their owner to take in as if they came anew.
    ///
    /// # Errors
    /// These are rows of another part.
    pub(crate) fn rows_of_part(&self, rows: &RecordBatch) -> Result<RecordBatch, OperatorError> {
        Ok(self.apart(rows, false)?.0)
    }

    /// The partitions of these keys, which are new or known, and when they were touched.
    pub(crate) fn restore_keys(
        &mut self,
        keys: &[ArrayRef],
        row_count: usize,
        touched: Option<&Int64Array>,
    ) -> Result<Vec<usize>, OperatorError> {
        let keys = self.encoder.encode(keys, row_count)?;
        let mut groups = Vec::with_capacity(row_count);
        self.groups.intern(&keys, 0..row_count, &mut groups);
        self.lists.resize_with(self.groups.len(), Partition::default);
        self.touched(&groups, touched);
        self.note_sealed();
        Ok(groups)
    }

    fn touched(&mut self, groups: &[usize], touched: Option<&Int64Array>) {
        if let (Some(lifetime), Some(touched)) = (&mut self.lifetime, touched) {
            lifetime.restore(touched, groups, self.lists.len());
        }
    }

    /// When partitions were touched, where they are forgotten.
    pub(crate) fn touched_at(&self, groups: &[usize]) -> Option<Int64Array> {
        Some(self.lifetime.as_ref()?.touched(groups))
    }

    /// Goes on where event time had come so far.
    pub(crate) fn resume(&mut self, watermark: Watermark) {
        if let Some(lifetime) = &mut self.lifetime {
            lifetime.resume(watermark);
        }
    }
}

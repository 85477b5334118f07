//! The state of a rolling aggregation as rows, for checkpoints. The same whether rows, partial states of rows, or changes
//! (marked or not) come in, so that state goes over to another parallelism.
//!
//! | part | a row is | columns |
//! |---|---|---|
//! | `groups` | a group | keys; the results that were given out; when it was touched last, where it has a time to live; how many rows it has, where rows are taken back; whether its results were given out and whether it has others to give, where it is a window; the state of each aggregate |
//! | `values N` | a distinct value of a group, of the set `N` | keys; the value; how often each call of the set has it |
//! | `rows N` | a row of a group, counted for call `N` | keys; the arguments; how often it is there |
//!
//! All parts are sealed by what has changed, once they have been sealed or restored: the groups that were touched, and the
//! values and rows that came, went, or are there more or less often. What goes is told by its key, so the number of a group
//! that is gone is not given to another before that has been sealed. A row costs nothing more for it but its first change
//! after a cut.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type};

use super::entries::Entries;
use super::numbers::Numbers;
use super::rolling::Rolling;
use super::sharing::Sharing;
use super::state::{restore_states, sealed_fields};
use crate::operator::OperatorError;
use crate::operators::keyed_part::KeyedPart;
use crate::state::StatePart;

const GROUPS: &str = "groups";
const VALUES: &str = "values ";
const ROWS: &str = "rows ";
/// Fewer changes than this are always noted.
const CHANGES_MIN: usize = 65_536;

/// Rows of a part, but for the keys: the group of each, and their columns.
pub(super) type OfGroups = (Vec<usize>, Vec<ArrayRef>);

impl Rolling {
    /// All state there is, or what has changed since it was sealed, where that is known and `whole` is not asked for. What was
    /// touched has been given out before.
    pub(super) fn sealed(&mut self, whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        let changed = self.changed.as_mut().map(Numbers::take).filter(|_| !whole);
        let is_whole = changed.is_none();
        let mut gone = self.keys.gone().to_vec();
        gone.sort_unstable();
        let is_here = |group: &usize| gone.binary_search(group).is_err();
        let groups = changed.map(|changed| changed.into_iter().filter(is_here).collect::<Vec<usize>>());
        let groups = groups.unwrap_or_else(|| self.keys.groups());
        let columns = self.group_columns(&groups)?;
        let gone = (!is_whole).then_some((gone, Vec::new()));
        let mut parts = vec![self.part_of(GROUPS.to_owned(), self.group_fields(), (groups.clone(), columns), gone)?];
        let are_here = if is_whole { self.flags_of(&groups) } else { Vec::new() };
        for (number, (sharing, set)) in self.sets.iter().enumerate() {
            let is_wanted = |group: usize| are_here.get(group).copied().unwrap_or(false);
            let (here, gone) = match is_whole {
                true => (set.entries(sharing.calls.len(), &is_wanted)?, None),
                false => set.changes(sharing.calls.len()).map(|(here, gone)| (here, Some(gone.into_columns())))?,
            };
            parts.push(self.part_of(format!("{VALUES}{number}"), value_fields(sharing), here.into_columns(), gone)?);
        }
        for number in 0..self.states.len() {
            let Some(counted) = self.states.get_mut(number).and_then(|state| state.counted()) else { continue };
            let fields = counted.row_fields();
            let (here, gone) = match is_whole {
                true => (counted.rows_of(&groups)?, None),
                false => counted.changes().map(|[here, gone]| (here, Some(gone)))?,
            };
            parts.push(self.part_of(format!("{ROWS}{number}"), fields, here, gone)?);
        }
        self.keep_changes(true);
        Ok(parts)
    }

    /// By group: whether it is one of these.
    fn flags_of(&self, groups: &[usize]) -> Vec<bool> {
        let mut flags = vec![false; self.keys.group_bound()];
        for group in groups {
            if let Some(flag) = flags.get_mut(*group) {
                *flag = true;
            }
        }
        flags
    }

    /// Says whether it is noted from now on what changes; what has been noted is forgotten.
    fn keep_changes(&mut self, keeps: bool) {
        match (&mut self.changed, keeps) {
            (Some(changed), true) => drop(changed.take()),
            (changed, _) => *changed = keeps.then(Numbers::default),
        }
        self.keys.keep_gone(keeps);
        self.sets.iter_mut().for_each(|(_, set)| set.keep_changes(keeps));
        let counted = self.states.iter_mut().filter_map(|state| state.counted());
        counted.for_each(|counted| counted.keep_changes(keeps));
    }

    /// Notes that groups have changed, where that is noted. Where more has been noted than there is to seal, that ends: all is
    /// as quickly sealed.
    pub(super) fn note_changed(&mut self, groups: &[usize]) {
        let Some(changed) = &mut self.changed else { return };
        changed.touch(groups, self.keys.group_bound());
        let are_too_many = self.keys.gone().len() > self.keys.len() + CHANGES_MIN
            || self.sets.iter().any(|(_, set)| set.change_count() > set.len() + CHANGES_MIN)
            || self
                .states
                .iter_mut()
                .filter_map(|state| state.counted())
                .any(|counted| counted.is_mostly_changed(CHANGES_MIN));
        if are_too_many {
            self.keep_changes(false);
        }
    }

    /// Takes over rows of a part.
    pub(super) fn take_over(&mut self, name: &str, rows: &RecordBatch) -> Result<(), OperatorError> {
        if self.changed.is_none() {
            self.keep_changes(true);
        }
        if name == GROUPS {
            return self.take_over_groups(rows);
        }
        let unknown = || OperatorError::Unsupported(format!("it has no state of the name {name}"));
        if let Some(number) = name.strip_prefix(VALUES) {
            let number: usize = number.parse().map_err(|_| unknown())?;
            let (sharing, _) = self.sets.get(number).ok_or_else(unknown)?;
            let value_count = sharing.types.len();
            let columns = self.columns_by_group(rows, value_fields(sharing))?;
            let entries = Entries::of_columns(columns, value_count, self.groups_of_rows.clone());
            let (_, set) = self.sets.get_mut(number).ok_or_else(unknown)?;
            return Ok(set.restore(&entries.ok_or_else(unknown)?)?);
        }
        let number: usize = name.strip_prefix(ROWS).and_then(|number| number.parse().ok()).ok_or_else(unknown)?;
        let counted = self.states.get_mut(number).and_then(|state| state.counted()).ok_or_else(unknown)?;
        let fields = counted.row_fields();
        let columns = self.columns_by_group(rows, fields)?;
        let bound = self.keys.group_bound();
        let counted = self.states.get_mut(number).and_then(|state| state.counted()).ok_or_else(unknown)?;
        Ok(counted.restore_rows(columns, &self.groups_of_rows, bound)?)
    }

    /// A part with these columns behind the keys.
    fn part(&self, fields: Vec<Field>) -> KeyedPart {
        KeyedPart::new(self.schema.fields().iter().take(self.key_count), fields)
    }

    /// A part of rows of groups, whose first columns behind the keys, as many as those of `gone`, name a row of the group.
    fn part_of(
        &self,
        name: String,
        fields: Vec<Field>,
        (groups, columns): OfGroups,
        gone: Option<OfGroups>,
    ) -> Result<StatePart, OperatorError> {
        let with_keys = |groups: &[usize], columns: Vec<ArrayRef>| -> Result<Vec<ArrayRef>, OperatorError> {
            Ok(self.keys.columns(groups)?.into_iter().chain(columns).collect())
        };
        let part = self.part(fields);
        let columns = with_keys(&groups, columns)?;
        match gone {
            None => part.whole(name, columns, groups.len()),
            Some((gone, names)) => part.changes(name, (columns, groups.len()), (with_keys(&gone, names)?, gone.len())),
        }
    }

    /// The columns behind the keys; `groups_of_rows` then has the group of each row.
    fn columns_by_group<'a>(
        &mut self,
        rows: &'a RecordBatch,
        fields: Vec<Field>,
    ) -> Result<&'a [ArrayRef], OperatorError> {
        let (keys, columns) = self.part(fields).columns(rows)?;
        self.keys.intern(keys, rows.num_rows(), &mut self.groups_of_rows)?;
        Ok(columns)
    }

    fn group_fields(&self) -> Vec<Field> {
        let given = self.schema.fields().iter().skip(self.key_count);
        let mut fields: Vec<Field> =
            given.map(|field| Field::new(format!("given {}", field.name()), field.data_type().clone(), true)).collect();
        if self.lifetime.is_some() {
            fields.push(Field::new("touched_ms", DataType::Int64, false));
        }
        if self.input.is_updating() {
            fields.push(Field::new("row_count", DataType::Int64, false));
        }
        if self.windows.is_some() {
            fields.extend(["is_given", "has_news"].map(|name| Field::new(name, DataType::Int64, false)));
        }
        fields.extend(sealed_fields(&self.states));
        fields
    }

    fn group_columns(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>, OperatorError> {
        let mut columns = self.given.read(groups)?;
        if let Some(lifetime) = &self.lifetime {
            columns.push(Arc::new(lifetime.touched(groups)));
        }
        if self.input.is_updating() {
            let count = |group: &usize| self.row_counts.get(*group).copied().unwrap_or(0);
            columns.push(Arc::new(Int64Array::from_iter_values(groups.iter().map(count))));
        }
        if let Some(windows) = &self.windows {
            let is_given = |group: &usize| self.given.is_given(*group).into();
            columns.push(Arc::new(Int64Array::from_iter_values(groups.iter().map(is_given))));
            columns.push(Arc::new(windows.news(groups)));
        }
        for state in &mut self.states {
            columns.extend(state.seal(groups)?);
        }
        Ok(columns)
    }

    fn take_over_groups(&mut self, rows: &RecordBatch) -> Result<(), OperatorError> {
        let columns = self.columns_by_group(rows, self.group_fields())?;
        let (groups, bound) = (&self.groups_of_rows, self.keys.group_bound());
        let mut columns = columns.iter().cloned();
        let given: Vec<ArrayRef> = columns.by_ref().take(self.schema.fields().len() - self.key_count).collect();
        self.given.write(groups, &given)?;
        let mut numbers = || columns.next().and_then(|column| column.as_primitive_opt::<Int64Type>().cloned());
        if let Some(lifetime) = &mut self.lifetime
            && let Some(touched) = numbers()
        {
            lifetime.restore(&touched, groups, bound);
        }
        if self.input.is_updating()
            && let Some(counts) = numbers()
        {
            self.row_counts.resize(bound.max(self.row_counts.len()), 0);
            for (group, sealed) in groups.iter().zip(counts.values()) {
                if let Some(count) = self.row_counts.get_mut(*group) {
                    *count = *sealed;
                }
            }
        }
        if let Some(windows) = &mut self.windows
            && let (Some(is_given), Some(has_news)) = (numbers(), numbers())
        {
            let with = |flags: &Int64Array, flag: i64| -> Vec<usize> {
                groups.iter().zip(flags.values()).filter(|(_, is)| **is == flag).map(|(group, _)| *group).collect()
            };
            self.given.forget(&with(&is_given, 0));
            let keys = rows.columns().get(..self.key_count).unwrap_or_default();
            windows.note(keys, groups, bound)?;
            windows.wait(with(&has_news, 1));
        }
        let sealed: Vec<ArrayRef> = columns.collect();
        Ok(restore_states(&mut self.states, &sealed, groups, bound)?)
    }
}

/// The columns of a set's entries.
fn value_fields(sharing: &Sharing) -> Vec<Field> {
    let value =
        |(number, data_type): (usize, &DataType)| Field::new(format!("value {number}"), data_type.clone(), true);
    let count = |call: &usize| Field::new(format!("count {call}"), DataType::UInt32, false);
    sharing.types.iter().enumerate().map(value).chain(sharing.calls.iter().map(count)).collect()
}

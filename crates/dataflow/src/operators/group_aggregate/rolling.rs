//! The instance of a rolling aggregation: groups, their states, and which of them were touched in this turn.

use std::collections::HashMap;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{and, not};
use arrow::datatypes::SchemaRef;

use super::changes::{Given, Present};
use super::distinct::DistinctSet;
use super::key_table::KeyTable;
use super::lifetime::Lifetime;
use super::lists::DistinctLists;
use super::marked::take_marks;
use super::numbers::Numbers;
use super::sharing::{Changed, Sharing, sharing};
use super::state::{RollingState, growing_state, updating_state};
use super::windows::OpenWindows;
use super::{GroupAggregate, RollingCall};
use crate::batch::{Batch, RowKind};
use crate::operator::{Operator, OperatorError, Output};
use crate::operators::emit_in_parts;
use crate::state::StatePart;
use crate::time::Watermark;

/// What reaches the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Rows, of which none is taken back.
    Rows,
    /// Partial states of such rows.
    States,
    /// Rows of which some are taken back.
    Changes,
    /// The same, with a mark at the end of each subtask's input.
    MarkedChanges,
}

impl Input {
    pub(super) fn is_updating(self) -> bool {
        matches!(self, Input::Changes | Input::MarkedChanges)
    }
}

/// Aggregates rows by group.
pub(crate) struct Rolling {
    pub(super) key_count: usize,
    pub(super) calls: Vec<RollingCall>,
    pub(super) input: Input,
    pub(super) schema: SchemaRef,
    pub(super) keys: KeyTable,
    pub(super) states: Vec<Box<dyn RollingState>>,
    /// How many rows each group has, where rows are taken back: a group without any is gone.
    pub(super) row_counts: Vec<i64>,
    /// The values of distinct arguments.
    pub(super) sets: Vec<(Sharing, Box<dyn DistinctSet>)>,
    pub(super) given: Given,
    /// The groups that have changed since they were sealed or restored; `None` where that is not noted.
    pub(super) changed: Option<Numbers>,
    /// The groups touched since the last flush.
    pub(super) touched: Numbers,
    pub(super) lifetime: Option<Lifetime>,
    pub(super) windows: Option<OpenWindows>,
    /// Whether groups give one result each, which is final.
    gives_once: bool,
    /// The group of each row being added: kept for its memory.
    pub(super) groups_of_rows: Vec<usize>,
}

impl Rolling {
    pub(crate) fn new(definition: &GroupAggregate, input: Input, schema: SchemaRef) -> Result<Self, OperatorError> {
        let state = |call: &RollingCall| match input.is_updating() {
            false => growing_state(&call.function, &call.argument_types),
            true => updating_state(&call.function, &call.argument_types),
        };
        let set = |sharing: Sharing| sharing.set(input.is_updating()).map(|set| (sharing, set));
        Ok(Self {
            key_count: definition.key_count,
            input,
            sets: sharing(&definition.calls).into_iter().map(set).collect::<Result<_, _>>()?,
            states: definition.calls.iter().map(state).collect::<Result<_, _>>()?,
            calls: definition.calls.clone(),
            keys: definition.key_table(&schema)?,
            row_counts: Vec::new(),
            given: Given::new(&schema, definition.key_count)?,
            schema,
            changed: None,
            touched: Numbers::default(),
            lifetime: definition.time_to_live.map(Lifetime::new),
            windows: definition.windows.map(OpenWindows::new),
            gives_once: definition.windows.is_some_and(|windows| windows.gives_once()),
            groups_of_rows: Vec::new(),
        })
    }

    /// Makes the group of an aggregation without keys, if it is not there.
    fn touch_only_group(&mut self) -> Result<(), OperatorError> {
        self.keys.intern(&[], 1, &mut self.groups_of_rows)?;
        self.touched.touch(&self.groups_of_rows, self.keys.group_bound());
        Ok(())
    }

    /// Counts the rows of each group; `taken_back` says which go.
    fn count_rows(&mut self, taken_back: Option<&BooleanArray>) {
        self.row_counts.resize(self.keys.group_bound(), 0);
        for (row, group) in self.groups_of_rows.iter().enumerate() {
            if let Some(count) = self.row_counts.get_mut(*group) {
                *count += if taken_back.is_some_and(|taken_back| taken_back.value(row)) { -1 } else { 1 };
            }
        }
    }

    /// Finds the groups of a batch's rows, and notes that they are touched.
    fn find_groups(&mut self, batch: &Batch) -> Result<(), OperatorError> {
        let keys = batch.rows.columns().get(..self.key_count).unwrap_or_default();
        self.keys.intern(keys, batch.num_rows(), &mut self.groups_of_rows)?;
        self.touched.touch(&self.groups_of_rows, self.keys.group_bound());
        if let Some(lifetime) = &mut self.lifetime {
            lifetime.touch(&self.groups_of_rows, self.keys.group_bound());
        }
        match &mut self.windows {
            Some(windows) => windows.note(keys, &self.groups_of_rows, self.keys.group_bound()),
            None => Ok(()),
        }
    }

    /// The batch without rows that are taken back from groups that have none: what they changed has been forgotten.
    fn without_orphans(&mut self, batch: Batch) -> Result<Batch, OperatorError> {
        let Some(taken_back) = taken_back(&batch).filter(|_| self.input.is_updating()) else { return Ok(batch) };
        let mut counts: HashMap<usize, i64> = HashMap::new();
        let stays: Vec<bool> = self
            .groups_of_rows
            .iter()
            .zip(taken_back.values().iter())
            .map(|(group, goes)| {
                let known = || self.row_counts.get(*group).copied().unwrap_or(0);
                let count = counts.entry(*group).or_insert_with(known);
                let stays = !goes || *count > 0;
                *count += if !goes {
                    1
                } else if stays {
                    -1
                } else {
                    0
                };
                stays
            })
            .collect();
        if stays.iter().all(|stays| *stays) {
            return Ok(batch);
        }
        let rows = stays.iter().enumerate().filter(|(_, stays)| **stays).map(|(row, _)| row as u32);
        let batch = batch.take(&UInt32Array::from_iter_values(rows))?;
        self.find_groups(&batch)?;
        Ok(batch)
    }

    fn add_rows(&mut self, rows: &RecordBatch, taken_back: Option<&BooleanArray>) -> Result<(), OperatorError> {
        let group_bound = self.keys.group_bound();
        let groups = &self.groups_of_rows;
        let plain = self.calls.iter().zip(&mut self.states).filter(|(call, _)| !call.is_distinct);
        for (call, state) in plain {
            let (arguments, filter) = call.columns_of(rows)?;
            let Some(taken_back) = taken_back else {
                state.update(&arguments, groups, filter.as_ref(), group_bound)?;
                continue;
            };
            // What comes is added before anything is taken back, so that no count is ever below zero.
            let (mut comes, mut goes) = (not(taken_back)?, taken_back.clone());
            if let Some(filter) = &filter {
                (comes, goes) = (and(&comes, filter)?, and(&goes, filter)?);
            }
            state.update(&arguments, groups, Some(&comes), group_bound)?;
            state.retract(&arguments, groups, Some(&goes))?;
        }
        for (sharing, set) in &mut self.sets {
            let (arguments, mut comes) = sharing.wanted(rows, &self.calls)?;
            let mut goes = Vec::new();
            if let Some(taken_back) = taken_back {
                goes = comes.clone();
                for (row, (comes, goes)) in comes.iter_mut().zip(&mut goes).enumerate() {
                    *(if taken_back.value(row) { comes } else { goes }) = 0;
                }
            }
            let added = set.add(&arguments, groups, &comes)?;
            Changed::of(&arguments, groups, &added)?.add_to(sharing, &mut self.states, group_bound)?;
            if taken_back.is_some() {
                let removed = set.remove(&arguments, groups, &goes)?;
                Changed::of(&arguments, groups, &removed)?.take_from(sharing, &mut self.states)?;
            }
        }
        Ok(())
    }

    fn add_states(&mut self, rows: &RecordBatch) -> Result<(), OperatorError> {
        // The states stand behind the keys and the number of rows.
        let mut columns = rows.columns().iter().skip(self.key_count + 1).cloned();
        let plain = self.calls.iter().zip(&mut self.states).filter(|(call, _)| !call.is_distinct);
        for (call, state) in plain {
            let states: Vec<ArrayRef> = columns.by_ref().take(call.function.state_fields().len()).collect();
            state.merge(&states, &self.groups_of_rows, self.keys.group_bound())?;
        }
        for (sharing, set) in &mut self.sets {
            let lists: Vec<ArrayRef> = columns.by_ref().take(sharing.arguments.len() + 1).collect();
            let lists = DistinctLists::read(&lists, &self.groups_of_rows)?;
            let added = set.add(&lists.arguments, &lists.groups, &lists.marks)?;
            let changed = Changed::of(&lists.arguments, &lists.groups, &added)?;
            changed.add_to(sharing, &mut self.states, self.keys.group_bound())?;
        }
        Ok(())
    }

    /// Whether a group has no row any more. The one without keys stays, as in SQL.
    fn is_gone(&self, group: usize) -> bool {
        self.input.is_updating()
            && self.key_count > 0
            && self.row_counts.get(group).is_none_or(|row_count| *row_count == 0)
    }

    /// Forgets groups that have not been touched for long, with all that is kept of them.
    fn forget_expired(&mut self) {
        if self.changed.is_some() {
            let undated = self.lifetime.as_ref().map(Lifetime::undated).unwrap_or_default();
            self.note_changed(&undated);
        }
        let expired = self.lifetime.as_mut().map(Lifetime::expired).unwrap_or_default();
        self.forget_with_rows(&expired);
    }

    /// Forgets groups that may have rows, with all that is kept of them.
    fn forget_with_rows(&mut self, expired: &[usize]) {
        if expired.is_empty() {
            return;
        }
        let mut is_expired = vec![false; self.keys.group_bound()];
        for group in expired {
            if let Some(is_expired) = is_expired.get_mut(*group) {
                *is_expired = true;
            }
        }
        for (_, set) in &mut self.sets {
            set.forget(&|group| is_expired.get(group).copied().unwrap_or(false));
        }
        for group in expired {
            if let Some(row_count) = self.row_counts.get_mut(*group) {
                *row_count = 0;
            }
        }
        self.forget(expired);
    }

    /// Forgets groups, which are no longer given either.
    fn forget(&mut self, groups: &[usize]) {
        if let Some(lifetime) = &mut self.lifetime {
            lifetime.forget(groups);
        }
        if let Some(windows) = &mut self.windows {
            windows.forget(groups);
        }
        for state in &mut self.states {
            state.forget(groups);
        }
        self.given.forget(groups);
        self.keys.forget(groups);
    }

    /// Gives out how the results of some groups differ from what was given of them before.
    fn give(&mut self, groups: Vec<usize>, out: &mut dyn Output) -> Result<(), OperatorError> {
        let (gone, here): (Vec<usize>, Vec<usize>) = groups.into_iter().partition(|group| self.is_gone(*group));
        let (mut groups, new): (Vec<usize>, Vec<usize>) =
            here.into_iter().partition(|group| self.given.is_given(*group));
        let known_count = groups.len();
        groups.extend(new);
        // Some functions fail where they have no group at all.
        if !groups.is_empty() {
            let results = self.states.iter_mut().map(|state| state.results(&groups)).collect::<Result<Vec<_>, _>>()?;
            let present = Present { keys: self.keys.columns(&groups)?, groups, known_count, results };
            if let Some(batch) = self.given.replace(&present, &self.schema, self.input.is_updating())? {
                let kinds = batch.kinds.filter(|_| !self.gives_once);
                emit_in_parts(&Batch { rows: batch.rows, kinds }, out);
            }
        }
        if !gone.is_empty() {
            let given: Vec<usize> = gone.iter().copied().filter(|group| self.given.is_given(*group)).collect();
            if let Some(batch) = self.given.deletions(&given, self.keys.columns(&given)?, &self.schema)? {
                emit_in_parts(&batch, out);
            }
            match &self.windows {
                Some(windows) if windows.keeps_empty() => self.given.forget(&gone),
                _ => self.forget(&gone),
            }
        }
        Ok(())
    }
}

impl Operator for Rolling {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let batch = match self.input {
            Input::MarkedChanges => {
                let (batch, has_mark) = take_marks(batch)?;
                if has_mark {
                    self.touch_only_group()?;
                }
                batch
            }
            _ => batch,
        };
        let batch = match &self.windows {
            Some(windows) => {
                let keys = batch.rows.columns().get(..self.key_count).unwrap_or_default().to_vec();
                windows.in_time(&keys, batch, out)?
            }
            None => batch,
        };
        self.find_groups(&batch)?;
        let batch = if self.lifetime.is_some() { self.without_orphans(batch)? } else { batch };
        let rows = &batch.rows;
        match self.input {
            Input::Rows => self.add_rows(rows, None),
            Input::States => self.add_states(rows),
            Input::Changes | Input::MarkedChanges => {
                let taken_back = taken_back(&batch);
                self.count_rows(taken_back.as_ref());
                self.add_rows(rows, taken_back.as_ref())
            }
        }
    }

    fn flush(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        if self.touched.len() == 0 {
            return Ok(());
        }
        let touched = self.touched.take();
        self.note_changed(&touched);
        let due = match &mut self.windows {
            Some(windows) => windows.due(touched),
            None => touched,
        };
        self.give(due, out)
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        let hears_of_the_end = matches!(self.input, Input::States | Input::MarkedChanges);
        if watermark == Watermark::END && self.key_count == 0 && self.keys.len() == 0 && !hears_of_the_end {
            self.touch_only_group()?;
            self.flush(out)?;
        }
        if self.lifetime.as_mut().is_some_and(|lifetime| lifetime.on_watermark(watermark)) {
            self.forget_expired();
        }
        if let Some(windows) = &mut self.windows {
            let due = windows.pass(watermark);
            self.note_changed(&due);
            self.give(due, out)?;
            let closed = self.windows.as_mut().map(OpenWindows::closed).unwrap_or_default();
            self.forget_with_rows(&closed);
        }
        Ok(())
    }

    fn wants_clock(&self) -> bool {
        self.lifetime.as_ref().is_some_and(Lifetime::wants_clock)
    }

    fn on_clock(&mut self, now_ms: i64, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.flush(out)?;
        if self.lifetime.as_mut().is_some_and(|lifetime| lifetime.on_clock(now_ms)) {
            self.forget_expired();
        }
        Ok(())
    }

    fn seal(&mut self, whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        self.sealed(whole)
    }

    fn restore(&mut self, name: &str, rows: RecordBatch) -> Result<(), OperatorError> {
        self.take_over(name, &rows)
    }

    fn resume(&mut self, watermark: Watermark) {
        self.lifetime.iter_mut().for_each(|lifetime| lifetime.resume(watermark));
        self.windows.iter_mut().for_each(|windows| windows.resume(watermark));
    }

    fn give_again(&mut self) {
        let groups = self.keys.groups();
        self.given.forget(&groups);
        self.touched.touch(&groups, self.keys.group_bound());
    }

    fn state_size_bytes(&self) -> usize {
        self.keys.size_bytes()
            + self.given.size_bytes()
            + self.states.iter().map(|state| state.size_bytes()).sum::<usize>()
            + self.sets.iter().map(|(_, set)| set.size_bytes()).sum::<usize>()
            + self.touched.size_bytes()
            + self.changed.as_ref().map_or(0, Numbers::size_bytes)
            + self.lifetime.as_ref().map_or(0, Lifetime::size_bytes)
            + self.windows.as_ref().map_or(0, OpenWindows::size_bytes)
            + self.groups_of_rows.capacity() * size_of::<usize>()
            + self.row_counts.capacity() * size_of::<i64>()
    }
}

/// Which rows of a batch are taken back; `None` for none.
fn taken_back(batch: &Batch) -> Option<BooleanArray> {
    let kinds = batch.kinds.as_ref()?;
    let goes = |kind: &u8| *kind == RowKind::UpdateBefore as u8 || *kind == RowKind::Delete as u8;
    kinds.values().iter().any(goes).then(|| kinds.values().iter().map(|kind| Some(goes(kind))).collect())
}

impl RollingCall {
    /// The call's arguments and filter among the columns of `rows`.
    pub(super) fn columns_of(
        &self,
        rows: &RecordBatch,
    ) -> Result<(Vec<ArrayRef>, Option<BooleanArray>), OperatorError> {
        let column = |column: &usize| {
            let missing = || OperatorError::Unsupported(format!("{}: there is no column {column}", self.text));
            rows.columns().get(*column).cloned().ok_or_else(missing)
        };
        let arguments = self.arguments.iter().map(column).collect::<Result<Vec<ArrayRef>, _>>()?;
        let Some(filter) = self.filter else { return Ok((arguments, None)) };
        let not_boolean = || OperatorError::Unsupported(format!("the filter of {} is not boolean", self.text));
        Ok((arguments, Some(column(&filter)?.as_boolean_opt().ok_or_else(not_boolean)?.clone())))
    }
}

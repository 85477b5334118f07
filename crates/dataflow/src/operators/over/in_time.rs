//! Rows in the order of event time: each comes out once, when the watermark has passed it.

mod sealing;

use std::ops::Range;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::SchemaRef;

use super::{OverDefinition, evaluate};
use crate::batch::{Batch, take_rows};
use crate::operator::{Operator, OperatorError, Output};
use crate::operators::late::{Lateness, report_late};
use crate::operators::partition::Partition;
use crate::operators::partitions::Partitions;
use crate::operators::row_store::Place;
use crate::operators::window_assign::time_column;
use crate::operators::{emit_in_parts, rows_of};
use crate::state::StatePart;
use crate::time::{EventTimeMs, Watermark, event_times};
use crate::window_function::{Reach, RunningFunction};

/// Computes window functions over rows in the order of event time.
pub(super) struct InTime {
    definition: OverDefinition,
    time: usize,
    schema: SchemaRef,
    partitions: Partitions,
    /// By partition.
    states: Vec<State>,
    /// The time and partition of each row that waits for the watermark. Rows without a time wait for the end: nulls last.
    waiting: Vec<(EventTimeMs, usize)>,
    watermark: Watermark,
    /// By function: whether it goes on from where it was, and needs no rows before.
    is_running: Vec<bool>,
    /// Which of the rows that were given out are kept.
    kept: Kept,
    /// Up to where partitions have been relieved of rows that no frame reaches any longer.
    swept: EventTimeMs,
}

/// The rows before, as far as any function needs them.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    rows: usize,
    time_ms: Option<EventTimeMs>,
    all: bool,
}

#[derive(Default)]
struct State {
    /// How many rows at the partition's beginning have been given out.
    given: usize,
    /// By function; `None` for one that looks at the rows themselves.
    running: Vec<Option<Box<dyn RunningFunction>>>,
    /// Whether the functions' states have been sealed.
    is_sealed: bool,
}

impl State {
    /// Lets the functions that go on from where they were begin, if they have not.
    fn begin(&mut self, definition: &OverDefinition) {
        if self.running.is_empty() {
            self.running = definition.functions.iter().map(|function| function.running()).collect();
        }
    }
}

/// A partition with rows that are due.
struct Due {
    group: usize,
    /// The partition's part of the computed rows: rows before, then those that are due.
    rows: Range<usize>,
    /// Where those begin that are due.
    from: usize,
}

impl InTime {
    pub(super) fn new(definition: OverDefinition, time: usize, schema: SchemaRef) -> Result<Self, OperatorError> {
        let input = SchemaRef::clone(&definition.input);
        let partitions =
            Partitions::new(input, definition.partition.clone(), definition.order.clone(), definition.time_to_live)?;
        let mut kept = Kept::default();
        let is_running: Vec<bool> = definition.functions.iter().map(|function| function.running().is_some()).collect();
        for (function, _) in definition.functions.iter().zip(&is_running).filter(|(_, is_running)| !**is_running) {
            match function.reach() {
                Reach::Rows(rows) => kept.rows = kept.rows.max(rows),
                Reach::Time(time_ms) => kept.time_ms = kept.time_ms.max(Some(time_ms)),
                Reach::Before | Reach::Ahead => kept.all = true,
            }
        }
        Ok(Self {
            definition,
            time,
            schema,
            partitions,
            states: Vec::new(),
            waiting: Vec::new(),
            watermark: Watermark::UNKNOWN,
            is_running,
            kept,
            swept: EventTimeMs::MIN,
        })
    }

    /// The rows that have come in time.
    fn without_late(&self, batch: &Batch, times: &Int64Array, out: &mut dyn Output) -> Result<Batch, OperatorError> {
        let is_late = |row: &u32| times.is_valid(*row as usize) && times.value(*row as usize) < self.watermark.0;
        let (late, in_time): (Vec<u32>, Vec<u32>) = (0..times.len() as u32).partition(is_late);
        if late.is_empty() {
            return Ok(batch.clone());
        }
        let oldest = late.iter().map(|row| times.value(*row as usize)).min().unwrap_or(self.watermark.0);
        let behind_ms = self.watermark.0.saturating_sub(oldest);
        report_late(batch, &late, Lateness { row_count: late.len() as u64, behind_ms, dropped: true }, out)?;
        Ok(batch.take(&UInt32Array::from(in_time))?)
    }

    /// Puts each row where it belongs in its partition: mostly at the end.
    fn keep(&mut self, batch: &Batch) -> Result<(), OperatorError> {
        let times = event_times(time_column(batch, self.time)?)?;
        let (groups, entries) = self.partitions.take_in(&batch.rows)?;
        self.states.resize_with(self.partitions.len(), State::default);
        for ((group, entry), time) in groups.into_iter().zip(entries).zip(times.iter()) {
            self.waiting.push((time.unwrap_or(EventTimeMs::MAX), group));
            self.partitions.edit(group, |store, partition| {
                let at = partition.entries().partition_point(|other| store.compare(other, &entry).is_le());
                partition.insert(at, entry);
            });
        }
        Ok(())
    }

    /// The partitions with rows before the watermark, and how many each has.
    fn take_due(&mut self) -> Vec<(usize, usize)> {
        let watermark = self.watermark;
        let is_due = |(time, _): &(EventTimeMs, usize)| *time < watermark.0 || watermark == Watermark::END;
        let mut due: Vec<usize> = Vec::new();
        self.waiting.retain(|row| {
            if is_due(row) {
                due.push(row.1);
            }
            !is_due(row)
        });
        due.sort_unstable();
        due.chunk_by(|a, b| a == b).filter_map(|rows| Some((*rows.first()?, rows.len()))).collect()
    }

    fn give_out(&mut self, counts: Vec<(usize, usize)>, out: &mut dyn Output) -> Result<(), OperatorError> {
        let mut places: Vec<Place> = Vec::new();
        let mut partitions = Vec::with_capacity(counts.len());
        for (group, count) in counts {
            let given = self.states.get(group).map_or(0, |state| state.given);
            let begin = places.len();
            let entries = self.partitions.entries(group).get(..given + count).unwrap_or_default();
            places.extend(entries.iter().map(|entry| entry.place));
            partitions.push(Due { group, rows: begin..places.len(), from: begin + given });
        }
        let rows = rows_of(&self.definition.input, self.partitions.store().gather(&places)?, places.len())?;
        let due = partitions.iter().flat_map(|due| due.from..due.rows.end);
        let due = UInt32Array::from_iter_values(due.map(|row| row as u32));
        let mut columns = take_rows(&rows, &due)?.columns().to_vec();
        columns.extend(self.results(&rows, &partitions, &due)?);
        let row_count = due.len();
        emit_in_parts(&Batch::append(rows_of(&self.schema, columns, row_count)?), out);
        let times = event_times(time_column(&Batch::append(rows), self.time)?)?;
        for due in partitions {
            let count = due.rows.end - due.rows.start;
            let times = times.slice(due.rows.start, count);
            self.relieve(due.group, count, &times);
        }
        Ok(())
    }

    /// The result of each function for the rows that are due.
    fn results(
        &mut self,
        rows: &RecordBatch,
        partitions: &[Due],
        due: &UInt32Array,
    ) -> Result<Vec<ArrayRef>, OperatorError> {
        let ranges: Vec<Range<usize>> = partitions.iter().map(|due| due.rows.clone()).collect();
        let mut results = Vec::with_capacity(self.definition.functions.len());
        for (number, function) in self.definition.functions.iter().enumerate() {
            if self.is_running.get(number) != Some(&true) {
                for result in evaluate(std::slice::from_ref(function), rows, &ranges)? {
                    results.push(take(&result, due, None)?);
                }
                continue;
            }
            let mut parts: Vec<ArrayRef> = Vec::with_capacity(partitions.len());
            for due in partitions {
                let Some(state) = self.states.get_mut(due.group) else { continue };
                state.begin(&self.definition);
                let Some(Some(running)) = state.running.get_mut(number) else { continue };
                parts.push(running.advance(&rows.slice(due.from, due.rows.end - due.from))?);
            }
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            results.push(concat(&parts)?);
        }
        Ok(results)
    }

    /// Forgets those of a partition's first `given` rows, of these times, that no frame reaches any longer.
    fn relieve(&mut self, group: usize, given: usize, times: &Int64Array) {
        let reached = match self.kept {
            Kept { all: true, .. } => given,
            Kept { rows, time_ms, .. } => {
                let earliest = time_ms.map_or(EventTimeMs::MAX, |time_ms| self.watermark.0.saturating_sub(time_ms));
                let too_old = times.iter().take_while(|time| time.is_some_and(|time| time < earliest)).count();
                rows.max(given.saturating_sub(too_old))
            }
        };
        let gone = given.saturating_sub(reached);
        self.partitions.edit(group, |_, partition| partition.drop_first(gone));
        if let Some(state) = self.states.get_mut(group) {
            state.given = given - gone;
        }
    }

    /// Forgets partitions that have outlived their time, but for those with rows that wait.
    fn forget(&mut self) -> Result<(), OperatorError> {
        let states = &self.states;
        let waits = |group: usize, list: &Partition| list.len() > states.get(group).map_or(0, |state| state.given);
        for group in self.partitions.forget(waits) {
            if let Some(state) = self.states.get_mut(group) {
                *state = State { is_sealed: state.is_sealed, ..State::default() };
            }
        }
        let group_count = self.partitions.len();
        if let Some(kept) = self.partitions.renumber()? {
            let mut numbers = vec![0; group_count];
            for (new, old) in kept.iter().enumerate() {
                if let Some(number) = numbers.get_mut(*old) {
                    *number = new;
                }
            }
            self.waiting.iter_mut().for_each(|(_, group)| *group = numbers.get(*group).copied().unwrap_or(*group));
            let state = |group: &usize| self.states.get_mut(*group).map(std::mem::take).unwrap_or_default();
            self.states = kept.iter().map(state).collect();
        }
        Ok(())
    }

    /// Relieves partitions to which nothing comes any longer, once in the time that a frame reaches back.
    fn sweep(&mut self) -> Result<(), OperatorError> {
        let Kept { time_ms: Some(time_ms), all: false, .. } = self.kept else { return Ok(()) };
        if self.watermark.0 < self.swept.saturating_add(time_ms.max(1)) {
            return Ok(());
        }
        self.swept = self.watermark.0;
        for group in 0..self.partitions.len() {
            let given = self.states.get(group).map_or(0, |state| state.given);
            let entries = self.partitions.entries(group).get(..given).unwrap_or_default();
            if entries.len() <= self.kept.rows {
                continue;
            }
            let places: Vec<Place> = entries.iter().map(|entry| entry.place).collect();
            let times = event_times(&self.partitions.store().gather_column(self.time, &places)?)?;
            self.relieve(group, given, &times);
        }
        Ok(())
    }
}

impl Operator for InTime {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let times = event_times(time_column(&batch, self.time)?)?;
        let batch = self.without_late(&batch, &times, out)?;
        self.keep(&batch)?;
        self.partitions.tidy(&mut [])?;
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.watermark = watermark;
        let due = self.take_due();
        if !due.is_empty() {
            self.give_out(due, out)?;
        }
        self.sweep()?;
        self.partitions.on_watermark(watermark);
        self.forget()?;
        self.partitions.tidy(&mut [])?;
        Ok(())
    }

    fn wants_clock(&self) -> bool {
        self.partitions.wants_clock()
    }

    fn on_clock(&mut self, now_ms: i64, _: &mut dyn Output) -> Result<(), OperatorError> {
        self.partitions.on_clock(now_ms);
        self.forget()
    }

    fn seal(&mut self, whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        self.sealed(whole)
    }

    fn restore(&mut self, name: &str, rows: RecordBatch) -> Result<(), OperatorError> {
        self.restore_part(name, &rows)
    }

    fn resume(&mut self, watermark: Watermark) {
        self.watermark = watermark;
        self.partitions.resume(watermark);
    }

    fn state_size_bytes(&self) -> usize {
        let running = self.states.iter().flat_map(|state| &state.running).flatten();
        self.partitions.size_bytes()
            + self.waiting.capacity() * size_of::<(EventTimeMs, usize)>()
            + running.map(|running| running.size_bytes()).sum::<usize>()
    }
}

//! Temporal join: each left row with the version of its key that holds at the row's time.
//!
//! A right row is a version: it holds from its time until the next of its key. A left row waits until the watermark has
//! passed its time, for only then are all versions up to it there; so it is joined once, and nothing is corrected. Versions
//! that ended before the watermark are forgotten. Of several versions of one time the one whose columns are largest, in
//! their order, counts: so the answer does not depend on who came first.

mod sealing;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use super::changes::{Changes, Layout};
use super::condition::{BoundCondition, Condition, Pairs};
use super::keys::{KeyNumbers, NONE};
use super::kind::{JoinKind, Side, Sides};
use super::side::StoredSide;
use crate::batch::{Batch, take_rows};
use crate::coalesce::{BATCH_ROWS, Coalescer};
use crate::definition::{Distribution, OperatorDefinition, Port};
use crate::operator::{Operator, OperatorError, Output};
use crate::operators::emit_in_parts;
use crate::operators::group_aggregate::lifetime::Lifetime;
use crate::operators::late::{Lateness, report_late_of};
use crate::state::StatePart;
use crate::time::{Watermark, event_times};
use crate::time_to_live::TimeToLive;

/// A temporal join with everything bound.
#[derive(Clone, Debug)]
pub struct TemporalJoin {
    /// Inner or left.
    pub kind: JoinKind,
    /// The columns of each side that must be equal, in pairs of one type.
    pub keys: Sides<Vec<usize>>,
    /// The same in words: `a = b AND c = d`.
    pub on: String,
    /// The time column of each side: when the left row asks, from when the right row holds.
    pub times: Sides<usize>,
    /// What else must hold for the version that was found.
    pub condition: Option<Condition>,
    /// The columns of each side that come out, left before right.
    pub outputs: Sides<Vec<usize>>,
    /// How long the versions of a key are kept that no row of either side touches.
    pub time_to_live: Option<TimeToLive>,
}

impl OperatorDefinition for TemporalJoin {
    fn describe(&self) -> String {
        let condition = self.condition.as_ref();
        let condition = condition.map_or_else(String::new, |condition| format!(" where {}", condition.predicate));
        let forgets = self.time_to_live.map_or_else(String::new, |ttl| format!(", forgetting keys after {ttl}"));
        format!("temporal {} on {}{condition}{forgets}", self.kind.name(), self.on)
    }

    fn distribution(&self, port: usize) -> Distribution {
        Distribution::Keyed(self.keys.of(Side::of_port(port)).clone())
    }

    fn keyed_by(&self) -> Option<Vec<usize>> {
        self.keys.left.iter().map(|key| self.outputs.left.iter().position(|output| output == key)).collect()
    }

    fn is_updating(&self, _: &[bool]) -> bool {
        false
    }

    fn check(&self, inputs: &[bool]) -> Result<(), String> {
        if inputs.contains(&true) {
            let reason = "a temporal join takes inserts only: the rows on the left as they are read, and on the right the \
                          versions themselves; join the table that they come from, or leave out FOR SYSTEM_TIME AS OF";
            return Err(reason.to_owned());
        }
        Ok(())
    }

    fn instance(&self, inputs: &[Port], schema: &SchemaRef) -> Result<Box<dyn Operator>, OperatorError> {
        Ok(Box::new(TemporalInstance::new(self, inputs, schema)?))
    }
}

/// From when a stored row holds.
#[derive(Clone, Copy, Debug)]
struct Version {
    from: i64,
    row: u32,
}

/// Left rows that wait, and the time of the earliest.
struct Waiting {
    rows: RecordBatch,
    earliest_ms: i64,
}

struct TemporalInstance {
    join: TemporalJoin,
    /// The columns of the left rows.
    left: SchemaRef,
    keys: KeyNumbers,
    /// All columns of the right rows.
    versions: StoredSide,
    /// By key: its versions, in order of time.
    by_key: Vec<Vec<Version>>,
    version_count: usize,
    /// When there are so many versions, those that ended are looked for.
    prune_at: usize,
    /// When keys were touched, where those that are not are forgotten.
    lifetime: Option<Lifetime>,
    /// When there are so many keys, those without a version are looked for.
    forget_keys_at: usize,
    all_columns: Vec<usize>,
    tie_breaker: RowConverter,
    /// The finer of the two time columns' units, in which they are compared.
    unit: TimeUnit,
    condition: Option<BoundCondition>,
    layout: Layout,
    waiting: Vec<Waiting>,
    pending: Coalescer,
    watermark: Watermark,
}

/// The least number of versions for which those that ended are looked for.
const PRUNE_MIN: usize = 1_024;

impl TemporalInstance {
    fn new(join: &TemporalJoin, inputs: &[Port], schema: &SchemaRef) -> Result<Self, OperatorError> {
        let [left, right] = inputs else {
            return Err(OperatorError::Unsupported(format!("a join has two inputs, not {}", inputs.len())));
        };
        let type_of = |port: &Port, column: &usize| Some(port.schema.fields().get(*column)?.data_type().clone());
        let types: Vec<DataType> = join.keys.left.iter().filter_map(|key| type_of(left, key)).collect();
        if types != join.keys.right.iter().filter_map(|key| type_of(right, key)).collect::<Vec<_>>() {
            return Err(OperatorError::Unsupported("the keys of a join's sides must have the same types".to_owned()));
        }
        let unit = |port: &Port, column: usize| match type_of(port, &column) {
            Some(DataType::Timestamp(unit, _)) => unit,
            _ => TimeUnit::Millisecond,
        };
        let fields = right.schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
        let layout = Layout {
            schema: Arc::clone(schema),
            incoming: join.outputs.clone(),
            stored: join.outputs.clone(),
            is_updating: false,
            gives_mark: false,
        };
        Ok(Self {
            left: Arc::clone(&left.schema),
            keys: KeyNumbers::new(types, false)?,
            versions: StoredSide::new(Arc::clone(&right.schema), false, false),
            by_key: Vec::new(),
            version_count: 0,
            prune_at: PRUNE_MIN,
            lifetime: join.time_to_live.map(Lifetime::new),
            forget_keys_at: PRUNE_MIN,
            all_columns: (0..right.schema.fields().len()).collect(),
            tie_breaker: RowConverter::new(fields.collect())?,
            unit: finer(unit(left, join.times.left), unit(right, join.times.right)),
            condition: join.condition.as_ref().map(|bound| BoundCondition::new(bound, &Sides { left, right })),
            layout,
            waiting: Vec::new(),
            pending: Coalescer::new(BATCH_ROWS),
            watermark: Watermark::UNKNOWN,
            join: join.clone(),
        })
    }

    /// Stores versions under their keys.
    fn admit(&mut self, batch: &Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let from = ticks(column(&batch.rows, self.join.times.right)?, self.unit)?;
        let keys = self.keys.number(&columns(&batch.rows, &self.join.keys.right), batch.num_rows())?;
        let is_version = |row: &u32| from.is_valid(*row as usize) && keys.get(*row as usize) != Some(&NONE);
        let rows: Vec<u32> = (0..batch.num_rows() as u32).filter(is_version).collect();
        let stored = take_rows(&batch.rows, &UInt32Array::from(rows.clone()))?;
        self.report_late(Side::Right, &stored, false, out)?;
        let first = self.versions.end();
        let keys_of = || rows.iter().filter_map(|row| keys.get(*row as usize).copied());
        self.versions.insert(stored, keys_of(), std::iter::empty())?;
        self.by_key.resize_with(self.keys.len(), Vec::new);
        self.touch(keys_of());
        for ((number, key), row) in (first..).zip(keys_of()).zip(&rows) {
            self.add(key, Version { from: from.value(*row as usize), row: number })?;
        }
        Ok(())
    }

    fn add(&mut self, key: u32, version: Version) -> Result<(), OperatorError> {
        let Some(versions) = self.by_key.get_mut(key as usize) else { return Ok(()) };
        let place = versions.partition_point(|other| other.from < version.from);
        let Some(other) = versions.get_mut(place).filter(|other| other.from == version.from) else {
            versions.insert(place, version);
            self.version_count += 1;
            return Ok(());
        };
        let both = self.versions.gather(&[other.row, version.row], &self.all_columns)?;
        let both = self.tie_breaker.convert_columns(&both)?;
        let loser =
            if both.row(1) > both.row(0) { std::mem::replace(&mut other.row, version.row) } else { version.row };
        self.versions.remove(loser);
        Ok(())
    }

    /// Says how many of some rows are behind the watermark.
    fn report_late(
        &self,
        side: Side,
        rows: &RecordBatch,
        dropped: bool,
        out: &mut dyn Output,
    ) -> Result<(), OperatorError> {
        if self.watermark == Watermark::UNKNOWN {
            return Ok(());
        }
        let times = event_times(column(rows, *self.join.times.of(side))?)?;
        let is_late = |row: &u32| times.is_valid(*row as usize) && times.value(*row as usize) < self.watermark.0;
        let late: Vec<u32> = (0..rows.num_rows() as u32).filter(is_late).collect();
        let Some(earliest) = late.iter().map(|row| times.value(*row as usize)).min() else { return Ok(()) };
        let behind_ms = self.watermark.0.saturating_sub(earliest);
        let lateness = Lateness { row_count: late.len() as u64, behind_ms, dropped };
        Ok(report_late_of(side.port(), &Batch::append(rows.clone()), &late, lateness, out)?)
    }

    /// Lets left rows wait; those without a time have nothing to wait for.
    fn wait(&mut self, rows: &RecordBatch, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.report_late(Side::Left, rows, true, out)?;
        let times = event_times(column(rows, self.join.times.left)?)?;
        let all = 0..rows.num_rows() as u32;
        let waits = |row: &u32| times.is_valid(*row as usize) && times.value(*row as usize) >= self.watermark.0;
        let waiting: Vec<u32> = all.clone().filter(waits).collect();
        if let Some(earliest_ms) = waiting.iter().map(|row| times.value(*row as usize)).min() {
            let rows = take_rows(rows, &UInt32Array::from(waiting))?;
            self.waiting.push(Waiting { rows, earliest_ms });
        }
        let timeless: Vec<u32> = all.filter(|row| times.is_null(*row as usize)).collect();
        if timeless.is_empty() {
            return Ok(());
        }
        self.answer(&take_rows(rows, &UInt32Array::from(timeless))?, out)
    }

    /// Joins left rows whose time has come.
    fn answer(&mut self, rows: &RecordBatch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let times = ticks(column(rows, self.join.times.left)?, self.unit)?;
        let keys = self.keys.number(&columns(rows, &self.join.keys.left), rows.num_rows())?;
        self.touch(keys.iter().copied());
        let version_at = |(row, key): (usize, &u32)| -> u32 {
            let Some(versions) = self.by_key.get(*key as usize).filter(|_| times.is_valid(row)) else { return NONE };
            let after = versions.partition_point(|version| version.from <= times.value(row));
            after.checked_sub(1).and_then(|last| versions.get(last)).map_or(NONE, |version| version.row)
        };
        let found: Vec<u32> = keys.iter().enumerate().map(version_at).collect();
        let mut pairs = Changes::default();
        for (row, version) in found.iter().enumerate().filter(|(_, version)| **version != NONE) {
            pairs.pair(row as u32, *version, 0, &self.layout);
        }
        if let Some(condition) = &self.condition {
            let of = Pairs { side: Side::Left, rows, stored: &self.versions, stored_columns: &self.all_columns };
            pairs = condition.judge(&of, pairs)?;
        }
        if self.join.kind == JoinKind::Left {
            let mut padded = vec![NONE; rows.num_rows()];
            for (row, version) in pairs.incoming.iter().zip(&pairs.stored) {
                if let Some(place) = padded.get_mut(*row as usize) {
                    *place = *version;
                }
            }
            pairs = Changes { incoming: (0..rows.num_rows() as u32).collect(), stored: padded, ..Changes::default() };
        }
        if pairs.len() > 0 {
            let batch = pairs.gather(Side::Left, rows.columns(), &self.versions, &self.layout)?;
            if let Some(batch) = self.pending.push(batch)? {
                emit_in_parts(&batch, out);
            }
        }
        Ok(())
    }

    /// Forgets the versions that ended before the watermark, and keys without any.
    fn prune(&mut self) -> Result<(), OperatorError> {
        if self.version_count < self.prune_at || self.watermark == Watermark::UNKNOWN {
            return Ok(());
        }
        let now = self.watermark.0.saturating_mul(per_ms(self.unit));
        for versions in &mut self.by_key {
            let holds = versions.partition_point(|version| version.from <= now).saturating_sub(1);
            for version in versions.drain(..holds) {
                self.versions.remove(version.row);
                self.version_count -= 1;
            }
        }
        self.prune_at = (2 * self.version_count).max(PRUNE_MIN);
        self.compact()
    }

    fn touch(&mut self, keys: impl Iterator<Item = u32>) {
        let Some(lifetime) = &mut self.lifetime else { return };
        let keys: Vec<usize> = keys.filter(|key| *key != NONE).map(|key| key as usize).collect();
        lifetime.touch(&keys, self.keys.len());
    }

    /// Forgets the versions of keys that have outlived their time.
    fn outlive(&mut self) -> Result<(), OperatorError> {
        let expired = self.lifetime.as_mut().map(Lifetime::expired).unwrap_or_default();
        for key in &expired {
            for version in self.by_key.get_mut(*key).into_iter().flat_map(std::mem::take) {
                self.versions.remove(version.row);
                self.version_count -= 1;
            }
        }
        if let Some(lifetime) = &mut self.lifetime {
            lifetime.forget(&expired);
        }
        self.compact()
    }

    /// Writes the versions anew when most are gone.
    fn compact(&mut self) -> Result<(), OperatorError> {
        if self.versions.is_sparse() {
            let numbers = self.versions.compact()?;
            for version in self.by_key.iter_mut().flatten() {
                version.row = numbers.get(version.row as usize).copied().unwrap_or(NONE);
            }
        }
        Ok(())
    }

    /// Forgets the keys that only left rows had.
    fn forget_keys(&mut self) -> Result<(), OperatorError> {
        if self.keys.len() < self.forget_keys_at {
            return Ok(());
        }
        let mut used = vec![false; self.keys.len()];
        self.versions.mark_keys(&mut used);
        let kept: Vec<u32> = (0..used.len() as u32).filter(|key| used.get(*key as usize) == Some(&true)).collect();
        self.forget_keys_at = (2 * kept.len()).max(PRUNE_MIN);
        let mut numbers = vec![NONE; self.keys.len()];
        for (new, old) in kept.iter().enumerate() {
            if let Some(number) = numbers.get_mut(*old as usize) {
                *number = new as u32;
            }
        }
        self.keys.keep(&kept)?;
        if let Some(lifetime) = &mut self.lifetime {
            lifetime.keep(&kept.iter().map(|key| *key as usize).collect::<Vec<usize>>());
        }
        self.versions.renumber_keys(&numbers, kept.len());
        let versions = |key: &u32| self.by_key.get_mut(*key as usize).map(std::mem::take).unwrap_or_default();
        self.by_key = kept.iter().map(versions).collect();
        Ok(())
    }
}

impl Operator for TemporalInstance {
    fn process(&mut self, port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        match Side::of_port(port) {
            Side::Left => self.wait(&batch.rows, out),
            Side::Right => self.admit(&batch, out),
        }
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.watermark = watermark;
        let is_due = |waiting: &Waiting| waiting.earliest_ms < watermark.0 || watermark == Watermark::END;
        let (due, rest): (Vec<Waiting>, Vec<Waiting>) = std::mem::take(&mut self.waiting).into_iter().partition(is_due);
        self.waiting = rest;
        for Waiting { rows, .. } in due {
            let times = event_times(column(&rows, self.join.times.left)?)?;
            let is_due = |row: &u32| times.value(*row as usize) < watermark.0 || watermark == Watermark::END;
            let (now, later): (Vec<u32>, Vec<u32>) = (0..rows.num_rows() as u32).partition(is_due);
            if let Some(earliest_ms) = later.iter().map(|row| times.value(*row as usize)).min() {
                let later = take_rows(&rows, &UInt32Array::from(later))?;
                self.waiting.push(Waiting { rows: later, earliest_ms });
                self.answer(&take_rows(&rows, &UInt32Array::from(now))?, out)?;
            } else {
                self.answer(&rows, out)?;
            }
        }
        self.flush(out)?;
        self.prune()?;
        if self.lifetime.as_mut().is_some_and(|lifetime| lifetime.on_watermark(watermark)) {
            self.outlive()?;
        }
        self.forget_keys()
    }

    fn wants_clock(&self) -> bool {
        self.lifetime.as_ref().is_some_and(Lifetime::wants_clock)
    }

    fn on_clock(&mut self, now_ms: i64, _: &mut dyn Output) -> Result<(), OperatorError> {
        if self.lifetime.as_mut().is_some_and(|lifetime| lifetime.on_clock(now_ms)) {
            self.outlive()?;
        }
        self.forget_keys()
    }

    fn flush(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        if let Some(batch) = self.pending.flush()? {
            emit_in_parts(&batch, out);
        }
        Ok(())
    }

    fn seal(&mut self, whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        self.sealed(whole)
    }

    fn restore(&mut self, name: &str, rows: RecordBatch) -> Result<(), OperatorError> {
        self.restore_part(name, rows)
    }

    fn resume(&mut self, watermark: Watermark) {
        self.watermark = watermark;
        if let Some(lifetime) = &mut self.lifetime {
            lifetime.resume(watermark);
        }
    }

    fn state_size_bytes(&self) -> usize {
        let waiting = self.waiting.iter().map(|waiting| Batch::append(waiting.rows.clone()).size_bytes());
        let versions = self.by_key.iter().map(|versions| versions.capacity() * size_of::<Version>());
        self.keys.size_bytes()
            + self.versions.size_bytes()
            + self.by_key.capacity() * size_of::<Vec<Version>>()
            + waiting.chain(versions).sum::<usize>()
    }
}

fn column(rows: &RecordBatch, column: usize) -> Result<&ArrayRef, OperatorError> {
    let missing = || OperatorError::Unsupported(format!("there is no time column {column}"));
    rows.columns().get(column).ok_or_else(missing)
}

fn columns(rows: &RecordBatch, columns: &[usize]) -> Vec<ArrayRef> {
    columns.iter().filter_map(|column| rows.columns().get(*column).cloned()).collect()
}

fn per_ms(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second | TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1_000_000,
    }
}

fn finer(first: TimeUnit, second: TimeUnit) -> TimeUnit {
    let finest = if per_ms(first) >= per_ms(second) { first } else { second };
    if finest == TimeUnit::Second { TimeUnit::Millisecond } else { finest }
}

/// A column of timestamps as numbers of a unit.
fn ticks(column: &ArrayRef, unit: TimeUnit) -> Result<Int64Array, ArrowError> {
    let zone = match column.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    let ticks = cast(&cast(column, &DataType::Timestamp(unit, zone))?, &DataType::Int64)?;
    Ok(ticks.as_primitive::<Int64Type>().clone())
}

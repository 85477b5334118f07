//! The running join: takes a batch of one side, finds its pairs with the stored rows of the other, stores it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::datatypes::{DataType, SchemaRef};

use super::Join;
use super::changes::{Changes, Layout};
use super::condition::{BoundCondition, BoundContest, Pairs, stored_columns};
use super::fingerprint::Fingerprinter;
use super::keys::{KeyNumbers, NONE};
use super::kind::{Alone, JoinKind, Side, Sides};
use super::retention::{Expiry, Retention};
use super::side::StoredSide;
use crate::batch::{Batch, RowKind, take_rows};
use crate::coalesce::{BATCH_ROWS, Coalescer};
use crate::definition::Port;
use crate::operator::{Operator, OperatorError, Output};
use crate::operators::{emit_in_parts, rows_of};
use crate::state::StatePart;
use crate::time::Watermark;
use crate::time_to_live::TimeToLive;

/// Fewer rows than this wait for more; more are not copied once again.
const GIVEN_ROWS_MIN: usize = 512;

/// So many candidate pairs are judged at a time: a bound on memory where many rows match many.
const PAIRS_MAX: usize = 4 * BATCH_ROWS;

/// A table that is looked up may take so much memory on each subtask.
const LOOKUP_BYTES_MAX: usize = 1 << 30;

/// See the module.
pub(super) struct JoinInstance {
    pub(super) kind: JoinKind,
    key_columns: Sides<Vec<usize>>,
    pub(super) keys: KeyNumbers,
    /// The input columns that are stored.
    stored_columns: Sides<Vec<usize>>,
    pub(super) sides: Sides<StoredSide>,
    fingerprinters: Sides<Option<Fingerprinter>>,
    condition: Option<BoundCondition>,
    contest: Option<BoundContest>,
    pub(super) layout: Layout,
    pub(super) pending: Coalescer,
    pub(super) is_lookup: bool,
    /// Whether all subtasks hold the same right rows, and the left ones lie anywhere.
    pub(super) is_right_everywhere: bool,
    /// The columns by which the left ones lie then, if they do, among those that are stored.
    pub(super) left_by: Vec<usize>,
    /// The sides of which no more rows come.
    ended: Sides<bool>,
    pub(super) retention: Option<Sides<Retention>>,
    pub(super) time_to_live: Option<TimeToLive>,
    /// Whether rows without a match come out when they are forgotten, not before: so nothing need be corrected.
    pub(super) is_deferred: bool,
    pub(super) expiry: Sides<Expiry>,
    /// Rows below these numbers have outlived their time.
    pub(super) outlived: Sides<u32>,
    /// A row of nulls of each side, to pad with.
    pub(super) null_rows: Sides<Vec<ArrayRef>>,
    pub(super) watermark: Watermark,
    /// What the machine's clock said last.
    pub(super) now_ms: i64,
}

/// A batch on its way through the join.
struct Incoming<'a> {
    side: Side,
    rows: &'a RecordBatch,
    /// By row: the number of its key. [`NONE`] where nothing can match.
    keys: Vec<u32>,
    /// By row: the kind of change. Empty where all are inserts.
    kinds: Vec<u8>,
    /// By row: whether it takes back a row that is not there, and so does nothing.
    void: Vec<bool>,
    /// By row: how many matches have been found so far.
    matches: Vec<u32>,
}

/// How far the walk over the candidates of a batch has come.
#[derive(Default)]
struct Cursor {
    row: usize,
    /// The candidate to go on with, within the row.
    candidate: Option<u32>,
}

impl JoinInstance {
    pub(super) fn new(join: &Join, inputs: &[Port], schema: &SchemaRef) -> Result<Self, OperatorError> {
        let [left, right] = inputs else {
            return Err(OperatorError::Unsupported(format!("a join has two inputs, not {}", inputs.len())));
        };
        let ports = Sides { left, right };
        let types = |side: Side| -> Vec<DataType> {
            let fields = ports.of(side).schema.fields();
            join.keys.of(side).iter().filter_map(|key| Some(fields.get(*key)?.data_type().clone())).collect()
        };
        if types(Side::Left) != types(Side::Right) {
            return Err(OperatorError::Unsupported("the keys of a join's sides must have the same types".to_owned()));
        }
        let kept = |side: Side| {
            let lies_by = if side == Side::Left { join.left_by.as_slice() } else { &[] };
            stored_columns(&join.outputs, join.condition.as_ref(), lies_by, side)
        };
        let stored_columns = Sides { left: kept(Side::Left), right: kept(Side::Right) };
        let stored_output = |side: Side| -> Vec<usize> {
            let stored = stored_columns.of(side);
            join.outputs.of(side).iter().filter_map(|column| stored.binary_search(column).ok()).collect()
        };
        let stored_schema = |side: Side| ports.of(side).schema.project(stored_columns.of(side)).map(Arc::new);
        let stored = |side: Side| -> Result<StoredSide, OperatorError> {
            let counts = join.kind.alone(side).counts();
            Ok(StoredSide::new(stored_schema(side)?, counts, ports.of(side).is_updating))
        };
        let fingerprinter = |side: Side| -> Result<Option<Fingerprinter>, OperatorError> {
            let is_updating = ports.of(side).is_updating;
            Ok(if is_updating { Some(Fingerprinter::new(stored_schema(side)?.as_ref())?) } else { None })
        };
        let layout = Layout {
            schema: Arc::clone(schema),
            incoming: join.outputs.clone(),
            stored: Sides { left: stored_output(Side::Left), right: stored_output(Side::Right) },
            is_updating: crate::definition::OperatorDefinition::is_updating(
                join,
                &[left.is_updating, right.is_updating],
            ),
            gives_mark: join.kind.gives_mark(),
        };
        // A row that is taken back may be one that had been left out.
        let contest = join.contest.as_ref().filter(|_| !left.is_updating && !right.is_updating);
        let contest = contest.map(|contest| BoundContest::new(contest, &join.outputs, &ports));
        Ok(Self {
            kind: join.kind,
            key_columns: join.keys.clone(),
            keys: KeyNumbers::new(types(Side::Left), join.nulls_match)?,
            sides: Sides { left: stored(Side::Left)?, right: stored(Side::Right)? },
            fingerprinters: Sides { left: fingerprinter(Side::Left)?, right: fingerprinter(Side::Right)? },
            stored_columns,
            condition: join.condition.as_ref().map(|condition| BoundCondition::new(condition, &ports)),
            contest: contest.transpose()?,
            layout,
            pending: Coalescer::new(GIVEN_ROWS_MIN),
            is_lookup: join.is_lookup,
            is_right_everywhere: join.is_lookup || join.is_right_everywhere,
            left_by: join.left_by.iter().filter_map(|column| kept(Side::Left).binary_search(column).ok()).collect(),
            ended: Sides::default(),
            retention: join.retention,
            time_to_live: join.time_to_live,
            is_deferred: join.retention.is_some() && !left.is_updating && !right.is_updating,
            expiry: Sides::default(),
            outlived: Sides::default(),
            null_rows: Sides { left: null_row(left), right: null_row(right) },
            watermark: Watermark::UNKNOWN,
            now_ms: Watermark::UNKNOWN.0,
        })
    }

    /// Numbers the keys of a batch, stores what it brings, and finds what it takes back.
    fn admit<'a>(&mut self, side: Side, batch: &'a Batch) -> Result<(Incoming<'a>, u32, Vec<u32>), OperatorError> {
        let row_count = batch.num_rows();
        let columns = columns_of(&batch.rows, self.key_columns.of(side));
        // A row that is not stored need not find its key's number again.
        let passes = self.passes(side);
        let mut keys =
            if passes { self.keys.find(&columns, row_count)? } else { self.keys.number(&columns, row_count)? };
        let moments = self.last_moments(side, batch)?;
        if let Some(moments) = &moments {
            let timeless = keys.iter_mut().enumerate().filter(|(row, _)| moments.is_null(*row));
            timeless.for_each(|(_, key)| *key = NONE);
        }
        let kinds = batch.kinds.as_ref().map_or_else(Vec::new, |kinds| kinds.values().to_vec());
        let stored = columns_of(&batch.rows, self.stored_columns.of(side));
        let schema = batch.rows.schema().project(self.stored_columns.of(side))?;
        let stored = rows_of(&Arc::new(schema), stored, row_count)?;
        let fingerprints = self.fingerprints(side, &stored)?;
        let is_stored = |row: &usize| !passes && keys.get(*row) != Some(&NONE) && !takes_back(&kinds, *row);
        let inserted: Vec<u32> = (0..row_count).filter(is_stored).map(|row| row as u32).collect();
        let sides = self.sides.of_mut(side);
        let first = sides.end();
        let stored = if inserted.len() == row_count {
            stored
        } else {
            take_rows(&stored, &UInt32Array::from(inserted.clone()))?
        };
        let of = |row: &u32| *row as usize;
        sides.insert(
            stored,
            inserted.iter().filter_map(|row| keys.get(of(row)).copied()),
            inserted.iter().filter_map(|row| fingerprints.get(of(row)).copied()),
        )?;
        self.note_stored(side, first, &inserted, moments.as_ref());
        let sides = self.sides.of_mut(side);
        let mut void = Vec::new();
        if !kinds.is_empty() && !passes {
            void = vec![false; row_count];
            for (row, void) in void.iter_mut().enumerate().filter(|(row, _)| takes_back(&kinds, *row)) {
                let (Some(key), Some(fingerprint)) = (keys.get(row), fingerprints.get(row)) else { continue };
                if *key == NONE {
                    continue;
                }
                match sides.find(*key, *fingerprint) {
                    Some(found) => _ = sides.remove(found),
                    None => *void = true,
                }
            }
        }
        let matches = if self.kind.alone(side).counts() { vec![0; row_count] } else { Vec::new() };
        Ok((Incoming { side, rows: &batch.rows, keys, kinds, void, matches }, first, inserted))
    }

    /// What stored rows are, to find them again; empty where no row is taken back.
    pub(super) fn fingerprints(&self, side: Side, stored: &RecordBatch) -> Result<Vec<u128>, OperatorError> {
        let fingerprinter = self.fingerprinters.of(side).as_ref();
        Ok(fingerprinter.map(|fingerprinter| fingerprinter.of_rows(stored)).transpose()?.unwrap_or_default())
    }

    /// Whether rows of a side are joined and not stored: because the other side is all there. Rows that may be taken back,
    /// or whose matches count, are stored nevertheless.
    fn passes(&self, side: Side) -> bool {
        let is_plain = !self.kind.alone(side).counts() && self.fingerprinters.of(side).is_none();
        (self.is_lookup && side == Side::Left) || (is_plain && *self.ended.of(side.other()))
    }

    /// Names candidate pairs: rows of equal keys, up to a number.
    fn candidates(&mut self, incoming: &Incoming<'_>, cursor: &mut Cursor) -> Changes {
        let other = self.sides.of_mut(incoming.side.other());
        let mut pairs = Changes::default();
        while let Some(key) = incoming.keys.get(cursor.row) {
            let row = cursor.row as u32;
            let is_void = *key == NONE || incoming.void.get(cursor.row) == Some(&true);
            let first = || if is_void { NONE } else { other.head(*key) };
            let mut candidate = cursor.candidate.take().unwrap_or_else(first);
            while candidate != NONE {
                if pairs.len() >= PAIRS_MAX {
                    cursor.candidate = Some(candidate);
                    return pairs;
                }
                pairs.incoming.push(row);
                pairs.stored.push(candidate);
                candidate = other.after(candidate);
            }
            cursor.row += 1;
        }
        pairs
    }

    /// Keeps the pairs for which the condition holds, and that are not sure to be left out by whoever takes them.
    fn judge(&mut self, incoming: &Incoming<'_>, mut changes: Changes) -> Result<Changes, OperatorError> {
        let (side, other) = (incoming.side, incoming.side.other());
        let (stored, stored_columns) = (self.sides.of(other), self.stored_columns.of(other));
        let pairs = Pairs { side, rows: incoming.rows, stored, stored_columns };
        if let Some(condition) = &self.condition {
            changes = condition.judge(&pairs, changes)?;
        }
        match &mut self.contest {
            Some(contest) => contest.judge(&pairs, changes),
            None => Ok(changes),
        }
    }

    /// What the pairs, and the rows from `begin` to `end` that have all theirs, give.
    fn changes(&mut self, incoming: &mut Incoming<'_>, pairs: Changes, rows: std::ops::Range<usize>) -> Changes {
        let (own, other) = (self.kind.alone(incoming.side), self.kind.alone(incoming.side.other()));
        if !own.counts() && !other.counts() && !self.layout.is_updating {
            return pairs;
        }
        let mut changes = Changes::default();
        let mut pairs = pairs.incoming.into_iter().zip(pairs.stored).peekable();
        for row in rows.start..=rows.end {
            let number = row as u32;
            let kind = incoming.kinds.get(row).copied().unwrap_or(RowKind::Insert as u8);
            let is_back = takes_back(&incoming.kinds, row);
            while let Some((_, stored)) = pairs.next_if(|(of, _)| *of == number) {
                if let Some(matches) = incoming.matches.get_mut(row) {
                    *matches += 1;
                }
                self.pair(incoming.side, (number, stored), kind, is_back, &mut changes);
            }
            if row < rows.end && incoming.void.get(row) != Some(&true) {
                let count = incoming.matches.get(row).copied().unwrap_or(0);
                let waits = self.is_deferred && incoming.keys.get(row) != Some(&NONE);
                let (shown, mark) = if count > 0 { (own.matched, true) } else { (own.unmatched && !waits, false) };
                if shown {
                    changes.alone((number, NONE), kind_of(kind), mark, &self.layout);
                }
            }
        }
        changes
    }

    /// What one pair gives, and what it changes for the stored row.
    fn pair(&mut self, side: Side, (incoming, stored): (u32, u32), kind: u8, is_back: bool, changes: &mut Changes) {
        let gives_pairs = self.kind.gives_pairs();
        let other = self.kind.alone(side.other());
        if !other.counts() {
            if gives_pairs {
                changes.pair(incoming, stored, kind, &self.layout);
            }
            return;
        }
        let stored_side = self.sides.of_mut(side.other());
        let before = stored_side.matches(stored);
        let after = if is_back { before.saturating_sub(1) } else { before + 1 };
        stored_side.set_matches(stored, after);
        let alone = (NONE, stored);
        let other = Alone { unmatched: other.unmatched && !self.is_deferred, ..other };
        if before == 0 && after > 0 && other.unmatched {
            changes.alone(alone, RowKind::Delete, false, &self.layout);
        }
        if gives_pairs {
            changes.pair(incoming, stored, kind, &self.layout);
        }
        if before == 0 && after > 0 && other.matched {
            changes.alone(alone, RowKind::Insert, true, &self.layout);
        }
        if before > 0 && after == 0 && other.matched {
            changes.alone(alone, RowKind::Delete, true, &self.layout);
        }
        if before > 0 && after == 0 && other.unmatched {
            changes.alone(alone, RowKind::Insert, false, &self.layout);
        }
    }

    fn give(&mut self, incoming: &Incoming<'_>, changes: Changes, out: &mut dyn Output) -> Result<(), OperatorError> {
        if changes.len() == 0 {
            return Ok(());
        }
        let other = self.sides.of(incoming.side.other());
        let batch = changes.gather(incoming.side, incoming.rows.columns(), other, &self.layout)?;
        if let Some(batch) = self.pending.push(batch)? {
            emit_in_parts(&batch, out);
        }
        Ok(())
    }

    /// Writes a side anew when most of its rows are dead, and the keys when most have no rows.
    pub(super) fn compact(&mut self) -> Result<(), OperatorError> {
        let mut compacted = false;
        for side in [Side::Left, Side::Right] {
            if self.sides.of(side).is_sparse() {
                let numbers = self.sides.of_mut(side).compact()?;
                self.expiry.of_mut(side).renumber(&numbers);
                *self.outlived.of_mut(side) = 0;
                compacted = true;
            }
        }
        if !compacted {
            return Ok(());
        }
        let mut used = vec![false; self.keys.len()];
        self.sides.left.mark_keys(&mut used);
        self.sides.right.mark_keys(&mut used);
        let kept: Vec<u32> = (0..used.len() as u32).filter(|key| used.get(*key as usize) == Some(&true)).collect();
        if kept.len() * 2 > used.len() {
            return Ok(());
        }
        self.keys.keep(&kept)?;
        let mut numbers = vec![NONE; used.len()];
        for (new, old) in kept.iter().enumerate() {
            if let Some(number) = numbers.get_mut(*old as usize) {
                *number = new as u32;
            }
        }
        self.sides.left.renumber_keys(&numbers, kept.len());
        self.sides.right.renumber_keys(&numbers, kept.len());
        Ok(())
    }
}

impl Operator for JoinInstance {
    fn process(&mut self, port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let side = Side::of_port(port);
        if self.is_lookup && side == Side::Right && self.sides.right.size_bytes() > LOOKUP_BYTES_MAX {
            let reason = "the table that is looked up takes more than 1 GiB on every subtask; select the columns and rows \
                          that are needed, or join it without FOR SYSTEM_TIME AS OF";
            return Err(OperatorError::Unsupported(reason.to_owned()));
        }
        let batch = self.drop_late(side, batch, out)?;
        let (mut incoming, first, inserted) = self.admit(side, &batch)?;
        let mut cursor = Cursor::default();
        while cursor.row < batch.num_rows() {
            let begin = cursor.row;
            let pairs = self.candidates(&incoming, &mut cursor);
            let pairs = self.judge(&incoming, pairs)?;
            let changes = self.changes(&mut incoming, pairs, begin..cursor.row);
            self.give(&incoming, changes, out)?;
        }
        if !incoming.matches.is_empty() {
            let stored = self.sides.of_mut(side);
            for (number, row) in (first..).zip(&inserted) {
                stored.set_matches(number, incoming.matches.get(*row as usize).copied().unwrap_or(0));
            }
        }
        self.compact()
    }

    fn flush(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        if let Some(batch) = self.pending.flush()? {
            emit_in_parts(&batch, out);
        }
        Ok(())
    }

    fn accepts(&self, port: usize) -> bool {
        !self.is_lookup || self.ended.right || Side::of_port(port) == Side::Right
    }

    fn on_input_end(&mut self, port: usize, _: &mut dyn Output) -> Result<(), OperatorError> {
        let side = Side::of_port(port);
        *self.ended.of_mut(side) = true;
        if !self.is_lookup && self.passes(side.other()) {
            // Nobody comes who could match what waits.
            self.sides.of_mut(side.other()).clear();
            *self.expiry.of_mut(side.other()) = Expiry::default();
            *self.outlived.of_mut(side.other()) = 0;
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.pass(watermark, out)
    }

    fn wants_clock(&self) -> bool {
        matches!(self.time_to_live, Some(TimeToLive::ProcessingTime(_)))
    }

    fn on_clock(&mut self, now_ms: i64, _: &mut dyn Output) -> Result<(), OperatorError> {
        self.now_ms = now_ms;
        if let Some(TimeToLive::ProcessingTime(ttl_ms)) = self.time_to_live {
            self.outlive(Side::Left, now_ms, ttl_ms);
            self.outlive(Side::Right, now_ms, ttl_ms);
        }
        self.compact()
    }

    fn seal(&mut self, whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        self.sealed(whole)
    }

    fn restore(&mut self, name: &str, rows: RecordBatch) -> Result<(), OperatorError> {
        self.restore_side(name, rows)
    }

    fn resume(&mut self, watermark: Watermark) {
        self.watermark = watermark;
    }

    fn state_size_bytes(&self) -> usize {
        let expiry = self.expiry.left.size_bytes() + self.expiry.right.size_bytes();
        expiry + self.keys.size_bytes() + self.sides.left.size_bytes() + self.sides.right.size_bytes()
    }
}

fn null_row(port: &Port) -> Vec<ArrayRef> {
    port.schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect()
}

fn columns_of(rows: &RecordBatch, columns: &[usize]) -> Vec<ArrayRef> {
    columns.iter().filter_map(|column| rows.columns().get(*column).cloned()).collect()
}

fn takes_back(kinds: &[u8], row: usize) -> bool {
    kinds.get(row).is_some_and(|kind| *kind == RowKind::UpdateBefore as u8 || *kind == RowKind::Delete as u8)
}

fn kind_of(kind: u8) -> RowKind {
    const KINDS: [RowKind; 4] = [RowKind::Insert, RowKind::UpdateBefore, RowKind::UpdateAfter, RowKind::Delete];
    KINDS.get(usize::from(kind)).copied().unwrap_or(RowKind::Insert)
}

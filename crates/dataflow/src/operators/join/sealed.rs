//! A join's state as rows, for checkpoints: what it has stored of each side.
//!
//! The columns of a part: the keys; the row's lasting number among those of its key; what is stored of the row; how many
//! matches it has, where that counts (they are not counted anew: partners may have been forgotten, or never stored); and
//! until when it is kept, or when it came, where rows are forgotten. All else (indexes, fingerprints, what contests have
//! seen) is made anew of that. Which inputs have ended is said again after a restart.
//!
//! If that is asked for, only what has changed is sealed: new rows, those whose number of matches is another, and the names
//! of those that have gone. Where rows do not lie by key (a small right side that is everywhere, and the left rows beside
//! it) lasting numbers of several subtasks could meet, and a side is always sealed whole; and so it is when more rows have
//! gone than there are. (A table that is looked up lies everywhere too, but has been read when the first cut comes, and
//! nothing changes.)

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::sort_to_indices;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt32Type, UInt64Type};

use super::instance::JoinInstance;
use super::kind::Side;
use crate::batch::take_rows;
use crate::operator::OperatorError;
use crate::operators::rows_of;
use crate::state::{Lies, StatePart};
use crate::time::Watermark;

/// The parts, by side.
const LEFT: &str = "left";
const RIGHT: &str = "right";

impl JoinInstance {
    /// Seals what is stored of both sides.
    pub(super) fn sealed(&mut self, whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        // Of the rows that only look up, none are stored.
        let sides = if self.is_lookup { &[Side::Right][..] } else { &[Side::Left, Side::Right] };
        sides.iter().map(|side| self.sealed_side(*side, whole)).collect()
    }

    fn sealed_side(&mut self, side: Side, whole: bool) -> Result<StatePart, OperatorError> {
        let key_count = self.keys.types().len();
        let lies = match side {
            _ if !self.is_right_everywhere => Lies::Keyed((0..key_count).collect()),
            // The rows are behind their lasting number: such a join has no keys.
            Side::Left if !self.left_by.is_empty() => {
                Lies::Keyed(self.left_by.iter().map(|column| 1 + column).collect())
            }
            Side::Left => Lies::Anywhere,
            Side::Right => Lies::Everywhere,
        };
        let moments = self.forgets().then(|| self.expiry.of(side).moments(self.sides.of(side).end()));
        let sealed = self.sides.of_mut(side).seal(whole || self.is_right_everywhere && !self.is_lookup)?;
        let stored = self.sides.of(side);
        let mut columns = self.keys.columns(&stored.keys_of(&sealed.numbers))?;
        columns.push(Arc::new(UInt64Array::from(stored.ids_of(&sealed.numbers))));
        columns.extend(sealed.rows.columns().iter().cloned());
        if self.kind.alone(side).counts() {
            let matches = sealed.numbers.iter().map(|row| stored.matches(*row));
            columns.push(Arc::new(UInt32Array::from_iter_values(matches)));
        }
        if let Some(moments) = moments {
            let moment = |row: &u32| moments.get(*row as usize).copied();
            let moments = sealed.numbers.iter().map(moment).collect::<Int64Array>();
            self.see_unknown(side, moments.values());
            columns.push(Arc::new(moments));
        }
        let schema = self.part_schema(side);
        let rows = rows_of(&schema, columns, sealed.numbers.len())?;
        let name = if side == Side::Left { LEFT } else { RIGHT };
        let Some(gone) = sealed.gone else { return Ok(StatePart::whole(name, rows, lies)) };
        let (keys, ids): (Vec<u32>, Vec<u64>) = gone.into_iter().unzip();
        let mut columns = self.keys.columns(&keys)?;
        columns.push(Arc::new(UInt64Array::from(ids)));
        let of_key: Vec<usize> = (0..=key_count).collect();
        let gone = rows_of(&Arc::new(schema.project(&of_key)?), columns, keys.len())?;
        Ok(StatePart::changes(name, rows, lies, key_count + 1, gone))
    }

    /// Takes over rows of a part.
    pub(super) fn restore_side(&mut self, name: &str, rows: RecordBatch) -> Result<(), OperatorError> {
        let side = match name {
            LEFT => Side::Left,
            RIGHT => Side::Right,
            _ => return Err(OperatorError::Unsupported(format!("a join has no state of the name {name}"))),
        };
        let schema = self.part_schema(side);
        let same_types =
            || rows.columns().iter().zip(schema.fields()).all(|(c, field)| c.data_type() == field.data_type());
        if rows.num_columns() != schema.fields().len() || !same_types() {
            let reason =
                format!("these rows are not of the {name} side of this join; the checkpoint is another query's");
            return Err(OperatorError::Unsupported(reason));
        }
        let key_count = self.keys.types().len();
        let rows = in_order(rows, key_count)?;
        let (keys, rest) = rows.columns().split_at(key_count);
        let [ids, rest @ ..] = rest else { return Ok(()) };
        let (stored, mut rest) = rest.split_at(self.sides.of(side).schema().fields().len());
        let mut next = || -> Option<&ArrayRef> {
            let (first, others) = rest.split_first()?;
            rest = others;
            Some(first)
        };
        let counted = self.kind.alone(side).counts().then(&mut next).flatten();
        let matches = counted.map_or(&[][..], |counts| counts.as_primitive::<UInt32Type>().values());
        let moments = self.forgets().then(&mut next).flatten();
        let keys = self.keys.number(keys, rows.num_rows())?;
        let stored = rows_of(self.sides.of(side).schema(), stored.to_vec(), rows.num_rows())?;
        let fingerprints = self.fingerprints(side, &stored)?;
        let ids = ids.as_primitive::<UInt64Type>().values();
        let first = self.sides.of(side).end();
        self.sides.of_mut(side).restore(stored, keys.into_iter(), fingerprints.into_iter(), (ids, matches))?;
        if let Some(moments) = moments {
            let moments = moments.as_primitive::<Int64Type>().values();
            self.expiry.of_mut(side).keep_until(first, moments.iter().copied(), 1);
            self.see_unknown(side, moments);
        }
        Ok(())
    }

    /// Rows that have come at no time that was known are going to get one: then they are all sealed anew.
    fn see_unknown(&mut self, side: Side, moments: &[i64]) {
        if moments.contains(&Watermark::UNKNOWN.0) {
            self.sides.of_mut(side).lose_count();
        }
    }

    fn forgets(&self) -> bool {
        self.retention.is_some() || self.time_to_live.is_some()
    }

    fn part_schema(&self, side: Side) -> SchemaRef {
        let keys = self.keys.types().iter().enumerate();
        let mut fields: Vec<Field> =
            keys.map(|(number, data_type)| Field::new(format!("key {number}"), data_type.clone(), true)).collect();
        fields.push(Field::new("number", DataType::UInt64, false));
        fields.extend(self.sides.of(side).schema().fields().iter().map(|field| field.as_ref().clone()));
        if self.kind.alone(side).counts() {
            fields.push(Field::new("matches", DataType::UInt32, false));
        }
        if self.forgets() {
            fields.push(Field::new("moment", DataType::Int64, false));
        }
        Arc::new(Schema::new(fields))
    }
}

/// The rows by their lasting numbers, which stand in a column: in the order in which they came.
fn in_order(rows: RecordBatch, column: usize) -> Result<RecordBatch, OperatorError> {
    let Some(ids) = rows.columns().get(column) else { return Ok(rows) };
    if ids.as_primitive_opt::<UInt64Type>().is_none_or(|ids| ids.values().is_sorted()) {
        return Ok(rows);
    }
    Ok(take_rows(&rows, &sort_to_indices(ids, None, None)?)?)
}

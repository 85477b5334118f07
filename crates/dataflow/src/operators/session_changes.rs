//! What sessions gave out and is no longer so: kept until they give what is so now, and then told as a changelog.
//!
//! A session that is where it was is corrected by `-U` and `+U`, or not mentioned if its results are what they were. One
//! that has grown, or grown together with another, is another row: `-D` for each that it replaces, `+I` for itself.

use arrow::array::{RecordBatch, UInt8Array, UInt32Array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::kept_rows::KeptRows;
use crate::batch::{Batch, RowKind};

/// Results that have been given out, and are to be replaced, by the slot of the session that replaces them.
pub(crate) struct Withdrawn {
    /// How many columns stand before the session's bounds.
    key_count: usize,
    rows: KeptRows,
}

impl Withdrawn {
    pub(crate) fn new(schema: SchemaRef, key_count: usize) -> Self {
        Self { key_count, rows: KeptRows::new(schema) }
    }

    /// Takes results in, one a slot.
    pub(crate) fn add(&mut self, results: RecordBatch, slots: impl Iterator<Item = usize>) -> Result<(), ArrowError> {
        self.rows.add(results, slots)
    }

    /// Sessions have gone into others.
    pub(crate) fn merge(&mut self, from: &[usize], to: &[usize]) {
        self.rows.merge(from, to);
    }

    /// All results of some slots, and the slot of each.
    pub(crate) fn all(&self, slots: impl Iterator<Item = usize>) -> Result<(Vec<usize>, RecordBatch), ArrowError> {
        let (slots, places) = self.rows.all(slots);
        Ok((slots, self.rows.rows(&places)?))
    }

    /// What is to be told when the sessions of `slots` have these results now.
    pub(crate) fn changes(&mut self, results: &RecordBatch, slots: &[usize]) -> Result<Option<Batch>, ArrowError> {
        let mut places = Vec::new();
        // The old row and the new one of sessions that have one of each.
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        for (new, slot) in slots.iter().enumerate() {
            let replaced = self.rows.places(*slot);
            if replaced.len() == 1 {
                pairs.push((places.len() as u32, new as u32));
            }
            places.extend_from_slice(replaced);
        }
        let old = self.rows.rows(&places)?;
        self.rows.forget(slots.iter().copied());
        let mut kinds = vec![Some(RowKind::Delete); places.len()];
        kinds.extend(vec![Some(RowKind::Insert); slots.len()]);
        for ((before, after), Compared { is_there, is_so }) in pairs.iter().zip(self.compare(&old, results, &pairs)?) {
            let (before, after) = (*before as usize, places.len() + *after as usize);
            if is_there {
                let [of_old, of_new] =
                    if is_so { [None, None] } else { [Some(RowKind::UpdateBefore), Some(RowKind::UpdateAfter)] };
                set(&mut kinds, before, of_old);
                set(&mut kinds, after, of_new);
            }
        }
        in_changelog_order(&old, results, &kinds)
    }

    /// How each pair of an old and a new row compare.
    fn compare(&self, old: &RecordBatch, new: &RecordBatch, pairs: &[(u32, u32)]) -> Result<Vec<Compared>, ArrowError> {
        let of_old = UInt32Array::from_iter_values(pairs.iter().map(|pair| pair.0));
        let of_new = UInt32Array::from_iter_values(pairs.iter().map(|pair| pair.1));
        let mut compared = vec![Compared { is_there: true, is_so: true }; pairs.len()];
        for (column, (before, after)) in old.columns().iter().zip(new.columns()).enumerate().skip(self.key_count) {
            let (before, after) = (take(before, &of_old, None)?, take(after, &of_new, None)?);
            // What cannot be compared counts as changed: an update too many is right, one too few is not.
            let differs = distinct(&before, &after).ok();
            for (row, compared) in compared.iter_mut().enumerate() {
                if differs.as_ref().is_none_or(|differs| differs.value(row)) {
                    compared.is_so = false;
                    compared.is_there &= column >= self.key_count + 2;
                }
            }
        }
        Ok(compared)
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.rows.size_bytes()
    }
}

/// How what a session was compares with what it is.
#[derive(Clone)]
struct Compared {
    /// Whether its bounds are the same.
    is_there: bool,
    /// Whether its bounds and results are the same.
    is_so: bool,
}

fn set(kinds: &mut [Option<RowKind>], row: usize, kind: Option<RowKind>) {
    if let Some(place) = kinds.get_mut(row) {
        *place = kind;
    }
}

/// The old rows and the new ones behind them as a changelog: what is taken back stands before what takes its place.
fn in_changelog_order(
    old: &RecordBatch,
    new: &RecordBatch,
    kinds: &[Option<RowKind>],
) -> Result<Option<Batch>, ArrowError> {
    let told = |row: u32, kind: &Option<RowKind>| kind.map(|kind| (row, kind as u8));
    let told: Vec<(u32, u8)> = (0_u32..).zip(kinds).filter_map(|(row, kind)| told(row, kind)).collect();
    if told.is_empty() {
        return Ok(None);
    }
    let both = Batch::concat(&[Batch::append(old.clone()), Batch::append(new.clone())])?;
    let Some(both) = both else { return Ok(None) };
    let (rows, kinds): (Vec<u32>, Vec<u8>) = told.into_iter().unzip();
    let rows = both.take(&UInt32Array::from(rows))?.rows;
    Ok(Some(Batch { rows, kinds: Some(UInt8Array::from(kinds)) }))
}

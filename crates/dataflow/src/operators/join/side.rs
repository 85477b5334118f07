//! The stored rows of one side: columnar blocks, and for each key a chain of row numbers, the newest row first.
//!
//! A row is added to the end and never moves; a deleted row is only marked, and taken out of its chain when somebody
//! walks by. A block without living rows is freed at once. When most rows are dead, those that live are numbered anew: the
//! blocks that they fill stay as they are, and only the few rows of the others are copied.

mod sealing;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{concat_batches, interleave};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;

use super::journal::Journal;
use super::keys::NONE;
use crate::batch::Batch;
use crate::operator::OperatorError;

/// Slivers are put together up to this size; whole batches are kept as they come.
const BLOCK_ROWS_MAX: usize = 4_096;

/// So many dead rows are not worth the work of writing the living anew.
const DEAD_ROWS_MIN: usize = 4_096;

/// Set in a row's number of matches when that has changed since it was sealed.
const CHANGED: u32 = 1 << 31;

/// A set of rows, each under its key.
#[derive(Debug)]
pub(super) struct StoredSide {
    schema: SchemaRef,
    /// One row of nulls, to pad with.
    null_row: Vec<ArrayRef>,
    blocks: Vec<Block>,
    /// By key: the newest row.
    heads: Vec<u32>,
    /// By row: the next older row of the same key.
    next: Vec<u32>,
    /// By row: its key; [`NONE`] once it is dead.
    keys: Vec<u32>,
    /// By row: how many rows of the other side match it, and whether that is news. Only where that is asked for.
    matches: Option<Vec<u32>>,
    /// By row: what it is, to find it again. Only where rows may be taken back.
    fingerprints: Option<Vec<u128>>,
    live_count: usize,
    /// What has changed since the rows were sealed; `None` until they are.
    journal: Option<Journal>,
}

/// Rows with consecutive numbers.
#[derive(Debug)]
struct Block {
    first: usize,
    row_count: usize,
    live_count: usize,
    /// Without rows once all are dead.
    rows: RecordBatch,
    size_bytes: usize,
}

impl StoredSide {
    pub(super) fn new(schema: SchemaRef, counts_matches: bool, takes_back: bool) -> Self {
        let null_row = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
        Self {
            schema,
            null_row,
            blocks: Vec::new(),
            heads: Vec::new(),
            next: Vec::new(),
            keys: Vec::new(),
            matches: counts_matches.then(Vec::new),
            fingerprints: takes_back.then(Vec::new),
            live_count: 0,
            journal: None,
        }
    }

    /// An empty one of the same kind.
    fn emptied(&mut self) -> Self {
        let empty = Self::new(Arc::clone(&self.schema), self.matches.is_some(), self.fingerprints.is_some());
        Self { journal: self.journal.as_mut().map(Journal::emptied), ..empty }
    }

    /// Forgets all rows.
    pub(super) fn clear(&mut self) {
        *self = self.emptied();
        self.journal.iter_mut().for_each(Journal::lose_count);
    }

    /// The columns of its rows.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows to come have numbers from this one on.
    pub(super) fn end(&self) -> u32 {
        self.next.len() as u32
    }

    /// Adds rows under their keys, none of which is [`NONE`].
    pub(super) fn insert(
        &mut self,
        rows: RecordBatch,
        keys: impl Iterator<Item = u32>,
        fingerprints: impl Iterator<Item = u128>,
    ) -> Result<(), OperatorError> {
        let row_count = rows.num_rows();
        if row_count == 0 {
            return Ok(());
        }
        let first = self.next.len();
        if first + row_count >= NONE as usize {
            let reason = "a join holds more than four thousand million rows on one subtask; bound its state by time or a \
                          state-ttl, or raise the parallelism";
            return Err(OperatorError::Unsupported(reason.to_owned()));
        }
        keys.for_each(|key| self.link(key));
        if let Some(known) = &mut self.fingerprints {
            known.extend(fingerprints);
        }
        if let Some(matches) = &mut self.matches {
            matches.resize(self.next.len(), 0);
        }
        if let Some(journal) = &mut self.journal {
            journal.added(row_count);
        }
        self.live_count += row_count;
        self.push_block(Block { first, row_count, live_count: row_count, size_bytes: 0, rows: own_memory(rows)? })
    }

    /// Puts the next row at the head of its key's chain; a dead one, of key [`NONE`], into none.
    fn link(&mut self, key: u32) {
        if key != NONE && self.heads.len() <= key as usize {
            self.heads.resize((key as usize + 1).max(self.heads.len() * 2), NONE);
        }
        let number = self.next.len() as u32;
        let head = self.heads.get_mut(key as usize).map_or(NONE, |head| std::mem::replace(head, number));
        self.next.push(head);
        self.keys.push(key);
    }

    /// Adds a block, and puts the last ones together while they are of like size: so there are few, and a row is copied
    /// a few times only.
    fn push_block(&mut self, mut block: Block) -> Result<(), OperatorError> {
        while let Some(last) = self.blocks.last()
            && last.row_count <= 2 * block.row_count
            && last.row_count + block.row_count <= BLOCK_ROWS_MAX
            && last.live_count > 0
            && let Some(last) = self.blocks.pop()
        {
            block = Block {
                first: last.first,
                row_count: last.row_count + block.row_count,
                live_count: last.live_count + block.live_count,
                rows: concat_batches(&self.schema, [&last.rows, &block.rows])?,
                size_bytes: 0,
            };
        }
        block.size_bytes = Batch::append(block.rows.clone()).size_bytes();
        self.blocks.push(block);
        Ok(())
    }

    /// The newest living row of a key, or [`NONE`].
    pub(super) fn head(&mut self, key: u32) -> u32 {
        let head = self.heads.get(key as usize).copied().unwrap_or(NONE);
        let living = self.living(head);
        if living != head
            && let Some(head) = self.heads.get_mut(key as usize)
        {
            *head = living;
        }
        living
    }

    /// The next older living row of the same key, or [`NONE`].
    pub(super) fn after(&mut self, row: u32) -> u32 {
        let next = self.next.get(row as usize).copied().unwrap_or(NONE);
        let living = self.living(next);
        if living != next
            && let Some(next) = self.next.get_mut(row as usize)
        {
            *next = living;
        }
        living
    }

    /// The first living row of a chain from `row` on.
    fn living(&self, mut row: u32) -> u32 {
        while self.keys.get(row as usize) == Some(&NONE) {
            row = self.next.get(row as usize).copied().unwrap_or(NONE);
        }
        row
    }

    /// The newest row of a key that is this one.
    pub(super) fn find(&mut self, key: u32, fingerprint: u128) -> Option<u32> {
        let mut row = self.head(key);
        while row != NONE {
            if self.fingerprints.as_ref().and_then(|known| known.get(row as usize)) == Some(&fingerprint) {
                return Some(row);
            }
            row = self.after(row);
        }
        None
    }

    /// Marks a row dead. Says whether it had been alive.
    pub(super) fn remove(&mut self, row: u32) -> bool {
        let Some(key) = self.keys.get_mut(row as usize) else { return false };
        let key = std::mem::replace(key, NONE);
        if key == NONE {
            return false;
        }
        self.live_count -= 1;
        if let Some(journal) = &mut self.journal {
            journal.removed(row, key, self.live_count);
        }
        let block = self.block_of(row);
        if let Some(block) = self.blocks.get_mut(block) {
            block.live_count -= 1;
            if block.live_count == 0 {
                block.rows = RecordBatch::new_empty(Arc::clone(&self.schema));
                block.size_bytes = 0;
            }
        }
        true
    }

    fn block_of(&self, row: u32) -> usize {
        self.blocks.partition_point(|block| block.first <= row as usize).saturating_sub(1)
    }

    /// How many rows of the other side match a row.
    pub(super) fn matches(&self, row: u32) -> u32 {
        self.matches.as_ref().and_then(|matches| matches.get(row as usize)).map_or(0, |count| count & !CHANGED)
    }

    pub(super) fn set_matches(&mut self, row: u32, count: u32) {
        if let Some(known) = self.matches.as_mut().and_then(|matches| matches.get_mut(row as usize)) {
            *known = count | CHANGED;
        }
    }

    /// The rows of these numbers in some columns; nulls for [`NONE`]. The rows are alive.
    pub(super) fn gather(&self, rows: &[u32], columns: &[usize]) -> Result<Vec<ArrayRef>, ArrowError> {
        // Only the blocks that rows are taken from are looked at, in the order in which they come up; nulls before them.
        let mut source_of: Vec<Option<usize>> = vec![None; self.blocks.len()];
        let mut sources: Vec<&Block> = Vec::new();
        let mut place = |row: &u32| {
            let number = self.block_of(*row);
            let (Some(block), Some(source)) = (self.blocks.get(number), source_of.get_mut(number)) else {
                return (0, 0);
            };
            if *row == NONE {
                return (0, 0);
            }
            let source = *source.get_or_insert_with(|| {
                sources.push(block);
                sources.len()
            });
            (source, *row as usize - block.first)
        };
        let places: Vec<(usize, usize)> = rows.iter().map(&mut place).collect();
        let gather = |column: &usize| {
            let nulls = self.null_row.get(*column).map(AsRef::as_ref);
            let blocks = sources.iter().filter_map(|block| block.rows.columns().get(*column).map(AsRef::as_ref));
            let sources: Vec<&dyn Array> = nulls.into_iter().chain(blocks).collect();
            interleave(&sources, &places)
        };
        columns.iter().map(gather).collect()
    }

    /// Whether most rows are dead.
    pub(super) fn is_sparse(&self) -> bool {
        let dead = self.next.len() - self.live_count;
        dead > DEAD_ROWS_MIN && dead > self.live_count
    }

    /// Numbers the living rows anew, in their order. Returns by old number the new one, or [`NONE`].
    pub(super) fn compact(&mut self) -> Result<Vec<u32>, OperatorError> {
        let mut compacted = self.emptied();
        let mut numbers = vec![NONE; self.next.len()];
        let mut scattered: Vec<u32> = Vec::new();
        let begin_of = |block: usize| self.blocks.get(block).map(|block| block.first as u32);
        for (number, block) in self.blocks.iter().enumerate() {
            let rows = block.first as u32..begin_of(number + 1).unwrap_or(self.end());
            let is_dense = block.live_count * 4 >= block.row_count * 3;
            if !is_dense {
                scattered.extend(rows.clone().filter(|row| self.keys.get(*row as usize) != Some(&NONE)));
            }
            if is_dense || scattered.len() >= BLOCK_ROWS_MAX {
                compacted.copy(self, &std::mem::take(&mut scattered), &mut numbers)?;
            }
            if is_dense && block.row_count > 0 {
                let kept = Block { first: compacted.next.len(), rows: block.rows.clone(), ..*block };
                compacted.adopt(self, rows, &mut numbers);
                compacted.blocks.push(kept);
            }
        }
        compacted.copy(self, &scattered, &mut numbers)?;
        *self = compacted;
        Ok(numbers)
    }

    /// Copies living rows of another store to the end of this one.
    fn copy(&mut self, from: &Self, rows: &[u32], numbers: &mut [u32]) -> Result<(), OperatorError> {
        if rows.is_empty() {
            return Ok(());
        }
        let columns: Vec<usize> = (0..self.schema.fields().len()).collect();
        let gathered = crate::operators::rows_of(&self.schema, from.gather(rows, &columns)?, rows.len())?;
        let first = self.next.len();
        self.adopt(from, rows.iter().copied(), numbers);
        let (row_count, live_count) = (rows.len(), rows.len());
        self.push_block(Block { first, row_count, live_count, size_bytes: 0, rows: gathered })
    }

    /// Takes over all but the columns of rows of another store, in this order.
    fn adopt(&mut self, from: &Self, rows: impl Iterator<Item = u32>, numbers: &mut [u32]) {
        for row in rows {
            let old = row as usize;
            if let Some(number) = numbers.get_mut(old) {
                *number = self.end();
            }
            let key = from.keys.get(old).copied().unwrap_or(NONE);
            self.link(key);
            self.live_count += usize::from(key != NONE);
            if let Some(matches) = &mut self.matches {
                matches.extend(from.matches.as_ref().and_then(|known| known.get(old)));
            }
            if let (Some(journal), Some(from)) = (&mut self.journal, &from.journal) {
                journal.adopt(from, row);
            }
            if let Some(fingerprints) = &mut self.fingerprints {
                let known = from.fingerprints.as_ref().and_then(|known| known.get(old));
                fingerprints.push(known.copied().unwrap_or(0));
            }
        }
    }

    /// Marks the keys of the living rows, and of those of which it is still to be said that they have gone.
    pub(super) fn mark_keys(&self, used: &mut [bool]) {
        for key in self.keys.iter().copied().chain(self.journal.iter().flat_map(Journal::keys)) {
            if let Some(used) = used.get_mut(key as usize) {
                *used = true;
            }
        }
    }

    /// Numbers the keys anew: `numbers` gives by old number the new one, [`NONE`] for those no living row has.
    pub(super) fn renumber_keys(&mut self, numbers: &[u32], key_count: usize) {
        let mut heads = vec![NONE; key_count];
        for (key, head) in self.heads.iter().enumerate() {
            let number = numbers.get(key).copied().unwrap_or(NONE);
            if let Some(kept) = heads.get_mut(number as usize) {
                *kept = *head;
            }
        }
        self.heads = heads;
        for key in self.keys.iter_mut().chain(self.journal.iter_mut().flat_map(Journal::keys_mut)) {
            *key = numbers.get(*key as usize).copied().unwrap_or(NONE);
        }
    }

    /// Heap memory held, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(|block| block.size_bytes + size_of::<Block>()).sum();
        let numbers = self.heads.capacity() + self.next.capacity() + self.keys.capacity();
        let matches = self.matches.as_ref().map_or(0, Vec::capacity);
        let fingerprints = self.fingerprints.as_ref().map_or(0, Vec::capacity);
        let journal = self.journal.as_ref().map_or(0, Journal::size_bytes);
        blocks + journal + (numbers + matches) * size_of::<u32>() + fingerprints * size_of::<u128>()
    }
}

/// The same rows in memory of their own: rows that are cut from a larger batch would keep all of it alive.
fn own_memory(rows: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let is_view = |column: &ArrayRef| matches!(column.data_type(), DataType::Utf8View | DataType::BinaryView);
    let held: usize = rows.columns().iter().map(|column| column.get_buffer_memory_size()).sum();
    // What an exchange cuts in two or three is held as a whole, by its parts.
    if held <= 4 * Batch::append(rows.clone()).size_bytes() + 1_024 && !rows.columns().iter().any(is_view) {
        return Ok(rows);
    }
    let indices = arrow::array::UInt32Array::from_iter_values(0..rows.num_rows() as u32);
    crate::batch::take_rows(&compacted_views(&rows)?, &indices)
}

fn compacted_views(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    use arrow::array::AsArray;
    let compact = |column: &ArrayRef| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => Arc::clone(column),
        }
    };
    crate::operators::rows_of(&rows.schema(), rows.columns().iter().map(compact).collect(), rows.num_rows())
}

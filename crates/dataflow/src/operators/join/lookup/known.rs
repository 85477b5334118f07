//! What is known of the table: by key, its rows, when they were answered, and who still needs them.

use std::collections::VecDeque;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, SchemaRef};

use super::Cache;
use crate::batch::take_rows;
use crate::operator::OperatorError;
use crate::operators::join::keys::{KeyNumbers, NONE};
use crate::operators::join::side::StoredSide;

/// The least number of keys for which those that nobody needs are looked for.
const FORGET_MIN: usize = 4_096;

/// What is known of one key.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Key {
    /// The last question that asks for it; 0 for none.
    pub(super) asked: u64,
    /// The question that was answered last; 0 where nothing is known.
    pub(super) answered: u64,
    /// How many waiting rows need it.
    pub(super) pins: u32,
    row_count: u32,
}

/// An answer to one key, in the order in which they came.
#[derive(Clone, Copy, Debug)]
struct Answered {
    key: u32,
    question: u64,
    at_ms: i64,
}

/// Keys and their rows.
pub(super) struct Known {
    types: Vec<DataType>,
    schema: SchemaRef,
    pub(super) numbers: KeyNumbers,
    pub(super) side: StoredSide,
    keys: Vec<Key>,
    /// Those kept, the first answered in front.
    order: VecDeque<Answered>,
    /// How many rows are kept; a key without rows counts as one.
    row_count: usize,
    forget_at: usize,
}

impl Known {
    /// Nothing: keys of `types`, rows of `schema`.
    pub(super) fn new(types: Vec<DataType>, schema: SchemaRef) -> Result<Self, OperatorError> {
        Ok(Self {
            numbers: KeyNumbers::new(types.clone(), false)?,
            side: StoredSide::new(schema.clone(), false, false),
            types,
            schema,
            keys: Vec::new(),
            order: VecDeque::new(),
            row_count: 0,
            forget_at: FORGET_MIN,
        })
    }

    /// The number of each row's key; [`NONE`] for a key with a null, which nothing equals.
    pub(super) fn number(&mut self, columns: &[ArrayRef], row_count: usize) -> Result<Vec<u32>, OperatorError> {
        let numbers = self.numbers.number(columns, row_count)?;
        self.keys.resize_with(self.numbers.len(), Key::default);
        Ok(numbers)
    }

    /// What is known of a key.
    pub(super) fn key(&self, number: u32) -> Key {
        self.keys.get(number as usize).copied().unwrap_or_default()
    }

    pub(super) fn key_mut(&mut self, number: u32) -> Option<&mut Key> {
        self.keys.get_mut(number as usize)
    }

    /// Takes in the rows of `asked` keys as `question` was answered; `keys` says whose each row is. Answers that are older
    /// than what is known say nothing.
    pub(super) fn learn(
        &mut self,
        asked: &[u32],
        question: u64,
        rows: &[(RecordBatch, Vec<u32>)],
        now_ms: i64,
    ) -> Result<(), OperatorError> {
        for number in asked {
            if self.key(*number).answered < question {
                self.drop_rows(*number);
                if let Some(key) = self.key_mut(*number) {
                    key.answered = question;
                }
            }
        }
        for (batch, keys) in rows {
            let is_new = |row: &u32| keys.get(*row as usize).is_some_and(|key| self.key(*key).answered == question);
            let wanted: Vec<u32> = (0..batch.num_rows() as u32).filter(is_new).collect();
            let keys: Vec<u32> = wanted.iter().filter_map(|row| keys.get(*row as usize).copied()).collect();
            self.side.insert(
                take_rows(batch, &UInt32Array::from(wanted))?,
                keys.iter().copied(),
                std::iter::empty(),
            )?;
            for number in keys {
                if let Some(key) = self.key_mut(number) {
                    key.row_count += 1;
                }
            }
        }
        for number in asked {
            if self.key(*number).answered == question {
                self.row_count += self.key(*number).row_count.max(1) as usize;
                self.order.push_back(Answered { key: *number, question, at_ms: now_ms });
            }
        }
        Ok(())
    }

    /// Forgets the rows of a key.
    fn drop_rows(&mut self, number: u32) {
        let Some(key) = self.key_mut(number).filter(|key| key.answered > 0) else { return };
        let row_count = std::mem::take(&mut key.row_count);
        key.answered = 0;
        self.row_count -= row_count.max(1) as usize;
        let mut row = self.side.head(number);
        while row != NONE {
            let next = self.side.after(row);
            self.side.remove(row);
            row = next;
        }
    }

    /// Forgets what the cache is not to keep, but for what waiting rows need.
    pub(super) fn tidy(&mut self, cache: Cache, now_ms: i64) -> Result<(), OperatorError> {
        let (rows_max, ttl_ms, keeps_missing) = match cache {
            Cache::None => (0, None, false),
            Cache::Partial { rows_max, ttl_ms, keeps_missing } => (rows_max, ttl_ms, keeps_missing),
        };
        let mut needed = Vec::new();
        while let Some(oldest) = self.order.front().copied() {
            let is_old = ttl_ms.is_some_and(|ttl_ms| oldest.at_ms.saturating_add(ttl_ms) < now_ms);
            if self.row_count <= rows_max && !is_old {
                break;
            }
            self.order.pop_front();
            let key = self.key(oldest.key);
            if key.answered != oldest.question {
                continue;
            }
            if key.pins > 0 {
                needed.push(oldest);
            } else {
                self.drop_rows(oldest.key);
            }
        }
        for entry in needed.into_iter().rev() {
            self.order.push_front(entry);
        }
        if !keeps_missing {
            self.drop_missing();
        }
        if self.side.is_sparse() {
            self.side.compact()?;
        }
        Ok(())
    }

    /// Forgets that keys have no rows.
    fn drop_missing(&mut self) {
        let is_missing = |key: Key| key.pins == 0 && key.answered > 0 && key.row_count == 0;
        let missing = self.order.iter().filter(|answered| is_missing(self.key(answered.key)));
        for key in missing.map(|answered| answered.key).collect::<Vec<u32>>() {
            self.drop_rows(key);
        }
        let keys = &self.keys;
        let is_current =
            |answered: &Answered| keys.get(answered.key as usize).is_some_and(|key| key.answered == answered.question);
        self.order.retain(is_current);
    }

    /// Whether there are so many keys that those should be looked for that nobody needs.
    pub(super) fn is_crowded(&self) -> bool {
        self.numbers.len() >= self.forget_at
    }

    /// Forgets keys of which nothing is known, that no row waits for and that `is_open` does not name. Returns by old
    /// number the new one, or [`NONE`].
    pub(super) fn forget_keys(&mut self, is_open: impl Fn(u32) -> bool) -> Result<Vec<u32>, OperatorError> {
        let is_needed = |number: &u32| {
            let key = self.key(*number);
            key.answered > 0 || key.pins > 0 || is_open(*number)
        };
        let kept: Vec<u32> = (0..self.numbers.len() as u32).filter(is_needed).collect();
        self.forget_at = (2 * kept.len()).max(FORGET_MIN);
        let mut numbers = vec![NONE; self.numbers.len()];
        for (new, old) in kept.iter().enumerate() {
            if let Some(number) = numbers.get_mut(*old as usize) {
                *number = new as u32;
            }
        }
        self.numbers.keep(&kept)?;
        self.side.renumber_keys(&numbers, kept.len());
        self.keys = kept.iter().map(|number| self.key(*number)).collect();
        let keys = &self.keys;
        self.order.retain_mut(|answered| {
            answered.key = numbers.get(answered.key as usize).copied().unwrap_or(NONE);
            keys.get(answered.key as usize).is_some_and(|key| key.answered == answered.question)
        });
        Ok(numbers)
    }

    /// Takes the whole table in, in place of what is known.
    pub(super) fn replace(&mut self, rows: Vec<(RecordBatch, Vec<ArrayRef>)>) -> Result<(), OperatorError> {
        let mut new = Self::new(self.types.clone(), self.schema.clone())?;
        for (batch, key_columns) in rows {
            let keys = new.numbers.number(&key_columns, batch.num_rows())?;
            let is_keyed = |row: &u32| keys.get(*row as usize) != Some(&NONE);
            let keyed: Vec<u32> = (0..batch.num_rows() as u32).filter(is_keyed).collect();
            let rows = if keyed.len() == batch.num_rows() {
                batch
            } else {
                take_rows(&batch, &UInt32Array::from(keyed.clone()))?
            };
            let keys = keyed.iter().filter_map(|row| keys.get(*row as usize).copied());
            new.side.insert(rows, keys, std::iter::empty())?;
        }
        // All of these are known, whatever the rows to come ask for.
        new.keys = vec![Key { answered: 1, ..Key::default() }; new.numbers.len()];
        new.forget_at = (2 * new.numbers.len()).max(FORGET_MIN);
        *self = new;
        Ok(())
    }

    /// Heap memory held, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        self.numbers.size_bytes()
            + self.side.size_bytes()
            + self.keys.capacity() * size_of::<Key>()
            + self.order.capacity() * size_of::<Answered>()
    }
}

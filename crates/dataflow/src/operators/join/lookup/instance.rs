//! The running lookup join: rows that wait, the questions that are open, and what comes of answers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_arrays;
use arrow::datatypes::{DataType, Schema, SchemaRef};

use super::known::Known;
use super::preparation::{chain_of, prepared};
use super::{Cache, LookupJoin};
use crate::batch::Batch;
use crate::chain::Chain;
use crate::coalesce::{BATCH_ROWS, Coalescer};
use crate::definition::Port;
use crate::operator::{Answer, Operator, OperatorError, Output, Question};
use crate::operators::join::changes::{Changes, Layout};
use crate::operators::join::condition::{BoundCondition, Pairs, stored_columns};
use crate::operators::join::keys::NONE;
use crate::operators::join::kind::{JoinKind, Side, Sides};
use crate::operators::{emit_in_parts, rows_of};
use crate::state::StatePart;
use crate::time::Watermark;

/// So many pairs are gathered at a time: a bound on memory where many rows match many.
const PAIRS_MAX: usize = 4 * BATCH_ROWS;

/// A table that is held as a whole may take so much memory on each subtask.
const TABLE_BYTES_MAX: usize = 1 << 30;

/// See the module above.
pub(super) struct LookupInstance {
    join: LookupJoin,
    preparation: Chain,
    /// The columns of the prepared rows that are kept.
    kept_columns: Vec<usize>,
    kept_schema: SchemaRef,
    known: Known,
    condition: Option<BoundCondition>,
    layout: Layout,
    pending: Coalescer,
    /// Rows and watermarks, in the order in which they came.
    line: VecDeque<Waiting>,
    waiting_rows: usize,
    /// The question that is put together in this turn.
    next: Asking,
    next_number: u64,
    /// The keys of the questions that are not answered yet.
    open: HashMap<u64, Vec<u32>>,
    questions: Vec<Question>,
    /// How far time may go on behind the rows that have come out.
    passed: Watermark,
    /// Whether the table is there, where it is held as a whole.
    is_loaded: bool,
    now_ms: i64,
}

/// Something that waits for its turn.
enum Waiting {
    /// Rows, the numbers of their keys, and the last question that any of them needs answered.
    Rows { rows: RecordBatch, keys: Vec<u32>, questions: Vec<u64> },
    /// Time, which must not overtake the rows before it.
    Time(Watermark),
}

/// Keys of a question, and their values.
#[derive(Default)]
struct Asking {
    keys: Vec<u32>,
    values: Vec<Vec<ArrayRef>>,
}

impl LookupInstance {
    pub(super) fn new(join: &LookupJoin, inputs: &[Port], schema: &SchemaRef) -> Result<Self, OperatorError> {
        let [left] = inputs else {
            return Err(OperatorError::Unsupported(format!("a lookup join has one input, not {}", inputs.len())));
        };
        let type_of = |schema: &Schema, column: &usize| Some(schema.fields().get(*column)?.data_type().clone());
        let types: Vec<DataType> = join.keys.left.iter().filter_map(|key| type_of(&left.schema, key)).collect();
        if types != join.keys.right.iter().filter_map(|key| type_of(&join.right, key)).collect::<Vec<_>>() {
            return Err(OperatorError::Unsupported("the keys of a join's sides must have the same types".to_owned()));
        }
        let kept_columns = stored_columns(&join.outputs, join.condition.as_ref(), &[], Side::Right);
        let kept_schema = Arc::new(join.right.project(&kept_columns)?);
        let stored = |column: &usize| kept_columns.binary_search(column).ok();
        let layout = Layout {
            schema: Arc::clone(schema),
            incoming: join.outputs.clone(),
            stored: Sides { left: Vec::new(), right: join.outputs.right.iter().filter_map(stored).collect() },
            is_updating: false,
            gives_mark: false,
        };
        let right = Port { schema: Arc::clone(&join.right), is_updating: false };
        let ports = Sides { left, right: &right };
        Ok(Self {
            preparation: chain_of(&join.preparation),
            known: Known::new(types, Arc::clone(&kept_schema))?,
            kept_columns,
            kept_schema,
            condition: join.condition.as_ref().map(|condition| BoundCondition::new(condition, &ports)),
            layout,
            pending: Coalescer::new(BATCH_ROWS),
            line: VecDeque::new(),
            waiting_rows: 0,
            next: Asking::default(),
            next_number: 1,
            open: HashMap::new(),
            questions: Vec::new(),
            passed: Watermark::UNKNOWN,
            is_loaded: join.read.keys.is_some(),
            now_ms: i64::MIN,
            join: join.clone(),
        })
    }

    /// Whether the table comes as a whole.
    fn is_whole(&self) -> bool {
        self.join.read.keys.is_none()
    }

    /// Lets rows wait for the answers to their keys, and puts the keys that must be asked for into the next question.
    fn wait(&mut self, rows: RecordBatch, key_columns: &[ArrayRef], keys: Vec<u32>) -> Result<(), OperatorError> {
        let mut asked_rows: Vec<u32> = Vec::new();
        let mut questions: Vec<u64> = Vec::new();
        for (row, number) in keys.iter().enumerate() {
            let next_number = self.next_number;
            let Some(key) = self.known.key_mut(*number) else { continue };
            key.pins += 1;
            let is_known = match self.join.cache {
                Cache::None => false,
                Cache::Partial { .. } => key.answered > 0 || self.open.contains_key(&key.asked),
            };
            if !is_known && key.asked != next_number {
                key.asked = next_number;
                asked_rows.push(row as u32);
                self.next.keys.push(*number);
            }
            let awaits = key.asked == next_number || self.open.contains_key(&key.asked);
            if awaits && key.answered < key.asked && !questions.contains(&key.asked) {
                questions.push(key.asked);
            }
        }
        if !asked_rows.is_empty() {
            let columns: Vec<ArrayRef> =
                self.join.asked_by.iter().filter_map(|pair| key_columns.get(*pair).cloned()).collect();
            self.next.values.push(take_arrays(&columns, &UInt32Array::from(asked_rows), None)?);
        }
        self.waiting_rows += rows.num_rows();
        self.line.push_back(Waiting::Rows { rows, keys, questions });
        Ok(())
    }

    /// Hands the question of this turn out.
    fn ask(&mut self) -> Result<(), OperatorError> {
        if self.next.keys.is_empty() {
            return Ok(());
        }
        let Asking { keys, values } = std::mem::take(&mut self.next);
        let columns = (0..self.join.asked_by.len()).map(|column| {
            let parts: Vec<&dyn arrow::array::Array> =
                values.iter().filter_map(|part| part.get(column)).map(AsRef::as_ref).collect();
            arrow::compute::concat(&parts)
        });
        let columns: Vec<(String, ArrayRef)> = columns
            .enumerate()
            .map(|(number, column)| column.map(|column| (format!("key {number}"), column)))
            .collect::<Result<_, _>>()?;
        let number = self.next_number;
        self.next_number += 1;
        self.questions.push(Question {
            number,
            keys: RecordBatch::try_from_iter_with_nullable(
                columns.into_iter().map(|(name, column)| (name, column, true)),
            )?,
        });
        self.open.insert(number, keys);
        Ok(())
    }

    /// Rows of the table as they are kept, with their key columns.
    fn prepare(&mut self, rows: RecordBatch) -> Result<Vec<(RecordBatch, Vec<ArrayRef>)>, OperatorError> {
        let mut kept = Vec::new();
        for rows in prepared(&mut self.preparation, rows)? {
            let columns = |wanted: &[usize]| -> Vec<ArrayRef> {
                wanted.iter().filter_map(|column| rows.columns().get(*column).cloned()).collect()
            };
            let keys = columns(&self.join.keys.right);
            kept.push((rows_of(&self.kept_schema, columns(&self.kept_columns), rows.num_rows())?, keys));
        }
        Ok(kept)
    }

    fn learn(&mut self, number: u64, rows: RecordBatch) -> Result<(), OperatorError> {
        let Some(asked) = self.open.remove(&number) else { return Ok(()) };
        let mut found = Vec::new();
        for (rows, key_columns) in self.prepare(rows)? {
            let keys = self.known.number(&key_columns, rows.num_rows())?;
            found.push((rows, keys));
        }
        self.known.learn(&asked, number, &found, self.now_ms)
    }

    /// Gives out what need not wait any longer, up to the first that must.
    fn give_out(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        while let Some(first) = self.line.front() {
            if let Waiting::Rows { questions, .. } = first
                && questions.iter().any(|question| *question == self.next_number || self.open.contains_key(question))
            {
                break;
            }
            match self.line.pop_front() {
                Some(Waiting::Rows { rows, keys, .. }) => {
                    self.waiting_rows -= rows.num_rows();
                    self.join(&rows, &keys, out)?;
                    for number in &keys {
                        if let Some(key) = self.known.key_mut(*number) {
                            key.pins -= 1;
                        }
                    }
                }
                Some(Waiting::Time(watermark)) => self.passed = watermark,
                None => {}
            }
        }
        self.known.tidy(self.join.cache, self.now_ms)?;
        if self.known.is_crowded() {
            self.forget_keys()?;
        }
        Ok(())
    }

    fn forget_keys(&mut self) -> Result<(), OperatorError> {
        let mut open: Vec<u32> = self.open.values().flatten().chain(&self.next.keys).copied().collect();
        open.sort_unstable();
        let numbers = self.known.forget_keys(|key| open.binary_search(&key).is_ok())?;
        let renumber = |key: &mut u32| *key = numbers.get(*key as usize).copied().unwrap_or(NONE);
        self.open.values_mut().flatten().for_each(renumber);
        self.next.keys.iter_mut().for_each(renumber);
        for waiting in &mut self.line {
            if let Waiting::Rows { keys, .. } = waiting {
                keys.iter_mut().for_each(renumber);
            }
        }
        Ok(())
    }

    /// Joins rows with what is known of their keys.
    fn join(&mut self, rows: &RecordBatch, keys: &[u32], out: &mut dyn Output) -> Result<(), OperatorError> {
        let mut begin = 0;
        while begin < keys.len() {
            let mut pairs = Changes::default();
            let mut end = begin;
            while let Some(key) = keys.get(end).filter(|_| pairs.len() < PAIRS_MAX) {
                let mut found = if *key == NONE { NONE } else { self.known.side.head(*key) };
                while found != NONE {
                    pairs.pair(end as u32, found, 0, &self.layout);
                    found = self.known.side.after(found);
                }
                end += 1;
            }
            if let Some(condition) = &self.condition {
                let (side, stored) = (Side::Left, &self.known.side);
                pairs = condition.judge(&Pairs { side, rows, stored, stored_columns: &self.kept_columns }, pairs)?;
            }
            if self.join.kind == JoinKind::Left {
                pairs = padded(&pairs, begin as u32..end as u32, &self.layout);
            }
            begin = end;
            if pairs.len() > 0 {
                let batch = pairs.gather(Side::Left, rows.columns(), &self.known.side, &self.layout)?;
                if let Some(batch) = self.pending.push(batch)? {
                    emit_in_parts(&batch, out);
                }
            }
        }
        Ok(())
    }

    /// Takes the whole table in.
    fn load(&mut self, table: Vec<RecordBatch>) -> Result<(), OperatorError> {
        let mut rows = Vec::new();
        for batch in table {
            rows.extend(self.prepare(batch)?);
        }
        self.known.replace(rows)?;
        if self.known.size_bytes() > TABLE_BYTES_MAX {
            let reason = format!(
                "the table {} that is looked up takes more than 1 GiB on every subtask; select the columns and rows that are \
                 needed, or join it without FOR SYSTEM_TIME AS OF",
                self.join.read.table
            );
            return Err(OperatorError::Unsupported(reason));
        }
        self.is_loaded = true;
        Ok(())
    }
}

/// The pairs, and in their places the rows of a range that are in none.
fn padded(pairs: &Changes, rows: std::ops::Range<u32>, layout: &Layout) -> Changes {
    let mut padded = Changes::default();
    let mut found = pairs.incoming.iter().zip(&pairs.stored).peekable();
    for row in rows {
        let mut is_alone = true;
        while let Some((_, stored)) = found.next_if(|(of, _)| **of == row) {
            padded.pair(row, *stored, 0, layout);
            is_alone = false;
        }
        if is_alone {
            padded.pair(row, NONE, 0, layout);
        }
    }
    padded
}

impl Operator for LookupInstance {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let columns = self.join.keys.left.iter().filter_map(|column| batch.rows.columns().get(*column).cloned());
        let columns: Vec<ArrayRef> = columns.collect();
        let keys = self.known.number(&columns, batch.num_rows())?;
        if !self.is_whole() {
            return self.wait(batch.rows, &columns, keys);
        }
        self.join(&batch.rows, &keys, out)?;
        if self.known.is_crowded() {
            self.forget_keys()?;
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.ask()?;
        self.give_out(out)?;
        if let Some(batch) = self.pending.flush()? {
            emit_in_parts(&batch, out);
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, _: &mut dyn Output) -> Result<(), OperatorError> {
        match self.line.back_mut() {
            None => self.passed = watermark,
            Some(Waiting::Time(last)) => *last = watermark,
            Some(Waiting::Rows { .. }) => self.line.push_back(Waiting::Time(watermark)),
        }
        Ok(())
    }

    fn holds_back(&self) -> Option<Watermark> {
        (!self.line.is_empty()).then_some(self.passed)
    }

    fn take_questions(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.questions)
    }

    fn on_answer(&mut self, answer: Answer, _: &mut dyn Output) -> Result<(), OperatorError> {
        match answer {
            Answer::Rows { number, rows } => self.learn(number, rows),
            Answer::Table(table) => self.load(table),
        }
    }

    fn accepts(&self, _port: usize) -> bool {
        self.is_loaded && self.waiting_rows < self.join.capacity
    }

    fn wants_clock(&self) -> bool {
        matches!(self.join.cache, Cache::Partial { ttl_ms: Some(_), .. }) && !self.is_whole()
    }

    fn on_clock(&mut self, now_ms: i64, _: &mut dyn Output) -> Result<(), OperatorError> {
        self.now_ms = now_ms;
        self.known.tidy(self.join.cache, now_ms)
    }

    /// Nothing: no row waits at a cut, rows that came out are never taken back, and what was answered is asked for again:
    /// each row is joined with what the table holds when the row is processed.
    fn seal(&mut self, _whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        Ok(Vec::new())
    }

    fn resume(&mut self, watermark: Watermark) {
        self.passed = watermark;
    }

    fn state_size_bytes(&self) -> usize {
        let size = |waiting: &Waiting| match waiting {
            Waiting::Rows { rows, keys, .. } => {
                Batch::append(rows.clone()).size_bytes() + keys.capacity() * size_of::<u32>()
            }
            Waiting::Time(_) => 0,
        };
        self.known.size_bytes() + self.line.iter().map(size).sum::<usize>()
    }
}

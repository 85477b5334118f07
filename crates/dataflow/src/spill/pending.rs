//! What a slice that is asleep has still to hear, in the order in which it came: rows of each input, how far time has come,
//! which inputs have ended. Rows that take too much memory are put away, input by input; their order is kept here.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt8Array, new_null_array};
use arrow::datatypes::{DataType, Field, Schema};

use crate::batch::Batch;
use crate::coalesce::BATCH_ROWS;
use crate::operator::OperatorError;
use crate::state::{ReadRows, StateStore, StoredRows};
use crate::time::Watermark;

/// What an operator hears.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Rows of an input.
    Rows(usize, Batch),
    /// Event time has come so far.
    Watermark(Watermark),
    /// The machine's clock has come so far.
    Clock(i64),
    /// An input has ended.
    End(usize),
    /// All that stands is to be given once more.
    Again,
}

/// The same, but for the rows, which stand with their input.
#[derive(Clone, Copy, Debug)]
enum Mark {
    Rows(usize),
    Watermark(Watermark),
    Clock(i64),
    End(usize),
    Again,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pending {
    marks: VecDeque<Mark>,
    inputs: Vec<Input>,
    memory_bytes: usize,
    stored_bytes: usize,
}

#[derive(Debug, Default)]
struct Input {
    stored: VecDeque<Arc<dyn StoredRows>>,
    /// The one of those that is being read.
    reading: Option<Reading>,
    /// Those that came after; each the rows of one mark.
    here: VecDeque<Run>,
}

struct Reading(ReadRows);

/// Batches that came one behind the other.
#[derive(Debug, Default)]
struct Run {
    batches: Vec<Batch>,
    row_count: usize,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reading")
    }
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Whether rows are among it.
    pub(super) fn has_rows(&self) -> bool {
        self.memory_bytes + self.stored_bytes > 0
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    pub(super) fn stored_bytes(&self) -> usize {
        self.stored_bytes
    }

    pub(super) fn push(&mut self, event: Event) {
        let last = self.marks.back().copied();
        let mark = match event {
            Event::Rows(port, batch) => {
                let joins = matches!(last, Some(Mark::Rows(last)) if last == port);
                if self.push_rows(port, batch, joins) {
                    return;
                }
                Mark::Rows(port)
            }
            Event::Watermark(watermark) => Mark::Watermark(watermark),
            Event::Clock(now_ms) => Mark::Clock(now_ms),
            Event::End(port) => Mark::End(port),
            Event::Again => Mark::Again,
        };
        // Of two times with nothing between, the later says it all.
        if matches!(
            (last, mark),
            (Some(Mark::Watermark(_)), Mark::Watermark(_)) | (Some(Mark::Clock(_)), Mark::Clock(_))
        ) {
            self.marks.pop_back();
        }
        self.marks.push_back(mark);
    }

    /// Keeps rows; whether they have joined those before them.
    fn push_rows(&mut self, port: usize, batch: Batch, may_join: bool) -> bool {
        if self.inputs.len() <= port {
            self.inputs.resize_with(port + 1, Input::default);
        }
        let Some(input) = self.inputs.get_mut(port) else { return false };
        self.memory_bytes += batch.size_bytes();
        match input.here.back_mut().filter(|run| may_join && run.row_count < BATCH_ROWS) {
            Some(run) => {
                run.push(batch);
                true
            }
            None => {
                let mut run = Run::default();
                run.push(batch);
                input.here.push_back(run);
                false
            }
        }
    }

    /// Puts all rows away.
    pub(super) fn put_away(&mut self, store: &dyn StateStore) -> Result<(), OperatorError> {
        for input in &mut self.inputs {
            let runs = std::mem::take(&mut input.here);
            let runs = runs.into_iter().map(|run| with_kinds(&run.into_batch()?)).collect::<Result<Vec<_>, _>>()?;
            if !runs.is_empty() {
                let stored = store.put(&runs)?;
                self.stored_bytes += stored.size_bytes();
                input.stored.push_back(stored);
            }
        }
        self.memory_bytes = 0;
        Ok(())
    }

    /// The next of what there is to hear.
    pub(super) fn pop(&mut self) -> Result<Option<Event>, OperatorError> {
        let Some(mark) = self.marks.pop_front() else {
            *self = Self::default();
            return Ok(None);
        };
        Ok(Some(match mark {
            Mark::Watermark(watermark) => Event::Watermark(watermark),
            Mark::Clock(now_ms) => Event::Clock(now_ms),
            Mark::End(port) => Event::End(port),
            Mark::Again => Event::Again,
            Mark::Rows(port) => {
                let rows = self.inputs.get_mut(port).map_or(Ok(None), Input::pop)?;
                Event::Rows(port, rows.ok_or_else(lost)?)
            }
        }))
    }
}

impl Input {
    /// The rows of the next mark.
    fn pop(&mut self) -> Result<Option<Batch>, OperatorError> {
        loop {
            if let Some(Reading(reading)) = &mut self.reading {
                match reading.next() {
                    Some(rows) => return Ok(Some(without_kinds(&rows?)?)),
                    None => self.reading = None,
                }
            }
            let Some(stored) = self.stored.pop_front() else { break };
            self.reading = Some(Reading(stored.read()?));
        }
        self.here.pop_front().map(Run::into_batch).transpose()
    }
}

impl Run {
    fn push(&mut self, batch: Batch) {
        self.row_count += batch.num_rows();
        self.batches.push(batch);
    }

    fn into_batch(self) -> Result<Batch, OperatorError> {
        Batch::concat(&self.batches)?.ok_or_else(lost)
    }
}

fn lost() -> OperatorError {
    OperatorError::Unsupported("rows that waited are lost; this is a defect, please report it".to_owned())
}

/// Rows as they are put away: their kinds are one column more, null where all are inserts.
fn with_kinds(batch: &Batch) -> Result<RecordBatch, OperatorError> {
    let mut fields: Vec<_> = batch.rows.schema_ref().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("kind", DataType::UInt8, true)));
    let kinds = match &batch.kinds {
        Some(kinds) => Arc::new(kinds.clone()) as ArrayRef,
        None => new_null_array(&DataType::UInt8, batch.num_rows()),
    };
    let columns = batch.rows.columns().iter().cloned().chain([kinds]).collect();
    let metadata = batch.rows.schema_ref().metadata().clone();
    Ok(RecordBatch::try_new(Arc::new(Schema::new_with_metadata(fields, metadata)), columns)?)
}

fn without_kinds(rows: &RecordBatch) -> Result<Batch, OperatorError> {
    let mut rows = rows.clone();
    let kinds = rows.remove_column(rows.num_columns().saturating_sub(1));
    let kinds: Option<UInt8Array> = kinds.as_primitive_opt().filter(|_| kinds.null_count() < kinds.len()).cloned();
    Ok(Batch { rows, kinds })
}

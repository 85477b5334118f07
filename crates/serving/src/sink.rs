//! The end of a view's dataflow: collects the changes of each subtask, and applies them at watermarks.
//!
//! Changes before a watermark are one step of the result; they become visible together, when every subtask has come to
//! that watermark. So a reader never sees half of what one moment of event time changed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use async_trait::async_trait;
use mulgil_connect::error::ConnectError;
use mulgil_connect::sink::{Delivery, Sink, SinkWriter};
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::state::{Lies, StatePart};
use mulgil_dataflow::time::Watermark;
use tokio::sync::Notify;

use crate::result::{ResultError, ResultTable};

/// Changes that may wait for other subtasks' watermarks, in rows; beyond, they are applied at once.
const STAGED_ROWS_MAX: usize = 1_000_000;

/// The sink of a view.
pub(crate) struct ResultSink {
    name: String,
    table: Arc<ResultTable>,
    subtasks: Arc<Mutex<Vec<Subtask>>>,
    changed: Arc<Notify>,
    /// The version of the result that was sealed last.
    sealed_version: AtomicU64,
}

/// What one subtask has handed over.
struct Subtask {
    watermark: Watermark,
    staged: VecDeque<(Watermark, Batch)>,
}

impl ResultSink {
    /// A sink into `table`; `changed` is told when readers would see something new.
    pub(crate) fn new(name: String, table: Arc<ResultTable>, changed: Arc<Notify>) -> Self {
        Self { name, table, subtasks: Arc::new(Mutex::new(Vec::new())), changed, sealed_version: u64::MAX.into() }
    }

    fn failed(&self, error: &ResultError) -> ConnectError {
        ConnectError::Definition { table: self.name.clone(), reason: error.to_string() }
    }
}

#[async_trait]
impl Sink for ResultSink {
    fn accepts_changes(&self) -> bool {
        true
    }

    /// The result is part of the checkpoint.
    fn delivery(&self) -> Delivery {
        Delivery::ExactlyOnce
    }

    fn is_forgotten(&self) -> bool {
        true
    }

    async fn writer(&self, subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        let mut subtasks = self.subtasks.lock().unwrap_or_else(PoisonError::into_inner);
        while subtasks.len() <= subtask {
            subtasks.push(Subtask { watermark: Watermark::UNKNOWN, staged: VecDeque::new() });
        }
        Ok(Box::new(ResultWriter {
            name: self.name.clone(),
            table: Arc::clone(&self.table),
            subtasks: Arc::clone(&self.subtasks),
            changed: Arc::clone(&self.changed),
            subtask,
            watermark: Watermark::UNKNOWN,
            collected: Vec::new(),
            collected_rows: 0,
        }))
    }

    /// The writers have handed everything over: the result is that of the cut.
    async fn seal(&self, whole: bool) -> Result<Option<Vec<StatePart>>, ConnectError> {
        let snapshot = self.table.snapshot().map_err(|error| self.failed(&error))?;
        let sealed = self.sealed_version.swap(snapshot.version, Ordering::Relaxed);
        if !whole && sealed == snapshot.version {
            return Ok(None);
        }
        let schema = snapshot.batches.first().map_or_else(|| Arc::clone(self.table.schema()), RecordBatch::schema);
        let rows = concat_batches(&schema, &snapshot.batches)?;
        Ok(Some(vec![StatePart::whole(ROWS, rows, Lies::Anywhere)]))
    }

    async fn restore(&self, _name: &str, rows: RecordBatch) -> Result<(), ConnectError> {
        self.table.apply(&[Batch::append(rows)]).map_err(|error| self.failed(&error))?;
        self.changed.notify_one();
        Ok(())
    }
}

/// The part of a sink's state that holds the result.
const ROWS: &str = "rows";

struct ResultWriter {
    name: String,
    table: Arc<ResultTable>,
    subtasks: Arc<Mutex<Vec<Subtask>>>,
    changed: Arc<Notify>,
    subtask: usize,
    watermark: Watermark,
    /// Changes since the last watermark.
    collected: Vec<Batch>,
    collected_rows: usize,
}

impl ResultWriter {
    /// Hands the collected changes over, and applies what all subtasks have come to; or, with `all`, everything of this
    /// subtask.
    fn hand_over(&mut self, watermark: Watermark, all: bool) -> Result<(), ConnectError> {
        let mut subtasks = self.subtasks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ready = Vec::new();
        if let Some(own) = subtasks.get_mut(self.subtask) {
            own.watermark = own.watermark.max(watermark);
            own.staged.extend(self.collected.drain(..).map(|batch| (watermark, batch)));
            if all {
                ready.extend(own.staged.drain(..).map(|(_, batch)| batch));
            }
        }
        self.collected_rows = 0;
        let reached = subtasks.iter().map(|subtask| subtask.watermark).min().unwrap_or(Watermark::UNKNOWN);
        for subtask in subtasks.iter_mut() {
            while subtask.staged.front().is_some_and(|(stage, _)| *stage <= reached) {
                ready.extend(subtask.staged.pop_front().map(|(_, batch)| batch));
            }
        }
        // The lock is still held: what is handed over first is applied first.
        let failed =
            |error: ResultError| ConnectError::Definition { table: self.name.clone(), reason: error.to_string() };
        self.table.apply(&ready).map_err(failed)?;
        if !ready.is_empty() {
            self.changed.notify_one();
        }
        Ok(())
    }
}

#[async_trait]
impl SinkWriter for ResultWriter {
    async fn write(&mut self, batch: Batch) -> Result<(), ConnectError> {
        self.collected_rows += batch.rows.num_rows();
        self.collected.push(batch);
        if self.collected_rows > STAGED_ROWS_MAX {
            return self.hand_over(self.watermark, true);
        }
        Ok(())
    }

    async fn on_watermark(&mut self, watermark: Watermark) -> Result<(), ConnectError> {
        self.watermark = watermark;
        self.hand_over(watermark, false)
    }

    async fn commit(&mut self) -> Result<(), ConnectError> {
        self.hand_over(self.watermark, true)
    }
}

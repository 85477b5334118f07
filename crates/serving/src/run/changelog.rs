//! The changes of a streaming `SELECT` as rows: their kind (`+I -U +U -D`) in a first column `op`.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use mulgil_connect::error::ConnectError;
use mulgil_connect::sink::{Sink, SinkWriter};
use mulgil_dataflow::batch::Batch;

/// Gathers changes in the order in which they come.
pub(super) struct ChangelogSink {
    schema: SchemaRef,
    rows_max: usize,
    gathered: Arc<Mutex<Vec<RecordBatch>>>,
}

impl ChangelogSink {
    pub(super) fn new(rows: &SchemaRef, rows_max: usize) -> Self {
        let op = Arc::new(Field::new("op", DataType::Utf8, false));
        let fields: Vec<Arc<Field>> = std::iter::once(op).chain(rows.fields().iter().cloned()).collect();
        Self { schema: Arc::new(Schema::new(fields)), rows_max, gathered: Arc::default() }
    }

    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    pub(super) fn take(&self) -> Vec<RecordBatch> {
        std::mem::take(&mut *self.gathered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Sink for ChangelogSink {
    fn accepts_changes(&self) -> bool {
        true
    }

    async fn writer(&self, _subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        Ok(Box::new(ChangelogWriter {
            schema: Arc::clone(&self.schema),
            rows_max: self.rows_max,
            gathered: Arc::clone(&self.gathered),
        }))
    }
}

struct ChangelogWriter {
    schema: SchemaRef,
    rows_max: usize,
    gathered: Arc<Mutex<Vec<RecordBatch>>>,
}

#[async_trait]
impl SinkWriter for ChangelogWriter {
    async fn write(&mut self, batch: Batch) -> Result<(), ConnectError> {
        let letters = |kind: u8| ["+I", "-U", "+U", "-D"].get(usize::from(kind)).copied().unwrap_or("?");
        let ops: StringArray = match &batch.kinds {
            Some(kinds) => kinds.iter().map(|kind| kind.map(letters)).collect(),
            None => (0..batch.rows.num_rows()).map(|_| Some("+I")).collect(),
        };
        let columns: Vec<ArrayRef> =
            std::iter::once(Arc::new(ops) as ArrayRef).chain(batch.rows.columns().iter().cloned()).collect();
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let row_count: usize = gathered.iter().map(RecordBatch::num_rows).sum();
        if row_count + rows.num_rows() > self.rows_max {
            return Err(ConnectError::Definition {
                table: "changelog".to_owned(),
                reason: format!("more than {} changes; write them to a table with INSERT INTO", self.rows_max),
            });
        }
        gathered.push(rows);
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), ConnectError> {
        Ok(())
    }
}

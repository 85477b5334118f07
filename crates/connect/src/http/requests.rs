//! Rows as requests: so many a request, one after the other, each with a key.
//!
//! With checkpoints the rows of an epoch are kept by the engine and sent when the checkpoint is durable. So what is in which request
//! does not depend on chance, and the key of a request, `pipeline/table/epoch/number`, is the same whenever the request is sent again, also
//! after a crash in the middle of an epoch: a receiver that heeds keys takes each row once. Without, rows are sent as they come, and keys are the
//! same for attempts of one run only.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use mulgil_dataflow::batch::Batch;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::endpoint::Endpoint;
use crate::conform::Conform;
use crate::error::ConnectError;
use crate::sink::{Delivery, Sink, SinkWriter, inserts};
use crate::transaction::Transaction;
use crate::wait::Waits;

/// How rows are said.
pub(crate) trait Body: Send + Sync {
    /// The body of a request with these rows; `None` where there is nothing to be said of them.
    fn of(&self, rows: &RecordBatch) -> Result<Option<Vec<u8>>, ConnectError>;
}

/// A table whose rows are sent.
pub(crate) struct Requests {
    pub(crate) table: String,
    pub(crate) conform: Conform,
    pub(crate) endpoint: Endpoint,
    pub(crate) body: Box<dyn Body>,
    /// Rows of a request.
    pub(crate) batch_rows: usize,
    /// Whether the receiver is told the keys.
    pub(crate) has_keys: bool,
}

impl Requests {
    /// The table as a sink.
    pub(crate) fn sink(self) -> RequestSink {
        RequestSink(Arc::new(self))
    }

    /// Sends some rows as one request, the one with this number among those with the same prefix.
    async fn send(&self, rows: &[RecordBatch], prefix: &str, number: &mut u64) -> Result<(), ConnectError> {
        let Some(first) = rows.first() else { return Ok(()) };
        let rows = concat_batches(first.schema_ref(), rows)?;
        if let Some(body) = self.body.of(&rows)? {
            let key = self.has_keys.then(|| format!("{prefix}/{number}"));
            self.endpoint.send(body, key.as_deref()).await?;
        }
        *number += 1;
        Ok(())
    }
}

/// See the module.
pub(crate) struct RequestSink(Arc<Requests>);

#[async_trait]
impl Sink for RequestSink {
    fn accepts_changes(&self) -> bool {
        false
    }

    fn transaction(&self) -> Option<Arc<dyn Transaction>> {
        Some(Arc::new(RequestSink(Arc::clone(&self.0))))
    }

    /// An epoch that a crash has stopped is sent again from its beginning.
    fn delivery(&self) -> Delivery {
        Delivery::AtLeastOnce
    }

    fn waits(&self) -> Option<Waits> {
        Some(self.0.endpoint.waits.clone())
    }

    async fn writer(&self, subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let prefix = format!("{}/{now:x}-{}/{subtask}", encoded(&self.0.table), std::process::id());
        Ok(Box::new(RequestWriter {
            requests: Arc::clone(&self.0),
            cutter: Cutter::new(self.0.batch_rows),
            prefix,
            number: 0,
        }))
    }
}

#[async_trait]
impl Transaction for RequestSink {
    fn remembers_epochs(&self) -> bool {
        false
    }

    async fn last_epoch(&self, _pipeline: &str) -> Result<Option<u64>, ConnectError> {
        Ok(None)
    }

    async fn apply(
        &self,
        pipeline: &str,
        epoch: u64,
        mut rows: BoxStream<'_, Result<Batch, ConnectError>>,
    ) -> Result<(), ConnectError> {
        let requests = &self.0;
        let prefix = format!("{}/{}/{epoch}", encoded(pipeline), encoded(&requests.table));
        let (mut cutter, mut number) = (Cutter::new(requests.batch_rows), 0);
        while let Some(batch) = rows.next().await {
            cutter.push(requests.conform.rows(inserts(&requests.table, &batch?)?)?);
            while let Some(full) = cutter.full() {
                requests.send(&full, &prefix, &mut number).await?;
            }
        }
        requests.send(&cutter.rest(), &prefix, &mut number).await
    }
}

/// Letters that a header can hold.
fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

struct RequestWriter {
    requests: Arc<Requests>,
    cutter: Cutter,
    prefix: String,
    number: u64,
}

#[async_trait]
impl SinkWriter for RequestWriter {
    async fn write(&mut self, batch: Batch) -> Result<(), ConnectError> {
        self.cutter.push(self.requests.conform.rows(inserts(&self.requests.table, &batch)?)?);
        while let Some(full) = self.cutter.full() {
            self.requests.send(&full, &self.prefix, &mut self.number).await?;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), ConnectError> {
        let rest = self.cutter.rest();
        self.requests.send(&rest, &self.prefix, &mut self.number).await
    }
}

/// Cuts rows into parts of one size, wherever batches end.
struct Cutter {
    rows_max: usize,
    held: Vec<RecordBatch>,
    held_rows: usize,
}

impl Cutter {
    fn new(rows_max: usize) -> Self {
        Self { rows_max, held: Vec::new(), held_rows: 0 }
    }

    fn push(&mut self, rows: RecordBatch) {
        if rows.num_rows() > 0 {
            self.held_rows += rows.num_rows();
            self.held.push(rows);
        }
    }

    /// A whole part, if there is one.
    fn full(&mut self) -> Option<Vec<RecordBatch>> {
        if self.held_rows < self.rows_max {
            return None;
        }
        let mut part = std::mem::take(&mut self.held);
        let excess = self.held_rows - self.rows_max;
        // Everything but the last batch was not enough for a part, or it would have been cut before.
        if let Some(last) = part.pop() {
            let kept = last.num_rows() - excess;
            part.push(last.slice(0, kept));
            if excess > 0 {
                self.held.push(last.slice(kept, excess));
            }
        }
        self.held_rows = excess;
        Some(part)
    }

    fn rest(&mut self) -> Vec<RecordBatch> {
        self.held_rows = 0;
        std::mem::take(&mut self.held)
    }
}

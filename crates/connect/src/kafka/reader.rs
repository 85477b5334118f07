//! Follows one partition: waits for records, decodes them off tokio's threads, one batch ahead of its caller.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use mulgil_dataflow::batch::Batch;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::KafkaTable;
use super::cursor::{Cursor, Span};
use super::source::Client;
use crate::error::ConnectError;
use crate::source::{PartitionReader, Position, Progress, Read};

/// How long records are gathered once one has come: a batch costs far more than a row.
const GATHER: Duration = Duration::from_millis(2);

/// A partition being read.
pub(super) struct KafkaReader {
    /// The reading and decoding that is under way. It is kept here, and not in `next`, which may be dropped.
    work: Option<JoinHandle<Worked>>,
    /// The cursor, while no work is under way.
    cursor: Option<Box<Cursor>>,
    client: Arc<Client>,
    arrived: Arc<Notify>,
    progress: Arc<Progress>,
    /// What is given out before any row: where reading begins, so that it is decided once and for all.
    beginning: Option<(RecordBatch, Position)>,
    skipped_rows: u64,
}

type Worked = (Box<Cursor>, Result<Option<(Batch, Position)>, ConnectError>);

impl KafkaReader {
    /// Begins to fetch. With `tells_beginning` the first thing read is no rows and the position where reading begins.
    pub(super) fn open(
        table: &KafkaTable,
        client: Arc<Client>,
        span: Span,
        projection: &[usize],
        tells_beginning: bool,
    ) -> Result<Self, ConnectError> {
        let progress = client.link.show(span.partition);
        let arrived = Arc::new(Notify::new());
        let tell = Arc::clone(&arrived);
        let cursor = Cursor::open(table, Arc::clone(&client), span, projection, move || tell.notify_one())?;
        let beginning = tells_beginning.then(|| (cursor.no_rows(), cursor.position()));
        Ok(Self { work: None, cursor: Some(Box::new(cursor)), client, arrived, progress, beginning, skipped_rows: 0 })
    }

    /// Starts to read on, unless that is under way.
    fn start_work(&mut self) {
        if let Some(mut cursor) = self.cursor.take() {
            self.work = Some(tokio::task::spawn_blocking(move || {
                let rows = cursor.read();
                (cursor, rows)
            }));
        }
    }
}

#[async_trait]
impl PartitionReader for KafkaReader {
    async fn next(&mut self) -> Result<Read, ConnectError> {
        if let Some((rows, position)) = self.beginning.take() {
            return Ok(Read::Rows(rows, position));
        }
        loop {
            self.start_work();
            let worked = match &mut self.work {
                Some(work) => work.await,
                None => return Ok(Read::End),
            };
            self.work = None;
            let (cursor, rows) = worked.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            self.skipped_rows = cursor.skipped_rows;
            let is_at_end = cursor.is_at_end();
            self.cursor = Some(cursor);
            if let Some((batch, position)) = rows? {
                self.start_work();
                return Ok(Read::of(batch, position));
            }
            if is_at_end {
                self.progress.set_lag(0);
                return Ok(Read::End);
            }
            tokio::select! {
                () = self.arrived.notified() => {}
                refusal = self.client.link.refusal() => return Err(refusal),
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    fn skipped_rows(&self) -> u64 {
        self.skipped_rows
    }

    fn progress(&self) -> Option<Arc<Progress>> {
        Some(Arc::clone(&self.progress))
    }
}

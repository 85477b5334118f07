//! A writer task: takes rows from the last queue to the sink, and commits when the job says that all input has been
//! written everywhere.

use std::sync::Arc;
use std::time::Duration;

use mulgil_connect::error::ConnectError;
use mulgil_connect::sink::{Sink, SinkWriter};
use mulgil_dataflow::time::Watermark;
use mulgil_dataflow::watermark::InputState;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::error::JobError;
use crate::metrics::JobMetrics;
use crate::queue::Message;
use crate::wiring::SinkWrite;

/// What writer tasks share.
#[derive(Clone)]
pub(crate) struct WriterContext {
    pub(crate) metrics: Arc<JobMetrics>,
    /// Told when a writer has had a cut, or has written all there will be.
    pub(crate) reports: mpsc::Sender<WriterReport>,
    /// Whether checkpoints are made: then what is staged is published with them.
    pub(crate) has_checkpoints: bool,
    /// Becomes true when all writers have: then each commits. So a job that fails has committed nothing of its end.
    pub(crate) commit: watch::Receiver<bool>,
    pub(crate) commit_interval: Option<Duration>,
}

/// What a writer says.
pub(crate) struct WriterReport {
    pub(crate) table: String,
    /// Whether there is nothing more to write; otherwise it has had a cut.
    pub(crate) has_ended: bool,
    /// What it has staged.
    pub(crate) staged: Vec<String>,
}

/// Writes what comes until the end, then commits.
pub(crate) async fn write_sink(
    write: SinkWrite,
    sink: Arc<dyn Sink>,
    mut context: WriterContext,
) -> Result<(), JobError> {
    let failed = |error: ConnectError| JobError::sink(&write.table, &error);
    let mut writer = sink.writer(write.writer).await.map_err(failed)?;
    write_all(&write, writer.as_mut(), &context).await.map_err(failed)?;
    let staged = if context.has_checkpoints { writer.seal(u64::MAX).await.map_err(failed)? } else { Vec::new() };
    let report = WriterReport { table: write.table.clone(), has_ended: true, staged };
    if context.reports.send(report).await.is_err() || context.commit.wait_for(|commit| *commit).await.is_err() {
        // The job is over already: nobody wants the commit.
        return Ok(());
    }
    writer.commit().await.map_err(failed)
}

async fn write_all(
    write: &SinkWrite,
    writer: &mut dyn SinkWriter,
    context: &WriterContext,
) -> Result<(), ConnectError> {
    let interval = context.commit_interval.map(|interval| interval.max(Duration::from_millis(1)));
    // The clock is read, and not only waited for: where rows always wait, timers may not run for long.
    let mut due = Instant::now();
    let mut watermark = Watermark::UNKNOWN;
    let mut uncommitted = false;
    loop {
        let wanted = interval.filter(|_| uncommitted);
        let item = if wanted.is_some() && Instant::now() >= due {
            None
        } else {
            tokio::select! {
                () = tokio::time::sleep_until(due), if wanted.is_some() => None,
                item = write.queue.wait_for_item() => Some(item),
            }
        };
        let Some(item) = item else {
            writer.commit().await?;
            uncommitted = false;
            due = Instant::now() + interval.unwrap_or_default();
            // What is committed can be read.
            context.metrics.changed.notify_one();
            // It may have taken long, and others want this thread too.
            tokio::task::yield_now().await;
            continue;
        };
        let row_bytes = item.row_bytes();
        match item.message {
            Message::Batch(batch) => {
                let row_count = batch.num_rows() as u64;
                writer.write(batch).await?;
                let now_ns = context.metrics.elapsed_ns();
                write.metrics.written.add(row_count, row_bytes, now_ns);
                write.metrics.latency.note(row_count, item.read_ns, now_ns);
                uncommitted = true;
            }
            Message::Time(time) => {
                if time.watermark > watermark {
                    watermark = time.watermark;
                    writer.on_watermark(watermark).await?;
                }
                write.metrics.time.set(time, context.metrics.elapsed_ns());
                if time.state == InputState::Finished {
                    return Ok(());
                }
            }
            Message::Cut(number) => {
                let staged = writer.seal(number).await?;
                uncommitted = false;
                let report = WriterReport { table: write.table.clone(), has_ended: false, staged };
                // The coordinator may have left, and then nobody wants the cut.
                let _ = context.reports.send(report).await;
            }
            // These go to and from subtasks.
            Message::Read(..) | Message::Question(_) | Message::Answer(_) => {}
        }
        context.metrics.changed.notify_one();
    }
}

//! A reader task: takes rows from one source partition, and puts them into the queue of the subtask that works on it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use mulgil_connect::error::ConnectError;
use mulgil_connect::source::{PartitionReader, Position, Read, Source};
use mulgil_dataflow::time::Watermark;
use mulgil_dataflow::watermark::{InputState, InputTime};

use crate::error::JobError;
use crate::metrics::JobMetrics;
use crate::queue::Message;
use crate::wiring::PartitionRead;

/// Reads a partition from `from` to its end.
pub(crate) async fn read_partition(
    read: PartitionRead,
    source: Arc<dyn Source>,
    from: Position,
    follow: bool,
    job: Arc<JobMetrics>,
) -> Result<(), JobError> {
    let failed = |error: ConnectError| JobError::Source { table: read.table.clone(), reason: error.to_string() };
    read.metrics.position.store(from, Relaxed);
    let mut reader = source.open(read.partition, from, &read.projection, follow).await.map_err(failed)?;
    let idle_timeout = source.time_options().idle_timeout.filter(|_| follow && !source.is_bounded());
    let mut is_idle = false;
    let mut read_to = from;
    loop {
        if let Some(aligned) = &read.aligned {
            aligned.wait_for_others(&read.metrics, read_to).await;
        }
        read.queue.wait_for_room().await;
        let next = next(reader.as_mut(), idle_timeout.filter(|_| !is_idle)).await.map_err(failed)?;
        read.metrics.skipped_rows.store(reader.skipped_rows(), Relaxed);
        match next {
            Read::Rows(rows, position) => {
                is_idle = false;
                read_to = position;
                read.queue.push(read.sender, Message::Read(rows, position), job.elapsed_ns());
            }
            Read::Idle if is_idle => {}
            Read::Idle => {
                is_idle = true;
                read.queue.push(read.sender, Message::Time(time(InputState::Idle)), job.elapsed_ns());
            }
            Read::End => {
                read.queue.push(read.sender, Message::Time(time(InputState::Finished)), job.elapsed_ns());
                return Ok(());
            }
        }
    }
}

/// What the reader has next; idleness, when that takes too long.
async fn next(reader: &mut dyn PartitionReader, idle_timeout: Option<Duration>) -> Result<Read, ConnectError> {
    let Some(idle_timeout) = idle_timeout else { return reader.next().await };
    // A reader that is dropped while it waits has lost nothing.
    tokio::time::timeout(idle_timeout, reader.next()).await.unwrap_or(Ok(Read::Idle))
}

/// A partition's watermark comes from its rows, so its reader speaks of its state only.
fn time(state: InputState) -> InputTime {
    InputTime { watermark: Watermark::UNKNOWN, state }
}

//! A reader task: takes rows from one source partition, and puts them into the queue of the subtask that works on it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use mulgil_connect::error::ConnectError;
use mulgil_connect::source::{Position, Read, Source};
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
    let mut is_idle = false;
    loop {
        read.queue.wait_for_room().await;
        let next = reader.next().await.map_err(failed)?;
        read.metrics.skipped_rows.store(reader.skipped_rows(), Relaxed);
        match next {
            Read::Rows(rows, position) => {
                is_idle = false;
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

/// A partition's watermark comes from its rows, so its reader speaks of its state only.
fn time(state: InputState) -> InputTime {
    InputTime { watermark: Watermark::UNKNOWN, state }
}

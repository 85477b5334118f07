//! A reader task: takes rows from one source partition, and puts them into the queue of the subtask that works on it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use mulgil_connect::error::ConnectError;
use mulgil_connect::source::{PartitionReader, Position, Read, Source};
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::time::Watermark;
use mulgil_dataflow::watermark::{InputState, InputTime};
use tokio::sync::watch;

use crate::checkpointer::Checkpointer;
use crate::crash;
use crate::error::JobError;
use crate::metrics::JobMetrics;
use crate::pace::Pace;
use crate::queue::Message;
use crate::wiring::PartitionRead;

/// Reads a partition from `from` to its end, no faster than `pace` says.
pub(crate) async fn read_partition(
    read: PartitionRead,
    source: Arc<dyn Source>,
    (from, follow, pace): (Position, bool, Pace),
    job: Arc<JobMetrics>,
    mut cuts: ReaderCuts,
) -> Result<(), JobError> {
    let failed = |error: ConnectError| JobError::source(&read.table, &error);
    read.metrics.position.store(from, Relaxed);
    let mut reader = source.open(read.partition, from, &read.projection, follow).await.map_err(failed)?;
    if let Some(progress) = reader.progress() {
        // A partition is opened once.
        let _ = read.metrics.progress.set(progress);
    }
    let idle_timeout = source.time_options().idle_timeout.filter(|_| follow && !source.is_bounded());
    let mut is_idle = false;
    let mut read_to = from;
    if read.to_end {
        cuts.never_stop();
    }
    loop {
        let idle_timeout = idle_timeout.filter(|_| !is_idle);
        let next = tokio::select! {
            biased;
            number = cuts.asked() => {
                job.cuts.add_position(read.metrics.node, &read.metrics.partition, read_to);
                read.queue.push(read.sender, Message::Cut(number), job.elapsed_ns());
                cuts.released(number).await;
                continue;
            }
            next = next(&read, reader.as_mut(), (read_to, &pace, &job), idle_timeout) => next.map_err(failed)?,
        };
        read.metrics.skipped_rows.store(reader.skipped_rows(), Relaxed);
        let (batch, position) = match next {
            Read::Rows(rows, position) => (Batch::append(rows), position),
            Read::Changes(changes, position) => (changes, position),
            Read::Idle if is_idle => continue,
            Read::Idle => {
                is_idle = true;
                read.queue.push(read.sender, Message::Time(time(InputState::Idle)), job.elapsed_ns());
                continue;
            }
            Read::End => {
                job.cuts.add_position(read.metrics.node, &read.metrics.partition, read_to);
                read.queue.push(read.sender, Message::Time(time(InputState::Finished)), job.elapsed_ns());
                return Ok(());
            }
        };
        is_idle = false;
        pace.spend(batch.rows.num_rows());
        read_to = position;
        read.queue.push(read.sender, Message::Read(batch, position), job.elapsed_ns());
        if read.metrics.comes_first {
            crash::point("in the middle of an archive");
        }
    }
}

/// When readers are to stop for a cut, and when they may go on.
#[derive(Clone)]
pub(crate) struct ReaderCuts {
    /// The number of the cut that was asked for last.
    pub(crate) asked: watch::Receiver<u64>,
    /// The number of the cut that was released last.
    pub(crate) released: watch::Receiver<u64>,
    /// The number of the cut that this reader stopped for last.
    pub(crate) stopped_for: u64,
}

impl ReaderCuts {
    /// What readers hear of a job's checkpoints.
    pub(crate) fn of(checkpointer: Option<&Checkpointer>) -> Self {
        // Without checkpoints nobody is at the other end, and nothing is ever asked.
        let never = || (watch::channel(0).1, watch::channel(0).1);
        let (asked, released) = checkpointer.map_or_else(never, Checkpointer::for_readers);
        let stopped_for = *asked.borrow();
        Self { asked, released, stopped_for }
    }

    /// Lets the reader read on through all cuts: others wait for it.
    fn never_stop(&mut self) {
        self.stopped_for = u64::MAX;
    }

    /// Waits for a cut to stop for.
    async fn asked(&mut self) -> u64 {
        let stopped_for = self.stopped_for;
        let asked = self.asked.wait_for(|number| *number > stopped_for).await.map(|number| *number);
        // The job is over when nobody can ask any more: whoever reads will be stopped.
        let Ok(number) = asked else { return std::future::pending().await };
        self.stopped_for = number;
        number
    }

    /// Waits until the job goes on.
    async fn released(&mut self, number: u64) {
        let is_over = self.released.wait_for(|released| *released >= number).await.is_err();
        if is_over {
            std::future::pending::<()>().await;
        }
    }
}

/// What the reader has next, once there is room for it and those that it waits for have come as far; idleness, when it
/// takes too long. May be dropped while it waits, and has lost nothing.
async fn next(
    read: &PartitionRead,
    reader: &mut dyn PartitionReader,
    (read_to, pace, job): (Position, &Pace, &JobMetrics),
    idle_timeout: Option<Duration>,
) -> Result<Read, ConnectError> {
    if let Some(first) = &read.first {
        first.wait_for_end().await;
    }
    if let Some(aligned) = &read.aligned {
        aligned.wait_for_others(&read.metrics, read_to, job).await;
    }
    pace.wait().await;
    read.queue.wait_for_room().await;
    let Some(idle_timeout) = idle_timeout else { return reader.next().await };
    // A reader that is dropped while it waits has lost nothing.
    tokio::time::timeout(idle_timeout, reader.next()).await.unwrap_or(Ok(Read::Idle))
}

/// A partition's watermark comes from its rows, so its reader speaks of its state only.
fn time(state: InputState) -> InputTime {
    InputTime { watermark: Watermark::UNKNOWN, state }
}

//! One way out of a subtask: an exchange, as seen from the sending side. Slivers are joined before they enter a queue.

use arrow::error::ArrowError;
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::coalesce::Coalescer;
use mulgil_dataflow::scatter::HashScatter;
use mulgil_dataflow::watermark::InputTime;
use std::sync::Arc;

use crate::queue::{Message, Queue};

/// A batch of this many rows is worth its way through a queue.
const BATCH_ROWS_MIN: usize = 1_024;

/// Which destination gets a row.
#[derive(Debug)]
pub(crate) enum Choice {
    /// Every one; also when there is but one.
    All,
    /// One after the other, batch by batch.
    Next(usize),
    /// The one that holds its key.
    ByKey(HashScatter),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Route {
    /// The side output whose rows it takes, by number; `None` for the chain's own output.
    pub(crate) side: Option<usize>,
    choice: Choice,
    /// This sender's number in the destinations' queues.
    sender: usize,
    destinations: Vec<Destination>,
}

#[derive(Debug)]
struct Destination {
    queue: Arc<Queue>,
    slivers: Coalescer,
    /// When the oldest row among the slivers was read.
    oldest_ns: u64,
    /// What the rows sent so far take, since somebody asked.
    sent_bytes: u64,
}

impl Route {
    pub(crate) fn new(choice: Choice, sender: usize, queues: Vec<Arc<Queue>>) -> Self {
        let destination =
            |queue| Destination { queue, slivers: Coalescer::new(BATCH_ROWS_MIN), oldest_ns: u64::MAX, sent_bytes: 0 };
        Self { side: None, choice, sender, destinations: queues.into_iter().map(destination).collect() }
    }

    /// The way out for the rows of a side output, where `side` is one.
    pub(crate) fn of_side(mut self, side: Option<usize>) -> Self {
        self.side = side;
        self
    }

    /// Whether every destination would take another batch.
    pub(crate) fn has_room(&self) -> bool {
        self.destinations.iter().all(|destination| destination.queue.has_room())
    }

    /// Sends rows on their way, the oldest of which was read at `read_ns`.
    pub(crate) fn send(&mut self, batch: Batch, read_ns: u64) -> Result<(), ArrowError> {
        match &mut self.choice {
            Choice::All => {
                for destination in &mut self.destinations {
                    destination.send(self.sender, batch.clone(), read_ns)?;
                }
            }
            Choice::Next(next) => {
                let chosen = *next % self.destinations.len().max(1);
                *next = chosen + 1;
                if let Some(destination) = self.destinations.get_mut(chosen) {
                    destination.send(self.sender, batch, read_ns)?;
                }
            }
            Choice::ByKey(scatter) => {
                for (chosen, part) in scatter.scatter(batch)? {
                    if let Some(destination) = self.destinations.get_mut(chosen) {
                        destination.send(self.sender, part, read_ns)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends the slivers that are still held.
    pub(crate) fn flush(&mut self) -> Result<(), ArrowError> {
        for destination in &mut self.destinations {
            if let Some(batch) = destination.slivers.flush()? {
                destination.push(self.sender, batch);
            }
        }
        Ok(())
    }

    /// Tells every destination how far this sender's event time has come. [`Route::flush`] goes before.
    /// The row that brought it on was read at `read_ns`.
    pub(crate) fn send_time(&self, time: InputTime, read_ns: u64) {
        for destination in &self.destinations {
            destination.queue.push(self.sender, Message::Time(time), read_ns);
        }
    }

    /// Passes a cut on, behind everything else. [`Route::flush`] goes before.
    pub(crate) fn send_cut(&self, number: u64, now_ns: u64) {
        for destination in &self.destinations {
            destination.queue.push(self.sender, Message::Cut(number), now_ns);
        }
    }

    /// What the rows sent take, since this was last asked.
    pub(crate) fn take_sent_bytes(&mut self) -> u64 {
        self.destinations.iter_mut().map(|destination| std::mem::take(&mut destination.sent_bytes)).sum()
    }
}

impl Destination {
    fn send(&mut self, sender: usize, batch: Batch, read_ns: u64) -> Result<(), ArrowError> {
        self.oldest_ns = self.oldest_ns.min(read_ns);
        if let Some(batch) = self.slivers.push(batch)? {
            self.push(sender, batch);
        }
        Ok(())
    }

    fn push(&mut self, sender: usize, batch: Batch) {
        let read_ns = std::mem::replace(&mut self.oldest_ns, u64::MAX);
        self.sent_bytes += self.queue.push(sender, Message::Batch(batch), read_ns);
    }
}

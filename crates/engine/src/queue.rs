//! The queue before a subtask or a writer task: first in, first out, from several senders to one receiver, bounded in
//! bytes.
//!
//! The bound is kept by the senders: they look whether there is room before they *make* something. So a queue can be
//! over its bound by what each sender makes of one message, and by no more.
//!
//! Of what a sender says of its time, only the newest counts: while its last message is a time that nobody has taken, a
//! newer one takes its place. So where many senders speak to many receivers, each pair has one such message under way.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mulgil_connect::source::Position;
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::operator::{Answer, Question};
use mulgil_dataflow::watermark::InputTime;
use tokio::sync::Notify;

use crate::bell::Bell;

/// What a message counts beside its rows, so that messages without rows are bounded too.
const MESSAGE_BYTES: usize = 64;

/// What travels through a queue.
#[derive(Debug)]
pub(crate) enum Message {
    /// Rows from another stage.
    Batch(Batch),
    /// Rows from a source partition, and the position behind them.
    Read(Batch, Position),
    /// How far the sender's event time has come, behind the rows it speaks of.
    Time(InputTime),
    /// What an operator wants to know of a table that it looks up.
    Question(Question),
    /// What it is told.
    Answer(Answer),
    /// The cut of this number: see [`crate::cut`]. The sender says nothing more until it is released.
    Cut(u64),
}

/// A message, and which of the queue's senders it is from.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) sender: usize,
    pub(crate) message: Message,
    /// When the oldest row behind the message was read, in nanoseconds from the job's start.
    pub(crate) read_ns: u64,
    size_bytes: usize,
}

impl Item {
    /// What the rows of the message take.
    pub(crate) fn row_bytes(&self) -> u64 {
        self.size_bytes.saturating_sub(MESSAGE_BYTES) as u64
    }
}

/// Who is to be told when something happens to a queue.
#[derive(Clone, Debug)]
pub(crate) enum Signal {
    /// Nobody waits: somebody looks again by himself.
    Nobody,
    /// These worker threads.
    Workers(Vec<Arc<Bell>>),
    /// The tasks that wait on this.
    Tasks(Arc<Notify>),
}

impl Signal {
    fn send(&self) {
        match self {
            Signal::Nobody => {}
            Signal::Workers(bells) => bells.iter().for_each(|bell| bell.ring()),
            Signal::Tasks(notify) => notify.notify_waiters(),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    size_bytes: AtomicUsize,
    size_bytes_max: usize,
    /// Told when a message has come.
    arrived: Signal,
    /// Told when the queue has become half empty.
    room: Signal,
}

/// The messages that wait.
#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    /// How many were taken before: the number of the first that waits.
    taken: usize,
    /// By sender, the number of its last message, if that is a time.
    times: Vec<Option<usize>>,
}

impl Waiting {
    /// Says in the sender's last message what it says now; whether that is possible.
    fn renew_time(&mut self, sender: usize, time: InputTime, read_ns: u64) -> bool {
        let number = self.times.get(sender).copied().flatten();
        let waiting = number.and_then(|number| self.items.get_mut(number.checked_sub(self.taken)?));
        let Some(Item { message: Message::Time(said), read_ns: since_ns, .. }) = waiting else { return false };
        *said = InputTime { watermark: said.watermark.max(time.watermark), state: time.state };
        *since_ns = read_ns.min(*since_ns);
        true
    }

    fn push(&mut self, item: Item) {
        if self.times.len() <= item.sender {
            self.times.resize(item.sender + 1, None);
        }
        if let Some(last) = self.times.get_mut(item.sender) {
            *last = matches!(item.message, Message::Time(_)).then_some(self.taken + self.items.len());
        }
        self.items.push_back(item);
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.taken += 1;
        Some(item)
    }
}

impl Queue {
    pub(crate) fn new(size_bytes_max: usize, arrived: Signal, room: Signal) -> Arc<Self> {
        let waiting = Mutex::default();
        Arc::new(Self { waiting, size_bytes: AtomicUsize::new(0), size_bytes_max, arrived, room })
    }

    /// Puts a message at the end, or in the place of one that it makes obsolete; gives what its rows take.
    pub(crate) fn push(&self, sender: usize, message: Message, read_ns: u64) -> u64 {
        if let Message::Time(time) = message
            && self.lock().renew_time(sender, time, read_ns)
        {
            return 0;
        }
        let size_bytes = MESSAGE_BYTES
            + match &message {
                Message::Batch(batch) | Message::Read(batch, _) => batch.size_bytes(),
                Message::Time(_) | Message::Cut(_) => 0,
                Message::Question(question) => Batch::append(question.keys.clone()).size_bytes(),
                Message::Answer(Answer::Rows { rows, .. }) => Batch::append(rows.clone()).size_bytes(),
                Message::Answer(Answer::Table(table)) => {
                    table.iter().map(|rows| Batch::append(rows.clone()).size_bytes()).sum()
                }
            };
        let mut waiting = self.lock();
        self.size_bytes.fetch_add(size_bytes, Ordering::AcqRel);
        let item = Item { sender, message, read_ns, size_bytes };
        let row_bytes = item.row_bytes();
        waiting.push(item);
        drop(waiting);
        self.arrived.send();
        row_bytes
    }

    /// Takes the message that came first.
    pub(crate) fn pop(&self) -> Option<Item> {
        let item = self.lock().pop()?;
        let before = self.size_bytes.fetch_sub(item.size_bytes, Ordering::AcqRel);
        let half = self.size_bytes_max / 2;
        if before > half && before - item.size_bytes <= half {
            self.room.send();
        }
        Some(item)
    }

    /// Whether a sender may make another message.
    pub(crate) fn has_room(&self) -> bool {
        self.size_bytes() < self.size_bytes_max
    }

    /// How full the queue is.
    pub(crate) fn size_bytes(&self) -> usize {
        self.size_bytes.load(Ordering::Acquire)
    }

    /// Waits until a sender may make another message. For queues whose `room` signal goes to tasks.
    pub(crate) async fn wait_for_room(&self) {
        let Signal::Tasks(notify) = &self.room else { return };
        loop {
            // Made before the look, so that a signal between look and wait is not lost.
            let signal = notify.notified();
            if self.has_room() {
                return;
            }
            signal.await;
        }
    }

    /// Waits for the message that comes first. For queues whose `arrived` signal goes to one task.
    pub(crate) async fn wait_for_item(&self) -> Item {
        loop {
            let Signal::Tasks(notify) = &self.arrived else { return std::future::pending().await };
            let signal = notify.notified();
            if let Some(item) = self.pop() {
                return item;
            }
            signal.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in it panics half way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

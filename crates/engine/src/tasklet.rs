//! One subtask of one stage, as a thing that can be run for a moment: it takes messages from its queues through its
//! operators into the queues behind it, and returns when there is nothing to take, no room to put, or its turn is over.
//!
//! Time is settled at the end of a turn, not at every message: the watermark goes on, behind the rows it speaks of, when
//! the input is exhausted (so within milliseconds at a low rate) or the turn is over (so under load it does not cut
//! batches into slivers). Passing a watermark on later than it came is always safe.

mod outgoing;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::chain::Chain;
use mulgil_dataflow::operator::PutOff;
use mulgil_dataflow::operators::watermark_assign::WatermarkAssign;
use mulgil_dataflow::time::Watermark;
use mulgil_dataflow::watermark::{InputState, InputTime, WatermarkTracker};

pub(crate) use self::outgoing::operator_failed;
use self::outgoing::{Collected, Outgoing, exchange_failed};
use crate::cut::SubtaskSeal;
use crate::error::JobError;
use crate::lookup::LookupPort;
use crate::metrics::{JobMetrics, PartitionMetrics, SubtaskMetrics};
use crate::queue::{Item, Message, Queue};
use crate::route::Route;

/// So many times are worth one message with rows: where there are many senders, a turn is to hear all of them.
const TIMES_PER_MESSAGE: usize = 16;

/// From when operators have caught up until they do so again, where nothing presses.
const REST_NS: u64 = 200_000_000;

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It did something: there may be more to do.
    Worked,
    /// There was nothing to take.
    Idle,
    /// There was no room to put anything.
    Blocked,
    /// All input has ended and everything is given out. It need not be run again.
    Done,
}

/// See the module.
pub(crate) struct Tasklet {
    pub(crate) inputs: Vec<Input>,
    /// The time of every sender of every input; for a source, of every partition.
    pub(crate) senders: WatermarkTracker,
    pub(crate) head: Option<SourceHead>,
    pub(crate) chain: Chain,
    pub(crate) routes: Vec<Route>,
    /// The way to the table that the first operator looks up.
    pub(crate) lookup: Option<LookupPort>,
    pub(crate) metrics: Arc<SubtaskMetrics>,
    pub(crate) job: Arc<JobMetrics>,
    /// The time that was last passed on.
    pub(crate) told: InputTime,
    /// How far time had come at the cut that the job has gone on from: it never is less.
    pub(crate) reached: Watermark,
    /// The cut that is under way, and the senders that have said it.
    pub(crate) cut: Option<(u64, Vec<bool>)>,
    /// The number of the cut that it took part in last.
    pub(crate) rests_for: u64,
    /// When the oldest row behind what has been taken in since time was last settled was read, in nanoseconds from the
    /// job's start; `u64::MAX` when nothing has.
    pub(crate) oldest_ns: u64,
    /// When this turn began, likewise.
    pub(crate) now_ns: u64,
    /// Whether something has been taken in since time was last settled.
    pub(crate) unsettled: bool,
    /// What the chain was last told of the machine's clock; `None` where none of its operators wants to know.
    pub(crate) clock_ms: Option<i64>,
    /// The input that is looked at first next time.
    pub(crate) next_input: usize,
    /// Until when it does not catch up with what its operators have put off, in nanoseconds from the job's start.
    pub(crate) rests_until_ns: u64,
    /// Since when it has been catching up.
    pub(crate) catching_up_since_ns: Option<u64>,
    pub(crate) done: bool,
}

/// A queue that rows come from.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) queue: Arc<Queue>,
    /// The input port of the first operator.
    pub(crate) port: usize,
    /// The numbers of the queue's senders among all senders of the subtask.
    pub(crate) senders: Range<usize>,
}

/// The beginning of a source stage: what is done to the rows of a partition before their time is known.
pub(crate) struct SourceHead {
    /// The projections before the watermark.
    pub(crate) before: Chain,
    /// How far rows bring event time.
    pub(crate) assign: Option<WatermarkAssign>,
    /// Whether the clock brings event time on too.
    pub(crate) is_clock: bool,
    /// The partitions read by this subtask, by sender.
    pub(crate) partitions: Vec<Arc<PartitionMetrics>>,
}

impl Tasklet {
    /// Takes up to `messages_max` messages.
    pub(crate) fn run(&mut self, messages_max: usize) -> Result<Turn, JobError> {
        if self.done {
            return Ok(Turn::Done);
        }
        if self.job.cuts.holds(self.rests_for) {
            return Ok(Turn::Idle);
        }
        if self.reached == Watermark::END {
            return Ok(self.end_again());
        }
        self.now_ns = self.job.elapsed_ns();
        let looked = self.has_room() && self.look_at_clock()?;
        let heard = self.has_room() && self.hear_answers()?;
        let caught_up = self.has_room() && self.chain.put_off() == PutOff::TooMuch && self.catch_up()?;
        let (mut taken, mut times, mut exhausted) = (0, 0, false);
        let mut has_room = self.has_room();
        while taken < messages_max && times < messages_max * TIMES_PER_MESSAGE && has_room && !exhausted {
            let Some((input, item)) = self.next_message() else {
                exhausted = true;
                continue;
            };
            self.unsettled = true;
            self.oldest_ns = self.oldest_ns.min(item.read_ns);
            // A time gives nothing out before it is settled, but for the end of an input.
            if matches!(item.message, Message::Time(time) if time.state != InputState::Finished) {
                self.take(input, item)?;
                times += 1;
            } else {
                self.take(input, item)?;
                taken += 1;
                has_room = self.has_room();
            }
        }
        if self.unsettled && has_room {
            self.settle(exhausted)?;
        }
        let sealed = has_room && self.seal()?;
        self.put_questions();
        let sent_bytes = self.routes.iter_mut().map(Route::take_sent_bytes).sum();
        self.metrics.given.add(0, sent_bytes, self.now_ns);
        Ok(match (self.done, looked || heard || caught_up || sealed || taken + times > 0, has_room) {
            (true, ..) => Turn::Done,
            (_, true, _) => Turn::Worked,
            (_, false, true) => Turn::Idle,
            (_, false, false) => Turn::Blocked,
        })
    }

    /// When it wants to catch up with what its operators have put off, in nanoseconds from the job's start; `None` where
    /// there is nothing, or no room for what would come out. A cut, and the end, do not wait.
    pub(crate) fn catches_up_at(&mut self) -> Option<u64> {
        let is_put_off = !self.done && self.chain.put_off() > PutOff::Nothing && self.has_room();
        let is_awaited = self.cut.is_some() || self.senders.combined().state == InputState::Finished;
        is_put_off.then_some(if is_awaited { 0 } else { self.rests_until_ns })
    }

    /// Lets the operators do a piece of what they have put off. When all is done, it rests for as long as that took, and a
    /// little more: rows gather meanwhile.
    pub(crate) fn catch_up(&mut self) -> Result<bool, JobError> {
        self.now_ns = self.job.elapsed_ns();
        let began_ns = *self.catching_up_since_ns.get_or_insert(self.now_ns);
        let (chain, mut out) = self.outgoing(self.now_ns);
        let result = chain.catch_up(&mut out);
        out.finish(result)?;
        if self.chain.put_off() == PutOff::Nothing {
            let now_ns = self.job.elapsed_ns();
            self.rests_until_ns = now_ns + now_ns.saturating_sub(began_ns) + REST_NS;
            self.catching_up_since_ns = None;
        }
        self.unsettled = true;
        Ok(true)
    }

    /// Everything had been given out before the cut that the job has gone on from: says no more than that.
    fn end_again(&mut self) -> Turn {
        let ended = InputTime { watermark: Watermark::END, state: InputState::Finished };
        self.routes.iter().for_each(|route| route.send_time(ended, self.now_ns));
        self.job.cuts.add_ended(self.chain.nodes());
        self.done = true;
        Turn::Done
    }

    fn has_room(&self) -> bool {
        self.routes.iter().all(Route::has_room)
    }

    /// The next message of any input, the inputs taking turns; with the input's number.
    fn next_message(&mut self) -> Option<(usize, Item)> {
        let count = self.inputs.len();
        for step in 0..count {
            let index = (self.next_input + step) % count;
            let input = self.inputs.get(index).filter(|input| self.chain.accepts(input.port));
            let Some(item) = input.and_then(|input| input.queue.pop()) else { continue };
            self.next_input = index + 1;
            return Some((index, item));
        }
        None
    }

    fn take(&mut self, input: usize, item: Item) -> Result<(), JobError> {
        let Some(Input { port, senders, .. }) = self.inputs.get(input) else { return Ok(()) };
        let (port, sender, row_bytes) = (*port, senders.start + item.sender, item.row_bytes());
        match item.message {
            Message::Batch(batch) => {
                self.metrics.taken.add(batch.num_rows() as u64, row_bytes, self.now_ns);
                self.process(port, batch, item.read_ns)
            }
            Message::Read(batch, position) => {
                self.senders.set_state(sender, InputState::Active);
                self.wake(item.read_ns);
                let row_count = batch.num_rows() as u64;
                self.metrics.taken.add(row_count, row_bytes, self.now_ns);
                if let Some(metrics) = self.head.as_ref().and_then(|head| head.partitions.get(sender)) {
                    metrics.read.add(row_count, row_bytes, self.now_ns);
                }
                self.read(sender, batch, item.read_ns)?;
                self.note_time(sender);
                if let Some(partition) = self.head.as_ref().and_then(|head| head.partitions.get(sender)) {
                    // Behind the time, for those who wait for both.
                    partition.position.store(position, Release);
                    partition.tell_others();
                }
                Ok(())
            }
            Message::Time(time) => {
                let senders = senders.clone();
                self.senders.set(sender, time);
                self.note_time(sender);
                self.wake(item.read_ns);
                let has_ended = time.state == InputState::Finished
                    && self.senders.combined_of(senders).state == InputState::Finished;
                if has_ended { self.end_input(port, item.read_ns) } else { Ok(()) }
            }
            Message::Cut(number) => {
                let count = self.senders.input_count();
                let (_, heard) = self.cut.get_or_insert_with(|| (number, vec![false; count]));
                if let Some(heard) = heard.get_mut(sender) {
                    *heard = true;
                }
                Ok(())
            }
            // These have queues of their own.
            Message::Question(_) | Message::Answer(_) => Ok(()),
        }
    }

    /// Tells the first operator what it has asked; whether there was anything to tell.
    fn hear_answers(&mut self) -> Result<bool, JobError> {
        let mut heard = false;
        while let Some(item) = self.lookup.as_ref().and_then(|lookup| lookup.answers.pop()) {
            if let Message::Answer(answer) = item.message {
                let (chain, mut out) = self.outgoing(item.read_ns);
                let result = chain.on_answer(answer, &mut out);
                out.finish(result)?;
            }
            self.unsettled = true;
            self.oldest_ns = self.oldest_ns.min(item.read_ns);
            heard = true;
        }
        Ok(heard)
    }

    /// Passes on what the first operator wants to know.
    fn put_questions(&mut self) {
        let Some(lookup) = &self.lookup else { return };
        for question in self.chain.take_questions() {
            lookup.questions.push(0, Message::Question(question), self.now_ns);
        }
    }

    /// Takes rows of a source partition, and lets them bring its time on.
    fn read(&mut self, partition: usize, batch: Batch, read_ns: u64) -> Result<(), JobError> {
        let Some(head) = &mut self.head else { return self.process(0, batch, read_ns) };
        let mut timed = Collected { batches: Vec::new(), job: &self.job };
        if head.before.wants_clock() {
            head.before.on_clock(self.job.stamp(), &mut timed).map_err(operator_failed)?;
        }
        head.before.process(0, batch, &mut timed).map_err(operator_failed)?;
        let batches = timed.batches;
        let comes_first = head.partitions.get(partition).is_some_and(|partition| partition.comes_first);
        let mut watermark = Watermark::UNKNOWN;
        if let Some(assign) = &head.assign {
            for batch in &batches {
                let of_batch = assign.watermark_of(&batch.rows);
                let of_batch = of_batch.map_err(|reason| JobError::Operator {
                    operator: "watermark".to_owned(),
                    reason: reason.to_string(),
                })?;
                watermark = watermark.max(of_batch.unwrap_or(Watermark::UNKNOWN));
            }
        }
        for batch in batches {
            self.process(0, batch, read_ns)?;
        }
        if !comes_first {
            self.senders.advance(partition, watermark);
        }
        Ok(())
    }

    /// Lets it be seen how far a source's partition has come.
    fn note_time(&self, sender: usize) {
        let partition = self.head.as_ref().and_then(|head| head.partitions.get(sender));
        if let (Some(partition), Some(time)) = (partition, self.senders.input(sender))
            && partition.time.set(time, self.now_ns)
        {
            partition.tell_others();
        }
    }

    /// Lets it be seen how far the inputs have come.
    fn note_inputs(&self) {
        for (input, metrics) in self.inputs.iter().zip(&self.metrics.inputs) {
            metrics.time.set(self.senders.combined_of(input.senders.clone()), self.now_ns);
        }
    }

    fn process(&mut self, port: usize, batch: Batch, read_ns: u64) -> Result<(), JobError> {
        let (chain, mut out) = self.outgoing(read_ns);
        let result = chain.process(port, batch, &mut out);
        out.finish(result)
    }

    fn end_input(&mut self, port: usize, read_ns: u64) -> Result<(), JobError> {
        let (chain, mut out) = self.outgoing(read_ns);
        let result = chain.on_input_end(port, &mut out);
        out.finish(result)
    }

    /// The chain, and the way out of it for rows that come of rows read at `read_ns`.
    fn outgoing(&mut self, read_ns: u64) -> (&mut Chain, Outgoing<'_>) {
        let out = Outgoing {
            routes: &mut self.routes,
            metrics: &self.metrics,
            job: &self.job,
            read_ns,
            now_ns: self.now_ns,
            failure: None,
        };
        (&mut self.chain, out)
    }

    /// Tells the operators what the machine's clock says; whether it has gone on.
    fn look_at_clock(&mut self) -> Result<bool, JobError> {
        let now_ms = self.job.clock_ms.load(Relaxed);
        if self.clock_ms.is_none_or(|told_ms| now_ms <= told_ms) {
            return Ok(false);
        }
        self.clock_ms = Some(now_ms);
        self.unsettled = true;
        if self.head.as_ref().is_some_and(|head| head.is_clock) {
            (0..self.senders.input_count()).for_each(|partition| self.senders.advance(partition, Watermark(now_ms)));
        }
        let (chain, mut out) = self.outgoing(self.now_ns);
        let result = chain.on_clock(now_ms, &mut out);
        out.finish(result)?;
        Ok(true)
    }

    /// Says at once that this subtask is idle no longer: the rows to come count for time again.
    fn wake(&mut self, read_ns: u64) {
        if self.told.state == InputState::Idle && self.senders.combined().state == InputState::Active {
            self.told.state = InputState::Active;
            self.routes.iter().for_each(|route| route.send_time(self.told, read_ns));
        }
    }

    /// Seals the state of the operators and passes the cut on, if all senders have said it and nothing waits for an answer;
    /// whether it has.
    fn seal(&mut self) -> Result<bool, JobError> {
        let Some((number, heard)) = &self.cut else { return Ok(false) };
        let has_come = |(sender, heard): (usize, &bool)| {
            *heard || self.senders.input(sender).is_none_or(|time| time.state == InputState::Finished)
        };
        if self.done || self.chain.holds_back() || !heard.iter().enumerate().all(has_come) {
            return Ok(false);
        }
        let number = *number;
        let (chain, mut out) = self.outgoing(self.now_ns);
        let result = chain.before_cut(&mut out);
        out.finish(result)?;
        self.settle(true)?;
        let partitions = self.head.iter().flat_map(|head| &head.partitions).enumerate();
        let partitions = partitions.filter_map(|(sender, partition)| {
            Some((partition.node, partition.partition.clone(), self.senders.input(sender)?))
        });
        let seal = SubtaskSeal {
            subtask: self.metrics.subtask,
            nodes: self.chain.nodes().collect(),
            watermark: self.told.watermark,
            partitions: partitions.collect(),
            parts: self.chain.seal(self.job.cuts.wants_whole()).map_err(operator_failed)?,
        };
        self.job.cuts.add_subtask(seal);
        self.routes.iter().for_each(|route| route.send_cut(number, self.now_ns));
        self.cut = None;
        self.rests_for = number;
        Ok(true)
    }

    /// Lets the operators give out what they have gathered, brings them to the present time, and passes it on. Slivers go
    /// out when time does, or when there is nothing more to join them with.
    fn settle(&mut self, exhausted: bool) -> Result<(), JobError> {
        let mut now = self.senders.combined();
        now.watermark = now.watermark.max(self.reached);
        self.note_inputs();
        // Whatever is let out now, the oldest row of this turn has let it out.
        let read_ns = std::mem::replace(&mut self.oldest_ns, u64::MAX).min(self.now_ns);
        let is_news = now.watermark > self.told.watermark;
        let told = self.told.watermark;
        // Who is idle holds time back no longer: what it has added up so far would come too late.
        let falls_idle = now.state == InputState::Idle && self.told.state == InputState::Active;
        let (chain, mut out) = self.outgoing(read_ns);
        if falls_idle && let Err(error) = chain.before_cut(&mut out) {
            return Err(operator_failed(error));
        }
        let result =
            if is_news { chain.on_watermark(now.watermark, &mut out) } else { chain.flush(&mut out).map(|()| told) };
        let reached = out.finish(result)?;
        // While rows wait for answers they hold time back, and the subtask is neither idle nor done.
        let state = if self.chain.holds_back() { InputState::Active } else { now.state };
        let now = InputTime { watermark: reached.max(told), state };
        if now != self.told || exhausted {
            for route in &mut self.routes {
                route.flush().map_err(exchange_failed)?;
            }
        }
        if now != self.told {
            self.routes.iter().for_each(|route| route.send_time(now, read_ns));
            self.told = now;
        }
        self.metrics.state_size_bytes.store(self.chain.state_size_bytes() as u64, Relaxed);
        self.metrics.stored_bytes.store(self.chain.stored_bytes() as u64, Relaxed);
        self.unsettled = !exhausted;
        self.done = now.state == InputState::Finished;
        if self.done {
            self.job.cuts.add_ended(self.chain.nodes());
        }
        Ok(())
    }
}

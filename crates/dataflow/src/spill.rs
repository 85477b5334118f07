//! State beyond memory: an operator whose rows lie by key, and whose state may outgrow memory.
//!
//! ```text
//!   fits:       rows ─▶ operator
//!   too large:  rows ─ by key ─▶ 64 slices, each an instance of its own:  awake    ─▶ operator
//!                                                                         asleep   its sealed state, and the rows that
//!                                                                                  have come since, in files
//! ```
//!
//! While its state fits, the operator runs as it is. When all operators that share a budget hold too much, those that hold
//! most give way: the state is sealed, as at a cut, split by key, and put away slice by slice. Rows of a slice that sleeps
//! wait behind it, together with what it must hear in order (how far time has come, that an input has ended). It is woken
//! when they have become as many as pays for reading it, or when there is nothing else to do: restored, it hears what has
//! waited, gives out what comes of that, and sleeps again, or stays awake where there is room. So a slice is read and
//! written once for rows that are a part of its size, not for each row, and always from its beginning to its end. This is
//! the hybrid hash join's idea (DeWitt et al., 1984), for every operator that can seal its state.
//!
//! While slices have not heard everything, event time waits behind the operator for the one that is furthest behind. A cut
//! waits too, until all have heard everything; then what sleeps is sealed already, and its files are part of the cut. A
//! turn does one slice's work, so that what comes out meets the bounds of the queues.
//!
//! An operator whose state has become very large is sliced though there is memory: a column of text in Arrow ends at 2 GiB,
//! and a slice is sealed as one.

mod budget;
mod in_memory;
mod keys;
mod pending;
mod slice;

use std::sync::Arc;

use arrow::array::RecordBatch;

use self::budget::Account;
pub use self::budget::StateBudget;
pub use self::in_memory::InMemory;
pub(crate) use self::keys::Keys;
use self::pending::Event;
use self::slice::{Make, Slice, gather};
use crate::batch::Batch;
use crate::key::SLICE_COUNT;
use crate::operator::{Operator, OperatorError, Output, PutOff};
use crate::state::{Lies, StatePart, StateStore};
use crate::time::Watermark;

/// An operator that holds more is sliced, whatever the budget.
const WHOLE_BYTES_MAX: usize = 1 << 30;

/// After so many rows it is seen how much is held, and at the end of each turn.
const LOOK_ROWS: usize = 4_096;

/// What operators need to put state away: how much they may hold together, and where the rest goes.
#[derive(Clone, Debug)]
pub struct StateMemory {
    /// What they may hold.
    pub budget: Arc<StateBudget>,
    /// Where the rest goes.
    pub store: Arc<dyn StateStore>,
}

/// See the module.
pub(crate) struct Spilling {
    make: Box<Make>,
    /// By input.
    keys: Vec<Keys>,
    store: Arc<dyn StateStore>,
    account: Account,
    state: State,
    reached: Watermark,
    clock_ms: Option<i64>,
    ended: Vec<usize>,
    wants_clock: bool,
    /// The rows taken since it was seen last how much is held.
    taken_rows: usize,
    /// The slice that is looked at first when there is nothing else to do.
    next: usize,
}

enum State {
    Whole(Box<dyn Operator>),
    Sliced(Vec<Slice>),
}

impl Spilling {
    /// The operator that `make` makes, whose inputs lie by `keys`.
    pub(crate) fn new(make: Box<Make>, keys: Vec<Keys>, memory: &StateMemory) -> Result<Self, OperatorError> {
        let operator = make()?;
        Ok(Self {
            wants_clock: operator.wants_clock(),
            state: State::Whole(operator),
            make,
            keys,
            store: Arc::clone(&memory.store),
            account: Account::new(Arc::clone(&memory.budget)),
            reached: Watermark::UNKNOWN,
            clock_ms: None,
            ended: Vec::new(),
            taken_rows: 0,
            next: 0,
        })
    }

    fn slices(&self) -> &[Slice] {
        match &self.state {
            State::Whole(_) => &[],
            State::Sliced(slices) => slices,
        }
    }

    fn slices_mut(&mut self) -> &mut [Slice] {
        match &mut self.state {
            State::Whole(_) => &mut [],
            State::Sliced(slices) => slices,
        }
    }

    fn hear(&mut self, event: &Event, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.slices_mut().iter_mut().try_for_each(|slice| slice.hear(event.clone(), out))
    }

    /// Cuts the state into slices, which all sleep.
    fn cut_up(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        let State::Whole(operator) = &mut self.state else { return Ok(()) };
        operator.before_cut(out)?;
        operator.flush(out)?;
        let parts = operator.seal(true)?;
        self.state = State::Sliced(self.new_slices());
        for part in parts {
            for rows in part.rows.batches() {
                self.add(&part.name, &part.lies, rows?)?;
            }
        }
        self.put_away()
    }

    fn new_slices(&self) -> Vec<Slice> {
        (0..SLICE_COUNT).map(|_| Slice::new(self.reached, self.clock_ms, self.ended.clone())).collect()
    }

    /// Adds sealed rows to the slices, which sleep.
    fn add(&mut self, name: &str, lies: &Lies, rows: RecordBatch) -> Result<(), OperatorError> {
        let Lies::Keyed(columns) = lies else {
            let reason =
                format!("the part {name} of its state does not lie by key; this is a defect, please report it");
            return Err(OperatorError::Unsupported(reason));
        };
        for (number, batch) in Keys::Columns(columns.clone()).split(Batch::append(rows))? {
            let part = StatePart {
                name: name.to_owned().into(),
                rows: batch.rows.into(),
                lies: lies.clone(),
                extent: crate::state::Extent::Whole,
            };
            if let Some(slice) = self.slices_mut().get_mut(number) {
                slice.add(part);
            }
        }
        Ok(())
    }

    fn put_away(&mut self) -> Result<(), OperatorError> {
        let store = Arc::clone(&self.store);
        self.slices_mut().iter_mut().try_for_each(|slice| slice.put_away(store.as_ref()))
    }

    fn measure(&mut self) {
        let held = match &self.state {
            State::Whole(operator) => operator.state_size_bytes(),
            State::Sliced(slices) => slices.iter().map(Slice::memory_bytes).sum(),
        };
        self.account.set(held);
    }

    /// Gives way where too much is held.
    fn keep_to_budget(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.taken_rows = 0;
        self.measure();
        if matches!(self.state, State::Whole(_)) {
            if self.account.gives_way() || self.account.held_bytes() > WHOLE_BYTES_MAX {
                self.cut_up(out)?;
                self.measure();
            }
            return Ok(());
        }
        let waiting: usize = self.slices().iter().map(|slice| slice.pending().memory_bytes()).sum();
        if waiting > self.account.budget().share_bytes() / 8 {
            // All at once: the rows of a batch share its memory.
            self.put_away()?;
            self.measure();
        }
        while self.account.gives_way() {
            let store = Arc::clone(&self.store);
            let awake = self.slices_mut().iter_mut().filter_map(|slice| slice.awake().is_some().then_some(slice));
            let Some(largest) = awake.max_by_key(|slice| slice.memory_bytes()) else { break };
            largest.sleep(Vec::new(), store.as_ref(), out)?;
            self.measure();
        }
        Ok(())
    }

    /// How many bytes of rows wait for a slice, if they are enough to wake it.
    fn due(&self, slice: &Slice) -> Option<usize> {
        let waiting = slice.pending().memory_bytes() + slice.pending().stored_bytes();
        let enough = (slice.stored_bytes() / 2).max(self.account.budget().share_bytes() / SLICE_COUNT);
        (waiting > enough).then_some(waiting)
    }

    /// The slice to wake: the one for which most rows wait, if that are enough; or the next that has anything to hear.
    fn chosen(&self) -> Option<usize> {
        let slices = self.slices().iter().enumerate();
        let due = slices.filter_map(|(number, slice)| Some((self.due(slice)?, number))).max();
        let mut others = (0..SLICE_COUNT).map(|step| (self.next + step) % SLICE_COUNT);
        let waits = |number: &usize| self.slices().get(*number).is_some_and(|slice| !slice.pending().is_empty());
        due.map(|(_, number)| number).or_else(|| others.find(waits))
    }
}

impl Operator for Spilling {
    fn process(&mut self, port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.taken_rows += batch.num_rows();
        match (&mut self.state, self.keys.get(port)) {
            (State::Whole(operator), _) => operator.process(port, batch, out)?,
            (State::Sliced(slices), Some(keys)) => {
                for (number, batch) in keys.split(batch)? {
                    if let Some(slice) = slices.get_mut(number) {
                        slice.hear(Event::Rows(port, batch), out)?;
                    }
                }
            }
            (State::Sliced(_), None) => {}
        }
        if self.taken_rows < LOOK_ROWS { Ok(()) } else { self.keep_to_budget(out) }
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        let is_news = watermark > self.reached;
        self.reached = self.reached.max(watermark);
        match &mut self.state {
            State::Whole(operator) => operator.on_watermark(watermark, out),
            State::Sliced(_) if is_news => self.hear(&Event::Watermark(watermark), out),
            State::Sliced(_) => Ok(()),
        }
    }

    fn flush(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        if let State::Whole(operator) = &mut self.state {
            operator.flush(out)?;
        }
        self.slices_mut().iter_mut().filter_map(Slice::awake).try_for_each(|operator| operator.flush(out))?;
        self.keep_to_budget(out)
    }

    fn on_clock(&mut self, now_ms: i64, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.clock_ms = Some(now_ms);
        match &mut self.state {
            State::Whole(operator) => operator.on_clock(now_ms, out),
            State::Sliced(_) if self.wants_clock => self.hear(&Event::Clock(now_ms), out),
            State::Sliced(_) => Ok(()),
        }
    }

    fn wants_clock(&self) -> bool {
        self.wants_clock
    }

    fn accepts(&self, port: usize) -> bool {
        match &self.state {
            State::Whole(operator) => operator.accepts(port),
            State::Sliced(_) => true,
        }
    }

    fn on_input_end(&mut self, port: usize, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.ended.push(port);
        match &mut self.state {
            State::Whole(operator) => operator.on_input_end(port, out),
            State::Sliced(_) => self.hear(&Event::End(port), out),
        }
    }

    fn holds_back(&self) -> Option<Watermark> {
        let waiting = self.slices().iter().filter(|slice| !slice.pending().is_empty());
        waiting.map(Slice::reached).min()
    }

    fn put_off(&self) -> PutOff {
        if self.slices().iter().any(|slice| self.due(slice).is_some()) {
            PutOff::TooMuch
        } else if self.slices().iter().any(|slice| !slice.pending().is_empty()) {
            PutOff::Something
        } else {
            PutOff::Nothing
        }
    }

    fn catch_up(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        let Some(number) = self.chosen() else { return Ok(()) };
        self.next = number + 1;
        let (store, State::Sliced(slices)) = (Arc::clone(&self.store), &mut self.state) else { return Ok(()) };
        let Some(slice) = slices.get_mut(number) else { return Ok(()) };
        let before = slice.wake(self.make.as_ref(), out)?;
        self.measure();
        if !self.account.budget().has_room()
            && let Some(slice) = self.slices_mut().get_mut(number)
        {
            slice.sleep(before, store.as_ref(), out)?;
            self.measure();
        }
        Ok(())
    }

    fn state_size_bytes(&self) -> usize {
        self.account.held_bytes()
    }

    fn stored_bytes(&self) -> usize {
        self.slices().iter().map(|slice| slice.stored_bytes() + slice.pending().stored_bytes()).sum()
    }

    fn before_cut(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        if let State::Whole(operator) = &mut self.state {
            operator.before_cut(out)?;
        }
        self.slices_mut().iter_mut().filter_map(Slice::awake).try_for_each(|operator| operator.before_cut(out))
    }

    fn seal(&mut self, whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        let slices = match &mut self.state {
            State::Whole(operator) => return operator.seal(whole),
            State::Sliced(slices) => slices,
        };
        // A new instance says which parts there are, also where all slices are empty.
        let mut parts = (self.make)()?.seal(true)?;
        for slice in slices {
            gather(&mut parts, slice.seal()?)?;
        }
        Ok(parts)
    }

    fn expect(&mut self, state_bytes: usize) {
        // In memory, rows take some room more: for where they are found.
        if state_bytes.saturating_mul(2) > self.account.budget().share_bytes().min(WHOLE_BYTES_MAX) {
            self.state = State::Sliced(self.new_slices());
        }
    }

    fn restore(&mut self, name: &str, rows: RecordBatch) -> Result<(), OperatorError> {
        match &mut self.state {
            State::Whole(operator) => operator.restore(name, rows),
            State::Sliced(_) => Err(OperatorError::Unsupported(format!("it is not said how the part {name} lies"))),
        }
    }

    fn restore_lying(&mut self, name: &str, lies: &Lies, rows: RecordBatch) -> Result<(), OperatorError> {
        if let State::Whole(operator) = &mut self.state {
            return operator.restore(name, rows);
        }
        self.add(name, lies, rows)?;
        self.measure();
        if self.account.held_bytes() > self.account.budget().share_bytes() / 2 {
            self.put_away()?;
            self.measure();
        }
        Ok(())
    }

    fn resume(&mut self, watermark: Watermark) {
        self.reached = watermark;
        if let State::Whole(operator) = &mut self.state {
            operator.resume(watermark);
        }
        self.slices_mut().iter_mut().for_each(|slice| slice.set_reached(watermark));
    }

    fn give_again(&mut self) {
        if let State::Whole(operator) = &mut self.state {
            operator.give_again();
        }
        self.slices_mut().iter_mut().for_each(Slice::give_again);
    }
}

#[cfg(test)]
mod tests;

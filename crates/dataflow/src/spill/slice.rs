//! A slice of an operator's state: awake, an instance of the operator; or asleep, its sealed state put away, with what it
//! has still to hear.

use super::pending::{Event, Pending};
use crate::operator::{Operator, OperatorError, Output};
use crate::state::{Extent, StatePart, StateStore};
use crate::time::Watermark;

/// Makes instances of an operator.
pub(super) type Make = dyn Fn() -> Result<Box<dyn Operator>, OperatorError> + Send;

/// See the module.
pub(super) struct Slice {
    state: State,
    pending: Pending,
    /// How far time has come for it.
    reached: Watermark,
    clock_ms: Option<i64>,
    /// The inputs that have ended for it.
    ended: Vec<usize>,
}

enum State {
    Awake(Box<dyn Operator>),
    Asleep(Vec<StatePart>),
}

impl Slice {
    /// A slice that has heard nothing.
    pub(super) fn new(reached: Watermark, clock_ms: Option<i64>, ended: Vec<usize>) -> Self {
        Self { state: State::Asleep(Vec::new()), pending: Pending::default(), reached, clock_ms, ended }
    }

    pub(super) fn awake(&mut self) -> Option<&mut Box<dyn Operator>> {
        match &mut self.state {
            State::Awake(operator) => Some(operator),
            State::Asleep(_) => None,
        }
    }

    pub(super) fn pending(&self) -> &Pending {
        &self.pending
    }

    /// How far time has come for what it has given out.
    pub(super) fn reached(&self) -> Watermark {
        self.reached
    }

    /// Time has come so far, without anything to be given out for it.
    pub(super) fn set_reached(&mut self, reached: Watermark) {
        self.reached = reached;
    }

    /// What its sleeping state takes where it is put away, in bytes.
    pub(super) fn stored_bytes(&self) -> usize {
        match &self.state {
            State::Awake(_) => 0,
            State::Asleep(parts) => parts.iter().map(|part| part.rows.stored_bytes()).sum(),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let state = match &self.state {
            State::Awake(operator) => operator.state_size_bytes(),
            State::Asleep(parts) => parts.iter().map(|part| part.rows.memory_bytes()).sum(),
        };
        state + self.pending.memory_bytes()
    }

    /// Adds sealed rows to its state, which sleeps.
    pub(super) fn add(&mut self, part: StatePart) {
        let State::Asleep(parts) = &mut self.state else { return };
        match parts.iter_mut().find(|known| known.name == part.name) {
            Some(known) => known.rows.append(part.rows),
            None => parts.push(part),
        }
    }

    /// Puts what it has in memory away, where it sleeps.
    pub(super) fn put_away(&mut self, store: &dyn StateStore) -> Result<(), OperatorError> {
        self.pending.put_away(store)?;
        if let State::Asleep(parts) = &mut self.state {
            for part in parts {
                let none = crate::state::StateRows::none(part.rows.schema().clone());
                part.rows = std::mem::replace(&mut part.rows, none).put_away(store)?;
            }
        }
        Ok(())
    }

    /// Takes an event: at once where it is awake, else when it wakes.
    pub(super) fn hear(&mut self, event: Event, out: &mut dyn Output) -> Result<(), OperatorError> {
        if matches!(self.state, State::Asleep(_)) {
            self.pending.push(event);
            return Ok(());
        }
        self.take(event, out)
    }

    /// Lets it give all that stands once more, when it wakes.
    pub(super) fn give_again(&mut self) {
        match &mut self.state {
            State::Awake(operator) => operator.give_again(),
            State::Asleep(_) => self.pending.push(Event::Again),
        }
    }

    fn take(&mut self, event: Event, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.note(&event);
        let State::Awake(operator) = &mut self.state else { return Ok(()) };
        match event {
            Event::Rows(port, batch) => operator.process(port, batch, out),
            Event::Watermark(watermark) => {
                operator.flush(out)?;
                operator.on_watermark(watermark, out)
            }
            Event::Clock(now_ms) => operator.on_clock(now_ms, out),
            Event::End(port) => operator.on_input_end(port, out),
            Event::Again => {
                operator.give_again();
                Ok(())
            }
        }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Rows(..) | Event::Again => {}
            Event::Watermark(watermark) => self.reached = *watermark,
            Event::Clock(now_ms) => self.clock_ms = Some(*now_ms),
            Event::End(port) => self.ended.push(*port),
        }
    }

    /// Lets it hear all that it has still to hear; it is awake then, unless there is nothing of it. Gives its state as it was
    /// put away before.
    pub(super) fn wake(&mut self, make: &Make, out: &mut dyn Output) -> Result<Vec<StatePart>, OperatorError> {
        let State::Asleep(parts) = &mut self.state else { return Ok(Vec::new()) };
        if !self.pending.has_rows() && parts.iter().all(|part| part.rows.row_count() == 0) {
            while let Some(event) = self.pending.pop()? {
                self.note(&event);
            }
            return Ok(Vec::new());
        }
        let parts = std::mem::take(parts);
        let mut operator = make()?;
        for part in &parts {
            for rows in part.rows.batches() {
                operator.restore(&part.name, rows?)?;
            }
        }
        if self.reached != Watermark::UNKNOWN {
            operator.resume(self.reached);
        }
        if let Some(now_ms) = self.clock_ms {
            operator.on_clock(now_ms, out)?;
        }
        for port in &self.ended {
            operator.on_input_end(*port, out)?;
        }
        self.state = State::Awake(operator);
        while let Some(event) = self.pending.pop()? {
            self.take(event, out)?;
        }
        if let State::Awake(operator) = &mut self.state {
            operator.flush(out)?;
        }
        Ok(parts)
    }

    /// Seals its state and puts it away. Where nothing has changed since it was put away as `before`, that will do.
    pub(super) fn sleep(
        &mut self,
        before: Vec<StatePart>,
        store: &dyn StateStore,
        out: &mut dyn Output,
    ) -> Result<(), OperatorError> {
        let State::Awake(operator) = &mut self.state else { return Ok(()) };
        operator.before_cut(out)?;
        operator.flush(out)?;
        let is_unchanged = !before.is_empty() && operator.seal(false)?.iter().all(StatePart::is_unchanged);
        let parts = if is_unchanged { before } else { operator.seal(true)? };
        self.state = State::Asleep(parts);
        self.put_away(store)
    }

    /// All of its state, which has nothing still to hear.
    pub(super) fn seal(&mut self) -> Result<Vec<StatePart>, OperatorError> {
        match &mut self.state {
            State::Awake(operator) => operator.seal(true),
            State::Asleep(parts) => Ok(parts.clone()),
        }
    }
}

/// Adds the parts of a slice to those of the slices before it.
pub(super) fn gather(all: &mut Vec<StatePart>, of_slice: Vec<StatePart>) -> Result<(), OperatorError> {
    for part in of_slice {
        if matches!(part.extent, Extent::Changes { .. }) {
            let reason =
                format!("the part {} of its state is not whole; this is a defect, please report it", part.name);
            return Err(OperatorError::Unsupported(reason));
        }
        match all.iter_mut().find(|known| known.name == part.name) {
            Some(known) => known.rows.append(part.rows),
            None => all.push(part),
        }
    }
    Ok(())
}

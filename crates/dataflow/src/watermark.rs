//! How far event time has come over several inputs: the minimum over those that count.
//!
//! An input is *active* (it counts), *idle* (nothing has come for a while: it does not count until its next row) or
//! *finished* (it never counts again). The combined watermark is the minimum of the active inputs' own. When none is
//! active but some are idle it is the maximum of the idle ones: whichever fell asleep last, the answer is the same. When
//! all are finished, it is [`Watermark::END`]. It never goes back: an input that wakes up behind it brings late rows.
//!
//! The same rule serves the partitions of a source, the senders of an exchange, and the sinks of a job.

use crate::time::Watermark;

/// Whether an input counts for the combined watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputState {
    /// It does.
    Active,
    /// Not until it says something again.
    Idle,
    /// Never again.
    Finished,
}

/// One input's own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputTime {
    /// How far it has come.
    pub watermark: Watermark,
    /// Whether that counts.
    pub state: InputState,
}

/// The combined time of inputs `0..n`: it is combined when it is asked for, however often the inputs move between.
#[derive(Clone, Debug)]
pub struct WatermarkTracker {
    inputs: Vec<InputTime>,
    combined: InputTime,
    /// Whether an input has moved since.
    has_moved: bool,
}

impl WatermarkTracker {
    /// Inputs that are all active and have said nothing.
    pub fn new(input_count: usize) -> Self {
        let start = InputTime { watermark: Watermark::UNKNOWN, state: InputState::Active };
        Self { inputs: vec![start; input_count], combined: start, has_moved: true }
    }

    /// Input `input` has come to `watermark`. What would go back is ignored. Inputs that do not exist are too.
    pub fn advance(&mut self, input: usize, watermark: Watermark) {
        if let Some(time) = self.inputs.get_mut(input)
            && watermark > time.watermark
        {
            time.watermark = watermark;
            self.has_moved = true;
        }
    }

    /// Input `input` is now `state`. A finished input stays finished.
    pub fn set_state(&mut self, input: usize, state: InputState) {
        if let Some(time) = self.inputs.get_mut(input)
            && time.state != state
            && time.state != InputState::Finished
        {
            time.state = state;
            self.has_moved = true;
        }
    }

    /// Input `input` says both at once, as a sender does: between the two, time would not be what either of them means.
    pub fn set(&mut self, input: usize, said: InputTime) {
        if let Some(time) = self.inputs.get_mut(input)
            && time.state != InputState::Finished
        {
            *time = InputTime { watermark: time.watermark.max(said.watermark), state: said.state };
            self.has_moved = true;
        }
    }

    /// The combined watermark, and whether the inputs together are active, idle or finished.
    pub fn combined(&mut self) -> InputTime {
        if std::mem::take(&mut self.has_moved) {
            let watermark = self.combined.watermark.max(combine(&self.inputs));
            self.combined = InputTime { watermark, state: state_of(&self.inputs) };
        }
        self.combined
    }

    /// The time of some of the inputs together, as [`WatermarkTracker::combined`] says it of all; it can go back when an
    /// idle input wakes.
    pub fn combined_of(&self, inputs: std::ops::Range<usize>) -> InputTime {
        let times = self.inputs.get(inputs).unwrap_or_default();
        InputTime { watermark: combine(times), state: state_of(times) }
    }

    /// How many inputs there are.
    pub fn input_count(&self) -> usize {
        self.inputs.len()
    }

    /// One input's own time.
    pub fn input(&self, input: usize) -> Option<InputTime> {
        self.inputs.get(input).copied()
    }

    /// The active input that has come least far: it is what the others wait for. `None` when none is active.
    pub fn holding_back(&self) -> Option<usize> {
        self.active().min_by_key(|(_, time)| time.watermark).map(|(input, _)| input)
    }

    fn active(&self) -> impl Iterator<Item = (usize, &InputTime)> {
        self.inputs.iter().enumerate().filter(|(_, time)| time.state == InputState::Active)
    }
}

fn state_of(inputs: &[InputTime]) -> InputState {
    let is_some = |state: InputState| inputs.iter().any(|time| time.state == state);
    match (is_some(InputState::Active), is_some(InputState::Idle)) {
        (true, _) => InputState::Active,
        (_, true) => InputState::Idle,
        _ => InputState::Finished,
    }
}

fn combine(inputs: &[InputTime]) -> Watermark {
    let of = |state: InputState| inputs.iter().filter(move |time| time.state == state).map(|time| time.watermark);
    of(InputState::Active).min().or_else(|| of(InputState::Idle).max()).unwrap_or(Watermark::END)
}

#[cfg(test)]
mod tests;

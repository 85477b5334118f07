//! Turns of a script: what comes before what across partitions, and what had come out when the last of them began.

use std::collections::HashMap;

use super::{Outcome, Run, Step};

/// What had come out when a turn began: all that the turns before have brought about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// How many batches each sink had got.
    pub batches: HashMap<String, usize>,
    /// How many late rows had been dropped.
    pub late_dropped: u64,
}

/// How far a script has come.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The turn, from 1; 0 before the first.
    number: usize,
    pub(super) before: Option<Before>,
}

impl Outcome {
    /// What had come out when the last turn of a run after this one began, where it had one.
    pub(super) fn and_before(&self, next: Option<Before>) -> Option<Before> {
        let mut next = next?;
        for (sink, given) in &self.batches {
            *next.batches.entry(sink.clone()).or_default() += given.len();
        }
        next.late_dropped += self.summary.late_dropped;
        Some(next)
    }
}

impl Run<'_> {
    /// Where a reader's next step is a turn: takes it, if that turn has come; whether anything happened.
    pub(super) fn take_turn(&mut self, reader: usize) -> Option<bool> {
        let steps = self.steps.get_mut(reader)?;
        let Some(Step::Turn(turn)) = steps.as_slice().first() else { return None };
        if *turn > self.turns.number {
            return Some(self.begin_turn());
        }
        steps.next();
        Some(true)
    }

    /// Lets the next turn begin, if everybody has acted who is to act before, and all that has been worked off.
    fn begin_turn(&mut self) -> bool {
        let mut next = usize::MAX;
        for (steps, _) in self.steps.iter().zip(&self.reading).filter(|(_, reading)| **reading) {
            match steps.as_slice().first() {
                Some(Step::Turn(turn)) if *turn > self.turns.number => next = next.min(*turn),
                _ => return false,
            }
        }
        if !self.stands_still && !self.is_quiet() {
            return false;
        }
        self.turns.number = next;
        self.turns.before = Some(Before {
            batches: self.batches.iter().map(|(sink, given)| (sink.clone(), given.len())).collect(),
            late_dropped: self.view.summary().late_dropped,
        });
        true
    }
}

//! How a batch is stored, all of it or nothing, and what goes wrong with that when it is told to.
//!
//! A batch whose answer was lost is recognised when it is given again, as PostgreSQL recognises it: by its place in the line of batches.

use mulgil_history::HistoryError;
use mulgil_history::write::Write;

use super::check::Checker;
use super::store::Stored;

/// What happens to the next commits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Trouble {
    #[default]
    None,
    /// So many are refused, for want of room.
    Full(u32),
    /// The next is stored, but its answer is lost.
    AnswerLost,
    /// The process dies before the next is stored.
    DiesBefore,
    /// The process dies after the next is stored.
    DiesAfter,
}

#[derive(Default)]
pub(super) struct Committing {
    pub(super) stored: Stored,
    pub(super) checker: Checker,
    pub(super) trouble: Trouble,
    /// Every write that was stored.
    writes: Vec<Write>,
    /// How many of the last ones were stored without the caller knowing: it gives them again, before any other.
    pub(super) unanswered: usize,
}

impl Committing {
    pub(super) fn commit(&mut self, writes: &[Write]) -> Result<(), HistoryError> {
        if writes.is_empty() {
            return Ok(());
        }
        let died = || HistoryError::Damaged("the process died".to_owned());
        match std::mem::take(&mut self.trouble) {
            Trouble::None => self.store(writes),
            Trouble::Full(times) => {
                self.trouble = if times > 1 { Trouble::Full(times - 1) } else { Trouble::None };
                Err(HistoryError::Full("no space left on device".to_owned()))
            }
            Trouble::AnswerLost => {
                self.store(writes)?;
                self.unanswered = writes.len();
                Err(HistoryError::Full("the answer was lost".to_owned()))
            }
            Trouble::DiesBefore => Err(died()),
            Trouble::DiesAfter => self.store(writes).and_then(|()| Err(died())),
        }
    }

    fn store(&mut self, writes: &[Write]) -> Result<(), HistoryError> {
        let unanswered = std::mem::take(&mut self.unanswered);
        if unanswered > 0 {
            let before = &self.writes[self.writes.len() - unanswered..];
            let same = format!("{before:?}") == format!("{writes:?}");
            self.checker.fault(same, || format!("after a lost answer came another batch: {writes:?}"));
            return Ok(());
        }
        if let Err(conflict) = writes.iter().try_for_each(|write| self.stored.apply(write)) {
            // What was stored before is made again, which is seldom, and cheaper than a copy for each batch.
            self.stored = Stored::default();
            self.writes.iter().try_for_each(|write| self.stored.apply(write))?;
            return Err(conflict);
        }
        self.writes.extend_from_slice(writes);
        self.checker.committed(&self.stored, writes);
        Ok(())
    }
}

mod tests {
    use jiff::Timestamp;
    use mulgil_history::HistoryError;
    use mulgil_history::asked::Asked;
    use mulgil_history::write::Write;
    use mulgil_sched::id::RunId;

    use super::{Committing, Trouble};

    /// What is stored once only.
    fn asked(key: &str) -> [Write; 1] {
        let (flow, key, request) = ("f".to_owned(), key.to_owned(), String::new());
        [Write::Asked(Asked { flow, key, run: RunId(1), request, at: Timestamp::UNIX_EPOCH })]
    }

    #[test]
    fn a_batch_whose_answer_was_lost_is_stored_once() {
        let mut committing = Committing { trouble: Trouble::AnswerLost, ..Committing::default() };
        assert!(committing.commit(&asked("a")).unwrap_err().is_passing());
        committing.commit(&asked("a")).unwrap();
        assert_eq!((committing.stored.asked.len(), committing.checker.violations.len()), (1, 0));
        // Once answered, the same again is another batch.
        assert!(matches!(committing.commit(&asked("a")), Err(HistoryError::Conflict { .. })));
    }

    #[test]
    fn another_batch_in_place_of_one_whose_answer_was_lost_is_a_fault() {
        let mut committing = Committing { trouble: Trouble::AnswerLost, ..Committing::default() };
        committing.commit(&asked("a")).unwrap_err();
        committing.commit(&asked("b")).unwrap();
        assert_eq!(committing.checker.violations.len(), 1);
    }
}

//! When a window gives its result: always when the watermark passes its end; by choice also *early*, again and again before
//! that, and *late*, for rows that come after it. (The word is the Dataflow Model's.)
//!
//! Results accumulate: each replaces the one before. So a window that gives more than one gives a changelog.

use std::fmt;

use crate::explain::duration;
use crate::time::{EventTimeMs, Watermark};

/// When a window gives its result, besides when the watermark passes its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trigger {
    /// How often it gives what it has so far, before its end.
    pub early: Option<EarlyFire>,
    /// How long after the watermark has passed its end late rows still update its result.
    pub allowed_lateness_ms: u64,
}

/// How often windows give what they have so far, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EarlyFire {
    /// Whenever the watermark has passed another multiple of so much event time.
    EventTime(i64),
    /// Whenever the machine's clock has passed another multiple of so much time.
    ProcessingTime(i64),
}

impl Trigger {
    /// Late rows update results for so long; there are no early results.
    pub fn allowing(allowed_lateness_ms: u64) -> Self {
        Self { early: None, allowed_lateness_ms }
    }

    /// Whether a window may give more than one result.
    pub fn is_updating(&self) -> bool {
        self.early.is_some() || self.allowed_lateness_ms > 0
    }

    /// Whether a window that ends at `end_ms` can change no more.
    pub(crate) fn is_over(&self, end_ms: EventTimeMs, watermark: Watermark) -> bool {
        let lateness_ms = i64::try_from(self.allowed_lateness_ms).unwrap_or(i64::MAX);
        end_ms.saturating_add(lateness_ms) <= watermark.0
    }
}

/// As `explain` appends it to what an operator does.
impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.early {
            Some(EarlyFire::EventTime(ms)) => write!(f, ", early every {} of event time", duration(ms))?,
            Some(EarlyFire::ProcessingTime(ms)) => write!(f, ", early every {}", duration(ms))?,
            None => {}
        }
        if self.allowed_lateness_ms > 0 {
            let lateness_ms = i64::try_from(self.allowed_lateness_ms).unwrap_or(i64::MAX);
            write!(f, ", allowing {} of lateness", duration(lateness_ms))?;
        }
        Ok(())
    }
}

/// Says when early results are due: at the first moment that is known, and whenever another multiple of the interval has
/// passed since they were due last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    early: Option<EarlyFire>,
    /// How many intervals had passed when results were due last.
    passed: Option<i64>,
}

impl Pace {
    pub(crate) fn new(trigger: &Trigger) -> Self {
        Self { early: trigger.early, passed: None }
    }

    /// Event time has come so far. Whether early results are due.
    pub(crate) fn on_watermark(&mut self, watermark: Watermark) -> bool {
        match self.early {
            Some(EarlyFire::EventTime(ms)) if watermark != Watermark::UNKNOWN && watermark != Watermark::END => {
                self.advance(watermark.0.div_euclid(ms.max(1)))
            }
            _ => false,
        }
    }

    /// The clock has come so far. Whether early results are due.
    pub(crate) fn on_clock(&mut self, now_ms: i64) -> bool {
        match self.early {
            Some(EarlyFire::ProcessingTime(ms)) => self.advance(now_ms.div_euclid(ms.max(1))),
            _ => false,
        }
    }

    /// Whether it is the clock that counts.
    pub(crate) fn wants_clock(&self) -> bool {
        matches!(self.early, Some(EarlyFire::ProcessingTime(_)))
    }

    fn advance(&mut self, passed: i64) -> bool {
        let is_due = self.passed.is_none_or(|before| before < passed);
        self.passed = self.passed.max(Some(passed));
        is_due
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn early_results_are_due_once_an_interval() {
        let trigger = |early| Trigger { early: Some(early), allowed_lateness_ms: 0 };
        let mut pace = Pace::new(&trigger(EarlyFire::EventTime(10)));
        let due: Vec<i64> = [-25, -21, -20, -1, 9, 10, 12, 35, 39, 40]
            .into_iter()
            .filter(|w| pace.on_watermark(Watermark(*w)))
            .collect();
        assert_eq!(due, [-25, -20, -1, 9, 10, 35, 40]);
        assert!(!pace.on_watermark(Watermark::END) && !pace.on_clock(1_000) && !pace.wants_clock());

        let mut pace = Pace::new(&trigger(EarlyFire::ProcessingTime(10)));
        assert!(pace.wants_clock() && pace.on_clock(100) && !pace.on_clock(109) && pace.on_clock(110));
        assert!(!pace.on_watermark(Watermark(1_000)));
    }

    #[test]
    fn it_says_what_it_does() {
        let cases = [
            (Trigger::default(), "", false),
            (Trigger::allowing(60_000), ", allowing 1 min of lateness", true),
            (
                Trigger { early: Some(EarlyFire::ProcessingTime(10_000)), allowed_lateness_ms: 0 },
                ", early every 10 s",
                true,
            ),
            (
                Trigger { early: Some(EarlyFire::EventTime(1_500)), allowed_lateness_ms: 1_000 },
                ", early every 1500 ms of event time, allowing 1 s of lateness",
                true,
            ),
        ];
        for (trigger, text, is_updating) in cases {
            assert_eq!((trigger.to_string().as_str(), trigger.is_updating()), (text, is_updating));
        }
    }
}

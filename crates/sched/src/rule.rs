//! What a task makes of how the tasks that it needs have ended.
//!
//! The verdict depends only on how the needs end, never on the order in which they do: a rule that fires early
//! (`one_failed`, `one_success`) fires for any order, and what would skip a task waits until nothing can fail it any
//! more. So the same outcomes always give the same run.

use mulgil_flow::TriggerRule;

use crate::status::TaskStatus;

/// How many of a task's needs have ended, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Succeeded.
    pub succeeded: u32,
    /// Failed, cancelled, or never ran since something failed upstream.
    pub failed: u32,
    /// Skipped.
    pub skipped: u32,
}

/// What is to become of a waiting task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on waiting.
    Wait,
    /// It runs.
    Run,
    /// It is skipped.
    Skip,
    /// It never runs: something failed upstream.
    Fail,
}

impl Tally {
    /// The tally of needs with these statuses.
    pub fn of(statuses: impl IntoIterator<Item = TaskStatus>) -> Self {
        let mut tally = Self::default();
        statuses.into_iter().for_each(|status| {
            if let Some(count) = tally.count_of(status) {
                *count += 1;
            }
        });
        tally
    }

    /// A need has changed.
    pub fn change(&mut self, from: TaskStatus, to: TaskStatus) {
        if let Some(count) = self.count_of(from) {
            // Whatever left this status has entered it before.
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.count_of(to) {
            *count += 1;
        }
    }

    fn count_of(&mut self, status: TaskStatus) -> Option<&mut u32> {
        match status {
            TaskStatus::Succeeded => Some(&mut self.succeeded),
            TaskStatus::Skipped => Some(&mut self.skipped),
            bad if bad.is_bad() => Some(&mut self.failed),
            _ => None,
        }
    }

    /// What becomes of a task with this rule and so many needs. A task that needs nothing runs.
    pub fn verdict(self, rule: TriggerRule, needs: usize) -> Verdict {
        let all_ended = (self.succeeded + self.failed + self.skipped) as usize >= needs;
        if needs == 0 {
            return Verdict::Run;
        }
        match rule {
            TriggerRule::OneSuccess if self.succeeded > 0 => Verdict::Run,
            TriggerRule::OneFailed if self.failed > 0 => Verdict::Run,
            TriggerRule::AllSuccess | TriggerRule::NoneFailed if self.failed > 0 => Verdict::Fail,
            _ if !all_ended => Verdict::Wait,
            TriggerRule::AllDone | TriggerRule::NoneFailed => Verdict::Run,
            TriggerRule::OneFailed => Verdict::Skip,
            TriggerRule::OneSuccess if self.failed > 0 => Verdict::Fail,
            TriggerRule::OneSuccess => Verdict::Skip,
            TriggerRule::AllSuccess if self.skipped > 0 => Verdict::Skip,
            TriggerRule::AllSuccess => Verdict::Run,
        }
    }
}

#[cfg(test)]
mod tests;

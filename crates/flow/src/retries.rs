//! Automatic retries: how many, after which errors, and after what pause.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::{Fault, FaultPattern};

/// Automatic retries of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retries {
    /// How many attempts may follow the first.
    pub limit: u32,
    /// The pause before the first retry.
    pub delay: SignedDuration,
    /// By what the pause is multiplied for each further retry; 1 keeps it constant.
    pub backoff: f64,
    /// No pause grows beyond this; without it, [`Retries::DELAY_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_max: Option<SignedDuration>,
    /// By up to which share each pause is shortened, at random: 0 to 1.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub jitter: f64,
    /// The errors after which there is a retry; without any, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<FaultPattern>,
    /// The errors after which there is none, whatever `on` says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<FaultPattern>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

impl Retries {
    /// No retries.
    pub const NONE: Self = Self {
        limit: 0,
        delay: SignedDuration::ZERO,
        backoff: 1.0,
        delay_max: None,
        jitter: 0.0,
        on: Vec::new(),
        never: Vec::new(),
    };
    /// No pause grows beyond this, where nothing else is said.
    pub const DELAY_MAX: SignedDuration = SignedDuration::from_hours(6);

    /// The pause before retry number `retry`, from 1; at most `delay_max`, and without it at most [`Retries::DELAY_MAX`] unless
    /// `delay` itself is longer. Then it is shortened: `chance`, from 0 to 1, says how much of the jitter is taken.
    #[must_use]
    pub fn delay_before(&self, retry: u32, chance: f64) -> SignedDuration {
        let factor = self.backoff.powi(i32::try_from(retry.saturating_sub(1)).unwrap_or(i32::MAX));
        let longest = self.delay_max.unwrap_or_else(|| self.delay.max(Self::DELAY_MAX));
        let grown = SignedDuration::try_from_secs_f64(self.delay.as_secs_f64() * factor).unwrap_or(longest);
        let pause = grown.min(longest);
        if self.jitter == 0.0 {
            return pause;
        }
        let share = 1.0 - self.jitter * chance.clamp(0.0, 1.0);
        SignedDuration::try_from_secs_f64(pause.as_secs_f64() * share).unwrap_or(pause)
    }

    /// Whether an attempt that failed so may be followed by another.
    #[must_use]
    pub fn follow(&self, fault: &Fault) -> bool {
        self.refusal(fault).is_none()
    }

    /// Why an attempt that failed so is not followed by another, where that is not the limit.
    #[must_use]
    pub fn refusal(&self, fault: &Fault) -> Option<String> {
        if let Some(pattern) = self.never.iter().find(|pattern| pattern.fits(fault)) {
            return Some(format!("not tried again: its `retries:` say `never: {pattern}`"));
        }
        if self.on.is_empty() || self.on.iter().any(|pattern| pattern.fits(fault)) {
            return None;
        }
        let on: Vec<String> = self.on.iter().map(ToString::to_string).collect();
        Some(format!("not tried again: its `retries:` are for {} only, and this is {fault}", on.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn pauses_grow_to_their_limit_and_are_shortened_by_no_more_than_the_jitter() {
        let seconds = |retries: &Retries, chance| -> Vec<f64> {
            (1..=5).map(|retry| retries.delay_before(retry, chance).as_secs_f64()).collect()
        };
        let delay = SignedDuration::from_secs(60);
        let mut retries = Retries { limit: 5, delay, backoff: 2.0, ..Retries::NONE };
        assert_eq!(seconds(&retries, 0.7), [60.0, 120.0, 240.0, 480.0, 960.0], "without jitter nothing is by chance");
        assert_eq!(retries.delay_before(1000, 0.0), Retries::DELAY_MAX);
        retries.delay_max = Some(SignedDuration::from_secs(300));
        assert_eq!(seconds(&retries, 0.0), [60.0, 120.0, 240.0, 300.0, 300.0]);
        retries.jitter = 0.5;
        assert_eq!(seconds(&retries, 0.0), [60.0, 120.0, 240.0, 300.0, 300.0]);
        assert_eq!(seconds(&retries, 0.5), [45.0, 90.0, 180.0, 225.0, 225.0]);
        assert_eq!(seconds(&retries, 1.0), [30.0, 60.0, 120.0, 150.0, 150.0]);
        let long = Retries { delay: SignedDuration::from_hours(10), ..Retries::NONE };
        assert_eq!(long.delay_before(3, 0.0), SignedDuration::from_hours(10), "what was asked for is not cut");
    }

    #[test]
    fn never_goes_before_on_and_what_is_not_named_is_tried_again() {
        let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        let refused = Fault { kind: ErrorKind::Connection, exit: Some(7), status: None };
        let cases: [(&[&str], &[&str], Option<&str>); 5] = [
            (&[], &[], None),
            (&["connection", "timeout"], &[], None),
            (&[], &["exit 2"], None),
            (&["connection"], &["exit 5-9"], Some("not tried again: its `retries:` say `never: exit 5-9`")),
            (
                &["timeout", "exit 75"],
                &[],
                Some("not tried again: its `retries:` are for timeout, exit 75 only, and this is connection (exit 7)"),
            ),
        ];
        for (on, never, expected) in cases {
            let retries = Retries { limit: 1, on: patterns(on), never: patterns(never), ..Retries::NONE };
            assert_eq!(retries.refusal(&refused).as_deref(), expected, "{on:?} {never:?}");
            assert_eq!(retries.follow(&refused), expected.is_none());
        }
    }
}

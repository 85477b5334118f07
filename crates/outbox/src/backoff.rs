//! When a notice that did not go is tried again, and when it is given up.

use jiff::{SignedDuration, Timestamp};
use mulgil_history::outbox::{NoticeChange, NoticeStatus};
use mulgil_history::read::NoticeRow;

/// After so many tries nobody is going to take it: some ten hours.
pub(crate) const TRIES_MAX: u32 = 20;
const PAUSE_FIRST: SignedDuration = SignedDuration::from_secs(5);
const PAUSE_MAX: SignedDuration = SignedDuration::from_hours(1);

/// How long to wait after the try of this number, from 1.
fn pause(tries: u32) -> SignedDuration {
    let factor = 2_i32.checked_pow(tries.saturating_sub(1)).unwrap_or(i32::MAX);
    PAUSE_FIRST.checked_mul(factor).unwrap_or(PAUSE_MAX).min(PAUSE_MAX)
}

/// What becomes of a notice that was tried once more.
pub(crate) fn outcome(notice: &NoticeRow, sent: Result<(), String>, now: Timestamp) -> NoticeChange {
    let tries = notice.tries + 1;
    let (to, next_at) = match sent {
        Ok(()) => (NoticeStatus::Delivered, None),
        Err(_) if tries >= TRIES_MAX => (NoticeStatus::GivenUp, None),
        Err(_) => (NoticeStatus::Waiting, Some(now.saturating_add(pause(tries)).unwrap_or(Timestamp::MAX))),
    };
    NoticeChange { key: notice.key.clone(), to, next_at, error: sent.err(), at: now }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour_and_all_tries_take_some_ten_hours() {
        let pauses: Vec<i64> = (1..TRIES_MAX).map(|tries| pause(tries).as_secs()).collect();
        assert_eq!(pauses[..4], [5, 10, 20, 40]);
        assert!(pauses.is_sorted() && pauses.last() == Some(&3600));
        let hours = pauses.iter().sum::<i64>() / 3600;
        assert!((9..13).contains(&hours), "{hours}");
        assert_eq!(pause(u32::MAX), PAUSE_MAX);
    }
}

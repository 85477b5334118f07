//! A limit on how fast a job reads, all its partitions together: so that one that reads the past leaves room for those that
//! live in the present. It can be changed, and lifted, while the job runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// A handle of a limit. Clones are handles of the same one.
#[derive(Clone, Debug)]
pub struct Pace {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit: Mutex<Limit>,
    /// The limit is another one now.
    changed: Notify,
}

#[derive(Debug)]
struct Limit {
    /// Rows a second; `None` for as fast as it goes.
    rows_per_second_max: Option<u64>,
    /// What has been read is paid for then.
    next: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Pace {
    /// At most so many rows a second; as fast as it goes where nothing is said. Zero counts as one.
    pub fn new(rows_per_second_max: Option<u64>) -> Self {
        let limit = Limit { rows_per_second_max, next: Instant::now() };
        Self { shared: Arc::new(Shared { limit: Mutex::new(limit), changed: Notify::new() }) }
    }

    /// Another limit from now on, also for those who wait.
    pub fn set(&self, rows_per_second_max: Option<u64>) {
        {
            let mut limit = self.limit();
            limit.rows_per_second_max = rows_per_second_max;
            limit.next = Instant::now();
        }
        self.shared.changed.notify_waiters();
    }

    /// Rows a second at most.
    pub fn rows_per_second_max(&self) -> Option<u64> {
        self.limit().rows_per_second_max
    }

    /// Waits until more may be read. May be dropped while it waits.
    pub(crate) async fn wait(&self) {
        loop {
            // Asked for before the limit is looked at, so that no change is missed.
            let changed = self.shared.changed.notified();
            let Some(until) = self.waits_until() else { return };
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                () = changed => {}
            }
        }
    }

    /// So many rows have been read. They come in batches, so what counts is the mean.
    pub(crate) fn spend(&self, rows: usize) {
        self.limit().spend(rows, Instant::now());
    }

    fn waits_until(&self) -> Option<Instant> {
        self.limit().waits_until(Instant::now())
    }

    /// Nothing that happens under this lock can leave it half changed.
    fn limit(&self) -> MutexGuard<'_, Limit> {
        self.shared.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limit {
    fn spend(&mut self, rows: usize, now: Instant) {
        if let Some(rows_per_second_max) = self.rows_per_second_max {
            let cost = Duration::from_secs_f64(rows as f64 / rows_per_second_max.max(1) as f64);
            // What was not used in the past is gone.
            self.next = self.next.max(now) + cost;
        }
    }

    fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.rows_per_second_max.map(|_| self.next).filter(|next| *next > now)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn rows_come_no_faster_than_the_limit_and_what_was_not_used_is_gone() {
        let began = Instant::now();
        let after = |ms: u64| began + Duration::from_millis(ms);
        let mut limit = Limit { rows_per_second_max: Some(1_000), next: began };
        assert_eq!(limit.waits_until(began), None);
        limit.spend(500, began);
        limit.spend(500, began);
        assert_eq!(limit.waits_until(after(999)), Some(after(1_000)));
        assert_eq!(limit.waits_until(after(1_000)), None);
        limit.spend(100, after(5_000));
        assert_eq!(limit.waits_until(after(5_000)), Some(after(5_100)));
        limit.rows_per_second_max = None;
        limit.spend(1_000_000, after(5_000));
        assert_eq!(limit.waits_until(after(5_000)), None);
    }

    #[tokio::test]
    async fn who_waits_hears_that_the_limit_is_lifted() {
        let pace = Pace::new(Some(1));
        // Paid for in eleven days.
        pace.spend(1_000_000);
        let waiting = tokio::spawn({
            let pace = pace.clone();
            async move { pace.wait().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        pace.set(None);
        waiting.await.unwrap();
        assert_eq!(pace.rows_per_second_max(), None);
    }
}

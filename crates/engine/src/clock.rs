//! The machine's clock, for operators that want to know it: a tick a second, also while no rows come.
//!
//! A job of which no operator asks for the clock has no ticks, so that waiting costs it nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::MissedTickBehavior;

use crate::bell::Bell;
use crate::metrics::JobMetrics;

/// How often operators hear of the clock.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// The time now, in milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl JobMetrics {
    /// The time to stamp rows with that are being read: never before one that was given before, nor before the time that
    /// operators have been told.
    pub(crate) fn stamp(&self) -> i64 {
        let told_ms = self.clock_ms.load(Relaxed);
        if !self.reads_clock.load(Relaxed) {
            return told_ms.max(0);
        }
        let now_ms = now_ms().max(told_ms);
        self.stamp_ms.fetch_max(now_ms, Relaxed).max(now_ms)
    }
}

/// Tells the workers the time, until it is dropped with its job.
pub(crate) async fn tick(metrics: Arc<JobMetrics>, bells: Vec<Arc<Bell>>) {
    let mut ticks = tokio::time::interval(TICK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A clock that was set back tells nothing new until it has caught up.
        metrics.clock_ms.fetch_max(now_ms(), Relaxed);
        bells.iter().for_each(|bell| bell.ring());
    }
}

//! The scheduler's clock, passed in so that tests can bring their own.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

/// Tells the time, and lets it pass.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Returns when so much time has passed.
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

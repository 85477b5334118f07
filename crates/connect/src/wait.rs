//! Waiting for a system that is away: again and again, less and less often, and saying so.
//!
//! What passes by itself ([`ConnectError::Away`]) is waited for as long as it takes: rows stand still meanwhile, and nothing is
//! lost. What does not pass by itself is the caller's to report.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use crate::error::ConnectError;

/// The first wait; each is twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// No wait is longer, unless the system itself has asked for it.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A system that is asked and says nothing for so long is worth a word.
const SILENCE: Duration = Duration::from_secs(10);

/// One wait for one system: made before the first attempt, asked after each that fails.
#[derive(Debug)]
pub struct Wait {
    next: Duration,
    began: Option<Instant>,
}

impl Default for Wait {
    fn default() -> Self {
        Self { next: FIRST_WAIT, began: None }
    }
}

impl Wait {
    /// After an attempt has failed: comes back when it is time for the next one.
    ///
    /// # Errors
    /// The error itself, if it does not pass by waiting.
    pub async fn again(&mut self, error: ConnectError) -> Result<(), ConnectError> {
        let ConnectError::Away { retry_after, .. } = &error else { return Err(error) };
        let wait = retry_after.unwrap_or(self.next);
        match self.began {
            None => tracing::warn!(%error, "waiting; it is tried again until it works"),
            Some(_) => tracing::debug!(%error, "still waiting"),
        }
        self.began.get_or_insert_with(Instant::now);
        self.next = (self.next * 2).min(LONGEST_WAIT);
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// The attempt has gone well: the wait, if there was one, is over.
    pub fn over(&mut self, what: &str) {
        if let Some(began) = self.began.take() {
            tracing::info!(waited_ms = began.elapsed().as_millis(), "{what} answers again");
        }
        self.next = FIRST_WAIT;
    }
}

/// Waits for an answer as long as it takes, and says so when it takes long: whoever is stopped keeps its connections.
pub(crate) async fn patiently<T>(what: &str, answer: impl Future<Output = T>) -> T {
    let mut answer = pin!(answer);
    if let Ok(answer) = tokio::time::timeout(SILENCE, &mut answer).await {
        return answer;
    }
    tracing::warn!("{what} has not answered for {} s; waiting", SILENCE.as_secs());
    let answer = answer.await;
    tracing::info!("{what} has answered");
    answer
}

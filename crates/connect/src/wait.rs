//! Waiting for a system that is away: again and again, less and less often, and saying so: in the log, and to whoever looks.
//!
//! What passes by itself ([`ConnectError::Away`]) is waited for as long as it takes: rows stand still meanwhile, and nothing is
//! lost. What does not pass by itself is the caller's to report.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::ConnectError;

/// The first wait; each is twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// No wait is longer, unless the system itself has asked for it.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A system that is asked and says nothing for so long is worth a word.
const SILENCE: Duration = Duration::from_secs(10);

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waited {
    /// The system and what it said last, for people: `Kafka at 10.0.0.7:9092: connection refused`.
    pub what: String,
    /// Since when, on the machine's clock, in milliseconds since the epoch.
    pub since_ms: i64,
}

/// What all parts of a source or sink wait for at the moment, for others to look at. Clones show the same.
#[derive(Clone, Debug, Default)]
pub struct Waits(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
struct Board {
    begun: u64,
    waits: BTreeMap<u64, Waited>,
}

impl Waits {
    /// The longest wait that is not over.
    pub fn longest(&self) -> Option<Waited> {
        self.board().waits.values().next().cloned()
    }

    /// A wait for one system, seen here.
    pub fn wait(&self) -> Wait {
        Wait { next: FIRST_WAIT, began: None, waits: self.clone(), shown: None }
    }

    /// Shows a wait until what comes back is dropped.
    pub(crate) fn show(&self, what: String) -> Shown {
        let mut board = self.board();
        board.begun += 1;
        let number = board.begun;
        board.waits.insert(number, Waited { what, since_ms: jiff::Timestamp::now().as_millisecond() });
        Shown { waits: self.clone(), number }
    }

    /// Waits for an answer as long as it takes, and says so when it takes long: whoever is stopped keeps its connections.
    pub(crate) async fn patiently<T>(&self, what: &str, answer: impl Future<Output = T>) -> T {
        self.after_silence(SILENCE, what, answer).await
    }

    async fn after_silence<T>(&self, silence: Duration, what: &str, answer: impl Future<Output = T>) -> T {
        let mut answer = pin!(answer);
        if let Ok(answer) = tokio::time::timeout(silence, &mut answer).await {
            return answer;
        }
        tracing::warn!("{what} has not answered for {} s; waiting", silence.as_secs());
        let _shown = self.show(format!("{what} does not answer"));
        let answer = answer.await;
        tracing::info!("{what} has answered");
        answer
    }

    /// Nothing that happens under this lock can leave half a change behind.
    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait that others see.
#[derive(Debug)]
pub(crate) struct Shown {
    waits: Waits,
    number: u64,
}

impl Shown {
    /// The system has said something else.
    pub(crate) fn say(&self, what: String) {
        if let Some(waited) = self.waits.board().waits.get_mut(&self.number) {
            waited.what = what;
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.waits.board().waits.remove(&self.number);
    }
}

/// One wait for one system: made before the first attempt ([`Waits::wait`]), asked after each that fails.
#[derive(Debug)]
pub struct Wait {
    next: Duration,
    began: Option<Instant>,
    waits: Waits,
    shown: Option<Shown>,
}

impl Wait {
    /// After an attempt has failed: comes back when it is time for the next one.
    ///
    /// # Errors
    /// The error itself, if it does not pass by waiting.
    pub async fn again(&mut self, error: ConnectError) -> Result<(), ConnectError> {
        let ConnectError::Away { reason, retry_after, .. } = &error else { return Err(error) };
        let wait = retry_after.unwrap_or(self.next);
        match &self.shown {
            None => {
                tracing::warn!(%error, "waiting; it is tried again until it works");
                self.shown = Some(self.waits.show(reason.clone()));
            }
            Some(shown) => {
                tracing::debug!(%error, "still waiting");
                shown.say(reason.clone());
            }
        }
        self.began.get_or_insert_with(Instant::now);
        self.next = (self.next * 2).min(LONGEST_WAIT);
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// The attempt has gone well: the wait, if there was one, is over.
    pub fn over(&mut self, what: &str) {
        self.shown = None;
        if let Some(began) = self.began.take() {
            tracing::info!(waited_ms = began.elapsed().as_millis(), "{what} answers again");
        }
        self.next = FIRST_WAIT;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    fn away(reason: &str) -> ConnectError {
        let (table, reason) = ("t".to_owned(), reason.to_owned());
        ConnectError::Away { table, reason, retry_after: Some(Duration::ZERO) }
    }

    #[tokio::test]
    async fn a_wait_is_seen_until_it_is_over_or_given_up() {
        let waits = Waits::default();
        let said = || waits.longest().map(|waited| waited.what);
        let (mut first, mut second) = (waits.wait(), waits.wait());
        assert_eq!(said(), None);
        first.again(away("refused")).await.unwrap();
        let since_ms = waits.longest().unwrap().since_ms;
        second.again(away("starting")).await.unwrap();
        first.again(away("still refused")).await.unwrap();
        assert_eq!(waits.longest(), Some(Waited { what: "still refused".to_owned(), since_ms }));
        first.over("it");
        assert_eq!(said().as_deref(), Some("starting"));
        drop(second);
        assert_eq!(said(), None);
        let wrong = ConnectError::Told("no such table".to_owned());
        assert_eq!(first.again(wrong).await.unwrap_err().to_string(), "no such table");
        assert_eq!(said(), None, "what does not pass is no wait");
    }

    #[tokio::test]
    async fn who_does_not_answer_is_waited_for() {
        let waits = Waits::default();
        let (answer, answered) = tokio::sync::oneshot::channel();
        let asker = waits.clone();
        let asking = tokio::spawn(async move { asker.after_silence(Duration::ZERO, "the database", answered).await });
        let waited = loop {
            match waits.longest() {
                Some(waited) => break waited,
                None => tokio::task::yield_now().await,
            }
        };
        assert_eq!(waited.what, "the database does not answer");
        answer.send(7).unwrap();
        assert_eq!((asking.await.unwrap().unwrap(), waits.longest()), (7, None));
    }
}

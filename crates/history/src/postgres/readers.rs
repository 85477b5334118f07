//! Connections to read over: a few, opened when they are wanted.

use std::sync::{Mutex, PoisonError};

use mulgil_postgres::Address;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::Client;

use super::{connect, stopped};
use crate::error::HistoryError;

/// Reads that run at once; more wait for one another.
const READERS_MAX: usize = 4;
/// Every connection that only reads begins with this.
const PREAMBLE: &str = "SET default_transaction_read_only = on";

/// Connections to read over.
pub(super) struct Readers {
    address: Address,
    idle: Mutex<Vec<Client>>,
    turns: Semaphore,
}

impl Readers {
    /// Opens nothing yet.
    pub(super) fn new(address: Address) -> Self {
        Self { address, idle: Mutex::default(), turns: Semaphore::new(READERS_MAX) }
    }

    /// Waits until fewer than the most that may are reading.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, HistoryError> {
        self.turns.acquire().await.map_err(|_| stopped())
    }

    /// A connection that nobody uses. It is whoever takes it who brings it back; what is dropped half way is closed.
    pub(super) fn idle(&self) -> Option<Client> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Another one.
    pub(super) async fn connect(&self) -> Result<Client, HistoryError> {
        connect(&self.address, PREAMBLE).await
    }

    /// Takes a connection back, and hands on what came over it.
    pub(super) fn keep<T>(&self, client: Client, answers: T) -> T {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(client);
        answers
    }
}

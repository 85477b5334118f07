//! One client's connection as its statements see it: who it is, its settings, its prepared statements.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::oneshot;
use pgwire::api::{ClientInfo, ConnectionHandle};
use pgwire::error::PgWireResult;
use tokio::time::Instant;

use crate::cursor::Cursors;
use crate::failure::{cancelled, fatal};
use crate::service::Caller;
use crate::settings::Settings;

/// A client's connection.
pub(crate) struct Session {
    user: String,
    database: String,
    settings: Mutex<Settings>,
    /// The names of the prepared statements.
    statements: Mutex<BTreeSet<String>>,
    cursors: Mutex<Cursors>,
}

impl Session {
    pub(crate) fn new(user: String, database: String, settings: Settings) -> Self {
        Self { user, database, settings: Mutex::new(settings), statements: Mutex::default(), cursors: Mutex::default() }
    }

    /// The session of a client that has been let in.
    pub(crate) fn of(client: &(impl ClientInfo + ?Sized)) -> PgWireResult<Arc<Self>> {
        client
            .session_extensions()
            .get::<Self>()
            .ok_or_else(|| fatal("08P01", "a query came before the startup message"))
    }

    pub(crate) fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn statements(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn cursors(&self) -> MutexGuard<'_, Cursors> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who asks, with the settings as they are now.
    pub(crate) fn caller(&self, client: &(impl ClientInfo + ?Sized)) -> Caller {
        Caller {
            user: self.user.clone(),
            database: self.database.clone(),
            process: client.pid_and_secret_key().0,
            settings: self.settings().all().clone(),
        }
    }
}

/// What ends a statement from outside: its client, or the time that it may take.
pub(crate) struct Limits {
    cancel: Option<oneshot::Receiver<()>>,
    timeout: Option<Duration>,
    begun: Instant,
}

impl Limits {
    /// A statement begins.
    pub(crate) async fn begin(client: &(impl ClientInfo + ?Sized), session: &Session) -> Self {
        let handle = client.session_extensions().get::<Arc<ConnectionHandle>>();
        let cancel = match handle {
            Some(handle) => Some(handle.start_query().await),
            None => None,
        };
        Self { cancel, timeout: session.settings().statement_timeout(), begun: Instant::now() }
    }

    /// Does a part of the statement's work, unless it is ended before.
    pub(crate) async fn bound<T>(&mut self, work: impl Future<Output = PgWireResult<T>>) -> PgWireResult<T> {
        let deadline = self.timeout.map(|timeout| self.begun + timeout);
        tokio::select! {
            biased;
            () = requested(&mut self.cancel) => Err(cancelled("user request")),
            () = passed(deadline) => Err(cancelled("statement timeout")),
            outcome = work => outcome,
        }
    }
}

async fn requested(cancel: &mut Option<oneshot::Receiver<()>>) {
    if let Some(receiver) = cancel
        && receiver.await.is_ok()
    {
        *cancel = None;
        return;
    }
    std::future::pending().await
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

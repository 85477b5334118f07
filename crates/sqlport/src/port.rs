//! The port itself: listens, lets in as many as it may, and ends in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pgwire::api::ConnectionManager;
use pgwire::api::auth::AuthDriver;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::connection;
use crate::front::Front;
use crate::query_threads::QueryThreads;
use crate::scram::Verifier;
use crate::service::QueryService;
use crate::startup::Told;
use crate::tls::TlsFiles;

/// How long a failed `accept` waits before the next: too many open files pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Threads that serve all connections: they read and write messages, and look keys up.
const CONNECTION_THREADS: usize = 2;
/// How long clients have to be told of the end.
const PARTING_MAX: Duration = Duration::from_secs(2);

/// Where the port listens, and what it allows.
#[derive(Clone, Debug)]
pub struct PortOptions {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// How many clients may be connected at once.
    pub connections_max: usize,
    /// The longest that a statement may take; `None` for as long as it needs.
    pub timeout_max: Option<Duration>,
    /// The password of all users. Needed for every address but loopback.
    pub password: Option<String>,
    /// The certificate with which connections are encrypted. Where there is one, clients of other machines have to.
    pub tls: Option<TlsFiles>,
}

impl PortOptions {
    /// How many clients may be connected at once where nothing is said.
    pub const CONNECTIONS_MAX: usize = 100;

    /// Everything at its default, at an address.
    pub fn at(address: SocketAddr) -> Self {
        Self { address, connections_max: Self::CONNECTIONS_MAX, timeout_max: None, password: None, tls: None }
    }
}

/// Why a port does not open.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: {source}; choose another address or port, or stop what listens there")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// Others could reach it, and anybody could read everything.
    #[error("listening on {address} lets other machines in: set a token (MULGIL_TOKEN), or listen on 127.0.0.1")]
    PasswordNeeded {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// The certificate or its key cannot be used.
    #[error("cannot encrypt connections: {0}")]
    Tls(String),
    /// The system has no random numbers, without which no password can be checked.
    #[error("the system gives no random numbers")]
    Random,
    /// Connections and queries have no threads to run on.
    #[error("cannot start threads for connections and queries: {source}")]
    Threads {
        /// The operating system's word.
        source: std::io::Error,
    },
}

/// An open port.
#[derive(Debug)]
pub struct SqlPort {
    address: SocketAddr,
    stopping: CancellationToken,
    accepting: Option<AbortOnDropHandle<()>>,
    /// Threads of connections, and threads of queries.
    threads: Option<(Runtime, Runtime)>,
}

impl Drop for SqlPort {
    fn drop(&mut self) {
        // A query that does not stop at once is not waited for.
        if let Some((connecting, computing)) = self.threads.take() {
            computing.shutdown_background();
            connecting.shutdown_background();
        }
    }
}

/// A port at which clients wait until it opens.
pub struct Listening {
    options: PortOptions,
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    verifier: Option<Arc<Verifier>>,
}

impl Listening {
    /// Answers clients from now on.
    ///
    /// # Errors
    /// The system gives no threads for queries.
    pub fn open(self, service: Arc<dyn QueryService>) -> Result<SqlPort, PortError> {
        let Self { options, listener, address, tls, verifier } = self;
        let threads = |name: &str, count: Option<usize>| {
            let mut threads = Builder::new_multi_thread();
            if let Some(count) = count {
                threads.worker_threads(count);
            }
            threads.thread_name(name).enable_all().build().map_err(|source| PortError::Threads { source })
        };
        // Connections wait behind nothing that computes: neither behind queries nor behind what else the server does.
        let (connecting, computing) =
            (threads("mulgil-sql", Some(CONNECTION_THREADS))?, threads("mulgil-query", None)?);
        let stopping = CancellationToken::new();
        let connections = Arc::new(ConnectionManager::new());
        let front = Front {
            service,
            threads: QueryThreads::of(computing.handle().clone()),
            driver: AuthDriver::new(Told).with_connection_manager(Arc::clone(&connections)),
            connections,
            verifier,
            encrypts: tls.is_some(),
            timeout_max: options.timeout_max,
        };
        let accepting = accept(listener, options.connections_max, Arc::new(front), tls, stopping.clone());
        let accepting = AbortOnDropHandle::new(connecting.spawn(accepting));
        Ok(SqlPort { address, stopping, accepting: Some(accepting), threads: Some((connecting, computing)) })
    }
}

impl SqlPort {
    /// Begins to listen.
    ///
    /// # Errors
    /// The address cannot be listened on, or needs a password; the certificate cannot be used.
    pub async fn listen(options: PortOptions) -> Result<Listening, PortError> {
        if options.password.is_none() && !options.address.ip().is_loopback() {
            return Err(PortError::PasswordNeeded { address: options.address });
        }
        let tls = options.tls.as_ref().map(TlsFiles::read).transpose().map_err(PortError::Tls)?;
        let verifier = match &options.password {
            Some(password) => Some(Arc::new(Verifier::of(password).ok_or(PortError::Random)?)),
            None => None,
        };
        let failed = |source| PortError::Listen { address: options.address, source };
        let listener = TcpListener::bind(options.address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Listening { options, listener, address, tls, verifier })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more clients, ends their queries, and tells them.
    pub async fn close(mut self) {
        self.stopping.cancel();
        let Some(accepting) = self.accepting.take() else { return };
        if tokio::time::timeout(PARTING_MAX, accepting).await.is_err() {
            tracing::warn!("some clients of the SQL port did not hear that it closes");
        }
    }
}

async fn accept(
    listener: TcpListener,
    connections_max: usize,
    front: Arc<Front>,
    tls: Option<TlsAcceptor>,
    stopping: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(connections_max));
    let mut clients = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = clients.join_next() => continue,
            () = stopping.cancelled() => break,
        };
        let (tcp, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a client of the SQL port could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            refuse(&tcp);
            continue;
        };
        let (front, tls, stopping) = (Arc::clone(&front), tls.clone(), stopping.clone());
        clients.spawn(async move {
            if let Err(error) = connection::serve(tcp, peer, tls, front, stopping).await {
                tracing::debug!(%error, %peer, "a connection to the SQL port ended");
            }
            drop(permit);
        });
    }
    drop(listener);
    while clients.join_next().await.is_some() {}
}

/// Says at once, without reading, that there is no room.
fn refuse(tcp: &TcpStream) {
    let fields = b"SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0\0";
    let length = u32::try_from(fields.len() + 4).unwrap_or_default();
    let message = [&b"E"[..], &length.to_be_bytes(), fields].concat();
    // A fresh socket has room for so few bytes; and if not, the client sees that the connection is closed.
    if let Err(error) = tcp.try_write(&message) {
        tracing::debug!(%error, "a client could not be told that there is no room");
    }
}

//! The server as a whole: takes the parts that the command line has built, listens, answers, and shuts down in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::serve::ListenerExt;
use jiff::Timestamp;
use mulgil_connect::connectors::Connectors;
use mulgil_flow::Flow;
use mulgil_history::History;
use mulgil_log::EventLog;
use mulgil_serving::views::{Views, ViewsOptions};
use mulgil_sql::catalog::Catalog;
use mulgil_sqlport::{PortError, SqlPort};
use mulgil_worker::remote::desk::Desk;
use mulgil_worker::secret::SecretStore;
use mulgil_worker::threads::DataThreads;
use mulgil_worker::view::ViewTasks;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;

use crate::access::{Access, AccessError, guard};
use crate::folder::Folder;
use crate::folder_watch::FolderWatch;
use crate::forward::{Standing, Where, hand_on};
use crate::hooks::Deliveries;
use crate::hub::{Hub, HubParts};
use crate::node::{Node, NodeParts};
use crate::place::Place;
use crate::reload::{Checked, Loaded, ReloadParts, Reloader};
use crate::scheduler::{FlowSource, SchedulerHandle};
use crate::sql_port::{self, ProjectQueries, SqlPortOptions};
use crate::view_tasks::view_tasks;
use crate::{api, assets};

/// How long a shutdown waits for answers that are under way.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Where and for whom the server answers.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// The token that requests have to show. Needed for every address but loopback.
    pub token: Option<String>,
    /// The SQL port.
    pub sql: SqlPortOptions,
    /// A token with which workers may join, and nothing else. Without it, workers show the other one.
    pub worker_token: Option<String>,
}

impl Default for ServerOptions {
    /// Loopback, the usual port, no token.
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 7575)),
            token: None,
            sql: SqlPortOptions::default(),
            worker_token: None,
        }
    }
}

/// What a server is made of.
pub struct ServerParts {
    /// The project's files, as they were read for the scheduler.
    pub folder: Folder,
    /// Hears of their changes, from before they were read.
    pub watch: FolderWatch,
    /// Opens tables.
    pub connectors: Arc<Connectors>,
    /// The running scheduler. Its flows are those of `folder`.
    pub scheduler: SchedulerHandle,
    /// Everything durable about flows.
    pub history: Arc<dyn History>,
    /// The project's secrets, as places: webhooks are signed with them.
    pub secrets: SecretStore,
    /// The event log.
    pub log: EventLog,
    /// How views run. The server starts and stops them.
    pub views: ViewsOptions,
    /// Whether this server leads. One that does not runs no views, until [`ServerHandle::lead`].
    pub standing: Standing,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It may not listen there.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: {source}; choose another address or port, or stop what listens there")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// The SQL port does not open.
    #[error("SQL port: {0}")]
    SqlPort(#[from] PortError),
}

/// A running server.
pub struct ServerHandle {
    address: SocketAddr,
    sql: Mutex<Option<SqlPort>>,
    stopping: CancellationToken,
    answering: Mutex<Option<JoinHandle<()>>>,
    reloader: Reloader,
    refreshing: Arc<DataThreads>,
    place: Place,
    dir: std::path::PathBuf,
}

/// Starts servers.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Starts the project's views, begins to listen, and answers from then on.
    ///
    /// # Errors
    /// The address needs a token, or cannot be listened on.
    pub async fn start(parts: ServerParts, options: ServerOptions) -> Result<ServerHandle, ServerError> {
        let access = Access::new(options.address, options.token.as_deref(), options.worker_token.as_deref())?;
        let listen_error = |source| ServerError::Listen { address: options.address, source };
        let listener = TcpListener::bind(options.address).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let sql_listening = sql_port::listen(&options.sql, options.token.as_deref()).await?;
        let stopping = CancellationToken::new();
        let standing = parts.standing.clone();
        let node = build(parts, stopping.clone()).await;
        let (dir, reloader, refreshing) = (node.dir.clone(), node.reloader.clone(), Arc::clone(&node.refreshing));
        let queries = ProjectQueries::new(node.clone(), options.sql.memory_limit_bytes);
        let sql = sql_listening.map(|listening| listening.open(Arc::new(queries))).transpose()?;
        let place = Place {
            url: format!("http://{address}"),
            sql: sql.as_ref().map(SqlPort::local_addr),
            pid: std::process::id(),
        };
        if let Err(error) = place.write(&dir) {
            tracing::warn!(%error, "where the server answers could not be written down: commands need --server");
        }
        let stop = stopping.clone();
        // An answer's head and body may go out apart: the second must not wait until the client has confirmed the first.
        let listener = listener.tap_io(|tcp| {
            if let Err(error) = tcp.set_nodelay(true) {
                tracing::debug!(%error, "answers on a connection may be late");
            }
        });
        let serving = axum::serve(listener, router(node, access, standing))
            .with_graceful_shutdown(async move { stop.cancelled().await });
        let answering = tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the server stopped answering");
            }
        });
        tracing::info!(%address, "answering");
        let answering = Mutex::new(Some(answering));
        let sql = Mutex::new(sql);
        Ok(ServerHandle { address, sql, stopping, answering, reloader, refreshing, place, dir })
    }
}

impl ServerHandle {
    /// Where the server listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The address for a browser or client on this machine.
    pub fn url(&self) -> &str {
        &self.place.url
    }

    /// Where clients of PostgreSQL read; `None` where the SQL port is closed.
    pub fn sql_addr(&self) -> Option<SocketAddr> {
        self.place.sql
    }

    /// Gives the tables and views as they are declared at that moment.
    pub fn catalog(&self) -> impl Fn() -> Arc<Catalog> + Send + Sync + 'static {
        let reloader = self.reloader.clone();
        move || Arc::clone(reloader.loaded().views.catalog())
    }

    /// How tasks do things to its views.
    pub fn view_tasks(&self) -> Arc<dyn ViewTasks> {
        let reloader = self.reloader.clone();
        view_tasks(move || reloader.loaded().views.clone(), Arc::clone(&self.refreshing))
    }

    /// From now on this server leads: its views run.
    pub async fn lead(&self) {
        self.reloader.lead().await;
    }

    /// The flows as they were last read.
    pub fn flows(&self) -> Vec<FlowSource> {
        self.reloader.loaded().folder.flows.clone()
    }

    /// The flows of which runs are started by files, as they are now.
    pub fn flows_of_files(&self) -> Vec<Arc<Flow>> {
        let loaded = self.reloader.loaded();
        let flows = loaded.folder.flows.iter().map(|source| &source.flow);
        flows.filter(|flow| !flow.triggers.files.is_empty()).cloned().collect()
    }

    /// The views as they are now.
    pub fn views(&self) -> Views {
        self.reloader.loaded().views.clone()
    }

    /// Takes no more requests, ends the streams of events and logs, waits for the answers under way, and stops the
    /// views. The scheduler, the history and the log belong to who started them.
    pub async fn shutdown(&self) {
        self.stopping.cancel();
        self.place.remove(&self.dir);
        if let Some(sql) = self.sql.lock().await.take() {
            sql.close().await;
        }
        if let Some(mut answering) = self.answering.lock().await.take()
            && tokio::time::timeout(DRAIN_MAX, &mut answering).await.is_err()
        {
            answering.abort();
            tracing::warn!("some answers took too long and were broken off");
        }
        self.reloader.loaded().views.shutdown().await;
    }
}

async fn build(parts: ServerParts, stopping: CancellationToken) -> Node {
    let reload_parts = ReloadParts {
        dir: parts.folder.dir.clone(),
        connectors: parts.connectors.clone(),
        views: parts.views,
        threads: DataThreads::new("mulgil-stream"),
        scheduler: parts.scheduler.clone(),
        leads: AtomicBool::new(parts.standing.place() == Where::Here),
    };
    let dir = parts.folder.dir.clone();
    let checked = Checked::new(parts.folder, &reload_parts.connectors);
    let first = Loaded::new(checked, &reload_parts, None).await;
    let reloader = Reloader::start(reload_parts, parts.watch, first);
    let hub = Hub::start(HubParts {
        scheduler: parts.scheduler.clone(),
        history: parts.history.clone(),
        reloader: reloader.clone(),
        stopping: stopping.clone(),
    });
    let desk = Desk::new(parts.scheduler.clone());
    let watching = desk.clone().watch();
    let stopped = stopping.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = watching => {}
            () = stopped.cancelled() => {}
        }
    });
    Node::new(NodeParts {
        dir,
        desk,
        started_at: Timestamp::now(),
        started: Instant::now(),
        scheduler: parts.scheduler,
        history: parts.history,
        secrets: parts.secrets,
        deliveries: Deliveries::default(),
        log: parts.log,
        connectors: parts.connectors,
        reloader,
        refreshing: Arc::new(DataThreads::new("mulgil-view")),
        hub,
        stopping,
    })
}

/// The API behind its guard; everything else is the web UI's. Streams of events are not compressed.
fn router(node: Node, access: Access, standing: Standing) -> Router {
    let (api, _) = api::routes().split_for_parts();
    api.merge(crate::metrics::at_root())
        .with_state(node)
        .layer(from_fn_with_state(standing, hand_on))
        .layer(from_fn_with_state(access.clone(), guard))
        .fallback_service(axum::routing::any(assets::serve).with_state(access))
        .layer(CompressionLayer::new())
}

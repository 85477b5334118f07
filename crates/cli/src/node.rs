//! A whole server from its parts: where all wiring happens.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mulgil_connect::connectors::{Connectors, ConnectorsOptions};
use mulgil_flow::{Project, SqlListen, SqlPortSettings};
use mulgil_history::lock::patiently;
use mulgil_log::{EventLog, LogError, LogOptions};
use mulgil_outbox::OutboxOptions;
use mulgil_sched::demand::Offer;
use mulgil_server::folder::Folder;
use mulgil_server::folder_watch::FolderWatch;
use mulgil_server::scheduler::{self, SchedulerOptions};
use mulgil_server::server::{Server, ServerHandle, ServerOptions, ServerParts};
use mulgil_server::sql_port::{SqlPortOptions, TlsFiles};
use mulgil_serving::views::ViewsOptions;
use mulgil_worker::guard::Guard;
use mulgil_worker::secret::SecretStore;
use mulgil_worker::tables::TableTasks;
use mulgil_worker::worker::WorkerOptions;
use tokio::task::JoinHandle;

use crate::history_place::HistoryPlace;
use crate::place::CheckpointPlace;
use crate::stage::{Crew, Stage};
use crate::{lock, memory};

/// How long running attempts get to end by themselves when the server is told to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often old records of topics are looked for.
const RETENTION_EVERY: Duration = Duration::from_secs(60);

/// How a node is started.
pub(crate) struct NodeOptions {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// The token that requests have to show.
    pub(crate) token: Option<String>,
    /// The token with which workers may join, and nothing else.
    pub(crate) worker_token: Option<String>,
    /// Where the SQL port listens; as the project's file says where nothing is said here.
    pub(crate) sql_listen: Option<SqlListen>,
    /// Whether schedules fire. A server that lives for one command runs only what it is told to.
    pub(crate) schedules: bool,
}

impl NodeOptions {
    /// For a command that found no server: a free port on loopback, and no schedules.
    pub(crate) fn for_one_command() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            token: None,
            worker_token: None,
            sql_listen: Some(SqlListen::Off),
            schedules: false,
        }
    }
}

/// A running server with everything in it.
pub(crate) struct Node {
    server: Arc<ServerHandle>,
    work: Stage,
    log: EventLog,
    retention: JoinHandle<()>,
    /// Held while the node lives: one process has a project's folder.
    _lock: File,
}

impl Node {
    /// Builds and starts scheduler, worker, views, API and web UI for a project. Where another server leads on the same history, this
    /// one stands by: it answers, and takes over when the other one is gone.
    pub(crate) async fn start(project: &Path, options: NodeOptions) -> Result<Self> {
        let project_dir =
            project.canonicalize().with_context(|| format!("there is no folder {}", project.display()))?;
        let watch = FolderWatch::new(&project_dir);
        let folder = Folder::read(&project_dir)?;
        let lock = lock::take(&project_dir).await?;
        let (settings, project_name) = (Arc::clone(&folder.project), folder.name());
        let log_dir = local(&project_dir, &settings.log, "log")?;
        let open_log = || EventLog::open(&log_dir, LogOptions::default());
        let log = patiently(open_log, |error| matches!(error, LogError::Locked { .. })).await?;
        let secrets = secrets_of(&settings, &project_dir);
        let connectors = Connectors::new(ConnectorsOptions {
            project_dir: project_dir.clone(),
            lake_dir: local(&project_dir, &settings.lake, "lake")?,
            log: Some(log.clone()),
            object_storage: crate::place::object_storage(),
        });
        let connectors = Arc::new(with_secrets(connectors, secrets.clone()));
        let history = HistoryPlace::open(&project_dir, &settings.history).await?;
        let (scheduler, inbox) = scheduler::prepare();
        let parts = ServerParts {
            folder,
            watch,
            connectors: Arc::clone(&connectors),
            scheduler: scheduler.clone(),
            history: history.store(),
            secrets: secrets.clone(),
            log: log.clone(),
            views: views_options(&project_dir, &settings)?,
            standing: history.standing(),
        };
        let server = Server::start(
            parts,
            ServerOptions {
                address: options.listen,
                token: options.token,
                sql: sql_port(&project_dir, &settings.sql, options.sql_listen)?,
                worker_token: options.worker_token,
            },
        )
        .await?;
        let server = Arc::new(server);
        let worker_options = WorkerOptions {
            name: history.worker_name(),
            slots: settings.pools.values().map(|slots| *slots as usize).sum::<usize>().max(1),
            offer: Offer::own(),
            guard: Some(guard()?),
            logs_dir: project_dir.clone(),
            project_dir: project_dir.clone(),
            data: Arc::new(TableTasks::new(connectors, server.catalog())),
            views: server.view_tasks(),
            python: settings.python.clone(),
            secrets,
            environment: own_program()?,
        };
        let outbox = OutboxOptions {
            project: Arc::clone(&settings),
            project_name,
            project_dir: project_dir.clone(),
            url: settings.url.clone().unwrap_or_default(),
            environment: Arc::new(|name| std::env::var(name).ok()),
        };
        let mut scheduler_options = SchedulerOptions::new(settings, project_dir);
        scheduler_options.schedules = options.schedules;
        let crew = Crew { history, scheduler, server: Arc::clone(&server), scheduler_options, worker_options, outbox };
        let work = Stage::enter(crew, inbox).await?;
        let retention = tokio::spawn(keep_retention(log.clone()));
        Ok(Self { server, work, log, retention, _lock: lock })
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> &str {
        self.server.url()
    }

    /// Where clients of PostgreSQL read.
    pub(crate) fn sql_addr(&self) -> Option<SocketAddr> {
        self.server.sql_addr()
    }

    /// The event log, for what is replayed inside this process.
    pub(crate) fn log(&self) -> &EventLog {
        &self.log
    }

    /// Returns when the scheduler has ended by itself: the history cannot be written for good, and a server without a
    /// scheduler would only seem to live. [`LeaseLost`] says that another server may lead by now: what ran here has been ended.
    pub(crate) async fn failure(&mut self) -> anyhow::Error {
        self.work.failure().await
    }

    /// Stops in order: no more requests, no more work, then running attempts, then the scheduler.
    pub(crate) async fn shutdown(self) {
        self.retention.abort();
        self.server.shutdown().await;
        self.work.leave(PATIENCE).await;
    }
}

/// How the views of a project run.
fn views_options(project_dir: &Path, settings: &Project) -> Result<ViewsOptions> {
    let checkpoints = CheckpointPlace::new(project_dir, &settings.checkpoints)?;
    Ok(ViewsOptions {
        results_dir: Some(project_dir.join(".mulgil/views")),
        checkpoints_dir: Some(checkpoints.folder),
        checkpoints_remote: checkpoints.remote,
        state: memory::of_views(project_dir, settings.state_memory.as_deref())?,
        ..ViewsOptions::default()
    })
}

/// The SQL port as the project's file says it; `listen` comes before that.
fn sql_port(project_dir: &Path, settings: &SqlPortSettings, listen: Option<SqlListen>) -> Result<SqlPortOptions> {
    let files = |(certificate, key): &(String, String)| TlsFiles {
        certificate: project_dir.join(certificate),
        key: project_dir.join(key),
    };
    Ok(SqlPortOptions {
        listen: listen.unwrap_or(settings.listen),
        connections_max: settings.connections.map(|number| number as usize),
        timeout_max: settings.timeout.map(|timeout| timeout.unsigned_abs()),
        tls: settings.tls.as_ref().map(files),
        memory_limit_bytes: memory::of_queries(settings.memory.as_deref())?,
    })
}

/// Removes what topics keep no longer, once a minute.
async fn keep_retention(log: EventLog) {
    let mut ticks = tokio::time::interval(RETENTION_EVERY);
    loop {
        ticks.tick().await;
        let log = log.clone();
        let removing =
            tokio::task::spawn_blocking(move || log.enforce_retention(jiff::Timestamp::now().as_millisecond()));
        match removing.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "old records of a topic could not be removed; trying again"),
            Err(error) => tracing::error!(%error, "removing old records ended badly"),
        }
    }
}

/// The project's secrets, from this process's environment and from files.
pub(crate) fn secrets_of(settings: &Project, project_dir: &Path) -> SecretStore {
    SecretStore::new(settings, project_dir.to_owned(), |name| std::env::var(name).ok())
}

/// Connectors whose tables may refer to these secrets.
pub(crate) fn with_secrets(connectors: Connectors, secrets: SecretStore) -> Connectors {
    connectors.with_secrets(Arc::new(move |name| secrets.get(name)))
}

/// Shell tasks find this very program in `$MULGIL`, wherever it is installed.
pub(crate) fn own_program() -> Result<BTreeMap<String, String>> {
    let program = std::env::current_exe().context("failed to find this program's own path")?;
    Ok(BTreeMap::from([("MULGIL".to_owned(), program.display().to_string())]))
}

/// Ends what a worker runs should this process be killed: this very program, in another process.
pub(crate) fn guard() -> Result<Guard> {
    let program = std::env::current_exe().context("failed to find this program's own path")?;
    Ok(Guard::new(program, vec!["guard".to_owned()]))
}

/// Opens the project's event log.
pub(crate) fn open_log(project_dir: &Path, place: &str) -> Result<EventLog> {
    Ok(EventLog::open(local(project_dir, place, "log")?, LogOptions::default())?)
}

/// A place of the project's settings as a local path. Other systems come with later versions.
pub(crate) fn local(project_dir: &Path, place: &str, setting: &str) -> Result<PathBuf> {
    if place.contains("://") {
        bail!(
            "mulgil.yaml: {setting}: {place}: this version keeps its {setting} in local files: give a path, or leave it out"
        );
    }
    let path = project_dir.join(place);
    let parent = path.parent().unwrap_or(project_dir);
    std::fs::create_dir_all(parent).with_context(|| format!("failed to make {}", parent.display()))?;
    Ok(path)
}

//! Reads the project's files again: when asked, and when they change. One task does it, so that two reloads never
//! cross.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mulgil_connect::connectors::Connectors;
use mulgil_serving::views::{Views, ViewsOptions};
use mulgil_sql::catalog::Catalog;
use mulgil_worker::threads::DataThreads;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::ApiError;
use crate::folder::Folder;
use crate::folder_watch::FolderWatch;
use crate::project::Problem;
use crate::scheduler::SchedulerHandle;

/// Asks that may wait; whoever asks beyond that waits for room.
const ASKS_MAX: usize = 16;

/// The project's files as they were last read.
pub(crate) struct Loaded {
    /// The files.
    pub(crate) folder: Folder,
    /// The tables and views.
    pub(crate) catalog: Arc<Catalog>,
    /// The views of that catalog.
    pub(crate) views: Views,
    /// Everything that is wrong, flows and SQL together.
    pub(crate) problems: Vec<Problem>,
}

/// A project's folder with what its SQL declares.
pub(crate) struct Checked {
    pub(crate) folder: Folder,
    catalog: Catalog,
    problems: Vec<Problem>,
}

impl Checked {
    /// Checks what was read.
    pub(crate) fn new(mut folder: Folder, connectors: &Connectors) -> Self {
        let (catalog, problems) = folder.catalog(connectors);
        folder.add_view_flows(&catalog);
        folder.check_dashboards(&catalog);
        Self { folder, catalog, problems }
    }
}

impl Loaded {
    /// Takes over what was checked, and starts its views. Where the SQL is what it was `before`, the views go on untouched.
    pub(crate) async fn new(checked: Checked, parts: &ReloadParts, before: Option<&Self>) -> Self {
        let Checked { folder, catalog, problems: sql_problems } = checked;
        let mut problems = folder.problems.clone();
        problems.extend(sql_problems);
        problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        if let Some(before) = before
            && before.folder.sql == folder.sql
        {
            return Self { folder, catalog: before.catalog.clone(), views: before.views.clone(), problems };
        }
        if let Some(before) = before {
            before.views.shutdown().await;
        }
        let catalog = Arc::new(catalog);
        // The threads are started here, so only where a view needs them.
        let threads = catalog.views().next().and_then(|_| parts.threads.handle());
        let options = ViewsOptions { threads, ..parts.views.clone() };
        let views = Views::new(catalog.clone(), parts.connectors.clone(), options);
        if parts.leads.load(Ordering::SeqCst) {
            views.start_all().await;
        }
        Self { folder, catalog, views, problems }
    }
}

/// What the task is asked for.
enum Ask {
    /// Reads everything again.
    Reload(oneshot::Sender<Result<Arc<Loaded>, ApiError>>),
    /// Runs the views from now on.
    Lead(oneshot::Sender<()>),
}

/// Asks for a reload, and knows what was last read.
#[derive(Clone)]
pub(crate) struct Reloader {
    asks: mpsc::Sender<Ask>,
    loaded: watch::Receiver<Arc<Loaded>>,
}

/// What the reloading task works with.
pub(crate) struct ReloadParts {
    /// The project's folder.
    pub(crate) dir: PathBuf,
    /// Checks the tables' options.
    pub(crate) connectors: Arc<Connectors>,
    /// How views run.
    pub(crate) views: ViewsOptions,
    /// Where their streams run.
    pub(crate) threads: DataThreads,
    /// Gets the flows.
    pub(crate) scheduler: SchedulerHandle,
    /// Whether this server leads: only then do its views run.
    pub(crate) leads: AtomicBool,
}

impl Reloader {
    /// Starts the task, with a watch that began before the files were read. It ends when the last handle is gone.
    pub(crate) fn start(parts: ReloadParts, watch: FolderWatch, first: Loaded) -> Self {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let (publish, loaded) = watch::channel(Arc::new(first));
        tokio::spawn(run(parts, watch, asked, publish));
        Self { asks, loaded }
    }

    /// What was last read.
    pub(crate) fn loaded(&self) -> Arc<Loaded> {
        self.loaded.borrow().clone()
    }

    /// Wakes up after each reload.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Loaded>> {
        self.loaded.clone()
    }

    /// Runs the views from now on; answers when they have started.
    pub(crate) async fn lead(&self) {
        let (done, started) = oneshot::channel();
        if self.asks.send(Ask::Lead(done)).await.is_ok() {
            // An error means that the server is shutting down.
            let _ = started.await;
        }
    }

    /// Reads everything again and answers when the scheduler has it.
    pub(crate) async fn reload(&self) -> Result<Arc<Loaded>, ApiError> {
        let (reply, answer) = oneshot::channel();
        let stopped = || ApiError::unavailable("the server is shutting down");
        self.asks.send(Ask::Reload(reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

async fn run(
    parts: ReloadParts,
    mut watch: FolderWatch,
    mut asked: mpsc::Receiver<Ask>,
    publish: watch::Sender<Arc<Loaded>>,
) {
    loop {
        let ask = tokio::select! {
            ask = asked.recv() => match ask {
                Some(Ask::Reload(reply)) => Some(reply),
                Some(Ask::Lead(done)) => {
                    if !parts.leads.swap(true, Ordering::SeqCst) {
                        let loaded = publish.borrow().clone();
                        loaded.views.start_all().await;
                    }
                    // Whoever asked may have gone away.
                    let _ = done.send(());
                    continue;
                }
                None => return,
            },
            () = watch.changed() => {
                watch.settle().await;
                None
            }
        };
        watch.follow_folders();
        let before = publish.borrow().clone();
        let outcome = reload(&parts, &before).await.map(Arc::new);
        match (&outcome, ask) {
            (Ok(loaded), ask) => {
                publish.send_replace(loaded.clone());
                ask.map(|reply| reply.send(outcome));
            }
            (Err(_), Some(reply)) => drop(reply.send(outcome)),
            (Err(error), None) => tracing::warn!(%error, "the project's files changed and could not be read again"),
        }
    }
}

async fn reload(parts: &ReloadParts, before: &Loaded) -> Result<Loaded, ApiError> {
    let dir = parts.dir.clone();
    let folder = tokio::task::spawn_blocking(move || Folder::read(&dir))
        .await
        .map_err(|error| ApiError::internal("reading the project's files failed").with_detail(error.to_string()))?
        .map_err(|error| ApiError::conflict(error.to_string()))?;
    let checked = Checked::new(folder, &parts.connectors);
    parts.scheduler.reload(checked.folder.flows.clone(), checked.folder.sound_project()).await?;
    Ok(Loaded::new(checked, parts, Some(before)).await)
}

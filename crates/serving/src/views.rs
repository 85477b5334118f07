//! The views of a project: started, stopped, refreshed, queried, watched.
//!
//! A `CONTINUOUS` view is one engine job whose sink is a result in memory. Its checkpoints hold the state of its operators
//! and the result; a restart goes on from the last one, and so comes to exactly the same rows. A `FULL` view is computed in batch when asked, and its result replaced
//! as a whole. A `KAPPA` view is a `CONTINUOUS` one that can be built anew beside itself: see [`generation`]. So does a view of any mode
//! that gets another: what has kept it goes on answering until what is to keep it has caught up.

mod archive_cut;
mod archives;
mod catch_up;
mod cell;
pub mod changes;
mod difference;
mod error;
mod export;
mod feed;
mod full;
mod generation;
mod goal;
mod keep;
mod lambda;
mod layers;
mod look_up;
mod news;
mod part;
mod prepare;
mod replay;
mod savepoints;
mod slot;
mod starts;
mod stored;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use mulgil_connect::connectors::Connectors;
use mulgil_connect::definition::TableName;
use mulgil_connect::object_storage::ObjectFolder;
use mulgil_engine::checkpoint::CheckpointError;
use mulgil_engine::pace::Pace;
use mulgil_engine::state_files::StateOptions;
use mulgil_sql::catalog::{Catalog, View};
use mulgil_sql::problem::SqlError;
use mulgil_sql::session::{QueryResult, Session, SessionOptions, ViewSnapshots};
use mulgil_sql::statement::RefreshMode;
use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast};

use self::archive_cut::PastOfTables;
use self::cell::{Origin, ViewCell};
pub use self::error::ViewError;
use self::feed::Feed;
pub use self::generation::Why;
pub use self::layers::WindowDrift;
pub use self::part::RefreshInterval;
pub use self::replay::ReplayOptions;
use self::slot::Slot;
use crate::status::{ViewChange, ViewStatus};

/// News that a subscriber may be behind before it misses some.
const NEWS_WAITING_MAX: usize = 256;

/// How long changes that no watermark follows may wait before they are visible.
const COMMIT_INTERVAL: Duration = Duration::from_millis(200);

/// How often what computes in batch looks whether the views are being shut down.
const CLOSING_LOOK: Duration = Duration::from_millis(50);

/// How views run.
#[derive(Clone, Debug)]
pub struct ViewsOptions {
    /// Worker threads of each view's job.
    pub parallelism: usize,
    /// Where the results of `FULL` views, and the batch views of `LAMBDA` ones, are stored; `None` for in memory only.
    pub results_dir: Option<PathBuf>,
    /// Limits of each query.
    pub session: SessionOptions,
    /// Where the jobs of `CONTINUOUS` views keep their checkpoints, each in a folder of its own; `None` for nowhere: then
    /// each start reads the sources from the beginning.
    pub checkpoints_dir: Option<PathBuf>,
    /// The folder in object storage where the checkpoints are in truth, if they are not to be lost with this machine.
    pub checkpoints_remote: Option<ObjectFolder>,
    /// How much memory the state of all jobs may take together, and where the rest goes, each in a folder of its own; `None`
    /// for all the memory there is. Views may have a budget of their own.
    pub state: Option<StateOptions>,
    /// How often [`Views::subscribe`] tells of a view at most.
    pub news_interval: Duration,
    /// Where the streams of views run, so that those who ask do not wait behind them; `None` for where they are started. It has to
    /// live until [`Views::shutdown`] is over.
    pub threads: Option<Handle>,
}

impl Default for ViewsOptions {
    fn default() -> Self {
        Self {
            parallelism: 1,
            results_dir: None,
            session: SessionOptions::default(),
            checkpoints_dir: None,
            checkpoints_remote: None,
            state: None,
            news_interval: Duration::from_millis(250),
            threads: None,
        }
    }
}

/// A handle of the project's views. Clones are handles of the same views.
#[derive(Clone)]
pub struct Views {
    shared: Arc<Shared>,
}

struct Shared {
    catalog: Arc<Catalog>,
    /// The same, with the views as those are that answer.
    shown: RwLock<Arc<Catalog>>,
    connectors: Arc<Connectors>,
    options: ViewsOptions,
    slots: BTreeMap<TableName, Arc<Slot>>,
    /// The archives of unbounded tables, as far as a view needs them.
    archives: Mutex<BTreeMap<TableName, Arc<ViewCell>>>,
    news: broadcast::Sender<ViewChange>,
    /// What has lately changed of the views that somebody listens to.
    feeds: Mutex<BTreeMap<TableName, Arc<Feed>>>,
    /// Something of some view has changed.
    changed: Arc<Notify>,
    closing: AtomicBool,
}

impl Shared {
    /// Nothing that happens under this lock can leave it half changed.
    fn feeds(&self) -> MutexGuard<'_, BTreeMap<TableName, Arc<Feed>>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The news task wakes, finds nobody, and ends.
        self.changed.notify_one();
    }
}

impl Views {
    /// Views of a catalog; nothing runs yet. Must be called in a tokio runtime.
    pub fn new(catalog: Arc<Catalog>, connectors: Arc<Connectors>, options: ViewsOptions) -> Self {
        let (news, _) = broadcast::channel(NEWS_WAITING_MAX);
        let slot = |view: &Arc<View>| {
            let origin = Origin {
                number: 1,
                catalog: Arc::clone(&catalog),
                from_ms: None,
                archives: PastOfTables::default(),
                pace: Pace::default(),
                archive: None,
            };
            Arc::new(Slot::new(ViewCell::new(Arc::clone(view), origin)))
        };
        let slots = catalog.views().map(|view| (view.name.clone(), slot(view))).collect();
        let changed = Arc::new(Notify::new());
        let shared = Arc::new(Shared {
            shown: RwLock::new(Arc::clone(&catalog)),
            catalog,
            connectors,
            options,
            slots,
            archives: Mutex::default(),
            news,
            feeds: Mutex::default(),
            changed: Arc::clone(&changed),
            closing: AtomicBool::new(false),
        });
        tokio::spawn(news::tell(Arc::downgrade(&shared), changed));
        Self { shared }
    }

    /// Starts every `CONTINUOUS` view and loads the stored results of `FULL` ones. A view that cannot be started is
    /// `failed`, with its error; the others go on.
    pub async fn start_all(&self) {
        // Side by side: one that waits for a system holds up no other.
        let start = async |slot: &Arc<Slot>| {
            let name = &slot.view.name;
            if let Err(error) = self.bring_up(slot).await {
                tracing::warn!(view = %name, %error, "view not started");
            }
        };
        futures::future::join_all(self.shared.slots.values().map(start)).await;
    }

    /// Stops a view, and what is being built beside it; its result stays readable.
    ///
    /// # Errors
    /// The view is unknown.
    pub async fn stop(&self, view: &TableName) -> Result<(), ViewError> {
        self.slot(view)?.stop().await;
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Computes a `FULL` view anew and replaces its result; of a `LAMBDA` view, the batch view, and moves its boundary. A view with
    /// an `export` is exported then. The rows that the answer counts are those that readers see, of both layers.
    ///
    /// # Errors
    /// See [`ViewError`]; the former result stays, unless it was only the export that has failed.
    pub async fn refresh(&self, view: &TableName) -> Result<ViewStatus, ViewError> {
        self.refresh_some(view, None).await
    }

    /// The same for the rows of a `FULL` view whose partition column lies in an interval: the others stay as they are. A view that is not
    /// partitioned, or has no result yet, is computed as a whole.
    ///
    /// # Errors
    /// See [`Views::refresh`].
    pub async fn refresh_part(&self, view: &TableName, part: &RefreshInterval) -> Result<ViewStatus, ViewError> {
        self.refresh_some(view, Some(part)).await
    }

    async fn refresh_some(&self, view: &TableName, part: Option<&RefreshInterval>) -> Result<ViewStatus, ViewError> {
        let slot = self.slot(view)?;
        let has_layers = slot.view.mode == RefreshMode::Lambda;
        if has_layers {
            let refreshed = self.refresh_batch(slot).await;
            self.shared.changed.notify_one();
            refreshed?;
        } else {
            self.refresh_full(slot, part).await?;
        }
        self.export_refreshed(slot).await?;
        let status = self.status_of(slot);
        let rows = if has_layers { slot.live().rows_seen()? } else { status.rows };
        Ok(ViewStatus { rows, ..status })
    }

    /// All views, by name.
    pub fn list(&self) -> Vec<ViewStatus> {
        self.shared.slots.values().map(|slot| self.status_of(slot)).collect()
    }

    /// One view.
    ///
    /// # Errors
    /// The view is unknown.
    pub fn status(&self, view: &TableName) -> Result<ViewStatus, ViewError> {
        Ok(self.status_of(self.slot(view)?))
    }

    fn status_of(&self, slot: &Slot) -> ViewStatus {
        ViewStatus { layers: self.layers_status(slot), archives: self.archives_status(slot), ..slot.status() }
    }

    /// The engine's own status of a `CONTINUOUS` view's job, with its subtasks and queues; `None` where it never ran.
    ///
    /// # Errors
    /// The view is unknown.
    pub fn job_status(&self, view: &TableName) -> Result<Option<mulgil_engine::status::JobStatus>, ViewError> {
        Ok(self.slot(view)?.live().job().map(|job| job.status()))
    }

    /// Runs a `SELECT` in batch, in which views are tables that hold their results as they are now. A view without a
    /// result is computed from its query.
    ///
    /// # Errors
    /// A mistake in the text, a table that cannot be read.
    pub async fn query(&self, sql: &str) -> Result<QueryResult, SqlError> {
        self.session().query(sql).await
    }

    /// A session in which views are tables that hold their results as they are now.
    pub fn session(&self) -> Session {
        let shown = Arc::clone(&self.shared.shown.read().unwrap_or_else(PoisonError::into_inner));
        Session::new(shown, Arc::clone(&self.shared.connectors))
            .with_options(self.shared.options.session)
            .with_view_snapshots(self.snapshots())
    }

    /// A session over what a generation of a view is built from.
    fn session_of(&self, cell: &ViewCell) -> Session {
        Session::new(Arc::clone(&cell.origin.catalog), Arc::clone(&self.shared.connectors))
            .with_options(self.shared.options.session)
    }

    /// Queries see a view's columns as those are of the generation that answers.
    fn show(&self, slot: &Slot) {
        let view = Arc::clone(&slot.live().view);
        let mut shown = self.shared.shown.write().unwrap_or_else(PoisonError::into_inner);
        *shown = Arc::new(shown.with_view(view));
    }

    /// The columns of a view, as its queries see them.
    ///
    /// # Errors
    /// The view is unknown.
    pub fn schema(&self, view: &TableName) -> Result<SchemaRef, ViewError> {
        Ok(Arc::clone(&self.slot(view)?.live().view.schema))
    }

    /// The columns of a view that together name a row of its result, by their places in [`Views::schema`]; none where no columns do, or
    /// where nothing keeps it up to date row by row (`FULL`).
    ///
    /// # Errors
    /// The view is unknown.
    pub fn key(&self, view: &TableName) -> Result<Vec<usize>, ViewError> {
        Ok(self.slot(view)?.live().key().unwrap_or_default())
    }

    /// The limits of each query.
    pub fn session_options(&self) -> SessionOptions {
        self.shared.options.session
    }

    /// The results of the views, for sessions and [`crate::run::run_statements`].
    pub fn snapshots(&self) -> Arc<dyn ViewSnapshots> {
        Arc::new(self.clone())
    }

    /// News of views, each view at most every [`ViewsOptions::news_interval`]. A subscriber that falls far behind
    /// misses news and should ask for all views.
    pub fn subscribe(&self) -> broadcast::Receiver<ViewChange> {
        self.shared.news.subscribe()
    }

    /// Whether these are the same views: the project's files have not been read anew since.
    pub fn are(&self, others: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &others.shared)
    }

    /// The catalog, as the project declares it.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.shared.catalog
    }

    /// Stops all views and waits until their jobs have ended. Nothing can be started afterwards.
    pub async fn shutdown(&self) {
        self.shared.closing.store(true, Ordering::Release);
        futures::future::join_all(self.shared.slots.values().map(|slot| slot.stop())).await;
        for slot in self.shared.slots.values() {
            // One that is taking over has done so, or has not.
            drop(slot.turn.lock().await);
        }
        for archive in self.archives() {
            let _one_at_a_time = archive.turn_to_stop().await;
            archive.stop().await;
        }
        self.shared.changed.notify_one();
    }

    /// Computes something, unless the views are shut down meanwhile: who waits for that does not wait for batch.
    async fn unless_closing<T>(&self, work: impl Future<Output = Result<T, ViewError>>) -> Result<T, ViewError> {
        let closing = async {
            while !self.shared.closing.load(Ordering::Acquire) {
                tokio::time::sleep(CLOSING_LOOK).await;
            }
        };
        tokio::select! {
            done = work => done,
            () = closing => Err(ViewError::ShutDown),
        }
    }

    fn slot(&self, name: &TableName) -> Result<&Arc<Slot>, ViewError> {
        self.shared.slots.get(name).ok_or_else(|| {
            let names: Vec<String> = self.shared.slots.keys().map(ToString::to_string).collect();
            let remedy = match self.shared.catalog.problem(name) {
                Some(problem) => format!("it is declared, but broken: {problem}"),
                None if names.is_empty() => "the project has no views".to_owned(),
                None => format!("views: {}", names.join(", ")),
            };
            ViewError::Unknown { name: name.to_string(), remedy }
        })
    }
}

impl ViewSnapshots for Views {
    fn snapshot(&self, view: &TableName) -> Option<Arc<dyn TableProvider>> {
        let answer = self.shared.slots.get(view)?.live().answer()?;
        let schema = Arc::clone(&answer.schema);
        // The engine's batches may say less about nulls than the plan does.
        let batches = answer
            .rows()
            .ok()?
            .into_iter()
            .map(|batch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()));
        let batches = batches.collect::<Result<Vec<RecordBatch>, _>>().ok()?;
        let table = MemTable::try_new(schema, vec![batches]).ok()?;
        Some(Arc::new(table))
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl ViewCell {
    fn forgetting_failed(&self, path: &Path, error: &CheckpointError) -> ViewError {
        let (name, reason) = (self.view.name.to_string(), error.to_string());
        ViewError::Store { name, action: "forget the checkpoints in", path: path.to_owned(), reason }
    }

    fn wrong_mode(&self, reason: &str) -> ViewError {
        ViewError::Mode {
            name: self.view.name.to_string(),
            mode: self.view.mode.to_string(),
            reason: reason.to_owned(),
        }
    }

    fn refused(&self, error: &crate::result::ResultError) -> ViewError {
        ViewError::Result { name: self.view.name.to_string(), reason: error.to_string() }
    }
}

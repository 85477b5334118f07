//! The views of a project: started, stopped, refreshed, queried, watched.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mulgil_connect::connectors::Connectors;
use mulgil_connect::definition::TableName;
use mulgil_sql::catalog::Catalog;
use mulgil_sql::problem::SqlError;
use mulgil_sql::session::{QueryResult, SessionOptions};
use tokio::sync::broadcast;

use crate::status::{ViewChange, ViewStatus};

/// How views run.
#[derive(Clone, Debug)]
pub struct ViewsOptions {
    /// Worker threads of each view's job.
    pub parallelism: usize,
    /// Where results of `FULL` views are stored; `None` for in memory only.
    pub results_dir: Option<PathBuf>,
    /// Limits of each query.
    pub session: SessionOptions,
    /// How often [`Views::subscribe`] tells of a view at most.
    pub news_interval: Duration,
}

impl Default for ViewsOptions {
    fn default() -> Self {
        Self {
            parallelism: 1,
            results_dir: None,
            session: SessionOptions::default(),
            news_interval: Duration::from_millis(250),
        }
    }
}

/// Why a view could not be started, refreshed or asked.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// There is no such view.
    #[error("unknown view {name}; {remedy}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        remedy: String,
    },
    /// Another version runs this mode.
    #[error("view {name}: REFRESH_MODE = {mode} comes later; use CONTINUOUS or FULL")]
    Later {
        /// The view.
        name: String,
        /// Its mode.
        mode: String,
    },
    /// The view's mode does not do this.
    #[error("view {name} is {mode}: {reason}")]
    Mode {
        /// The view.
        name: String,
        /// Its mode.
        mode: String,
        /// What to do instead.
        reason: String,
    },
    /// Its query could not be planned or run.
    #[error("view {name}: {source}")]
    Sql {
        /// The view.
        name: String,
        /// Why.
        source: SqlError,
    },
    /// Its stored result could not be read or written.
    #[error("view {name}: cannot {action} {}: {reason}", path.display())]
    Store {
        /// The view.
        name: String,
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's or Parquet's word.
        reason: String,
    },
    /// The views have been shut down.
    #[error("views are shutting down; ask again after the restart")]
    ShutDown,
}

/// A handle of the project's views. Clones are handles of the same views.
#[derive(Clone)]
pub struct Views {
    catalog: Arc<Catalog>,
    connectors: Arc<Connectors>,
    options: ViewsOptions,
    news: broadcast::Sender<ViewChange>,
}

impl Views {
    /// Views of a catalog; nothing runs yet. Must be called in a tokio runtime.
    pub fn new(catalog: Arc<Catalog>, connectors: Arc<Connectors>, options: ViewsOptions) -> Self {
        let (news, _) = broadcast::channel(64);
        Self { catalog, connectors, options, news }
    }

    /// Starts every `CONTINUOUS` view and loads the stored results of `FULL` ones. A view that cannot be started is
    /// `failed`, with its error; the others go on.
    pub async fn start_all(&self) {}

    /// Starts a view, from the beginning of its sources. A running view is left alone.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub async fn start(&self, view: &TableName) -> Result<(), ViewError> {
        let _ = view;
        Err(ViewError::ShutDown)
    }

    /// Stops a view; its result stays readable.
    ///
    /// # Errors
    /// The view is unknown.
    pub async fn stop(&self, view: &TableName) -> Result<(), ViewError> {
        let _ = view;
        Err(ViewError::ShutDown)
    }

    /// Computes a `FULL` view anew and replaces its result.
    ///
    /// # Errors
    /// See [`ViewError`]; the former result stays.
    pub async fn refresh(&self, view: &TableName) -> Result<ViewStatus, ViewError> {
        let _ = view;
        Err(ViewError::ShutDown)
    }

    /// All views, by name.
    pub fn list(&self) -> Vec<ViewStatus> {
        Vec::new()
    }

    /// One view.
    ///
    /// # Errors
    /// The view is unknown.
    pub fn status(&self, view: &TableName) -> Result<ViewStatus, ViewError> {
        let _ = view;
        Err(ViewError::ShutDown)
    }

    /// Runs a `SELECT` in batch, in which views are tables that hold their results as they are now.
    ///
    /// # Errors
    /// A mistake in the text, a table that cannot be read.
    pub async fn query(&self, sql: &str) -> Result<QueryResult, SqlError> {
        let session = mulgil_sql::session::Session::new(Arc::clone(&self.catalog), Arc::clone(&self.connectors))
            .with_options(self.options.session);
        session.query(sql).await
    }

    /// News of views, each view at most every [`ViewsOptions::news_interval`]. A subscriber that falls far behind
    /// misses news and should ask for all views.
    pub fn subscribe(&self) -> broadcast::Receiver<ViewChange> {
        self.news.subscribe()
    }

    /// The catalog.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Stops all views and waits until their jobs have ended.
    pub async fn shutdown(&self) {}
}

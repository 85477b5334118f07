//! A project in a temporary folder, its scheduler and its worker.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use mulgil_flow::{Flow, Project, SqlResult};
use mulgil_history::History;
use mulgil_history::read::{RunDetail, TaskRow};
use mulgil_history::sqlite::SqliteHistory;
use mulgil_sched::demand::Offer;
use mulgil_sched::id::RunId;
use mulgil_sched::status::{RunStatus, TaskStatus};
use mulgil_worker::data::{DataTasks, SqlTask, TransferTask};
use mulgil_worker::log::AttemptLog;
use mulgil_worker::secret::SecretStore;
use mulgil_worker::view::NoViews;
use mulgil_worker::worker::{WorkerHandle, WorkerOptions};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

use crate::{
    Change, Clock, FlowSource, SchedulerError, SchedulerHandle, SchedulerOptions, SystemClock, TriggerRequest, start,
};

/// Nothing that a test waits for may take longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct House {
    pub(super) handle: SchedulerHandle,
    pub(super) history: Arc<SqliteHistory>,
    pub(super) worker: WorkerHandle,
    pub(super) ended: JoinHandle<Result<(), SchedulerError>>,
}

struct NoTables;

#[async_trait]
impl DataTasks for NoTables {
    /// What is written is nobody's business here, only that it is.
    async fn sql(&self, task: SqlTask, _: &AttemptLog) -> Result<Option<serde_json::Value>, String> {
        // A query for rows: the JSON that it holds.
        if task.result == Some(SqlResult::Rows) {
            let rows = task.text.trim_start_matches("ROWS ");
            return serde_json::from_str(rows).map(Some).map_err(|error| error.to_string());
        }
        Ok(None)
    }

    async fn transfer(&self, _: TransferTask, _: &AttemptLog) -> Result<serde_json::Value, String> {
        Err("this project has no tables".to_owned())
    }
}

pub(super) fn source(text: &str) -> FlowSource {
    let flow = Flow::parse("flows/test.yaml", text, &Project::default());
    let flow = flow.unwrap_or_else(|problems| panic!("{problems:?}"));
    FlowSource { flow: Arc::new(flow), text: text.to_owned() }
}

impl House {
    pub(super) async fn open(folder: &Path, flows: &[&str]) -> House {
        Self::open_at(folder, flows, Arc::new(SystemClock), SignedDuration::from_secs(30)).await
    }

    pub(super) async fn open_at(folder: &Path, flows: &[&str], clock: Arc<dyn Clock>, lease: SignedDuration) -> House {
        let history = Arc::new(SqliteHistory::open(&folder.join("history.db")).await.unwrap());
        let mut options = SchedulerOptions::new(Arc::new(Project::default()), folder.to_owned());
        options.lease_life = lease;
        let flows = flows.iter().map(|text| source(text)).collect();
        let (handle, ended) = start(history.clone(), clock, options, flows).await.unwrap();
        let worker = mulgil_worker::worker::start(handle.clone(), worker_options(folder.to_owned())).await.unwrap();
        House { handle, history, worker, ended }
    }

    /// A clean end.
    pub(super) async fn close(self, patience: Duration) {
        self.handle.drain().await;
        self.worker.shutdown(patience).await;
        self.handle.shutdown().await;
        // Only then is the history nobody's any more.
        self.ended.await.unwrap().unwrap();
    }

    pub(super) async fn trigger(&self, flow: &str) -> RunId {
        let request = TriggerRequest { flow: flow.to_owned(), ..TriggerRequest::default() };
        self.handle.trigger(request).await.unwrap().run
    }

    pub(super) async fn detail(&self, run: RunId) -> RunDetail {
        self.history.run(run).await.unwrap().unwrap()
    }

    /// Waits for the run's end; `changes` was subscribed before the run could end.
    pub(super) async fn ended(&self, run: RunId, changes: &mut Receiver<Change>) -> RunDetail {
        wait_for(
            changes,
            |change| matches!(change, Change::Run { run: id, status, .. } if *id == run && status.is_terminal()),
        )
        .await;
        self.detail(run).await
    }
}

pub(super) fn worker_options(project_dir: PathBuf) -> WorkerOptions {
    WorkerOptions {
        name: "test".to_owned(),
        slots: 8,
        offer: Offer::own(),
        guard: None,
        logs_dir: project_dir.clone(),
        project_dir,
        data: Arc::new(NoTables),
        views: Arc::new(NoViews),
        python: "python3".to_owned(),
        secrets: SecretStore::none(),
        environment: Default::default(),
    }
}

/// Waits for a change.
pub(super) async fn wait_for(changes: &mut Receiver<Change>, wanted: impl Fn(&Change) -> bool) -> Change {
    let waiting = async {
        loop {
            match changes.recv().await {
                Ok(change) if wanted(&change) => return change,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => panic!("the scheduler ended"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("what was waited for never happened")
}

pub(super) fn task_running(name: &str) -> impl Fn(&Change) -> bool {
    move |change| {
        use mulgil_sched::status::AttemptStatus::Running;
        matches!(change, Change::Attempt { task, status: Running, .. } if task == name)
    }
}

pub(super) fn statuses(detail: &RunDetail) -> (RunStatus, Vec<TaskStatus>) {
    (detail.run.status, detail.tasks.iter().map(|task: &TaskRow| task.status).collect())
}

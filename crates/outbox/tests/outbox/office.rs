//! A history with an outbox, and a ledger that stores what the postman says.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use mulgil_flow::Project;
use mulgil_history::History;
use mulgil_history::outbox::{NewNotice, NoticeChange};
use mulgil_history::read::{NoticeQuery, NoticeRow};
use mulgil_history::sqlite::SqliteHistory;
use mulgil_history::write::{AttemptChange, FlowVersion, NewLease, NewRun, RunChange, TaskChange, Trigger, Write};
use mulgil_outbox::{Ledger, LedgerClosed, OutboxOptions, Postman, start};
use mulgil_sched::id::{AttemptId, RunId};
use mulgil_sched::status::{AttemptStatus, RunStatus, TaskStatus};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Notify;

/// See the module.
pub(crate) struct Office {
    folder: TempDir,
    pub(crate) history: Arc<SqliteHistory>,
    ledger: Arc<Book>,
}

struct Book {
    history: Arc<SqliteHistory>,
    filled: Arc<Notify>,
    /// Something was stored.
    stored: Notify,
    /// Whether what is said is lost.
    is_lost: AtomicBool,
}

#[async_trait]
impl Ledger for Book {
    async fn told(&self, changes: Vec<NoticeChange>) -> Result<(), LedgerClosed> {
        if self.is_lost.load(Ordering::SeqCst) {
            self.stored.notify_one();
            std::future::pending::<()>().await;
        }
        let writes: Vec<Write> = changes.into_iter().map(Write::NoticeStatus).collect();
        self.history.commit(&writes).await.unwrap();
        self.stored.notify_one();
        Ok(())
    }

    fn filled(&self) -> Arc<Notify> {
        self.filled.clone()
    }
}

impl Office {
    pub(crate) async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let history = Arc::new(SqliteHistory::open(&folder.path().join("history.db")).await.unwrap());
        let book = Book {
            history: history.clone(),
            filled: Arc::default(),
            stored: Notify::new(),
            is_lost: AtomicBool::new(false),
        };
        Self { folder, history, ledger: Arc::new(book) }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// A postman of a project with these channels.
    pub(crate) fn postman(&self, notify: &str) -> Postman {
        let project = Project::parse("mulgil.yaml", &format!("connections: {{chat: env:CHAT}}\nnotify:\n{notify}"));
        let options = OutboxOptions {
            project: Arc::new(project.unwrap()),
            project_name: "shop".to_owned(),
            project_dir: self.dir().to_owned(),
            url: "https://mulgil.example.org/".to_owned(),
            environment: Arc::new(|name| (name == "CHAT").then(|| "http://127.0.0.1:1/never".to_owned())),
        };
        start(self.history.clone(), self.ledger.clone(), options)
    }

    pub(crate) async fn put(&self, key: &str, channel: &str) {
        let notice = NewNotice {
            key: key.to_owned(),
            channel: channel.to_owned(),
            kind: "failure".to_owned(),
            flow: "f".to_owned(),
            run: Some(RunId(1)),
            body: json!({
                "subject": "f/1 has failed <&>",
                "run": {"id": 1, "name": "f/1", "status": "failed"},
                "tasks": [{"task": "a", "attempt": 1}],
                "more_tasks": 2,
            }),
            at: Timestamp::now(),
            refused: None,
        };
        self.history.commit(&[Write::Notice(notice)]).await.unwrap();
        self.ledger.filled.notify_one();
    }

    /// A run whose task `a` has failed, and what its log says.
    pub(crate) async fn failed_run(&self, webhook: &str) {
        let at = Timestamp::now();
        let (run, id) = (RunId(1), AttemptId { run: RunId(1), task: 0, attempt: 1 });
        let definition =
            format!("flow: f\nparams: {{n: 7}}\non_failure: [{{webhook: '{webhook}'}}]\ntasks: {{a: {{shell: x}}}}");
        let version = FlowVersion { hash: "h".to_owned(), flow: "f".to_owned(), definition, at };
        let new = NewRun {
            id: run,
            flow: "f".to_owned(),
            key: "k".to_owned(),
            name: "f/1".to_owned(),
            version: "h".to_owned(),
            params: json!({"n": 7}),
            interval_start: None,
            interval_end: None,
            trigger: Trigger::Manual,
            backfill: None,
            retries: true,
            at,
            tasks: vec!["a".to_owned()],
        };
        let task = |from, to, attempts| {
            let (retries_used, losses, not_before, result, note, since) = (0, 0, None, None, None, None);
            let of = TaskChange {
                run,
                task: 0,
                from,
                to,
                attempts,
                retries_used,
                losses,
                not_before,
                since,
                result,
                note,
                at,
            };
            Write::Task(of)
        };
        let attempt = |from, to, error: Option<&str>| {
            let error = error.map(str::to_owned);
            Write::Attempt(AttemptChange { attempt: id, from, to, process: None, error, at })
        };
        let lease = NewLease { attempt: id, epoch: 1, owner: "w".to_owned(), expires: at, log: "a.log".to_owned(), at };
        let status = |from, to| Write::RunStatus(RunChange { run, from, to, timed_out: false, at });
        let batch = [
            Write::FlowVersion(version),
            Write::Run(new),
            status(RunStatus::Queued, RunStatus::Running),
            task(TaskStatus::Waiting, TaskStatus::Ready, 0),
            task(TaskStatus::Ready, TaskStatus::Running, 1),
            Write::Lease(lease),
            attempt(AttemptStatus::Leased, AttemptStatus::Running, None),
            attempt(AttemptStatus::Running, AttemptStatus::Failed, Some("exit code 3")),
            task(TaskStatus::Running, TaskStatus::Failed, 1),
            status(RunStatus::Running, RunStatus::Failed),
        ];
        self.history.commit(&batch).await.unwrap();
        std::fs::write(self.dir().join("a.log"), "one\ntwo\n").unwrap();
    }

    /// Returns when the postman has said something.
    pub(crate) async fn noted(&self) {
        self.ledger.stored.notified().await;
    }

    /// From now on what the postman says is lost, or not any more.
    pub(crate) fn lose(&self, is_lost: bool) {
        self.ledger.is_lost.store(is_lost, Ordering::SeqCst);
    }

    pub(crate) async fn notice(&self, key: &str) -> NoticeRow {
        let all = self.history.notices(&NoticeQuery { limit: 100, ..NoticeQuery::default() }).await.unwrap();
        all.into_iter().find(|row| row.key == key).unwrap()
    }
}

//! A project in a temporary folder with everything running, and a client of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mulgil_connect::connectors::{Connectors, ConnectorsOptions};
use mulgil_history::History;
use mulgil_history::sqlite::SqliteHistory;
use mulgil_log::{EventLog, LogOptions};
use mulgil_sched::demand::Offer;
use mulgil_server::client::{Client, ClientError};
use mulgil_server::events::{Event, EventsQuery};
use mulgil_server::folder::Folder;
use mulgil_server::folder_watch::FolderWatch;
use mulgil_server::runs::RunDetail;
use mulgil_server::scheduler::{self, SchedulerHandle, SchedulerOptions, SystemClock};
use mulgil_server::server::{Server, ServerHandle, ServerOptions, ServerParts};
use mulgil_server::status::RunStatus;
use mulgil_serving::views::ViewsOptions;
use mulgil_worker::secret::SecretStore;
use mulgil_worker::tables::TableTasks;
use mulgil_worker::worker::{self, WorkerHandle, WorkerOptions};
use tempfile::TempDir;

/// Nothing in these tests takes longer, on the slowest machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Fixture {
    pub(super) dir: TempDir,
    pub(super) client: Client,
    pub(super) log: EventLog,
    server: ServerHandle,
    scheduler: SchedulerHandle,
    worker: WorkerHandle,
}

impl Fixture {
    pub(super) async fn start(files: &[(&str, &str)]) -> Self {
        Self::start_with(files, None).await
    }

    pub(super) async fn start_with(files: &[(&str, &str)], token: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "mulgil.yaml", "name: little\ntimezone: America/New_York\n");
        for (file, text) in files {
            write(dir.path(), file, text);
        }
        let state = dir.path().join(".mulgil");
        std::fs::create_dir_all(&state).unwrap();
        let watch = FolderWatch::new(dir.path());
        let folder = Folder::read(dir.path()).unwrap();
        let history: Arc<dyn History> = Arc::new(SqliteHistory::open(&state.join("history.db")).await.unwrap());
        let log = EventLog::open(state.join("log"), LogOptions::default()).unwrap();
        let connectors = Arc::new(Connectors::new(ConnectorsOptions {
            project_dir: dir.path().to_owned(),
            lake_dir: state.join("lake"),
            log: Some(log.clone()),
            object_storage: Default::default(),
        }));
        let secrets = SecretStore::new(&folder.project, dir.path().to_owned(), |_| None);
        let options = SchedulerOptions::new(folder.project.clone(), dir.path().to_owned());
        let (scheduler, _) =
            scheduler::start(history.clone(), Arc::new(SystemClock), options, folder.flows.clone()).await.unwrap();
        let parts = ServerParts {
            folder,
            watch,
            connectors: connectors.clone(),
            scheduler: scheduler.clone(),
            history,
            secrets,
            log: log.clone(),
            views: ViewsOptions {
                checkpoints_dir: Some(dir.path().join(".mulgil/checkpoints")),
                ..ViewsOptions::default()
            },
            standing: Default::default(),
        };
        let options = ServerOptions {
            token: token.map(str::to_owned),
            address: ([127, 0, 0, 1], 0).into(),
            ..ServerOptions::default()
        };
        let server = Server::start(parts, options).await.unwrap();
        // With those that keep views fresh.
        scheduler.reload(server.flows(), None).await.unwrap();
        let options = WorkerOptions {
            name: "test".to_owned(),
            slots: 4,
            offer: Offer::own(),
            guard: None,
            project_dir: dir.path().to_owned(),
            logs_dir: dir.path().to_owned(),
            data: Arc::new(TableTasks::new(connectors, server.catalog())),
            views: server.view_tasks(),
            python: "python3".to_owned(),
            secrets: SecretStore::none(),
            environment: std::env::vars().collect(),
        };
        let worker = worker::start(scheduler.clone(), options).await.unwrap();
        let client = Client::new(server.url(), token);
        Self { dir, client, log, server, scheduler, worker }
    }

    /// Calls the client, which blocks, beside the runtime.
    pub(super) async fn call<T: Send + 'static>(&self, call: impl FnOnce(&Client) -> T + Send + 'static) -> T {
        let client = self.client.clone();
        let called = tokio::task::spawn_blocking(move || call(&client));
        tokio::time::timeout(PATIENCE, called).await.expect("the server answers in time").unwrap()
    }

    /// Begins to listen; what is returned waits for the first event that `wanted` takes, and gives what it made of it.
    pub(super) async fn listen<T: Send + 'static>(
        &self,
        mut wanted: impl FnMut(Event) -> Option<T> + Send + 'static,
    ) -> impl Future<Output = T> {
        let client = self.client.clone();
        let mut events = tokio::task::spawn_blocking(move || {
            let mut events = client.events(&EventsQuery::default()).unwrap();
            // The greeting shows that the server has begun to listen for this stream.
            assert!(matches!(events.next(), Some(Ok(Event::Hello(_)))));
            events
        })
        .await
        .unwrap();
        let heard = tokio::task::spawn_blocking(move || events.find_map(|event| wanted(event.unwrap())));
        let ended = "the event comes before the server stops";
        async move { tokio::time::timeout(PATIENCE, heard).await.expect("the event comes in time").unwrap().expect(ended) }
    }

    /// Waits until a run has this status, and shows it.
    pub(super) async fn run_with(&self, name: &'static str, status: RunStatus) -> RunDetail {
        let heard = self
            .listen(move |event| match event {
                Event::Run(run) if run.name == name && run.status == status => Some(()),
                _ => None,
            })
            .await;
        let now = move |client: &Client| -> Result<RunDetail, ClientError> {
            client.run(client.run_named(name)?.expect("the run is there").id)
        };
        let run = self.call(now).await.unwrap();
        if run.summary.status == status {
            return run;
        }
        heard.await;
        self.call(now).await.unwrap()
    }

    pub(super) fn write(&self, file: &str, text: &str) {
        write(self.dir.path(), file, text);
    }

    pub(super) fn url(&self) -> String {
        self.server.url().to_owned()
    }

    pub(super) async fn stop(self) {
        tokio::time::timeout(PATIENCE, self.server.shutdown()).await.expect("the server stops in time");
        self.worker.shutdown(Duration::ZERO).await;
        self.scheduler.shutdown().await;
    }
}

fn write(dir: &Path, file: &str, text: &str) {
    let path = dir.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// The refusal's status, code and message.
pub(super) fn refusal<T>(answer: Result<T, ClientError>) -> (u16, String, String) {
    match answer.err().expect("a refusal") {
        ClientError::Refused { status, body } => (status, body.code, body.message),
        other => panic!("{other}"),
    }
}

pub(super) const DAILY: (&str, &str) = (
    "flows/daily.yaml",
    "flow: daily
description: Three steps a day
schedule: {cron: \"0 6 * * *\", start: 2013-01-01, end: 2013-02-01, catchup: none}
tasks:
  land:
    shell: echo landing {{ ds }}
  check:
    needs: [land]
    shell: test ! -e broken-{{ ds }}
  publish:
    needs: [check]
    shell: echo published {{ ds }}
",
);

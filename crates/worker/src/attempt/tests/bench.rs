//! A bench on which one task of a flow is run, and what came of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::SignedDuration;
use mulgil_flow::{Fault, Flow, Project, RunKey, Variables};
use mulgil_sched::id::{AttemptId, RunId};
use mulgil_sched::usage::Usage;
use tokio::sync::{mpsc, watch};

use super::super::{Bench, Control, run};
use crate::data::{DataTasks, SqlTask, TransferTask};
use crate::dispatcher::{DispatchError, Dispatcher, Joining, Lease, Order, Outcome, ProcessMark};
use crate::log::AttemptLog;
use crate::memory::MemoryKeeper;
use crate::secret::SecretStore;

/// Hears how attempts end.
#[derive(Clone, Default)]
pub(super) struct Listener(Arc<Mutex<Vec<Outcome>>>, Arc<Mutex<Vec<Usage>>>);

#[async_trait]
impl Dispatcher for Listener {
    async fn attach(&self, _: Joining) -> Result<mpsc::Receiver<Order>, DispatchError> {
        Err(DispatchError::Stopped)
    }

    async fn started(&self, _: AttemptId, _: i64, _: Option<ProcessMark>) -> Result<(), DispatchError> {
        Ok(())
    }

    async fn renew(&self, _: &[(AttemptId, i64)]) -> Result<Vec<AttemptId>, DispatchError> {
        Ok(Vec::new())
    }

    async fn measured(&self, _: AttemptId, _: i64, usage: Usage) -> Result<(), DispatchError> {
        self.1.lock().unwrap().push(usage);
        Ok(())
    }

    async fn finished(&self, _: AttemptId, _: i64, outcome: Outcome) -> Result<(), DispatchError> {
        self.0.lock().unwrap().push(outcome);
        Ok(())
    }
}

struct NoTables;

#[async_trait]
impl DataTasks for NoTables {
    async fn sql(&self, _: SqlTask, _: &AttemptLog) -> Result<Option<serde_json::Value>, String> {
        Err("there are no tables".to_owned())
    }

    async fn transfer(&self, _: TransferTask, _: &AttemptLog) -> Result<serde_json::Value, String> {
        Err("there are no tables".to_owned())
    }
}

/// A project in a folder, whose tasks are run one by one.
pub(super) struct House {
    pub(super) folder: tempfile::TempDir,
    project: Project,
    environment: BTreeMap<String, String>,
    pub(super) data: Arc<dyn DataTasks>,
    pub(super) memory: MemoryKeeper,
    pub(super) since: jiff::Timestamp,
}

/// How a task ended, and its log without the times.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) log: String,
    /// What it used.
    pub(super) usage: Option<Usage>,
}

impl Ended {
    /// Why it failed.
    pub(super) fn error(&self) -> &str {
        match &self.outcome {
            Outcome::Failed(failure) => &failure.reason,
            other => panic!("{other:?}\n{}", self.log),
        }
    }

    /// What is known of its failure.
    pub(super) fn fault(&self) -> Fault {
        match &self.outcome {
            Outcome::Failed(failure) => failure.fault,
            other => panic!("{other:?}\n{}", self.log),
        }
    }

    /// What it gave.
    pub(super) fn result(&self) -> serde_json::Value {
        match &self.outcome {
            Outcome::Succeeded(result) => result.clone().unwrap_or_default(),
            other => panic!("{other:?}\n{}", self.log),
        }
    }
}

impl House {
    /// A project with this `mulgil.yaml`.
    pub(super) fn new(project: &str) -> Self {
        let project = Project::parse("mulgil.yaml", project).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self {
            folder,
            project,
            environment: BTreeMap::new(),
            data: Arc::new(NoTables),
            memory: MemoryKeeper::find(),
            since: jiff::Timestamp::now(),
        }
    }

    /// With this variable in the environment.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a task: the YAML of its keys, in braces.
    pub(super) async fn run(&self, task: &str) -> Ended {
        let (_told, control) = watch::channel(Control::Run);
        self.run_until(task, control).await
    }

    /// Runs a task that may be told to stop.
    pub(super) async fn run_until(&self, task: &str, control: watch::Receiver<Control>) -> Ended {
        let text = format!("flow: f\nparams: {{day: 2024-01-02}}\ntasks:\n  t: {task}\n");
        let flow = Flow::parse("f.yaml", &text, &self.project).unwrap_or_else(|found| panic!("{found:?}"));
        let key = RunKey::new(&flow, None, &flow.default_params());
        let variables = Variables::new(&flow, &key, &flow.default_params(), &self.project);
        let listener = Listener::default();
        let environment = self.environment.clone();
        let secrets =
            SecretStore::new(&self.project, self.path().to_owned(), move |name| environment.get(name).cloned());
        let bench = Arc::new(Bench {
            sampler: crate::sampler::Sampler::new(self.path().to_owned()),
            dispatcher: listener.clone(),
            project_dir: self.path().to_owned(),
            logs_dir: self.path().to_owned(),
            data: self.data.clone(),
            views: Arc::new(crate::view::NoViews),
            environment: self.environment.clone(),
            secrets,
            http: Default::default(),
            guard: None,
            memory: self.memory.clone(),
            python: "python3".to_owned(),
        });
        let lease = Lease {
            attempt: AttemptId { run: RunId(1), task: 0, attempt: 1 },
            epoch: 1,
            life: SignedDuration::from_secs(60),
            task: flow.tasks[0].name.as_str().into(),
            since: self.since,
            flow: Arc::new(flow),
            variables: Arc::new(variables),
            log: "t.log".to_owned(),
        };
        run(bench, lease, control).await;
        let outcome = listener.0.lock().unwrap().pop().expect("the attempt has ended");
        let log = std::fs::read_to_string(self.path().join("t.log")).unwrap();
        let lines = log.lines().map(|line| line.split_once(' ').map_or(line, |(_, said)| said));
        let usage = listener.1.lock().unwrap().pop();
        Ended { outcome, log: lines.collect::<Vec<_>>().join("\n"), usage }
    }
}

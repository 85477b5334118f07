//! `mulgil flow test`: runs one flow here and now, without a server and without a trace in the project's history.
//!
//! The scheduler, the worker and the tables are the real ones; history and logs lie in a folder that is gone afterwards. What the
//! tasks write into tables and files they do write.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::civil::Date;
use mulgil_history::History;
use mulgil_history::read::{AttemptRow, RunDetail};
use mulgil_history::sqlite::SqliteHistory;
use mulgil_sched::demand::Offer;
use mulgil_sched::id::RunId;
use mulgil_sched::status::{RunStatus, TaskStatus};
use mulgil_server::folder::Folder;
use mulgil_server::scheduler::{self, Change, FlowSource, SchedulerOptions, SystemClock, TriggerRequest};
use mulgil_server::view_tasks::view_tasks;
use mulgil_serving::views::{Views, ViewsOptions};
use mulgil_worker::tables::TableTasks;
use mulgil_worker::threads::DataThreads;
use mulgil_worker::worker::{self, WorkerOptions};
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::status;
use crate::arguments::{Arguments, Format};
use crate::exit::Exit;
use crate::node::{own_program, secrets_of};
use crate::offline::Offline;
use crate::output::{Listing, print_json, remark};

/// How much of a task's log is shown.
const LINES_SHOWN_MAX: usize = 5;
/// And of one that has failed.
const LINES_OF_FAILED_MAX: usize = 20;
/// How long running attempts get to end when the test is over.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the flow that a file defines, or the flow of that name.
pub(crate) async fn execute(
    arguments: &Arguments,
    file: &str,
    date: Option<Date>,
    params: &[(String, String)],
) -> Result<Exit> {
    let project = arguments.project.canonicalize();
    let project = project.with_context(|| format!("there is no folder {}", arguments.project.display()))?;
    let folder = Folder::read(&project)?;
    let source = wanted(&folder, file)?;
    let params = params.iter().map(|(name, value)| {
        (name.clone(), serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.clone())))
    });
    let request = TriggerRequest {
        flow: source.flow.name.clone(),
        interval: None,
        date,
        params: params.collect(),
        key: None,
        arrival: None,
    };
    let scratch = Scratch::new(&project)?;
    let details = run(&project, &folder, request, scratch.path(), arguments.format).await?;
    let Some(detail) = details.first() else { bail!("the run is not in its history") };
    report(&details, scratch.path(), arguments.format)?;
    Ok(if detail.run.status == RunStatus::Succeeded { Exit::Done } else { Exit::Failed })
}

/// A folder for history and logs that is removed in the end.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(project: &Path) -> Result<Self> {
        let path = project.join(".mulgil").join(format!("test-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("failed to make {}", path.display()))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            remark(&format!("{} could not be removed: {error}", self.0.display()));
        }
    }
}

fn wanted(folder: &Folder, file: &str) -> Result<FlowSource> {
    let path = Path::new(file);
    let is_wanted =
        |name: &str, its_file: &str| name == file || path.ends_with(its_file) || Path::new(its_file).ends_with(path);
    if let Some(broken) = folder.broken_flows().iter().find(|flow| is_wanted(&flow.name, &flow.file)) {
        let of_file = folder.problems.iter().filter(|problem| problem.file == broken.file);
        let said: Vec<String> =
            of_file.map(|one| format!("{}:{}: {}", one.file, one.line.unwrap_or(1), one.message)).collect();
        bail!("{}", said.join("\n"));
    }
    let found: Vec<&FlowSource> = folder.flows.iter().filter(|one| is_wanted(&one.flow.name, &one.flow.file)).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => bail!("{file} is neither a flow of this project nor a file of its folder flows/"),
        several => {
            let names: Vec<&str> = several.iter().map(|one| one.flow.name.as_str()).collect();
            bail!("{file} defines several flows: name one of {}", names.join(", "))
        }
    }
}

async fn run(
    project: &Path,
    folder: &Folder,
    request: TriggerRequest,
    scratch: &Path,
    format: Format,
) -> Result<Vec<RunDetail>> {
    let history: Arc<dyn History> = Arc::new(SqliteHistory::open(&scratch.join("history.db")).await?);
    let mut options = SchedulerOptions::new(Arc::clone(&folder.project), project.to_owned());
    options.schedules = false;
    // The others are there for the tasks that run them: by themselves none of them runs.
    let flows = folder.flows.clone();
    let (scheduler, _) = scheduler::start(Arc::clone(&history), Arc::new(SystemClock), options, flows).await?;
    let offline = Offline::open_to_write(project)?;
    let catalog = Arc::clone(&offline.catalog);
    // What a refresh computes here is seen by nobody but its task.
    let views = Views::new(Arc::clone(&catalog), Arc::clone(&offline.connectors), ViewsOptions::default());
    let worker_options = WorkerOptions {
        name: "test".to_owned(),
        slots: folder.project.pools.values().map(|slots| *slots as usize).sum::<usize>().max(1),
        offer: Offer::everything(),
        guard: None,
        project_dir: project.to_owned(),
        logs_dir: scratch.to_owned(),
        data: Arc::new(TableTasks::new(Arc::clone(&offline.connectors), move || Arc::clone(&catalog))),
        views: view_tasks(move || views.clone(), Arc::new(DataThreads::new("mulgil-view"))),
        python: folder.project.python.clone(),
        secrets: secrets_of(&folder.project, project),
        environment: own_program()?,
    };
    let worker = worker::start(scheduler.clone(), worker_options).await?;
    let mut changes = scheduler.subscribe();
    let started = scheduler.trigger(request).await?;
    let ended = tokio::select! {
        ended = follow(&mut changes, started.run, format) => ended,
        _ = tokio::signal::ctrl_c() => {
            remark("ending the tasks");
            scheduler.cancel_run(started.run).await?;
            follow(&mut changes, started.run, format).await
        }
    };
    let details = with_called(&*history, started.run).await;
    scheduler.drain().await;
    worker.shutdown(PATIENCE).await;
    scheduler.shutdown().await;
    ended?;
    details
}

/// A run, and behind it those that its tasks have called.
async fn with_called(history: &dyn History, run: RunId) -> Result<Vec<RunDetail>> {
    let mut details: Vec<RunDetail> = Vec::new();
    let mut todo = vec![run];
    while let Some(run) = todo.pop() {
        if details.iter().all(|known| known.run.id != run) {
            let detail = history.run(run).await?.context("the run is not in its history")?;
            todo.extend(detail.children.iter().rev().map(|child| child.run));
            details.push(detail);
        }
    }
    Ok(details)
}

/// Says how each task ended, until the run has.
async fn follow(changes: &mut Receiver<Change>, of: RunId, format: Format) -> Result<()> {
    loop {
        match changes.recv().await {
            Ok(Change::Run { run, status, .. }) if run == of && status.is_terminal() => return Ok(()),
            Ok(Change::Task { flow, run, task, status, .. }) if status.is_terminal() && format == Format::Table => {
                let called = if run == of { String::new() } else { format!("{flow}: ") };
                remark(&format!("{}  {called}{task}", status::word(&status)));
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => bail!("the scheduler ended before the run did"),
        }
    }
}

fn report(details: &[RunDetail], logs: &Path, format: Format) -> Result<()> {
    let mut listing = Listing::new(["task", "status", "attempts", "seconds", "log"]);
    for (detail, called) in details.iter().zip(0..) {
        for task in &detail.tasks {
            let attempt = detail.attempts.iter().rfind(|attempt| attempt.task == task.name);
            let lines = if task.status == TaskStatus::Failed { LINES_OF_FAILED_MAX } else { LINES_SHOWN_MAX };
            let name = if called == 0 { task.name.clone() } else { format!("{}: {}", detail.run.name, task.name) };
            let said = attempt.map(|attempt| tail(&logs.join(&attempt.log), lines)).or_else(|| task.note.clone());
            listing.push(vec![
                json!(name),
                json!(status::word(&task.status)),
                json!(task.attempts),
                attempt.and_then(seconds_of).map_or(Value::Null, |seconds| json!((seconds * 1e3).round() / 1e3)),
                json!(said.unwrap_or_default()),
            ]);
        }
    }
    let Some(detail) = details.first() else { return Ok(()) };
    match format {
        Format::Json => {
            let (name, status) = (&detail.run.name, status::word(&detail.run.status));
            print_json(&json!({"run": name, "status": status, "tasks": listing.as_objects()}))
        }
        other => {
            listing.print(other)?;
            remark(&format!("{} {}", detail.run.name, status::word(&detail.run.status)));
            Ok(())
        }
    }
}

fn seconds_of(attempt: &AttemptRow) -> Option<f64> {
    (attempt.ended_at? - attempt.started_at?).total(jiff::Unit::Second).ok()
}

/// The last lines of a log, without the times before them and without Mulgil's own.
fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let own: Vec<&str> = text
        .lines()
        .map(|line| line.split_once(' ').map_or(line, |(_, said)| said))
        .filter(|said| !said.starts_with("[mulgil]"))
        .collect();
    own.get(own.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}

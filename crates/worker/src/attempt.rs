//! One attempt, from its lease to its report.

use std::collections::BTreeMap;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mulgil_connect::writer::Append;
use mulgil_flow::{
    ErrorKind, OnTimeout, PythonTask, Quote, SqlResult, SqlText, Task, TaskKind, Variables, ViewDeed, ViewTask,
    WaitTask, WriteTarget, render,
};
use mulgil_sched::diagnosis::{Bottleneck, Ended, diagnose};
use tokio::sync::watch;

use crate::crash;
use crate::data::{DataTasks, SqlTask, TransferTask};
use crate::dispatcher::{DispatchError, Dispatcher, Failure, Lease, Outcome};
use crate::group;
use crate::guard::Guard;
use crate::http::HttpClient;
use crate::log::{AttemptLog, secrets_of};
use crate::memory::{MemoryKeeper, OverMemory};
use crate::process::{LEASE_VARIABLE, ProcessMark};
use crate::python::PythonCall;
use crate::result::{RESULT_VARIABLE, ResultFile, masked};
use crate::sampler::{Metered, Sampler};
use crate::secret::SecretStore;
use crate::shell::ShellTask;
use crate::view::ViewTasks;
use crate::wait::{Watch, left};

/// Between the polite signal and the last one, for a process whose lease is lost.
const FENCED_GRACE: Duration = Duration::from_millis(500);

/// What a running attempt is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// Go on.
    Run,
    /// The run is to stop.
    Cancel,
    /// The lease is lost: end, and say nothing.
    Fenced,
    /// The worker shuts down.
    Shutdown,
}

/// What every attempt of a worker shares.
pub(crate) struct Bench<D> {
    pub(crate) dispatcher: D,
    pub(crate) project_dir: PathBuf,
    pub(crate) logs_dir: PathBuf,
    pub(crate) data: Arc<dyn DataTasks>,
    pub(crate) views: Arc<dyn ViewTasks>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) secrets: SecretStore,
    pub(crate) http: HttpClient,
    pub(crate) python: String,
    pub(crate) guard: Option<Guard>,
    pub(crate) sampler: Sampler,
    pub(crate) memory: MemoryKeeper,
}

impl<D> Bench<D> {
    /// Where a process leaves its result.
    fn result_file(&self, lease: &Lease) -> ResultFile {
        ResultFile::beside(&self.logs_dir.join(&lease.log))
    }
}

/// Why an attempt was ended from outside.
enum Interruption {
    Told(Control),
    TimedOut(Duration),
}

/// Runs the attempt and reports its end.
pub(crate) async fn run<D: Dispatcher>(bench: Arc<Bench<D>>, lease: Lease, control: watch::Receiver<Control>) {
    let running = Running { bench: &bench, lease: &lease, control, metered: None, exit: None, over: None };
    let outcome = match running.run().await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::warn!(attempt = %lease.attempt, %error, "gave the attempt up");
            return;
        }
    };
    crash::point("after a task's end");
    if let Err(error) = bench.dispatcher.finished(lease.attempt, lease.epoch, outcome).await {
        tracing::warn!(attempt = %lease.attempt, %error, "the end of the attempt was not taken");
    }
    crash::point("after an end is reported");
}

struct Running<'a, D> {
    bench: &'a Bench<D>,
    lease: &'a Lease,
    control: watch::Receiver<Control>,
    /// What it uses, from its begin.
    metered: Option<Metered>,
    /// How its process ended; beyond 128 by a signal.
    exit: Option<i32>,
    /// The memory that it had too much of.
    over: Option<OverMemory>,
}

impl<D: Dispatcher> Running<'_, D> {
    async fn run(mut self) -> Result<Outcome, DispatchError> {
        let Some(task) = self.lease.task() else {
            return Ok(Outcome::failed("the flow has no such task any more"));
        };
        let path = self.bench.logs_dir.join(&self.lease.log);
        let log = match AttemptLog::open(&path, masks(self.bench, self.lease)) {
            Ok(log) => log,
            Err(error) => return Ok(Outcome::failed(format!("cannot open the log {}: {error}", path.display()))),
        };
        let begun = Instant::now();
        log.note(&format!("attempt {} of {} ({})", self.lease.attempt.attempt, task.name, task.kind.word()));
        let outcome = match &task.kind {
            _ if query_of(self.lease, task).is_some() => self.data(task, &log).await?,
            TaskKind::Shell { command } => {
                let bench = self.bench;
                self.process(task, |lease| shell_task(lease, task, command, bench), &log).await?
            }
            TaskKind::Python(python) => {
                let bench = self.bench;
                self.process(task, |lease| python_task(lease, task, python, bench), &log).await?
            }
            TaskKind::Wait(wait) => self.wait(task, wait, &log).await?,
            TaskKind::View(_) => self.data(task, &log).await?,
            TaskKind::Flow(_) => Outcome::failed("a flow is run by the scheduler, and by no worker"),
            TaskKind::Sql { .. } | TaskKind::Transfer { .. } | TaskKind::Http(_) => self.data(task, &log).await?,
        };
        let outcome = mask(outcome, &log);
        let found = self.measured(&outcome, &log).await;
        let outcome = self.classified(outcome, found);
        note_end(&outcome, begun.elapsed(), &log);
        Ok(with_log_failure(outcome, &log))
    }

    /// Says of a failure what is known of its kind.
    fn classified(&self, outcome: Outcome, found: Option<Bottleneck>) -> Outcome {
        let Outcome::Failed(mut failure) = outcome else { return outcome };
        failure.fault.exit = self.exit;
        if failure.fault.kind == ErrorKind::Other {
            failure.fault.kind = found.map_or(ErrorKind::Other, Bottleneck::error_kind);
        }
        Outcome::Failed(failure)
    }

    /// Reports what the attempt used, and what broke it or held it up.
    async fn measured(&mut self, outcome: &Outcome, log: &AttemptLog) -> Option<Bottleneck> {
        let mut usage = self.metered.take().map(Metered::end)?;
        let (ended, said) = match outcome {
            Outcome::Failed(failure) if let Some(OverMemory { used, allowed }) = self.over => {
                (Ended::OverMemory { used, allowed }, failure.reason.clone())
            }
            Outcome::Succeeded(_) => (Ended::Well, String::new()),
            Outcome::Failed(failure) => (Ended::Failed(self.exit), format!("{}\n{}", log.tail(), failure.reason)),
            Outcome::TimedOut(_) => (Ended::TimedOut, log.tail()),
            Outcome::Skipped(_) | Outcome::Cancelled | Outcome::Lost => (Ended::Well, String::new()),
        };
        usage.finding = diagnose(ended, &said, &usage);
        if let Some(finding) = &usage.finding {
            log.note(&format!("{}; what helps: {}", finding.sentence, finding.remedy));
        }
        let found = usage.finding.as_ref().map(|finding| finding.bottleneck);
        let (attempt, epoch) = (self.lease.attempt, self.lease.epoch);
        if let Err(error) = self.bench.dispatcher.measured(attempt, epoch, usage).await {
            tracing::warn!(%attempt, %error, "what the attempt used was not taken");
        }
        found
    }

    async fn started(&self, process: Option<ProcessMark>) -> Result<(), DispatchError> {
        self.bench.dispatcher.started(self.lease.attempt, self.lease.epoch, process).await
    }

    async fn data(&mut self, task: &Task, log: &AttemptLog) -> Result<Outcome, DispatchError> {
        self.started(None).await?;
        self.metered = Some(self.bench.sampler.begin(None));
        let work = data_tasks(self.lease, task, self.bench, log);
        tokio::select! {
            result = work => Ok(match result {
                Ok(result) => Outcome::Succeeded(result),
                Err(failure) => Outcome::Failed(failure),
            }),
            why = interruption(&mut self.control, timeout_of(task)) => self.interrupted(why),
        }
    }

    async fn wait(&mut self, task: &Task, wait: &WaitTask, log: &AttemptLog) -> Result<Outcome, DispatchError> {
        self.started(None).await?;
        let variables = match with_secrets(self.bench, self.lease, task) {
            Ok(variables) => variables,
            Err(reason) => return Ok(Outcome::failed(reason)),
        };
        log.note(&format!("waiting for {}", wait.wanted.describe()));
        let Bench { project_dir, data, http, .. } = self.bench;
        let watch = Watch { task: wait, variables: Arc::new(variables), project_dir, data, http, log };
        let left = task.timeout.map(|timeout| left(timeout, self.lease.since));
        tokio::select! {
            there = watch.wait() => Ok(there.map_or_else(Outcome::failed, |()| Outcome::Succeeded(None))),
            why = interruption(&mut self.control, left) => match (why, wait.on_timeout) {
                (Interruption::TimedOut(_), OnTimeout::Skip) => {
                    let timeout = task.timeout.unwrap_or_default();
                    Ok(Outcome::Skipped(format!("it did not come within {timeout:#}")))
                }
                (Interruption::TimedOut(_), OnTimeout::Fail) => {
                    let timeout = task.timeout.unwrap_or_default();
                    let reason = format!(
                        "waited {timeout:#} in vain for {}: raise `timeout:`, or look why it does not come",
                        wait.wanted.describe()
                    );
                    Ok(Outcome::TimedOut(reason))
                }
                (why, _) => self.interrupted(why),
            },
        }
    }

    fn interrupted(&self, why: Interruption) -> Result<Outcome, DispatchError> {
        match why {
            Interruption::Told(Control::Fenced) => {
                Err(DispatchError::Fenced { attempt: self.lease.attempt, epoch: self.lease.epoch })
            }
            Interruption::Told(Control::Shutdown) => Ok(Outcome::Lost),
            Interruption::Told(Control::Cancel | Control::Run) => Ok(Outcome::Cancelled),
            Interruption::TimedOut(after) => {
                let reason =
                    format!("ran longer than its timeout of {after:?} and was ended; raise `timeout:` if it may");
                Ok(Outcome::TimedOut(reason))
            }
        }
    }
}

fn timeout_of(task: &Task) -> Option<Duration> {
    task.timeout.map(|timeout| timeout.unsigned_abs())
}

/// Waits until the attempt has to end before its time.
async fn interruption(control: &mut watch::Receiver<Control>, timeout: Option<Duration>) -> Interruption {
    let told = async {
        match control.wait_for(|control| *control != Control::Run).await {
            Ok(control) => *control,
            // The worker is gone without a word.
            Err(_) => Control::Shutdown,
        }
    };
    let late = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => pending().await,
        }
    };
    tokio::select! {
        control = told => Interruption::Told(control),
        () = late => Interruption::TimedOut(timeout.unwrap_or_default()),
    }
}

/// What must not be seen in an attempt's log: the project's connections and secrets.
fn masks<D>(bench: &Bench<D>, lease: &Lease) -> Vec<String> {
    let connections = lease.variables.connections.values().flat_map(|url| secrets_of(url));
    // Lines are what is logged: of a secret of several lines, such as a key, each is one.
    let lines = |value: &str| value.lines().map(str::to_owned).collect::<Vec<_>>();
    connections.chain(bench.secrets.known().iter().flat_map(|(_, value)| lines(value))).collect()
}

/// The values for the texts of a task in which secrets may stand.
fn with_secrets<D>(bench: &Bench<D>, lease: &Lease, task: &Task) -> Result<Variables, String> {
    bench.secrets.of(task).map(|secrets| lease.variables.with_secrets(secrets))
}

fn shell_task<D>(lease: &Lease, task: &Task, command: &str, bench: &Bench<D>) -> Result<ShellTask, String> {
    let variables = with_secrets(bench, lease, task)?;
    let command = render(command, &variables, Quote::Shell).map_err(|error| format!("in `shell:`, {error}"))?;
    let environment = environment_of(lease, task, bench)?;
    Ok(ShellTask { command, each: Vec::new(), environment, folder: bench.project_dir.clone() })
}

fn python_task<D>(lease: &Lease, task: &Task, python: &PythonTask, bench: &Bench<D>) -> Result<ShellTask, String> {
    let call = PythonCall { task: python, python: &bench.python, project_dir: &bench.project_dir };
    let (command, arguments) = call.command(&lease.variables)?;
    let mut environment = environment_of(lease, task, bench)?;
    environment.extend(arguments);
    Ok(ShellTask { command, each: Vec::new(), environment, folder: bench.project_dir.clone() })
}

fn environment_of<D>(lease: &Lease, task: &Task, bench: &Bench<D>) -> Result<BTreeMap<String, String>, String> {
    let variables = &with_secrets(bench, lease, task)?;
    let mut environment = bench.environment.clone();
    let result = bench.result_file(lease);
    environment.insert(RESULT_VARIABLE.to_owned(), result.path().display().to_string());
    environment.extend([
        (LEASE_VARIABLE.to_owned(), lease.epoch.to_string()),
        ("MULGIL_FLOW".to_owned(), lease.flow.name.clone()),
        ("MULGIL_TASK".to_owned(), task.name.clone()),
        ("MULGIL_RUN_ID".to_owned(), variables.run_id.clone()),
        ("MULGIL_ATTEMPT".to_owned(), lease.attempt.attempt.to_string()),
        ("MULGIL_PROJECT".to_owned(), bench.project_dir.display().to_string()),
    ]);
    if let Some(interval) = variables.interval {
        let day = interval.start.to_zoned(variables.timezone.clone()).date();
        environment.insert("MULGIL_DS".to_owned(), day.to_string());
        environment.insert("MULGIL_DATA_INTERVAL_START".to_owned(), interval.start.to_string());
        environment.insert("MULGIL_DATA_INTERVAL_END".to_owned(), interval.end.to_string());
    }
    for (name, template) in &task.env {
        let value = render(template, variables, Quote::None).map_err(|error| format!("in `env: {name}`, {error}"))?;
        environment.insert(name.clone(), value);
    }
    Ok(environment)
}

/// The work of each item of a group, one after the other; else of the one that there is.
async fn data_tasks<D>(
    lease: &Lease,
    task: &Task,
    bench: &Bench<D>,
    log: &AttemptLog,
) -> Result<Option<serde_json::Value>, Failure> {
    if let Some(sql) = query_of(lease, task) {
        log.note("asking for the items");
        return query(lease, sql, None, (Some(SqlResult::Rows), None), bench, log).await;
    }
    let Some(items) = group::leases(lease, task) else { return data_task(lease, task, bench, log).await };
    let mut results = Vec::new();
    for (number, lease) in items.iter().enumerate() {
        log.note(&format!("item {} of {}", number + 1, items.len()));
        let result = data_task(lease, task, bench, log).await;
        let of_item = |failure: Failure| Failure {
            reason: format!("item {} of {}: {}", number + 1, items.len(), failure.reason),
            ..failure
        };
        results.push(result.map_err(of_item)?);
    }
    let gave = results.iter().any(Option::is_some);
    Ok(gave.then(|| results.into_iter().map(Option::unwrap_or_default).collect()))
}

/// As what an attempt appends: every attempt at the task in its run has the same name, and for an item of a list the item's. A task
/// that is not idempotent appends with each.
fn append_of(lease: &Lease, task: &Task) -> Option<Append> {
    let item = lease.variables.item.as_ref().map_or(String::new(), |item| format!("[{item}]"));
    let name = format!("{}/{}{item}", lease.variables.run_id, lease.task);
    task.idempotent.then(|| Append { name, attempt: lease.epoch.unsigned_abs() })
}

/// The query for the items of a task, where the lease is for that, and not for an item.
fn query_of<'a>(lease: &Lease, task: &'a Task) -> Option<&'a SqlText> {
    task.for_each.as_ref()?.query().filter(|_| lease.variables.item.is_none())
}

async fn query<D>(
    lease: &Lease,
    sql: &SqlText,
    target: Option<WriteTarget>,
    (result, append): (Option<SqlResult>, Option<Append>),
    bench: &Bench<D>,
    log: &AttemptLog,
) -> Result<Option<serde_json::Value>, Failure> {
    let variables = lease.variables.clone();
    let (template, file) = match sql {
        SqlText::Inline(text) => (text.clone(), None),
        SqlText::File(name) => {
            let path = bench.project_dir.join(name);
            let text = tokio::fs::read_to_string(&path).await;
            (text.map_err(|error| format!("cannot read {}: {error}", path.display()))?, Some(name.clone()))
        }
    };
    let place = file.as_deref().unwrap_or("`sql:`");
    let text = render(&template, &variables, Quote::None).map_err(|error| format!("in {place}, {error}"))?;
    let task = SqlTask { text, file, target, result, append, variables };
    Ok(bench.data.sql(task, log).await?)
}

async fn data_task<D>(
    lease: &Lease,
    task: &Task,
    bench: &Bench<D>,
    log: &AttemptLog,
) -> Result<Option<serde_json::Value>, Failure> {
    let variables = lease.variables.clone();
    match &task.kind {
        TaskKind::Sql { sql, target, result } => {
            query(lease, sql, target.clone(), (*result, append_of(lease, task)), bench, log).await
        }
        TaskKind::Transfer { from, rows, target } => {
            let (from, rows, append) = (from.clone(), rows.clone(), append_of(lease, task));
            let task = TransferTask { from, rows, target: target.clone(), append, variables };
            Ok(Some(bench.data.transfer(task, log).await?))
        }
        TaskKind::Http(http) => {
            let variables = with_secrets(bench, lease, task)?;
            Ok(bench.http.call(http, &variables, log).await?)
        }
        TaskKind::View(ViewTask { deed: ViewDeed::Refresh, view }) => {
            Ok(Some(bench.views.refresh(view, &variables, log).await?))
        }
        TaskKind::View(ViewTask { deed: ViewDeed::Replay, view }) => Ok(Some(bench.views.replay(view, log).await?)),
        TaskKind::View(ViewTask { deed: ViewDeed::Export, view }) => Ok(Some(bench.views.export(view, log).await?)),
        TaskKind::Shell { .. } | TaskKind::Python(_) | TaskKind::Flow(_) | TaskKind::Wait(_) => {
            Err(format!("a {} task is no data task", task.kind.word()).into())
        }
    }
}

fn mask(outcome: Outcome, log: &AttemptLog) -> Outcome {
    match outcome {
        Outcome::Failed(Failure { reason, fault }) => Outcome::Failed(Failure { reason: log.masked(&reason), fault }),
        Outcome::Succeeded(Some(result)) => Outcome::Succeeded(Some(masked(result, log))),
        other => other,
    }
}

fn note_end(outcome: &Outcome, after: Duration, log: &AttemptLog) {
    let seconds = after.as_secs_f64();
    match outcome {
        Outcome::Succeeded(_) => log.note(&format!("succeeded after {seconds:.3} s")),
        Outcome::Failed(failure) => {
            // The tail is in the log already.
            let reason = failure.reason.lines().next().unwrap_or_default();
            log.note(&format!("failed after {seconds:.3} s: {reason}"));
        }
        Outcome::Skipped(reason) => log.note(&format!("skipped after {seconds:.3} s: {reason}")),
        Outcome::TimedOut(reason) => log.note(reason),
        Outcome::Cancelled => log.note(&format!("cancelled after {seconds:.3} s")),
        Outcome::Lost => log.note(&format!("ended after {seconds:.3} s: the worker shuts down")),
    }
}

/// A task whose output could not be written has done its work all the same; one that failed says both.
fn with_log_failure(outcome: Outcome, log: &AttemptLog) -> Outcome {
    match (outcome, log.failure()) {
        (Outcome::Failed(Failure { reason, fault }), Some(failure)) => {
            let reason = format!("{reason}\nits log is not complete: {failure}");
            Outcome::Failed(Failure { reason, fault })
        }
        (outcome, Some(failure)) => {
            tracing::warn!(%failure, "a log is not complete");
            outcome
        }
        (outcome, None) => outcome,
    }
}

mod process;
#[cfg(test)]
mod tests;
